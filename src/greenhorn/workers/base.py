"""What every worker process is: its boot order, its signals, its channel to the master, when it wears out."""

import json
import os
import random
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence, Sized
from collections.abc import Set as AbstractSet
from typing import Any

from greenhorn.app import load_named
from greenhorn.config import Settings
from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.net.listener import Listener
from greenhorn.observe.access import AccessFile
from greenhorn.observe.logger import Logger
from greenhorn.tls.entrance import PLAIN, Entrance
from greenhorn.workers import spew
from greenhorn.workers.composition import attach_access_log, build_service, flush_access_log
from greenhorn.workers.descriptors import allow_descriptors
from greenhorn.workers.hooked import Attendance
from greenhorn.workers.loading import Application, load_watched
from greenhorn.workers.service import Service
from greenhorn.workers.signalling import Signalled
from greenhorn.workers.wear import Wear

BOOT_FAILED = 3
"""gunicorn's exit code of a worker that ended with an exception before it was ready."""
CRASHED = 255
"""The same, after it was ready."""
MOST_TOLD = 60000
"""Characters of a traceback that go to the master: more than any that a person reads."""
TELLING = 1.0
"""Seconds that the master has to take what is told, when it is much."""


OF_THREADS = ("request_timeout", "max_stuck_threads", "queue_size", "queue_timeout")
"""Settings of workers that have a pool of threads."""


class Worker(Signalled):
    """A worker process. Made by the master before the fork; everything else happens in the child.

    `channel` is the child's end of a socket pair. The worker writes lines to it: `ready`, `beat`, `retire` (exchange
    me), `leaving` (TERM came), `failed TEXT` (why it cannot boot) and `changed PATH` (a file of the application), both
    as JSON. The master writes `stopping` (say that you are not ready), `certificates` (load them anew) and
    `leave FD,FD` (others go on to accept at these listeners). End of stream means that the other is gone. `app` is the
    application if the master has loaded it, else `load` makes it. `spoken` is what is spoken at each of the listeners.
    """

    without_effect: tuple[str, ...] = ()
    """Settings that workers of this class do not go by: who sets them is told."""

    def __init__(
        self,
        age: int,
        settings: Settings,
        listeners: Sequence[Listener],
        log: Logger,
        access: AccessFile | None,
        channel: socket.socket,
        app: Application | None = None,
        load: Callable[[Settings], Application] = load_named,
        spoken: Sequence[Entrance] = (),
    ) -> None:
        self.age = age
        self.settings = settings
        self.listeners = listeners
        self.log = log
        self.access = access
        self.channel = channel
        self.pid: int | str = "[booting]"
        self.ppid = os.getpid()
        self.nr = 0
        """Requests so far; counted if there is a reason to: max_requests or a request hook."""
        self.alive = True
        self.booted = False
        self.aborted = False
        self.wsgi = app
        self._load_app = load
        self.spoken = spoken or [PLAIN] * len(listeners)
        """What is spoken at each of the listeners."""
        self.service: Service
        self.attendance: Attendance | None = None
        self.waiting: Sized = ()
        """Connections that threads are about to turn to."""
        self._stopping = False
        self._asked = False
        self._unread = b""
        self._stacks = -1
        """The descriptor that stacks are written to."""
        self.at_abort: Callable[[], None] = lambda: None
        """Calls the master's hook worker_exit."""

    # What hooks written for gunicorn ask beside.

    @property
    def cfg(self) -> Settings:
        """The settings."""
        return self.settings

    @property
    def sockets(self) -> Sequence[Listener]:
        """The listening sockets."""
        return self.listeners

    @property
    def timeout(self) -> float:
        """Half of the setting, in seconds."""
        return self.settings.timeout / 2

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    # Its life.

    def boot(self, settle_in: Callable[[], None]) -> int:
        """Run the whole life of the child and return its exit code. Main thread of the child.

        `settle_in` calls post_fork and takes on the user and group that the application runs as; it may raise `OSError`
        and `ConfigError`.
        """
        self._settle_in = settle_in
        self._exit_code = 0
        try:
            self.init_process()
        except Exception:
            if not self.booted:  # in a subclass, before or after what is done here
                return self.fail(traceback.format_exc().rstrip())
            self.log.exception("Exception in worker process")
            return CRASHED
        return self._exit_code

    def init_process(self) -> None:
        """What `boot` does: prepare, load the application, run. Subclasses may do more before they call this."""
        self._exit_code = self._prepare(self._settle_in)
        if self._exit_code:
            return
        self.log.info("Worker ready (pid: %d)", self.pid)
        self.booted = True
        self.tell("ready")
        try:
            self.run()
        finally:
            flush_access_log(self.service)
        self.alive = False
        self.log.info("Worker exiting (pid: %d)", self.pid)

    def _prepare(self, settle_in: Callable[[], None]) -> int:
        self.pid = os.getpid()
        random.seed()
        self.channel.setblocking(False)
        self.open_signals()
        self.init_signals()
        self._leave_stacks()
        settings = self.settings
        allow_descriptors(settings.worker_connections, self.log)
        try:
            settle_in()
            self.patch()
            self.listeners = [listener.own(settings.backlog) for listener in self.listeners]
            if settings.spew:
                spew.install(sys.stdout.write)
            self._compose()
            if settings.post_worker_init is not None:
                settings.post_worker_init(self)
                self._open_access_log()  # the hook may have changed who listens
            self.start()
        except (AppLoadError, ConfigError) as error:
            self.log.stay()
            return self.fail(str(error), getattr(error, "exit_code", BOOT_FAILED))
        except BaseException:  # noqa: BLE001 - it is told; no Ctrl-C, which `_leave` catches
            self.log.stay()
            return self.fail(traceback.format_exc().rstrip())
        self.log.stay()
        self.hear()
        return 0

    def fail(self, why: str, code: int = BOOT_FAILED) -> int:
        """Tell the master why this worker cannot boot, and return the exit code."""
        self.channel.settimeout(TELLING)
        if not self.tell("failed " + json.dumps(why[-MOST_TOLD:])):
            self.log.error("Worker cannot boot: %s", why)
        return code

    def _compose(self) -> None:
        """Make everything that requests need."""
        settings = self.settings
        self.wear = Wear(
            (settings.max_requests, settings.max_requests_jitter),
            (settings.max_worker_lifetime, settings.max_worker_lifetime_jitter),
            settings.max_worker_memory,
        )
        self.service = build_service(settings, self.load_wsgi(), self.log)
        self._attend_requests()
        self.init()
        self._open_access_log()

    def _open_access_log(self) -> None:
        attach_access_log(self.service, self.settings, self.access, self.waiting)

    def load_wsgi(self) -> Application:
        """Set `wsgi`: the application, or, while somebody works on it, a page that shows why it cannot be loaded."""
        if self.settings.reload:
            self.wsgi = load_watched(
                self.settings, self._load, on_change=self._tell_changed, since=self.wear.born, log=self.log
            )
        elif self.wsgi is None:
            self.wsgi = self._load(self.settings)
        return self.wsgi

    def _load(self, settings: Settings) -> Application:
        application = self._load_app(settings)
        self.check_application(application)
        return application

    def _tell_changed(self, path: str) -> None:
        self.tell("changed " + json.dumps(path))

    def _attend_requests(self) -> None:
        settings = self.settings
        if settings.pre_request or settings.post_request or settings.max_requests:
            self.attendance = Attendance(
                self,
                pre_request=settings.pre_request,
                post_request=settings.post_request,
                most=self.wear.most_requests,
                on_worn=lambda: self.ask_exchange("max_requests is reached"),
            )
            self.service.make_environ = self.attendance.make_environ

    @classmethod
    def setup(cls) -> None:
        """Prepare what all workers of the class have in common. In the master, before the first is forked."""

    @classmethod
    def check_config(cls, cfg: Settings, log: Any) -> None:
        """Judge the settings: warn by `log`, or raise `ConfigError`. In the master, at each start and reload."""

    @classmethod
    def check_application(cls, application: Application) -> None:
        """Raise `AppLoadError` for an application that workers of this class cannot call; in the master or a worker."""

    def patch(self) -> None:
        """Change what the whole process does, before the application is loaded: for libraries that replace others."""

    def init(self) -> None:
        """Prepare the loop, before the worker is ready; exceptions end the worker as one that cannot boot."""

    def start(self) -> None:
        """Start threads, before the worker is ready; exceptions end it as those of `init` do."""

    def run(self) -> None:
        """Serve until told to stop."""
        raise NotImplementedError

    # What a worker class does with its own loop.

    def drain(self, others_serve: AbstractSet[int] = frozenset()) -> None:  # noqa: ARG002 - for subclasses
        """Accept what already waits, but at the listeners that others serve; finish, and let `run` return.

        Here it only says so: `alive` is what loops ask that know nothing else.
        """
        self.alive = False
        self.service.draining = True

    def quit(self) -> None:
        """Let `run` return without waiting for anything."""
        self.alive = False
        self.service.draining = True

    def dump(self) -> None:
        """Log what is in flight."""

    def depart(self, code: int) -> None:
        """Do what is left when the last hook was called and the process is about to end with this exit code."""

    # The master.

    def tell(self, line: str) -> bool:
        """Write a line to the master, and say whether that went; a master that is gone is noticed elsewhere."""
        data = line.encode() + b"\n"
        try:
            while data:
                data = data[self.channel.send(data) :]
        except OSError as error:
            self.log.debug("cannot tell the master %r: %s", line[:80], error)
            return False
        return True

    def follow_orders(self) -> bool:
        """Do what the master has written; False once it is gone. The loop calls it when `channel` is readable."""
        try:
            data = self.channel.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.log.warning("The master is gone: worker %d finishes what it has and leaves", self.pid)
            self.drain()
            return False
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "stopping":
                self._stopping = True
                self.service.keep_alive = False
            elif word == "certificates":
                # Not here: a command may have to tell the key's password.
                threading.Thread(target=self._renew_certificates, name="greenhorn-renewal", daemon=True).start()
            elif word == "leave":
                self.drain({int(fd) for fd in rest.split(",") if fd})
        return True

    def _renew_certificates(self) -> None:
        """Show new certificates to those who connect from now on, as the master does already. A thread of its own."""
        try:
            for entrance in self.spoken:
                if entrance.credentials is not None:
                    entrance.credentials.renew()
        except ConfigError as error:  # readable for root only, say: a new worker has what the master has read
            self.ask_exchange(f"the new certificates cannot be loaded here ({error})")

    def ask_exchange(self, why: str) -> None:
        """Ask the master for another worker in place of this one, which serves until that is ready. Any thread."""
        if not self._asked and self.tell("retire"):
            self._asked = True
            self.log.info("%s: worker %d asks to be exchanged", why, self.pid)

    def beat(self) -> None:
        """Tell the master that the loop turns, and write what waits for the access log."""
        self.tell("beat")
        flush_access_log(self.service)

    def notify(self) -> None:
        """Beat, and act on signals and orders. For loops that watch neither: once a second, better more often."""
        self.follow_signals()
        self.follow_orders()
        self.beat()

    def is_ready(self) -> bool:
        """Whether load balancers should send more requests here. Any thread."""
        return not (self._stopping or self.service.draining)
