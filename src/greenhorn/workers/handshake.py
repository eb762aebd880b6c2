"""The turns of a connection before its first request, where it is encrypted."""

import ssl

from greenhorn.errors import HTTPError
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.tls.stream import SecureSocket, reason_of
from greenhorn.tls.variables import connection_variables
from greenhorn.workers.serve import part, refuse, serve
from greenhorn.workers.service import Service

HELLO = 0x16
"""The first byte of a client that speaks TLS: a record of the handshake (RFC 8446 5.1)."""
FAILED = "TLS handshakes failed"
ABOUT_CLIENTS = ("CERTIFICATE_VERIFY_FAILED", "PEER_DID_NOT_RETURN_A_CERTIFICATE")
"""Why clients are refused that take the handshake for complete (RFC 8446 2) and have sent their request: a connection
that is closed before that is read is reset, and the client may never see the alert."""


def shake_hands(connection: Connection, service: Service) -> State:
    """The turn of a connection that is to be encrypted: a step of the handshake, without waiting for the client."""
    secure = connection.secure
    try:
        if secure is None:
            data = connection.buffer or connection.recv(service.head_read)
            if not data:
                return State.CLOSED if data is not None else State.NEW
            connection.buffer = b""
            if data[0] != HELLO:
                return _turn_plain_away(connection, service, data)
            secure = connection.secure = SecureSocket(connection.socket, connection.entrance.credentials, data)
        if not secure.shake_hands():
            return State.FLUSH if secure.is_full else State.HANDSHAKE
    except OSError as error:
        _tell(connection, service, error)
        if isinstance(error, ssl.SSLError) and error.reason in ABOUT_CLIENTS:
            return part(connection, told=False)
        return State.CLOSED
    connection.socket = secure
    connection.template |= connection_variables(secure.engine)
    connection.template["gunicorn.socket"] = secure
    connection.turn = serve
    return serve(connection, service)


def _tell(connection: Connection, service: Service, error: OSError) -> None:
    """Note a handshake that fails: scanners do little else, but a certificate that is refused is somebody's."""
    service.counters.add(FAILED, quiet=True)
    peer = connection.peer[0] if connection.peer else "a unix socket"
    if isinstance(error, ssl.SSLCertVerificationError):
        service.log.info("The client certificate from %s is refused: %s", peer, reason_of(error))
    else:
        service.log.debug("a TLS handshake with %s fails: %s", peer, reason_of(error))


def _turn_plain_away(connection: Connection, service: Service, data: bytes) -> State:
    if not data[:1].isalpha():
        service.counters.add(FAILED, quiet=True)
        return State.CLOSED
    connection.buffer = data
    return refuse(connection, service, HTTPError(400, "plain HTTP came to an address that speaks https: use https://"))
