"""One reading of the configuration, and what its workers are made of."""

import gc
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from greenhorn.app import check_paste, load_named
from greenhorn.config import Settings
from greenhorn.config.tables import ROWS
from greenhorn.errors import ConfigError
from greenhorn.master.entrances import Entrances
from greenhorn.master.process import Identity, check_identity, other_threads, own
from greenhorn.master.worker_kinds import find_worker_class
from greenhorn.net.listener import Address, Listener, Manner, listen_all
from greenhorn.observe.access import AccessFile
from greenhorn.observe.logger import Logger
from greenhorn.tls.entrance import Entrance
from greenhorn.workers.base import Worker
from greenhorn.workers.reloader import check_engine

Load = Callable[[Settings], Callable[..., Any]]
"""What makes the application that settings describe. Raises `AppLoadError`."""


@dataclass(eq=False)
class Generation:
    """The workers that were started with one reading of the configuration have all of this in common."""

    settings: Settings
    worker_class: type[Worker]
    identity: Identity
    entrances: Entrances
    """What is spoken at each value of bind."""
    listeners: list[Listener] = field(default_factory=list)
    spoken: list[Entrance] = field(default_factory=list)
    """What is spoken at each of the listeners."""
    access: AccessFile | None = None
    app: Callable[..., Any] | None = None
    """The application, if the master has loaded it (preload_app)."""
    load: Load = load_named
    """What loads the application."""

    @classmethod
    def of(cls, settings: Settings, load: Load = load_named, before: "Generation | None" = None) -> "Generation":
        """The generation that `settings` describe behind `before`, with nothing opened yet. Raises `ConfigError`."""
        if load is load_named and settings.wsgi_app is None and settings.paste is None:
            raise ConfigError(
                "no application is named: name one as in `greenhorn hello:app`, for app in hello.py, "
                "or set wsgi_app in a configuration file"
            )
        if load is load_named and settings.paste is not None:
            check_paste()
        identity = Identity(settings.user, settings.group, settings.initgroups)
        check_identity(identity)
        if settings.reload:
            check_engine(settings.reload_engine)
        worker_class = find_worker_class(settings.worker_class)
        entrances = Entrances(settings, before.entrances if before is not None else None)
        return cls(settings, worker_class, identity, entrances, load=load)

    @property
    def preloads(self) -> bool:
        """Whether the master loads the application; not while somebody works on it, since it is loaded once."""
        return self.settings.preload_app and not self.settings.reload

    def open(self, existing: Sequence[Listener], activated: Sequence[Listener]) -> None:
        """Open the listening sockets and the access log; raises `ConfigError`, and has opened nothing then.

        Sockets that exist already are taken as they are; those that a service manager has `activated` stand in for
        all addresses, or for those that name them.
        """
        settings, identity = self.settings, self.identity
        manner = Manner(
            backlog=settings.backlog,
            umask=settings.umask,
            uid=-1 if identity.uid is None else identity.uid,
            gid=-1 if identity.gid is None else identity.gid,
            reuse_port=settings.reuse_port,
        )
        wanted = [(bind.address, entrance) for bind, entrance in self.entrances.all]
        if activated and not any(address.name for address, _ in wanted):
            stand_in = [(listener.address, self.entrances.default) for listener in activated]
            wanted = stand_in + [each for each in wanted if each[0].fd >= 0]
        else:
            wanted = [(named, entrance) for address, entrance in wanted for named in _named(address, activated)]
        access = AccessFile(settings.accesslog) if settings.accesslog else None
        known = list(dict.fromkeys([*existing, *activated]))
        try:
            self.listeners = listen_all([address for address, _ in wanted], manner, known)
        except ConfigError:
            if access is not None:
                access.close()
            raise
        self.spoken = [entrance for _, entrance in wanted]
        self.access = access

    def hand_files_over(self, log: Logger) -> None:
        """Let the workers open the log files anew, as the user that they run as."""
        paths = [*log.paths, self.access.path if self.access else ""]
        own([path for path in dict.fromkeys(paths) if path], self.identity)

    def preload(self, before: "Generation | None", log: Logger) -> None:
        """Load the application in the master, if the settings say so. Raises `AppLoadError`.

        What the generation `before` has loaded stays: Python cannot load a module again safely.
        """
        if self.settings.preload_app and self.settings.reload:
            log.warning("preload_app is left out, since reload is on: the application must be loaded again and again")
        if not self.preloads:
            return
        if before is not None and before.app is not None and self._serves_what(before):
            self.worker_class.check_application(before.app)
            self.app = before.app
            log.info("preload_app: the application stays as it was loaded; USR2 starts a master with new code")
            return
        if self.worker_class.patch is not Worker.patch and socket.socket.__module__ == "socket":
            log.warning(
                "preload_app: the application is loaded before %s replaces what blocks, and keeps what it has bound by "
                "then: leave preload_app off, or let the configuration file replace it first",
                self.settings.worker_class_str,
            )
        self.app = self.load_judged()
        threads = other_threads()
        if threads:
            log.warning(
                "preload_app: the application has started threads, which the workers will not have: %s",
                ", ".join(threads),
            )
        gc.collect()
        gc.freeze()  # so that the workers do not copy what they only look at

    def load_judged(self) -> Callable[..., Any]:
        """Load the application. Raises `AppLoadError`, also for one that the worker class cannot serve."""
        application = self.load(self.settings)
        self.worker_class.check_application(application)
        return application

    def make_worker(self, age: int, log: Logger, channel: socket.socket) -> Worker:
        """A worker of this generation, to be forked; `channel` is its end."""
        return self.worker_class(
            age,
            self.settings,
            self.listeners,
            log,
            self.access,
            channel,
            app=self.app,
            load=self.load,
            spoken=self.spoken,
        )

    def warnings(self) -> list[str]:
        """What somebody should know who starts it."""
        settings = self.settings
        return self.entrances.warnings() + [
            f"{name} has no effect with the worker class {settings.worker_class_str}"
            for name in self.worker_class.without_effect
            if getattr(settings, name) != ROWS[name].default
        ]

    def judge(self, log: Any) -> None:
        """Let the worker class judge the settings; it warns by `log`. Raises `ConfigError`."""
        try:
            self.worker_class.check_config(self.settings, log)
        except ConfigError:
            raise
        except Exception as error:
            name = self.settings.worker_class_str
            raise ConfigError(f"worker_class = {name!r}: its check_config() fails: {error!r}") from error

    def url(self, listener: Listener) -> str:
        """Where clients find a listener of this generation."""
        return listener.url(self.spoken[self.listeners.index(listener)].scheme)

    def _serves_what(self, other: "Generation") -> bool:
        """Whether the application has the same name as that of `other`."""
        names = attrgetter("wsgi_app", "paste", "raw_paste_global_conf")
        return bool(names(self.settings) == names(other.settings))


def _named(address: Address, activated: Sequence[Listener]) -> list[Address]:
    """The addresses of all sockets that have the name in `address`; itself if it has none, or nobody has it."""
    named = [listener.address for listener in activated if address.name and listener.address.name == address.name]
    return named or [address]
