"""The application of ASGI at an address whose clients are sent to another one, that of https."""

from greenhorn.errors import HTTPError
from greenhorn.workers.asgi.intake import refuse
from greenhorn.workers.asgi.kind import Application, Receive, Scope, Send
from greenhorn.workers.redirect import location


def redirecting(elsewhere: str) -> Application:
    """An application that sends each client `elsewhere`: a port, or the beginning of a URL."""

    async def redirect(scope: Scope, _receive: Receive, send: Send) -> None:
        host = next((value for name, value in scope["headers"] if name.lower() == b"host"), b"").decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        target = scope["raw_path"].decode("latin-1").removeprefix(scope["root_path"])
        try:
            if scope["type"] == "websocket":
                raise HTTPError(400, "this address speaks https; ask there")  # noqa: TRY301 - one way to refuse
            url = location(elsewhere, host or scope["server"][0], f"{target}?{query}" if query else target)
        except HTTPError as error:
            await refuse(scope, send, error)
            return
        fields = [(b"location", url.encode("latin-1")), (b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 308, "headers": fields})
        await send({"type": "http.response.body", "body": b""})

    return redirect
