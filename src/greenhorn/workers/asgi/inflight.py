"""The requests that the application works on just now, for the log."""

import asyncio
import os
import time
import traceback
from typing import Any

import uvicorn
from uvicorn.server import ServerState

import greenhorn
from greenhorn.observe.counters import Counters
from greenhorn.observe.logger import Logger
from greenhorn.workers.asgi.engine import Guard

OURS = tuple(path + os.sep for package in (greenhorn, uvicorn) for path in package.__path__)
"""Where the files of frames are that every request has."""


def dump(state: ServerState, log: Logger, counters: Counters) -> None:
    """Log a record of each request in flight, with the stack of its task. Loop's thread."""
    now = time.monotonic()
    running = websockets = 0
    for connection in state.connections:
        if not isinstance(connection, Guard):
            websockets += 1
        elif connection.task is not None and not connection.is_free:
            running += 1
            log.warning("In flight: %s", _record(connection, connection.task, now))
    counts = ", ".join(f"{count} {name}" for name, count in counters.totals().items())
    log.warning(
        "%d in flight, %d WebSockets, %d connections%s",
        running,
        websockets,
        len(state.connections),
        f"; so far {counts}" if counts else "",
    )


def _record(connection: Guard, task: asyncio.Task[Any], now: float) -> str:
    """What the log says of a request: method, path, age, client, and where the application is."""
    scope = connection.cycle.scope
    client = ":".join(map(str, connection.whose)) if connection.whose else "unix"
    name = f"{scope['method']} {scope['path']}"
    return f"{name} for {now - connection.since:.1f} s, from {client}:\n{stack_of(task)}"


def stack_of(task: asyncio.Task[Any]) -> str:
    """Where a task waits, from the application's first frame on, the latest call last."""
    frames = []
    waits: Any = task.get_coro()
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None)
        if frame is not None:
            code = frame.f_code
            frames.append(traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name))
        waits = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
    begins = next((at for at, each in enumerate(frames) if not each.filename.startswith(OURS)), 0)
    return "".join(traceback.format_list(frames[begins:])).rstrip()
