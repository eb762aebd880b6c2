"""A site whose application and configuration file are written anew while it runs, and how its workers are exchanged."""

import errno
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.running import READY, Server, StartServer, wait_until
from integration.staging import GET

SERVES = "The new generation serves"
GIVEN_UP = "The reload is given up"
FRESH = {"PYTHONDONTWRITEBYTECODE": "1"}
"""For applications that are written anew within a second, which Python would not notice if it kept what it compiled."""


def source(version: str, first: str = "") -> str:
    """Return an application that answers with its version and its process id; `first` runs before it at import."""
    return f"""{first}
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{version} {{os.getpid()}} {{os.environ.get('SHOWN', '-')}}".encode()]
"""


def start_reloadable(server: StartServer, app: str, *arguments: str, config: str = "", **options: object) -> Server:
    """Start the application `app` with a configuration file; both may be written anew."""
    site = server(None, *arguments, app_source=app, config=config, env=FRESH, **options)
    if options.get("ready", True) and (found := re.search(r"^workers = (\d+)", config, re.MULTILINE)):
        wait_until(lambda: len(READY.findall(site.log())) >= int(found[1]), what="all workers")
    return site


def write_app(site: Server, text: str) -> None:
    """Put another version of the application on disk."""
    (site.folder / "written.py").write_text(text)


def write_config(site: Server, text: str) -> Path:
    """Put another configuration file on disk, and return its path."""
    path = site.folder / "config.py"
    path.write_text(text)
    return path


def version(site: Server) -> str:
    """Return which version of the application answers."""
    return site.request(GET).text.split()[0]


def ready_workers(site: Server) -> list[int]:
    """Return the living workers that have been ready."""
    ready = set(map(int, READY.findall(site.log())))
    return [pid for pid in site.worker_pids() if pid in ready]


def wait_for_others(site: Server, old: list[int], count: int | None = None) -> list[int]:
    """Return the workers once there are so many (by default as many as before), all ready, and none of the old."""
    wanted = len(old) if count is None else count

    def others() -> list[int] | None:
        pids = site.worker_pids()
        return pids if len(pids) == wanted and not set(pids) & set(old) and pids == ready_workers(site) else None

    try:
        return wait_until(others, what=f"{wanted} other workers")
    except AssertionError as error:
        raise AssertionError(f"{error}; there are {site.worker_pids()}:\n{site.log()}") from None


def settled(site: Server, expected: int) -> list[int]:
    """Return the workers when there are as many as expected, all ready."""
    try:
        wait_until(lambda: len(site.worker_pids()) == expected == len(ready_workers(site)), what=f"{expected} workers")
    except AssertionError as error:
        raise AssertionError(f"{error}; there are {site.worker_pids()}:\n{site.log()}") from None
    return site.worker_pids()


def signal_and_wait(site: Server, number: signal.Signals, said: str) -> str:
    """Send a signal and return what the log says from there to the end, once that has `said`."""
    before = len(site.log())
    site.signal(number)
    try:
        wait_until(lambda: said in site.log()[before:], what=f"{said!r} in the log")
    except AssertionError as error:
        raise AssertionError(f"{error}:\n{site.log()}") from None
    return site.log()[before:]


def hang_up(site: Server, count: int | None = None) -> list[int]:
    """Send HUP, and return the new workers when the old ones have left."""
    old = site.worker_pids()
    signal_and_wait(site, signal.SIGHUP, SERVES)
    return wait_for_others(site, old, count)


def descriptors(pid: int) -> int:
    """Return how many descriptors the process has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextmanager
def waited_for(gate: Path) -> Iterator[None]:
    """Begin when somebody waits for the named pipe to be opened and read from; at the end let it go on."""
    writer = wait_until(lambda: _opened(gate), what="somebody who waits at the gate")
    yield
    os.close(writer)


def _opened(gate: Path) -> int | None:
    try:
        return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nobody reads
            raise
        return None
