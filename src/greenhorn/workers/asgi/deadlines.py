"""Whose time is up: what uvicorn waits for without end."""

from dataclasses import dataclass

from greenhorn.workers.asgi.engine import Engine, Guard


@dataclass(frozen=True)
class Patience:
    """Seconds that a client may take; `inf` for ever."""

    first_byte: float
    head: float
    body: float
    write: float


def sweep(engine: Engine, patience: Patience, now: float) -> None:
    """End the connections whose clients kept the server waiting for too long. Once a second, loop's thread."""
    for connection in list(engine.state.connections):
        if isinstance(connection, Guard):
            _judge(connection, patience, now)


def _judge(connection: Guard, patience: Patience, now: float) -> None:
    transport = connection.transport
    unsent = transport.get_write_buffer_size()
    if unsent:
        if not connection.unsent or unsent < connection.unsent:
            connection.unsent_since = now
        connection.unsent = unsent
        if now - connection.unsent_since > patience.write:
            connection.reset()
        return
    connection.unsent = 0
    if transport.is_closing():
        return
    if connection.is_free:
        if connection.head_since:
            if now - connection.head_since > patience.head:
                connection.turn_away(408, "the head did not come in time")
        elif connection.cycle is None and now - connection.began > patience.first_byte:
            transport.close()
    elif (
        connection.cycle.more_body
        and not connection.cycle.waiting_for_100_continue
        and not connection.flow.read_paused
        and now - connection.heard_at > patience.body
    ):
        connection.turn_away(408, "the body did not come in time")
