"""Greenlets of gevent."""

import math
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

from greenhorn.workers.green import GreenWorker


class GeventWorker(GreenWorker):
    """The worker class `gevent`: what would block, in the standard library, lets other requests run instead."""

    def patch(self) -> None:
        """Replace what blocks, before the application is loaded and binds it."""
        monkey.patch_all()
        gevent.get_hub()  # a loop that cannot be made is a start that fails

    def spawn(self, run: Callable[..., None], *arguments: Any) -> None:  # noqa: D102 - the contract stands in the base class
        gevent.spawn(run, *arguments)

    def sleep(self, seconds: float) -> None:  # noqa: D102
        gevent.sleep(seconds)

    def waiter(self, fd: int) -> Callable[[bool, float], bool]:  # noqa: D102
        hub = gevent.get_hub()
        watchers: list[Any] = [hub.loop.io(fd, 1), None]

        def wait(to_write: bool, seconds: float) -> bool:
            watcher = watchers[to_write]
            if watcher is None:
                watcher = watchers[True] = hub.loop.io(fd, 2)
            if seconds == math.inf:
                hub.wait(watcher)
                return True
            timeout = gevent.Timeout.start_new(seconds)
            try:
                hub.wait(watcher)
            except gevent.Timeout as over:
                if over is not timeout:
                    raise
                return False
            finally:
                timeout.close()
            return True

        return wait
