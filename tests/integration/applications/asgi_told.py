"""An application of ASGI that shows what it is told of a connection with TLS."""

import json
from typing import Any


def told(scope: dict[str, Any]) -> str:
    names = scope["state"].get("greenhorn.tls")
    tls = scope.get("extensions", {}).get("tls")
    if tls is not None:
        tls["client_cert_chain"] = [*tls["client_cert_chain"]]
    return json.dumps({"tls": tls, "names": None if names is None else dict(names)})


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told(scope)})
        await send({"type": "websocket.close"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": told(scope).encode()})
    else:
        raise NotImplementedError
