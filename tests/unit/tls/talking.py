"""A client and a server that speak TLS in memory, in one thread."""

import ssl
from typing import Any

from greenhorn.tls.credentials import Credentials
from greenhorn.tls.stream import Engine
from unit.tls.making import SERVER, Made


def client_context(
    *believed: Made, shows: tuple[str, str | None] | None = None, newest: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A client's context; it believes any certificate where none is named. `shows` are files of its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for made in believed:
        context.load_verify_locations(cadata=made.pem.decode())
    if not believed:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if shows is not None:
        context.load_cert_chain(*shows)
    if newest is not None:
        context.maximum_version = newest
    return context


class Talk:
    """One client and what the server has of it, after the handshake; raises `ssl.SSLError` of whoever breaks it off."""

    def __init__(
        self,
        credentials: Credentials,
        context: ssl.SSLContext | None = None,
        name: str | None = SERVER,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._up, self._down = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or client_context()
        self.client = context.wrap_bio(self._down, self._up, server_hostname=name, session=session)
        self.server: Engine = credentials.wrap(self._up, self._down)
        ends: list[Any] = [self.client, self.server]
        for _ in range(20):
            for end in list(ends):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                ends.remove(end)
            if not ends:
                break
        assert not ends, "the handshake does not come to an end"
        self.server.write(b"x")  # the tickets of TLS 1.3 come along
        assert self.client.read(1) == b"x"

    @property
    def shown(self) -> bytes:
        """The certificate that the client was shown, as DER."""
        der = self.client.getpeercert(binary_form=True)
        assert der is not None
        return der


def only(kind: str) -> ssl.SSLContext:
    """A client of TLS 1.2 that knows certificates with keys of one kind only."""
    context = client_context(newest=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers({"rsa": "aRSA", "ec": "aECDSA"}[kind])
    return context


def resumes(credentials: Credentials, context: ssl.SSLContext, before: Talk) -> bool:
    """Whether a client that comes back goes on with its session of `before`, in the view of both."""
    talk = Talk(credentials, context, session=before.client.session)
    assert talk.server.session_reused == talk.client.session_reused
    return bool(talk.server.session_reused)
