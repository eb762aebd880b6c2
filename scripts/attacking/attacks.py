"""The kinds of hostile client: what each sends, how often, and whether it reads."""

from __future__ import annotations

from dataclasses import dataclass

# What a client that does not want to read leaves in the kernel at its end, at the most; the kernel doubles it.
SMALL_BUFFER = 4096
PIPELINED = 1000
ONE_BYTE_CHUNKS = 1000


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of hostile client.

    `opening` is sent as soon as the connection is there, `drip` then every second, for ever, or `spelled`, a byte every
    second. `flood` is sent
    again and again, as fast as the server takes it and the swarm is allowed to. `receive_buffer` is what the
    kernel takes for a client, 0 for as much as it likes; a client that does not read does not take it away.
    `until_answered`: a client has arrived when an answer is there, not when all is sent. `fleeting`: they close
    as soon as there are as many as there should be. `renewed`: who is thrown out comes again. `memory_counts` is
    False where the memory of an answer is the application's affair. `encrypted`: the server speaks TLS. `per_second` is
    how many come, 0 for as many as usual.
    """

    name: str
    title: str
    opening: bytes = b""
    drip: bytes = b""
    spelled: bytes = b""
    flood: bytes = b""
    receive_buffer: int = 0
    reads: bool = True
    until_answered: bool = False
    fleeting: bool = False
    renewed: bool = False
    memory_counts: bool = True
    encrypted: bool = False
    per_second: int = 0


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _unread(name: str, title: str, opening: bytes, *, memory_counts: bool = True) -> Attack:
    return Attack(
        name, title, opening, receive_buffer=SMALL_BUFFER, reads=False, until_answered=True, memory_counts=memory_counts
    )


_POST = "POST /count HTTP/1.1\r\nHost: x\r\n"
_SIZED = f"{_POST}Content-Length: 1000000\r\n\r\n".encode()
_CHUNKED = f"{_POST}Transfer-Encoding: chunked\r\n\r\n".encode()

_ALL = (
    Attack("silent", "connects and sends nothing"),
    Attack("one-byte", "sends one byte", b"G"),
    Attack("slow-head", "drips its head, a line a second", b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-Slow: very\r\n"),
    Attack("stalled-body", "stops in a body with Content-Length", _SIZED + b"x" * 1000),
    Attack("stalled-chunks", "stops in a chunked body", _CHUNKED + b"1000\r\n" + b"x" * 1000),
    Attack("slow-body", "drips a body with Content-Length, a byte a second", _SIZED, b"x"),
    Attack("slow-chunks", "drips a chunked body, a byte a second", _CHUNKED, b"1\r\nx\r\n"),
    _unread("unread-list", "never reads a list of 32 MiB", _get("/list"), memory_counts=False),
    _unread("unread-generator", "never reads a generator of 32 MiB", _get("/generator")),
    _unread("unread-file", "never reads a file of 32 MiB", _get("/file"), memory_counts=False),
    _unread("unread-pipeline", f"pipelines {PIPELINED:,} GETs of 4 KiB and reads no answer", _get("/page") * PIPELINED),
    Attack(
        "tiny-chunks",
        "sends chunks of one byte, as many as it can",
        _CHUNKED,
        flood=b"1\r\nx\r\n" * ONE_BYTE_CHUNKS,
        renewed=True,
    ),
    Attack("connects", "connects and closes", fleeting=True, renewed=True),
)
ATTACKS = {attack.name: attack for attack in _ALL}

IDLE = Attack("idle", "keeps its connection after one GET", _get("/"), until_answered=True)
