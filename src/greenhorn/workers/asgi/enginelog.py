"""What uvicorn and the loop log, in the error log."""

import asyncio
import logging

from greenhorn.observe.logger import Logger

ENGINE = "uvicorn.error"
LOOP = "asyncio"
OTHERS = ("uvicorn.asgi", "uvicorn.access")
NEWS = logging.INFO
"""The highest level of what is told of each connection."""

BY_CLIENTS = (
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "No supported WebSocket library detected.",
    "socket.send() raised exception.",
)
"""What any client can make it say."""


class Forwarder(logging.Handler):
    """Hands records over to our error log. Any thread."""

    def __init__(self, log: Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log it there; that a task was cancelled, which was done here, is no failure."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):
            self._log.debug("a request was cancelled: %s", error or "its client had left")
            return
        text = record.getMessage().rstrip()
        # Each connection is news to uvicorn, and what is no HTTP a warning: here the logs tell of them already.
        level = record.levelno if record.levelno > NEWS and not text.startswith(BY_CLIENTS) else logging.DEBUG
        self._log.log(level, "%s", text, exc_info=record.exc_info)


def forward_engine_log(log: Logger) -> None:
    """Let them log to `log`, unless a logging configuration says where that goes. In a worker, before it serves."""
    engine = logging.getLogger(ENGINE)
    if engine.handlers or logging.getLogger("uvicorn").handlers:
        return
    # A level of its own keeps uvicorn from making records that nobody sees.
    engine.setLevel(logging.DEBUG if log.error_log.isEnabledFor(logging.DEBUG) else logging.WARNING)
    engine.propagate = False
    engine.addHandler(Forwarder(log))
    loop = logging.getLogger(LOOP)
    if not loop.hasHandlers():
        loop.propagate = False
        loop.addHandler(Forwarder(log))
    for name in OTHERS:
        logging.getLogger(name).setLevel(logging.WARNING)
