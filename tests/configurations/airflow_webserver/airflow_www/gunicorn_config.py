"""Titles by which a monitor counts workers that are ready, and forks that it has to wait for."""

from __future__ import annotations

import setproctitle

READY_PREFIX = "[ready] "


def post_worker_init(_):
    """Mark the worker as ready: the monitor replaces old ones only when there are enough of these."""
    old_title = setproctitle.getproctitle()
    setproctitle.setproctitle(READY_PREFIX + old_title)


def on_starting(server):
    """Tell plugins that the server starts."""
    server.log.info("the web server starts with %d workers", server.num_workers)
