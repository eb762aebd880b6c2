"""The states of a connection, and the moves between them."""

import enum


class State(enum.IntEnum):
    """Where a connection is in its life. An outcome of a turn is the state that the connection goes to."""

    NEW = 0  # accepted, no byte yet; the poller waits
    HEAD = 1  # some bytes of a head; the poller waits
    BODY = 2  # the head and some of its body; the poller waits
    IDLE = 3  # between requests; the poller waits
    FLUSH = 4  # an answer waits for the client to read; the poller waits
    LINGER = 5  # the last answer is sent; the poller waits for the client's end
    HANDSHAKE = 6  # some bytes of what comes before the first request; the poller waits
    QUEUED = 7  # ready; waits for a thread
    WHOLE = 8  # a request is whole; waits for a thread that runs the application
    ACTIVE = 9  # a thread has it
    CLOSED = 10


ARMED = frozenset(
    (State.NEW, State.HANDSHAKE, State.HEAD, State.BODY, State.IDLE, State.FLUSH, State.LINGER),
)
"""The states in which the poller's thread owns a connection."""

TRANSITIONS: dict[State, frozenset[State]] = {
    **{state: frozenset((State.QUEUED, State.CLOSED)) for state in ARMED},
    State.HEAD: frozenset((State.QUEUED, State.FLUSH, State.LINGER, State.CLOSED)),
    State.BODY: frozenset((State.QUEUED, State.FLUSH, State.LINGER, State.CLOSED)),
    State.QUEUED: frozenset((State.ACTIVE, State.CLOSED)),
    State.WHOLE: frozenset((State.ACTIVE, State.CLOSED)),
    State.ACTIVE: frozenset(
        (
            State.NEW,
            State.HANDSHAKE,
            State.HEAD,
            State.BODY,
            State.IDLE,
            State.FLUSH,
            State.LINGER,
            State.QUEUED,
            State.WHOLE,
            State.CLOSED,
        )
    ),
    State.CLOSED: frozenset(),
}
"""Every move there is; tests run the server with each of them checked."""
