"""Which kinds of workers there are, and what configurations of gunicorn call them."""

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

from greenhorn.config.parsers import text

WORKERS: Mapping[str, str] = MappingProxyType({"gthread": "greenhorn.workers.gthread:ThreadWorker"})
"""Classes by name, as MODULE:NAME; whoever makes one imports it by that."""
PENDING: Mapping[str, str] = MappingProxyType(
    {
        "sync": "gthread serves the same applications, and threads = 1 runs one request at a time",
        "gevent": "gthread serves the same applications, with threads as many as requests are to run at once",
        "eventlet": "gthread serves the same applications, with threads as many as requests are to run at once",
        "tornado": "gthread serves WSGI applications only; run one of Tornado with its own server for now",
        "asgi": "gthread serves WSGI applications only; run one of ASGI with uvicorn for now",
    }
)
"""Names that are known, and what to do until there is such a worker."""

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
        "uvicorn.workers.UvicornH11Worker": "asgi",
        "uvicorn_worker.UvicornWorker": "asgi",
        "uvicorn_worker.UvicornH11Worker": "asgi",
        "uvicorn_worker._workers.UvicornWorker": "asgi",
        "uvicorn_worker._workers.UvicornH11Worker": "asgi",
        **{path.replace(":", "."): name for name, path in WORKERS.items()},
    }
)
_EGG = re.compile(r"egg:(?:gunicorn|greenhorn)#(\w+)", re.IGNORECASE)


def worker_class(value: object) -> str:
    """Return the name of a kind of worker, from a name, a dotted path or a class of gunicorn's or greenhorn's.

    What is none of them comes back as it is written, a class as MODULE.NAME: `fault_of` tells what is wrong with it,
    since another source may still say something else. A function is called for its class, as gunicorn does.
    """
    if callable(value) and not isinstance(value, type):
        value = value()
    if isinstance(value, type):
        value = f"{value.__module__}.{value.__qualname__}"
    try:
        name = text(value)
    except ValueError:
        raise ValueError(f"must be the name of a worker class: {', '.join(WORKERS)}") from None
    egg = _EGG.fullmatch(name)
    if egg is not None:
        name = egg[1].lower() if egg[1].lower() != "main" else "sync"
    return _CALLED.get(name.replace(":", "."), name)


def fault_of(name: str) -> str:
    """Return why there is no worker of this name, and what to do about it; empty if there is."""
    if name in WORKERS:
        return ""
    if name in PENDING:
        return f"not available yet: {name}; use {' or '.join(WORKERS)}: {PENDING[name]}"
    near = difflib.get_close_matches(name, [*WORKERS, *PENDING], n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"is no worker class of greenhorn{meant}: use {' or '.join(WORKERS)}; classes of other packages cannot be run"
    )
