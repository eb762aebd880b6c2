"""The turn of a connection at an address whose clients are sent to another one, that of https."""

import re
from http import HTTPStatus

from greenhorn.errors import ClientGone, HTTPError
from greenhorn.http.head import RequestHead
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.workers.serve import go_on, refuse, serve
from greenhorn.workers.service import Service

HTTPS = "443"
HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""What stands in Host if it is a name or an address (RFC 9110 7.2); more than that could lead somewhere else."""


def redirect(connection: Connection, service: Service) -> State:
    """Send the client elsewhere once its head is here; its body is not waited for."""
    outcome = serve(connection, service)
    head = connection.head
    if head is None or outcome is State.CLOSED:
        return outcome
    return send_elsewhere(connection, service, head)


def send_elsewhere(connection: Connection, service: Service, head: RequestHead) -> State:
    """Answer a request at such an address."""
    host = head.fields.get("HTTP_HOST") or connection.template["SERVER_NAME"]
    try:
        elsewhere = location(connection.entrance.redirect, host, head.target)
    except HTTPError as error:
        return refuse(connection, service, error)
    connection.drop_request()
    connection.requests += 1
    answer = (
        f"HTTP/1.1 308 {HTTPStatus.PERMANENT_REDIRECT.phrase}\r\n{service.fields}"
        f"Location: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")
    try:
        connection.send(answer)
    except ClientGone:
        return State.CLOSED
    return go_on(connection, stays=False, told=False)


def location(elsewhere: str, host: str, target: str) -> str:
    """The URL of `target`, as it was asked for at `host`, where clients are sent to; raises `HTTPError` 400."""
    if not target.startswith("/") or not HOST.fullmatch(host):
        raise HTTPError(400, "this address speaks https; ask there")
    return _base(elsewhere, host) + target


def _base(elsewhere: str, host: str) -> str:
    """The beginning of the URL: what was configured, or the host that was asked for at another port."""
    if not elsewhere.isdigit():
        return elsewhere
    name = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
    return f"https://{name}" if elsewhere == HTTPS else f"https://{name}:{elsewhere}"
