"""Greenlets of eventlet."""

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any

from greenhorn.observe.logger import Logger
from greenhorn.workers.green import GreenWorker

with warnings.catch_warnings():
    # Whoever chose the library long ago knows, or reads it in docs/workers.md; a paragraph at each start tells nobody.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    import eventlet
    from eventlet import hubs


class Expired(Exception):  # noqa: N818 - it is no error
    """The time is over."""


class ToDebug(logging.Handler):
    """Takes what would go to the standard error output, as nobody has said where else, for a detail."""

    def __init__(self, log: Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log it as that."""
        self._log.debug("%s: %s", record.name, record.getMessage())


class EventletWorker(GreenWorker):
    """The worker class `eventlet`: what would block, in the standard library, lets other requests run instead."""

    def patch(self) -> None:
        """Replace what blocks, before the application is loaded and binds it."""
        hubs.use_hub()
        # It complains of locks that only the master's stack, which does not run on here, still has.
        before, logging.lastResort = logging.lastResort, ToDebug(self.log)
        try:
            eventlet.monkey_patch()
        finally:
            logging.lastResort = before

    def spawn(self, run: Callable[..., None], *arguments: Any) -> None:  # noqa: D102 - the contract stands in the base class
        eventlet.spawn_n(run, *arguments)

    def sleep(self, seconds: float) -> None:  # noqa: D102
        eventlet.sleep(seconds)

    def waiter(self, fd: int) -> Callable[[bool, float], bool]:  # noqa: D102
        def wait(to_write: bool, seconds: float) -> bool:
            timeout = None if seconds == math.inf else seconds
            try:
                hubs.trampoline(fd, read=not to_write, write=to_write, timeout=timeout, timeout_exc=Expired)
            except Expired:
                return False
            return True

        return wait
