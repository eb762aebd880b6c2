"""The kinds of hostile client that come to an address with TLS: what each sends of a handshake, and when it stops."""

from __future__ import annotations

import contextlib
import ssl

from attacking.attacks import Attack


def client_hello() -> bytes:
    """Return the bytes with which a client begins, one record; all clients of a crowd may send the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    engine = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        engine.do_handshake()
    return outgoing.read()


_HELLO = client_hello()
_PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# A full handshake costs a server with an RSA key half a millisecond, its clients nothing: no server has an answer to
# as many of them as it can compute, but what it has left has to go to its healthy clients.
_HANDSHAKES_PER_SECOND = 400


def _attack(name: str, title: str, opening: bytes, **options: bool | int | bytes) -> Attack:
    return Attack(name, title, opening, encrypted=True, **options)  # type: ignore[arg-type]


_ALL = (
    _attack("tls-silent", "connects to the TLS port and sends nothing", b""),
    _attack("tls-half-hello", "stops in the middle of its ClientHello", _HELLO[: len(_HELLO) // 2]),
    _attack("tls-slow-hello", "drips its ClientHello, a byte a second", _HELLO[:1], spelled=_HELLO[1:]),
    _attack("tls-hello", "stops after its ClientHello, and reads nothing", _HELLO, reads=False, until_answered=True),
    _attack(
        "tls-handshakes",
        "leaves after its ClientHello, 400 new ones a second",
        _HELLO,
        until_answered=True,
        fleeting=True,
        renewed=True,
        per_second=_HANDSHAKES_PER_SECOND,
    ),
    _attack(
        "tls-plain", "sends plain HTTP to the TLS port, and comes again", _PLAIN, until_answered=True, renewed=True
    ),
    _attack(
        "tls-noise", "sends what is neither TLS nor HTTP, and comes again", b"\x16\x03\x01\x00\xff" * 64, renewed=True
    ),
)
ENCRYPTED = {attack.name: attack for attack in _ALL}
