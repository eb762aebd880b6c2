"""The WSGI application that BRIDGED names, as one of ASGI: so tests written for WSGI run on the worker class asgi.

A request is bridged when its body is whole; the application runs in a thread, and waits there for a client that does
not take what it has sent.
"""

import asyncio
import io
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from wsgiref.util import FileWrapper

from greenhorn.app import load_app

APPLICATION = load_app(os.environ["BRIDGED"])
THREADS = ThreadPoolExecutor(32)
Message = dict[str, Any]


class ClientLeftError(OSError):
    """Nobody takes the answer any more."""


async def application(scope: Message, receive: Any, send: Any) -> None:
    """Bridge a request; there is neither a lifespan nor a WebSocket."""
    if scope["type"] != "http":
        return
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    loop = asyncio.get_running_loop()
    answer = Answer(lambda message: asyncio.run_coroutine_threadsafe(send(message), loop).result())
    watching = loop.create_task(watch(receive, answer))
    try:
        with suppress(ClientLeftError):
            await loop.run_in_executor(THREADS, answer.run, environ_of(scope, bytes(body), answer))
    finally:
        watching.cancel()


async def watch(receive: Any, answer: "Answer") -> None:
    await receive()
    answer.gone = True


class ErrorLog(io.TextIOBase):
    """What is written there goes to the server's error log."""

    def write(self, text: str) -> int:
        logging.getLogger("greenhorn.error").info("%s", text.rstrip("\n"))
        return len(text)


class Answer:
    """An answer that leaves piece by piece. In a thread."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._start: Message | None = None
        self._begun = False
        self.gone = False

    def run(self, environ: Message) -> None:
        pieces = APPLICATION(environ, self.start_response)
        try:
            if isinstance(pieces, list) and not self._has_length():
                self._start["headers"].append((b"Content-Length", b"%d" % sum(map(len, pieces))))
            for piece in pieces:
                if piece:
                    self.write(piece)
            self.write(b"", more=False)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    def _has_length(self) -> bool:
        return (
            self._begun
            or not self._start
            or any(name.lower() == b"content-length" for name, _ in self._start["headers"])
        )

    def start_response(self, status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if self._begun and exc_info:
            raise exc_info[1]
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", maxsplit=1)[0]),
            "headers": headers,
        }
        return self.write

    def write(self, data: bytes, *, more: bool = True) -> None:
        if self.gone:
            raise ClientLeftError
        if not self._begun:
            assert self._start is not None, "start_response was not called"
            self._begun = True
            self._send(self._start)
        self._send({"type": "http.response.body", "body": data, "more_body": more})


def environ_of(scope: Message, body: bytes, answer: Answer) -> Message:
    """The environ of PEP 3333 for a scope of ASGI."""
    query = scope["query_string"].decode("latin-1")
    root = scope["root_path"]
    target = scope["raw_path"].decode("latin-1").removeprefix(root)
    host, port = scope["server"] or ("", None)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": scope["path"].removeprefix(root).encode().decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": f"{target}?{query}" if query else target,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or ""),
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": ErrorLog(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "greenhorn.client_disconnected": lambda: answer.gone,
        "greenhorn.ready": scope["state"]["greenhorn.ready"],
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}" if key in environ else text
    if environ.pop("HTTP_TRANSFER_ENCODING", None):
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ
