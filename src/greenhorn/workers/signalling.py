"""The signals of a worker: which ones it hears, and when it acts on them."""

import abc
import contextlib
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from greenhorn.config import Settings
from greenhorn.observe.access import AccessFile, reopen_logs
from greenhorn.observe.logger import Logger
from greenhorn.workers.composition import flush_access_log
from greenhorn.workers.service import Service

STOPPING = (signal.SIGQUIT, signal.SIGINT, signal.SIGTERM)
"""Signals that end a worker; blocked from the fork until the child has handlers of its own, so that none is lost."""


class Signalled(abc.ABC):
    """The part of a worker that hears signals. A handler leaves the number in a socket, and the loop acts.

    The methods have the names that worker classes written for gunicorn override. Main thread of the child.
    """

    settings: Settings
    log: Logger
    access: AccessFile | None
    service: Service
    alive: bool
    booted: bool
    aborted: bool
    at_abort: Callable[[], None]
    _stacks: int
    """The descriptor that stacks are written to."""
    signals: socket.socket
    """Readable when a signal came: then `follow_signals` is called."""
    _wake_sender: socket.socket

    @abc.abstractmethod
    def tell(self, line: str) -> bool:
        """Write a line to the master."""

    @abc.abstractmethod
    def drain(self, others_serve: AbstractSet[int] = frozenset()) -> None:
        """Finish, and let `run` return."""

    @abc.abstractmethod
    def quit(self) -> None:
        """Let `run` return at once."""

    @abc.abstractmethod
    def dump(self) -> None:
        """Log what is in flight."""

    def open_signals(self) -> None:
        """Make the socket in which signals leave their numbers."""
        self.signals, self._wake_sender = socket.socketpair()
        for end in (self.signals, self._wake_sender):
            end.setblocking(False)

    def hear(self) -> None:
        """Catch what the application may have caught while it was imported, or an event loop of it."""
        self._catch(_noted, *STOPPING, signal.SIGUSR1, signal.SIGUSR2)
        self._ignore()
        self._leave_stacks()

    def init_signals(self) -> None:
        """Until the worker is ready nothing can be lost, so that stopping is immediate."""
        self._ignore(signal.SIGUSR1, signal.SIGUSR2)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._catch(self._leave, *STOPPING)
        signal.signal(signal.SIGABRT, self.handle_abort)
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

    def handle_abort(self, _signal: int, _frame: object) -> None:
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
                self.handle_exit(number, None)
            elif number in (signal.SIGINT, signal.SIGQUIT):
                self.handle_quit(number, None)
            elif number == signal.SIGUSR1:
                self.handle_usr1(number, None)
            elif number == signal.SIGUSR2:
                self.dump()

    def handle_exit(self, _signal: int, _frame: object) -> None:
        """What TERM does: finish, and let `run` return. The loop's turn to call it, not the signal's."""
        self.drain()

    def handle_quit(self, _signal: int, _frame: object) -> None:
        """What INT and QUIT do, in the same way: let `run` return at once."""
        self.alive = False
        if self.settings.worker_int is not None:
            try:
                self.settings.worker_int(self)
            except BaseException:  # SystemExit included: it leaves anyway
                self.log.exception("worker_int failed")
        self.quit()

    def handle_usr1(self, _signal: int, _frame: object) -> None:
        """What USR1 does: write to the log files that have the names now."""
        self._reopen_logs()

    def _reopen_logs(self) -> None:
        reopen_logs(self.log, self.access)
        self._leave_stacks()


def _noted(_signal: int, _frame: object) -> None:
    """Do nothing: the wake-up socket has the number."""
