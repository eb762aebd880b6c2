"""The settings of gunicorn 27 that are deliberately not carried; each is accepted with a warning."""

from typing import NamedTuple

REASON = (
    "belongs to gunicorn's dirty arbiters, a pool of processes for long tasks beside the server, which is not carried: "
    "hand such tasks to a task queue (Celery, Dramatiq, RQ, Huey), which keeps them when a server stops"
)
"""Why, and what to do instead."""


class Foreign(NamedTuple):
    """A setting of gunicorn that greenhorn knows by name only."""

    name: str
    flags: tuple[str, ...] = ()
    neutral: object = None
    """gunicorn's default, which asks for nothing."""


FOREIGN: tuple[Foreign, ...] = (
    Foreign("dirty_apps", ("--dirty-app",), []),
    Foreign("dirty_workers", ("--dirty-workers",), 0),
    Foreign("dirty_timeout", ("--dirty-timeout",), 300),
    Foreign("dirty_threads", ("--dirty-threads",), 1),
    Foreign("dirty_graceful_timeout", ("--dirty-graceful-timeout",), 30),
    # Hooks that a configuration file defines as functions.
    Foreign("on_dirty_starting"),
    Foreign("dirty_post_fork"),
    Foreign("dirty_worker_init"),
    Foreign("dirty_worker_exit"),
)
