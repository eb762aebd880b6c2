"""A master in the test's process, whose workers are socket pairs."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from greenhorn.config import Configuration, Settings
from greenhorn.master.arbiter import Arbiter
from greenhorn.master.handover import Handover
from greenhorn.master.signals import HANDLED
from greenhorn.master.surroundings import Surroundings
from unit.master.staff import Seat


def configuration(folder: Path, *warnings: str, **settings: Any) -> Configuration:
    """Settings as if they had been read, in a folder of their own."""
    given = {"wsgi_app": "hello:app", "errorlog": str(folder / "error.log"), "chdir": str(folder), "bind": ()}
    return Configuration(Settings(**{**given, **settings}), {}, warnings)


def make_arbiter(folder: Path, read: Callable[[], Configuration] | None = None, **settings: Any) -> Arbiter:
    """A master that has done nothing yet; `read` is what a reload reads."""
    surroundings = Surroundings()
    given = configuration(folder, **settings)
    made = Arbiter(given, read or (lambda: given), surroundings, Handover(surroundings))
    made.generation.worker_class = Seat
    return made


def give_back(arbiter: Arbiter) -> None:
    """Close what a master has open, without its end."""
    for child in arbiter.fleet.children.values():
        child.close()
    while Seat.taken:
        Seat.taken.pop().end.close()
    arbiter._reload.close_sockets()
    for listener in arbiter.LISTENERS:
        listener.close(unlink=True)
    generations = (arbiter.generation, getattr(arbiter.fleet, "current", arbiter.generation))
    for access in {generation.access for generation in generations if generation.access is not None}:
        access.close()
    if arbiter._pidfile is not None:
        arbiter._pidfile.release()
    arbiter._signals.close()
    arbiter._selector.close()


@contextmanager
def signals_kept() -> Iterator[None]:
    """Give the process its own handlers back."""
    numbers = [getattr(signal, f"SIG{name}") for name in HANDLED]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
