"""Signals as values: a handler leaves its number in a socket, the master's loop reads it there."""

import signal
import socket

from greenhorn.errors import Interrupted

DUMP = "INFO" if hasattr(signal, "SIGINFO") else "PWR"
"""The signal that asks what is in flight: Linux knows SIGINFO only as SIGPWR."""
HANDLED = ("TERM", "INT", "QUIT", "HUP", "TTIN", "TTOU", "USR1", "USR2", "WINCH", "CHLD", DUMP)
CAUGHT = tuple(getattr(signal, f"SIG{name}") for name in HANDLED)
STOPPING = ("TERM", "INT", "QUIT")


class Signals:
    """The signals of the master. Main thread only."""

    def __init__(self) -> None:
        self.receiver, self._sender = socket.socketpair()
        for end in (self.receiver, self._sender):
            end.setblocking(False)

    def install(self, *, interrupting: bool = False) -> None:
        """Catch every handled signal from now on; `interrupting`: those that stop raise `Interrupted`."""
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for name in HANDLED:
            interrupts = interrupting and name in STOPPING
            signal.signal(getattr(signal, f"SIG{name}"), _interrupt if interrupts else _noted)

    def read(self) -> list[str]:
        """The names of the signals that came since the last call, without "SIG", in their order."""
        try:
            return [signal.Signals(number).name.removeprefix("SIG") for number in self.receiver.recv(4096)]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Give the sockets back; a child does so, whose signals are its own."""
        self.receiver.close()
        self._sender.close()


def _interrupt(number: int, _frame: object) -> None:
    raise Interrupted(number)


def _noted(_signal: int, _frame: object) -> None:
    """Do nothing: the socket has the number."""
