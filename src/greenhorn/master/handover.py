"""An upgrade by USR2: a second master beside the first, which inherits the listening sockets."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence

from greenhorn.errors import ConfigError
from greenhorn.master.signals import CAUGHT
from greenhorn.master.surroundings import Surroundings
from greenhorn.net.listener import Listener, adopt, parse_address
from greenhorn.observe.logger import Logger

OLD_MASTER = "GREENHORN_PID"
DESCRIPTORS = "GREENHORN_FD"
"""Numbers of the inherited descriptors, separated by commas."""
ADDRESSES = "GREENHORN_BIND"
"""The address of each, as a shell would quote them."""


class Handover:
    """Both ends of an upgrade: `predecessor` is the pid of the master that started this one, until that is gone.

    `successor` is the pid of the one that this master started; 0 where there is none. Main thread of the master.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        environ = surroundings.environ
        self.predecessor = _number(environ.get(OLD_MASTER, ""))
        self.successor = 0
        self._descriptors = environ.get(DESCRIPTORS, "")
        self._addresses = environ.get(ADDRESSES, "")
        for name in (OLD_MASTER, DESCRIPTORS, ADDRESSES):
            environ.pop(name, None)
            os.environ.pop(name, None)  # neither the application nor what it starts is a second master

    @property
    def shared(self) -> bool:
        """Whether another master has the same sockets and files."""
        return bool(self.predecessor or self.successor)

    def inherited(self) -> list[Listener]:
        """The sockets that the first master passed on. Raises `ConfigError`."""
        texts = [text for text in self._descriptors.split(",") if text]
        if not all(text.isascii() and text.isdigit() for text in texts):
            raise ConfigError(f"{DESCRIPTORS}={self._descriptors!r}: must be numbers of descriptors, such as 3,4")
        fds = [int(text) for text in texts]
        try:
            addresses = [parse_address(text) for text in shlex.split(self._addresses)]
        except ValueError as error:
            raise ConfigError(f"{ADDRESSES}={self._addresses!r}: {error}") from None
        if len(fds) != len(addresses):
            raise ConfigError(f"{DESCRIPTORS}={self._descriptors} does not fit {ADDRESSES}={self._addresses}")
        for fd in fds:
            with contextlib.suppress(OSError, OverflowError):  # told below
                os.set_inheritable(fd, False)
        return [adopt(fd, address, lent=address.fd >= 0) for fd, address in zip(fds, addresses, strict=True)]

    def promoted(self) -> bool:
        """Whether the first master has left since the last call, so that this one is the only one."""
        if not self.predecessor or os.getppid() == self.predecessor:
            return False
        self.predecessor = 0
        return True

    def start(self, listeners: Sequence[Listener], pre_exec: Callable[[], None], log: Logger) -> None:
        """Start the second master. Raises `OSError` if it cannot be forked."""
        own_pid = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self.successor = pid
            return
        try:
            signal.set_wakeup_fd(-1)
            for number in CAUGHT:
                signal.signal(number, signal.SIG_DFL)  # what comes now is not for the first master
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            pre_exec()
            environ = self._environ(listeners, own_pid)
            for listener in listeners:
                os.set_inheritable(listener.fd, True)
            os.chdir(self._surroundings.directory)
            # What was typed, so that `python -m greenhorn` and the options of the interpreter are the same again.
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 - no shell is wanted
        except ConfigError as error:
            log.error("The second master cannot be started: %s", error)  # noqa: TRY400 - it has the traceback
        except BaseException:
            log.exception("The second master cannot be started")
        finally:
            os._exit(1)

    def _environ(self, listeners: Sequence[Listener], first_master: int) -> dict[str, str]:
        environ = dict(self._surroundings.environ)
        own = str(os.getpid())
        activated = [listener for listener in listeners if listener.address.name]
        if not activated:
            for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
                environ.pop(name, None)
        else:
            environ["LISTEN_PID"] = own
        if "WATCHDOG_PID" in environ:
            environ["WATCHDOG_PID"] = own
        passed = [listener for listener in listeners if listener not in activated]
        environ[OLD_MASTER] = str(first_master)
        environ[DESCRIPTORS] = ",".join(str(listener.fd) for listener in passed)
        environ[ADDRESSES] = shlex.join(str(listener.address) for listener in passed)
        return environ


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
