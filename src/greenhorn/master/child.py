"""The master's view of one worker process."""

import contextlib
import math
import os
import signal
import socket
import time


class Child:
    """A worker process: its pid, what it told, and when it last did. Owned by the master's only thread."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        channel.setblocking(False)
        self.pid = pid
        self.channel = channel
        self.born = time.monotonic()
        self.last_beat = self.born
        self.ready = False
        self.aborted = False
        """Whether it was told to end because it stopped beating."""
        self.retiring = False
        """Whether it is to leave once there is another in its place."""
        self.leave_by = math.inf
        """When it must have left, once it was told to, on the monotonic clock."""
        self._unread = b""

    def listen(self) -> bool:
        """Read what the worker told; False once it has closed its end."""
        try:
            data = self.channel.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self.last_beat = time.monotonic()
            if line == b"ready":
                self.ready = True
            elif line == b"retire":
                self.retiring = True
        return True

    def kill(self, number: int) -> None:
        """Send a signal; a process that is gone already is no error."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close(self) -> None:
        """Give the channel back."""
        self.channel.close()


def describe_end(status: int, *, expected: bool = False) -> str:
    """What a wait status says, in words; `expected`: the master itself ended the process."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = ", perhaps because the system is out of memory" if number == signal.SIGKILL and not expected else ""
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"was ended by {name}{hint}"
    return f"exited with code {os.waitstatus_to_exitcode(status)}"
