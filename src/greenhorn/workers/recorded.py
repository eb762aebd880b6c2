"""What the access log is told of answers that the server gives itself."""

from collections.abc import Mapping
from typing import Any

from greenhorn.errors import HTTPError
from greenhorn.http.head import RequestHead
from greenhorn.net.connection import Connection
from greenhorn.observe.access import AccessLog, NotTimed, Refusal, Unread

HEAD_END = b"\r\n\r\n"
NO_TIMES = NotTimed()


def record_refusal(
    access: AccessLog,
    connection: Connection,
    head: RequestHead | None,
    begun: str,
    client: tuple[str, str] | None,
    environ: Mapping[str, Any] | None,
    error: HTTPError,
    answer: bytes,
) -> None:
    """Write down that a request was turned away with `answer`; `begun` is its first line where it has no head.

    `client` is who asked, where the request has no environ yet.
    """
    if environ is None:
        environ = {"REMOTE_ADDR": client[0] if client else ""}
    refusal = Refusal(str(error.status), len(answer) - answer.find(HEAD_END) - len(HEAD_END), error.detail)
    if head is None:
        access.refused(NO_TIMES, environ, Unread(begun or "-"), refusal)
    else:
        access.refused(connection, environ, head, refusal)
