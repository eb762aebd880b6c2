"""Takes request bodies while they come or late or not at all, and tells in the error log how far it is."""

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
MIB = 1024 * 1024
PIECE = 65536
LARGE = [bytes(MIB)] * 16
gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
barriers: dict[str, threading.Barrier] = {}
lock = threading.Lock()
never = threading.Event()


def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Do what the first part of the path names; the second part names the request, in the log and at its gate."""
    action, _, name = environ["PATH_INFO"][1:].partition("/")
    tell(environ, f"{name} began")
    if action in STREAMS:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return STREAMS[action](environ, name)
    text = ACTIONS[action](environ, name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode("latin-1")]


def tell(environ: Environ, text: str) -> None:
    environ["wsgi.errors"].write(f"<{text}>\n")


def unread(_environ: Environ, name: str) -> str:
    return f"nothing of {name}"


def opened(_environ: Environ, name: str) -> str:
    gates[name].set()
    return f"{name} is open"


def meet(_environ: Environ, name: str) -> str:
    """Wait until four requests are here at once."""
    with lock:
        barrier = barriers.setdefault(name, threading.Barrier(4))
    barrier.wait(15)
    return "met"


def nap(_environ: Environ, _name: str) -> str:
    """Keep the thread for 3 seconds."""
    never.wait(3)
    return "awake"


def whole(environ: Environ, name: str) -> str:
    body: str = environ["wsgi.input"].read().decode("latin-1")
    tell(environ, f"{name} has all")
    return body


def held(environ: Environ, name: str) -> str:
    """Wait at the gate before the first read."""
    gates[name].wait(50)
    return whole(environ, name)


def pausing(environ: Environ, name: str) -> str:
    """Read five bytes, wait at the gate, and read the rest."""
    begun = five(environ, name)
    gates[name].wait(50)
    return begun + whole(environ, name)


def five(environ: Environ, name: str) -> str:
    """Read five bytes and no more."""
    data: bytes = environ["wsgi.input"].read(5)
    tell(environ, f"{name} has {data.decode('latin-1')}")
    return data.decode("latin-1")


def five_then_all(environ: Environ, name: str) -> str:
    return five(environ, name) + whole(environ, name)


def tells_who_waits(environ: Environ, name: str) -> str:
    """Read all, wait at the gate, and say whether anybody still waits for the answer."""
    whole(environ, name)
    gates[name].wait(50)
    return "nobody waits" if environ["greenhorn.client_disconnected"]() else "somebody waits"


def shown(environ: Environ, name: str) -> str:
    """The texts of the environ and the body, as JSON."""
    texts = {key: value for key, value in environ.items() if isinstance(value, str)}
    return json.dumps({"environ": texts, "body": whole(environ, name)})


def digest(environ: Environ, _name: str) -> str:
    found, length = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(PIECE):
        found.update(piece)
        length += len(piece)
    return f"{found.hexdigest()} {length}"


def caught(environ: Environ, name: str) -> str:
    """Catch what a read raises, tell what it is, and answer all the same."""
    stream, size = environ["wsgi.input"], 0
    try:
        while piece := stream.read1(PIECE):
            size += len(piece)
    except OSError as error:
        return after_failure(environ, name, size, error)
    tell(environ, f"{name} took all {size} for a body")
    return "no failure"


def after_failure(environ: Environ, name: str, size: int, error: OSError) -> str:
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    try:
        again = f"has {environ['wsgi.input'].read(1)!r}"
    except OSError as second:
        again = f"raises {type(second).__name__}"
    tell(environ, f"{name} failed after {size} with {kinds}; the next read {again}")
    return f"failed: {error}"


def echo(environ: Environ, _name: str) -> Iterator[bytes]:
    """Send back what comes, as it comes."""
    while piece := environ["wsgi.input"].read1(PIECE):
        yield piece


def late(environ: Environ, name: str) -> Iterator[bytes]:
    """Begin the answer before the first read."""
    yield b"begun "
    yield whole(environ, name).encode("latin-1")


def large(_environ: Environ, _name: str) -> Iterable[bytes]:
    """16 MiB that cost one."""
    return LARGE


def generated(environ: Environ, name: str) -> Iterator[bytes]:
    """16 MiB that are made for this client; the end is told however it comes."""
    try:
        for _ in range(16 * MIB // PIECE):
            yield bytes(PIECE)
    finally:
        tell(environ, f"{name} ended")


def gradual(_environ: Environ, _name: str) -> Iterator[bytes]:
    """The same, but it takes the application 7 seconds at least."""
    for _ in range(64):
        yield bytes(4 * PIECE)
        never.wait(0.11)


ACTIONS: dict[str, Callable[[Environ, str], str]] = {
    "unread": unread,
    "open": opened,
    "meet": meet,
    "nap": nap,
    "whole": whole,
    "held": held,
    "pausing": pausing,
    "five": five,
    "five-then-all": five_then_all,
    "tells-who-waits": tells_who_waits,
    "shown": shown,
    "digest": digest,
    "caught": caught,
}
STREAMS: dict[str, Callable[[Environ, str], Iterable[bytes]]] = {
    "echo": echo,
    "late": late,
    "large": large,
    "generated": generated,
    "gradual": gradual,
}
