"""The requests that the application works on just now, for the log."""

import io
import time

from uvicorn.server import ServerState

from greenhorn.observe.counters import Counters
from greenhorn.observe.logger import Logger
from greenhorn.workers.asgi.engine import Guard


def dump(state: ServerState, log: Logger, counters: Counters) -> None:
    """Log a record of each request in flight, with the stack of its task. Loop's thread."""
    now = time.monotonic()
    running = websockets = 0
    for connection in state.connections:
        if not isinstance(connection, Guard):
            websockets += 1
        elif connection.task is not None and not connection.is_free:
            running += 1
            log.warning("In flight: %s", _record(connection, now))
    counts = ", ".join(f"{count} {name}" for name, count in counters.totals().items())
    log.warning(
        "%d in flight, %d WebSockets, %d connections%s",
        running,
        websockets,
        len(state.connections),
        f"; so far {counts}" if counts else "",
    )


def _record(connection: Guard, now: float) -> str:
    scope = connection.cycle.scope
    client = ":".join(map(str, connection.whose)) if connection.whose else "unix"
    stack = io.StringIO()
    assert connection.task is not None  # noqa: S101 - who calls has looked
    connection.task.print_stack(file=stack)
    name = f"{scope['method']} {scope['path']}"
    return f"{name} for {now - connection.since:.1f} s, from {client}:\n{stack.getvalue().rstrip()}"
