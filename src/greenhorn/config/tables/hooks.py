"""Functions of the user's that the server calls."""

# ruff: noqa: RUF009 - setting() makes a dataclass field

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenhorn.config.hooks import hook, post_request_hook
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class HookSettings:
    """Each is a function, the text MODULE.NAME or MODULE:NAME, or None."""

    on_starting: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server"),
        doc="""on_starting(server), in the master: at the start, before it listens.""",
    )
    on_reload: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server"),
        doc="""on_reload(server), in the master: after HUP, when the settings are read and before workers are
            forked.""",
    )
    when_ready: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server"),
        doc="""when_ready(server), in the master: when it listens, before the first worker is forked.""",
    )
    pre_fork: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server", "worker"),
        doc="""pre_fork(server, worker), in the master: before each fork of a worker.""",
    )
    post_fork: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server", "worker"),
        doc="""post_fork(server, worker), in the worker: right after the fork, as the master's user.""",
    )
    post_worker_init: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("worker"),
        doc="""post_worker_init(worker), in the worker: when the application is loaded.""",
    )
    worker_int: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("worker"),
        doc="""worker_int(worker), in the worker: at INT or QUIT.""",
    )
    worker_abort: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("worker"),
        doc="""worker_abort(worker), in the worker: at ABRT, which a worker that is stuck gets.""",
    )
    pre_exec: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server"),
        doc="""pre_exec(server), in a fork of the master: before it becomes the new master, at USR2.""",
    )
    pre_request: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("worker", "req"),
        doc="""pre_request(worker, req), in the worker: before each request. An exception is answered 500.""",
    )
    post_request: Callable[..., Any] | None = setting(
        default=None,
        parse=post_request_hook,
        doc="""post_request(worker, req, environ, resp), in the worker: after each request. It may also take the
            first two or three only. An exception is logged.""",
    )
    child_exit: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server", "worker"),
        doc="""child_exit(server, worker), in the master: when a worker has ended.""",
    )
    worker_exit: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server", "worker"),
        doc="""worker_exit(server, worker), in the worker: the last thing before it ends.""",
    )
    nworkers_changed: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server", "new_value", "old_value"),
        doc="""nworkers_changed(server, new_value, old_value), in the master: when the number of workers is set.
            The first time old_value is None.""",
    )
    on_exit: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("server"),
        doc="""on_exit(server), in the master: the last thing before it ends.""",
    )
    ssl_context: Callable[..., Any] | None = setting(
        default=None,
        parse=hook("config", "default_ssl_context_factory"),
        doc="""ssl_context(config, default_ssl_context_factory), in the master: makes the ssl.SSLContext of each
            certificate of a listener, at the start and at HUP. The second argument is a function that returns the one
            that the settings ask for.""",
    )
