"""The worker classes that the integration tests run for, and how a module asks for all of them.

A module says `pytestmark = EVERY_KIND`, and each of its tests that starts a server runs once for each class that serves
WSGI; with `AND_ASGI` also for those of ASGI, which get its application bridged (`applications/bridged.py`). Where a
class differs by its nature, the test says so with `differs("tornado", row=PARSER)`; the row is one of the table in
docs/workers.md, which a test compares. GREENHORN_TEST_WORKERS names the classes to run for (all, or gthread,tornado);
by default that is each whose library is installed.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from integration.running import EXAMPLES, Server, StartServer

KINDS = {
    "gthread": "",
    "sync": "",
    "gevent": "gevent",
    "eventlet": "eventlet",
    "tornado": "tornado",
    "asgi": "uvicorn",
    "asgi-h11": "uvicorn",
}
"""Worker classes, and the library that each needs."""
ASGI = ("asgi", "asgi-h11")
WSGI = tuple(kind for kind in KINDS if kind not in ASGI)
USUAL = "gthread"

BUSY = "nothing else happens while the application runs"
ONE_REQUEST = "a connection carries one request"
NO_TIMEOUT = "no `request_timeout`"
AT_ONCE = "a request begins although its client has just left"
PARSER = "Tornado parses requests"
WHOLE_HEADS = "a head is judged when it is whole"
UVICORN = "uvicorn's parsers read requests"
HALF_CLOSE = "the end of a client's stream means that it is gone"
CANCELLED = "a request that is cut off at the end is answered 500"
NO_QUEUE = "no queue of requests"
NOT_STUCK = "a request beyond `request_timeout` is cancelled"
CONTINUE_ANYWAY = "100 Continue is sent even if the body is here"
EVERY_KIND = pytest.mark.every_kind
USUAL_KIND = EVERY_KIND(USUAL)
"""For a test, in a module that runs for every class, of what is the master's alone and has no classes."""
AND_ASGI = EVERY_KIND(*KINDS)
AND_ASGI_ONCE = EVERY_KIND(*WSGI, "asgi")
"""Where it does not matter which parser reads requests."""


def differs(*kinds: str, row: str, only: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Leave a test out for these worker classes, which differ by their nature as this row of the table says.

    `only`: just the cases that have one of these texts in their names.
    """
    return pytest.mark.differs(*kinds, row=row, only=only)


def run_over(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for it, or whose module does, once for each worker class."""
    mark = metafunc.definition.get_closest_marker("every_kind")
    if "kind" in metafunc.fixturenames and mark is not None:
        names = [name for name in chosen() if name in (mark.args or WSGI)]
        metafunc.parametrize("kind", names, indirect=True, scope="module")


def leave_out(request: pytest.FixtureRequest) -> None:
    """Skip a test for a worker class that differs there by its nature."""
    if "kind" in request.fixturenames:
        kind = request.getfixturevalue("kind")
        for mark in request.node.iter_markers("differs"):
            only = mark.kwargs["only"]
            if kind in mark.args and (not only or any(text in request.node.name for text in only)):
                pytest.skip(f"{kind} differs by nature: {mark.kwargs['row']}")


def chosen() -> list[str]:
    """The classes to run for, the usual one first."""
    wanted = os.environ.get("GREENHORN_TEST_WORKERS", "all")
    if "GREENHORN_TEST_COMMAND" in os.environ:
        return [USUAL]
    kinds = [*KINDS] if wanted == "all" else wanted.split(",")
    return [kind for kind in kinds if not KINDS[kind] or importlib.util.find_spec(KINDS[kind]) is not None]


def flags(kind: str) -> tuple[str, ...]:
    """What chooses a worker class on the command line; nothing for the usual one."""
    return () if kind == USUAL else ("--worker-class", kind)


def possible(kind: str, arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments of a server, without `--threads` where it would mean another class, or nothing."""
    if kind in ("gthread", "tornado") or "--threads" not in arguments:
        return arguments
    at = arguments.index("--threads")
    return (*arguments[:at], *arguments[at + 2 :])


def keeps_connections(kind: str) -> bool:
    """Whether another request may follow an answer, where that is but the end of a test; `ONE_REQUEST` is the row."""
    return kind != "sync"


def bridged(app: str | None, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a worker class for ASGI is started with, in place of a WSGI application and the options of its server."""
    env = {"BRIDGED": app or "written:application", **options.pop("env", {})}
    folders = (*options.pop("pythonpath", (EXAMPLES,)), Path(__file__).with_name("applications"))
    return "bridged", {**options, "env": env, "pythonpath": folders}


def of_kind(start: StartServer, kind: str) -> StartServer:
    """Start servers of this worker class, unless a test says itself which one it wants."""

    def started(app: str | None = None, *arguments: str, **options: Any) -> Server:
        if kind in ASGI:
            app, options = bridged(app, options)
        return start(app, *flags(kind), *possible(kind, arguments), **options)

    return started
