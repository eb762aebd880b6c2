"""Which kinds of workers there are, and what configurations of gunicorn call them."""

import difflib
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from greenhorn.config.parsers import text

WorkerKind = str | type[Any]
"""A name, a dotted path, or a class."""
USUAL: WorkerKind = "gthread"

WORKERS: Mapping[str, str] = MappingProxyType(
    {
        "gthread": "greenhorn.workers.gthread:ThreadWorker",
        "sync": "greenhorn.workers.sync:SyncWorker",
        "gevent": "greenhorn.workers.ggevent:GeventWorker",
        "eventlet": "greenhorn.workers.geventlet:EventletWorker",
        "tornado": "greenhorn.workers.gtornado:TornadoWorker",
        "asgi": "greenhorn.workers.gasgi:ASGIWorker",
        "asgi-h11": "greenhorn.workers.gasgi:H11Worker",
    }
)
"""Classes by name, as MODULE:NAME; whoever makes one imports it by that."""
LIBRARIES: Mapping[str, str] = MappingProxyType(
    {"gevent": "gevent", "eventlet": "eventlet", "tornado": "tornado", "asgi": "uvicorn", "asgi-h11": "uvicorn"}
)
"""What each kind needs that is not always installed; the extra of its name has it."""
ENTRY_POINTS = "greenhorn.workers"
"""The group of entry points by which other packages offer kinds of workers."""

_CALLED: Mapping[str, str] = MappingProxyType(
    {
        "gevent_wsgi": "gevent",
        "gevent_pywsgi": "gevent",
        "gunicorn.workers.sync.SyncWorker": "sync",
        "gunicorn.workers.gthread.ThreadWorker": "gthread",
        "gunicorn.workers.ggevent.GeventWorker": "gevent",
        "gunicorn.workers.ggevent.GeventPyWSGIWorker": "gevent",
        "gunicorn.workers.ggevent.PyWSGIWorker": "gevent",
        "gunicorn.workers.geventlet.EventletWorker": "eventlet",
        "gunicorn.workers.gtornado.TornadoWorker": "tornado",
        "gunicorn.workers.gasgi.ASGIWorker": "asgi",
        "uvicorn.workers.UvicornWorker": "asgi",
        "uvicorn.workers.UvicornH11Worker": "asgi-h11",
        "uvicorn_worker.UvicornWorker": "asgi",
        "uvicorn_worker.UvicornH11Worker": "asgi-h11",
        "uvicorn_worker._workers.UvicornWorker": "asgi",
        "uvicorn_worker._workers.UvicornH11Worker": "asgi-h11",
        **{path.replace(":", "."): name for name, path in WORKERS.items()},
    }
)
_EGG = re.compile(r"egg:(?:gunicorn|greenhorn)#(\w+)", re.IGNORECASE)


def worker_class(value: object) -> WorkerKind:
    """Return the name of a kind of worker, from a name, a dotted path or a class of gunicorn's or greenhorn's.

    What is none of them comes back as it is: a name that somebody else has to find, or a class. A function is called
    for its class, as gunicorn does.
    """
    if callable(value) and not isinstance(value, type):
        value = value()
    if isinstance(value, type):
        return _CALLED.get(f"{value.__module__}.{value.__qualname__}", value)
    try:
        name = text(value)
    except ValueError:
        raise ValueError(f"must be the name of a worker class: {', '.join(WORKERS)}") from None
    egg = _EGG.fullmatch(name)
    if egg is not None:
        name = egg[1].lower() if egg[1].lower() != "main" else "sync"
    return _CALLED.get(name.replace(":", "."), name)


def fault_of(name: WorkerKind) -> str:
    """Return why there can be no worker of this name, and what to do about it; empty if there may be.

    A class and a dotted path are judged by whoever imports them.
    """
    if isinstance(name, type) or name in WORKERS or "." in name or ":" in name:
        return ""
    others = sorted(entry_points(group=ENTRY_POINTS).names)
    if name in others:
        return ""
    near = difflib.get_close_matches(name, [*WORKERS, *others], n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"is no worker class of greenhorn{meant}: use {', '.join([*WORKERS, *others])}, or the dotted path of a "
        "subclass of greenhorn.workers.base.Worker"
    )
