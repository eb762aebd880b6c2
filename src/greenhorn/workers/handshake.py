"""The turns of a connection before its first request, where it is encrypted."""

import ssl

from greenhorn.errors import HTTPError
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.tls.stream import RECORD, SecureSocket, reason_of
from greenhorn.tls.variables import connection_variables
from greenhorn.workers.serve import part, refuse, serve
from greenhorn.workers.service import Service

HELLO = 0x16
"""The first byte of a client that speaks TLS: a record of the handshake (RFC 8446 5.1)."""
HEADER = 5
"""Bytes of a record's header: kind, version, length (RFC 8446 5.1)."""
VERSIONS = (b"", b"\x03")
"""The first byte of a record's version, if it is there."""
FAILED = "TLS handshakes failed"
PLAIN_HERE = "plain HTTP came to an address that speaks https: use https://"
ABOUT_CLIENTS = ("CERTIFICATE_VERIFY_FAILED", "PEER_DID_NOT_RETURN_A_CERTIFICATE")
"""Why clients are refused that take the handshake for complete (RFC 8446 2) and have sent their request: a connection
that is closed before that is read is reset, and the client may never see the alert."""


def shake_hands(connection: Connection, service: Service) -> State:
    """The turn of a connection that is to be encrypted: a step of the handshake, without waiting for the client."""
    outcome = agree(connection, service)
    if outcome is not State.ACTIVE:
        return outcome
    connection.turn = serve
    return serve(connection, service)


def agree(connection: Connection, service: Service) -> State:
    """The same without a request behind it, for who reads requests himself: ACTIVE when the handshake is complete."""
    secure = connection.secure
    try:
        if secure is None:
            data = connection.buffer
            if not data or _is_cut_short(data):
                more = connection.recv(service.head_read)
                if more is None:
                    return State.HANDSHAKE if data else State.NEW
                if not more:
                    return _leave(data)
                data += more
                if _is_cut_short(data):
                    connection.buffer = data
                    return State.HANDSHAKE
            connection.buffer = b""
            if data[0] != HELLO:
                return _turn_plain_away(connection, service, data)
            secure = connection.secure = SecureSocket(connection.socket, connection.entrance.credentials, data)
        if not secure.shake_hands():
            return State.FLUSH if secure.is_full else State.HANDSHAKE
        variables = connection_variables(secure.engine)
    except (OSError, ValueError) as error:  # ValueError: a certificate that is believed, and cannot be read
        tell_failure(connection, service, error)
        if isinstance(error, ssl.SSLError) and error.reason in ABOUT_CLIENTS:
            return part(connection, told=False)
        return State.CLOSED
    connection.socket = secure
    connection.template |= variables
    connection.template["gunicorn.socket"] = secure
    return State.ACTIVE


def _is_cut_short(data: bytes) -> bool:
    """Whether more has to come of the record in which a ClientHello begins.

    Until then the bytes are all there is of the client: OpenSSL takes 50 KiB to begin.
    """
    size = int.from_bytes(data[3:HEADER]) if len(data) >= HEADER else RECORD
    return data[0] == HELLO and data[1:2] in VERSIONS and size <= RECORD and len(data) < HEADER + size


def _leave(data: bytes) -> State:
    """The outcome where a client has ended the stream; raises `ConnectionResetError` if it had begun a handshake."""
    if data:
        raise ConnectionResetError("the client left in its ClientHello")
    return State.CLOSED


def tell_failure(connection: Connection, service: Service, error: Exception) -> None:
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
    return refuse(connection, service, HTTPError(400, PLAIN_HERE))
