"""What every worker process is: its boot order, its signals, its channel to the master, when it wears out."""

import contextlib
import faulthandler
import json
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence, Sized
from collections.abc import Set as AbstractSet

from greenhorn.app import load_named
from greenhorn.config import Settings
from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.net.listener import Listener
from greenhorn.observe.access import AccessFile, reopen_logs
from greenhorn.observe.logger import Logger
from greenhorn.tls.entrance import PLAIN, Entrance
from greenhorn.workers import spew
from greenhorn.workers.composition import attach_access_log, build_service, flush_access_log
from greenhorn.workers.descriptors import allow_descriptors
from greenhorn.workers.hooked import Attendance
from greenhorn.workers.loading import Application, load_watched
from greenhorn.workers.service import Service
from greenhorn.workers.wear import Wear

BOOT_FAILED = 3
"""gunicorn's exit code of a worker that ended with an exception before it was ready."""
CRASHED = 255
"""The same, after it was ready."""
MOST_TOLD = 60000
"""Characters of a traceback that go to the master: more than any that a person reads."""
TELLING = 1.0
"""Seconds that the master has to take what is told, when it is much."""

STOPPING = (signal.SIGQUIT, signal.SIGINT, signal.SIGTERM)
"""Signals that end a worker; blocked from the fork until the child has handlers of its own, so that none is lost."""


class Worker:
    """A worker process. Made by the master before the fork; everything else happens in the child.

    `channel` is the child's end of a socket pair. The worker writes lines to it: `ready`, `beat`, `retire` (exchange
    me), `leaving` (TERM came), `failed TEXT` (why it cannot boot) and `changed PATH` (a file of the application), both
    as JSON. The master writes `stopping` (say that you are not ready), `certificates` (load them anew) and
    `leave FD,FD` (others go on to accept at these listeners). End of stream means that the other is gone. `app` is the
    application if the master has loaded it, else `load` makes it. `spoken` is what is spoken at each of the listeners.
    """

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
        code = self._prepare(settle_in)
        if code:
            return code
        self.log.info("Worker ready (pid: %d)", self.pid)
        self.booted = True
        self.tell("ready")
        try:
            self.run()
        except Exception:
            self.log.exception("Exception in worker process")
            return CRASHED
        finally:
            flush_access_log(self.service)
        self.alive = False
        self.log.info("Worker exiting (pid: %d)", self.pid)
        return 0

    def _prepare(self, settle_in: Callable[[], None]) -> int:
        self.pid = os.getpid()
        random.seed()
        self.channel.setblocking(False)
        self.signals, self._wake_sender = socket.socketpair()
        for end in (self.signals, self._wake_sender):
            end.setblocking(False)
        self._init_signals()
        self._leave_stacks()
        settings = self.settings
        allow_descriptors(settings.worker_connections, self.log)
        try:
            settle_in()
            self.listeners = [listener.own(settings.backlog) for listener in self.listeners]
            if settings.spew:
                spew.install(sys.stdout.write)
            self._compose(self._load)
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
        # Again: an application may have used signals, or an event loop that does, while it was imported.
        self._catch(_noted, *STOPPING, signal.SIGUSR1, signal.SIGUSR2)
        self._ignore()
        self._leave_stacks()
        return 0

    def fail(self, why: str, code: int = BOOT_FAILED) -> int:
        """Tell the master why this worker cannot boot, and return the exit code."""
        self.channel.settimeout(TELLING)
        if not self.tell("failed " + json.dumps(why[-MOST_TOLD:])):
            self.log.error("Worker cannot boot: %s", why)
        return code

    def _compose(self, load: Callable[[], Application]) -> None:
        """Make everything that requests need."""
        settings = self.settings
        self.wear = Wear(
            (settings.max_requests, settings.max_requests_jitter),
            (settings.max_worker_lifetime, settings.max_worker_lifetime_jitter),
            settings.max_worker_memory,
        )
        self.service = build_service(settings, load(), self.log)
        self._attend_requests()
        self.init()
        self._open_access_log()

    def _open_access_log(self) -> None:
        attach_access_log(self.service, self.settings, self.access, self.waiting)

    def _load(self) -> Application:
        """The application, or, while somebody works on it, a page that shows why it cannot be loaded."""
        if self.settings.reload:
            self.wsgi = load_watched(
                self.settings, self._load_app, on_change=self._tell_changed, since=self.wear.born, log=self.log
            )
        elif self.wsgi is None:
            self.wsgi = self._load_app(self.settings)
        return self.wsgi

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

    def init(self) -> None:
        """Prepare the loop, before the worker is ready; exceptions end the worker as one that cannot boot."""

    def start(self) -> None:
        """Start threads, before the worker is ready; exceptions end it as those of `init` do."""

    def run(self) -> None:
        """Serve until told to stop."""
        raise NotImplementedError

    # Signals.

    def _init_signals(self) -> None:
        """Until the worker is ready nothing can be lost, so that stopping is immediate."""
        self._ignore(signal.SIGUSR1, signal.SIGUSR2)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._catch(self._leave, *STOPPING)
        signal.signal(signal.SIGABRT, self._abort)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # the master held them back for the fork

    def _ignore(self, *others: int) -> None:
        """Ignore what the master acts on, since it may be sent to the whole process group, and `others`."""
        for number in (signal.SIGHUP, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU, *others):
            signal.signal(number, signal.SIG_IGN)

    def _leave(self, _signal: int, _frame: object) -> None:
        """Nothing was accepted yet."""
        self.tell("leaving")
        os._exit(0)

    def _catch(self, handler: Callable[[int, object], None], *numbers: int) -> None:
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, handler)

    def _leave_stacks(self) -> None:
        """Let ABRT, and what a broken extension raises, log the stacks of all threads.

        In C: a thread that does not let go of the interpreter lock is one of the reasons.
        """
        with contextlib.suppress(OSError, ValueError):  # a log without a descriptor
            before, self._stacks = self._stacks, os.dup(self.log.fileno())
            faulthandler.enable(self._stacks)
            if before >= 0:
                os.close(before)

    def _abort(self, _signal: int, _frame: object) -> None:
        """The master gave this worker up, because it does not beat any more."""
        self.aborted, self.alive = True, False
        try:
            if self.settings.worker_abort is not None:
                self.settings.worker_abort(self)
        except Exception:
            self.log.exception("worker_abort failed")
        if self.booted:
            flush_access_log(self.service)
        self.at_abort()
        sys.stderr.flush()
        os._exit(1)

    def follow_signals(self) -> None:
        """Do what the signals ask for that came since the last call. The loop calls it when `signals` is readable."""
        try:
            numbers = self.signals.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number == signal.SIGTERM:
                self.tell("leaving")
                self.drain()
            elif number in (signal.SIGINT, signal.SIGQUIT):
                self._interrupt()
            elif number == signal.SIGUSR1:
                self._reopen_logs()
            elif number == signal.SIGUSR2:
                self.dump()

    def _interrupt(self) -> None:
        self.alive = False
        if self.settings.worker_int is not None:
            try:
                self.settings.worker_int(self)
            except BaseException:  # SystemExit included: it leaves anyway
                self.log.exception("worker_int failed")
        self.quit()

    def _reopen_logs(self) -> None:
        reopen_logs(self.log, self.access)
        self._leave_stacks()

    # What a worker class does with its own loop.

    def drain(self, others_serve: AbstractSet[int] = frozenset()) -> None:
        """Accept what already waits, but at the listeners that others serve; finish, and let `run` return."""
        raise NotImplementedError

    def quit(self) -> None:
        """Let `run` return without waiting for anything."""
        raise NotImplementedError

    def dump(self) -> None:
        """Log what is in flight."""

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
                self._renew_certificates()
            elif word == "leave":
                self.drain({int(fd) for fd in rest.split(",") if fd})
        return True

    def _renew_certificates(self) -> None:
        """Show new certificates to those who connect from now on, as the master does already."""
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

    def is_ready(self) -> bool:
        """Whether load balancers should send more requests here. Any thread."""
        return not (self._stopping or self.service.draining)


def _noted(_signal: int, _frame: object) -> None:
    """Do nothing: the wake-up socket has the number."""
