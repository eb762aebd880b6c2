"""The master as hooks know it: what they get as `server`."""

import os
import time
from collections.abc import Callable
from typing import Any

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.master.fleet import Fleet, call_hook
from greenhorn.master.gauges import Gauges
from greenhorn.master.generation import Generation
from greenhorn.master.handover import Handover
from greenhorn.net.listener import Listener
from greenhorn.observe.logger import Logger
from greenhorn.workers.base import Worker


class Server:
    """The attributes that hooks written for gunicorn rely on. Main thread of the master; workers have a copy.

    `generation` is the one that the master goes by: the newest that was not given up.
    """

    cfg: Settings
    log: Logger
    generation: Generation
    fleet: Fleet
    handover: Handover

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._counted = False
        self._gauges = Gauges()

    @property
    def num_workers(self) -> int:
        """How many workers there are to be."""
        return self.fleet.target

    @num_workers.setter
    def num_workers(self, value: int) -> None:
        old = self.fleet.target if self._counted else None
        self._counted = True
        self.fleet.target = value
        self.call("nworkers_changed", value, old)

    @property
    def WORKERS(self) -> dict[int, Worker]:  # noqa: N802 - gunicorn's name
        """The workers by their pids."""
        return {pid: child.worker for pid, child in self.fleet.children.items()}

    @property
    def LISTENERS(self) -> list[Listener]:  # noqa: N802 - gunicorn's name
        """The listening sockets."""
        return self.generation.listeners

    @property
    def app(self) -> Callable[..., Any] | None:
        """The application, if it was loaded before the workers were forked."""
        return self.generation.app

    @property
    def address(self) -> tuple[str, ...]:
        """The addresses as they were asked for."""
        return self.cfg.bind

    @property
    def timeout(self) -> int:
        """The setting, in seconds."""
        return self.cfg.timeout

    @property
    def proc_name(self) -> str:
        """What the processes are called."""
        return self.cfg.proc_name or self.cfg.default_proc_name

    @property
    def worker_age(self) -> int:
        """How many workers were started."""
        return self.fleet.age

    @property
    def reexec_pid(self) -> int:
        """The pid of the second master, 0 where there is none."""
        return self.handover.successor

    @property
    def master_pid(self) -> int:
        """The pid of the first master while this is the second, else 0."""
        return self.handover.predecessor

    @property
    def master_name(self) -> str:
        """Which of two masters this is."""
        return "Master.2" if self.handover.predecessor else "Master"

    def tell_gauges(self) -> None:
        """Send what the master measures to StatsD, if there is one and it is time to."""
        listeners = self.LISTENERS if self.cfg.enable_backlog_metric else ()
        self._gauges.tell(self.log.statsd, time.monotonic(), self.fleet.serving(), listeners)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a hook of the present generation; raises `ConfigError` if it fails."""
        call_hook(getattr(self.cfg, name), name, self, *arguments)

    def call_safely(self, name: str, *arguments: Any) -> None:
        """Call a hook of the present generation; that it fails is logged."""
        self.safely(self.call, name, *arguments)

    def safely(self, act: Callable[..., object], *arguments: Any) -> None:
        """Do something whose `ConfigError`, as of a hook or a file, is logged: it ends no master that serves."""
        try:
            act(*arguments)
        except ConfigError as error:
            self.log.error("%s", error)  # noqa: TRY400 - it has the traceback
