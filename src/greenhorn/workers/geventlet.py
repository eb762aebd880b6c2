"""Greenlets of eventlet."""

import math
import warnings
from collections.abc import Callable
from typing import Any

from greenhorn.workers.green import GreenWorker

with warnings.catch_warnings():
    # Whoever chose the library long ago knows, or reads it in docs/workers.md; a paragraph at each start tells nobody.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    import eventlet
    from eventlet import hubs


class Expired(Exception):  # noqa: N818 - it is no error
    """The time is over."""


class EventletWorker(GreenWorker):
    """The worker class `eventlet`: what would block, in the standard library, lets other requests run instead."""

    def patch(self) -> None:
        """Replace what blocks, before the application is loaded and binds it."""
        hubs.use_hub()
        eventlet.monkey_patch()

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
