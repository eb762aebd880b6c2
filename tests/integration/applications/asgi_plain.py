"""An application of ASGI 3 without a framework, whose paths do what tests need; it notes events in the file NOTES."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

LARGE = 1 << 20


def note(event: str) -> None:
    """Add a line to the notes."""
    if "NOTES" in os.environ:
        with Path(os.environ["NOTES"]).open("a") as notes:
            notes.write(event + "\n")


async def pass_gate() -> None:
    """Wait for a byte in the named pipe GATE."""
    opened = asyncio.Event()
    gate = os.open(os.environ["GATE"], os.O_RDONLY | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()
    loop.add_reader(gate, opened.set)
    try:
        await opened.wait()
    finally:
        loop.remove_reader(gate)
        os.close(gate)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer."""
    if scope["type"] == "lifespan":
        await live(scope, receive, send)
    elif scope["type"] == "websocket" and scope["path"] == "/push":
        await push(receive, send)
    elif scope["type"] == "websocket":
        await echo_messages(scope, receive, send)
    else:
        handler = HANDLERS.get(scope["path"].removeprefix(scope["root_path"]), hello)
        await handler(scope, receive, send)


async def live(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    note("up")
    scope["state"]["shelf"] = "books"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("down")
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    fields = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def hello(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    await answer(send, str(os.getpid()).encode())


async def show(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    state = {key: value for key, value in scope["state"].items() if isinstance(value, str)}
    state["ready"] = scope["state"]["greenhorn.ready"]()
    told = {key: value for key, value in scope.items() if isinstance(value, str | int | list | tuple | None)}
    told["raw_path"] = scope["raw_path"].decode()
    told["query_string"] = scope["query_string"].decode()
    told["headers"] = [(name.decode(), value.decode()) for name, value in scope["headers"]]
    await answer(send, json.dumps({**told, "state": state}).encode())


async def echo(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            note("left")
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await answer(send, bytes(body))


async def hold(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    note("held")
    try:
        await pass_gate()
    except asyncio.CancelledError:
        note("cancelled")
        raise
    await answer(send, b"held")


async def rest(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Take so long that what is sent behind the request comes first."""
    await asyncio.sleep(0.2)
    await answer(send, b"rested")


async def block(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Wait in a thread that nobody can cancel, as functions of FastAPI do that are not async."""
    note("blocks")
    await asyncio.to_thread(time.sleep, 60)
    await answer(send, b"late")


async def pour(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Send more than any client reads that does not read."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64):
        await send({"type": "http.response.body", "body": bytes(LARGE), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def push(receive: Any, send: Any) -> None:
    """Send more messages than any client reads that does not read."""
    await receive()
    await send({"type": "websocket.accept"})
    for _ in range(256):
        await send({"type": "websocket.send", "bytes": bytes(65536)})


async def fail(_scope: dict[str, Any], _receive: Any, _send: Any) -> None:
    raise LookupError("in the application")


async def echo_messages(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/denied":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note(f"closed {message['code']}")
            return
        await send({"type": "websocket.send", "text": message["text"]})


async def leave(_scope: dict[str, Any], _receive: Any, _send: Any) -> None:
    """Return without an answer."""


async def split(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Try to send a field in which another one hides."""
    fields = [(b"content-length", b"0"), (b"x", b"a\r\nSet-Cookie: z=1")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})


HANDLERS = {
    "/scope": show,
    "/echo": echo,
    "/held": hold,
    "/rest": rest,
    "/block": block,
    "/pour": pour,
    "/fail": fail,
    "/leave": leave,
    "/split": split,
}


class Asgi2:
    """An application of ASGI 2."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await application(self.scope, receive, send)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application of WSGI."""
    start_response("200 OK", [("Content-Length", "0")])
    return [b""] if environ else []


def make() -> Any:
    """Make the application."""
    return application
