"""The master's view of one worker process."""

import contextlib
import json
import math
import os
import signal
import socket
import time
from collections.abc import Iterable
from typing import Any

from greenhorn.master.generation import Generation

HURRY = 2.0
"""Seconds that a quick stop gives the workers, and a graceful one beyond graceful_timeout."""


class Child:
    """A worker process: its pid, what it told, and when it last did. Owned by the master's only thread.

    `worker` is the object that the process was forked with, for hooks.
    """

    def __init__(self, pid: int, channel: socket.socket, generation: Generation, worker: Any) -> None:
        channel.setblocking(False)
        self.pid = pid
        self.channel = channel
        self.generation = generation
        self.worker = worker
        self.born = time.monotonic()
        self.last_beat = self.born
        self.ready = False
        self.aborted = False
        """Whether it was told to end because it stopped beating, or did not become ready."""
        self.retiring = False
        """Whether it is to leave once there is another in its place."""
        self.told = False
        """Whether it was told to leave."""
        self.announced = False
        """Whether it was told that all will stop."""
        self.leave_by = math.inf
        """When it must have left, once it was told to, on the monotonic clock."""
        self.failure = ""
        """Why it cannot boot, as it told."""
        self.changed = ""
        """A file of the application that has changed, as it told; the master empties it again."""
        self._unread = b""

    @property
    def serving(self) -> bool:
        """Whether it takes requests, and goes on to."""
        return self.ready and not self.told

    @property
    def silent_since(self) -> float:
        """When it last gave the sign of life that is due, on the monotonic clock."""
        return self.last_beat if self.ready else self.born

    def listen(self) -> bool:
        """Read what the worker told; False once it has closed its end."""
        try:
            while data := self.channel.recv(65536):
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    self._note(line)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _note(self, line: bytes) -> None:
        self.last_beat = time.monotonic()
        word, _, rest = line.partition(b" ")
        if word == b"ready":
            self.ready = True
        elif word == b"retire":
            self.retiring = True
        elif word == b"leaving" and not self.told:
            self.told = True
            self.leave_by = self.last_beat + self.generation.settings.graceful_timeout + HURRY
        elif word in (b"failed", b"changed"):
            with contextlib.suppress(ValueError):  # the application shares the process, and may have written there
                setattr(self, "failure" if word == b"failed" else "changed", str(json.loads(rest)))

    def order(self, line: str) -> bool:
        """Write a line to the worker, and say whether that went."""
        try:
            self.channel.send(line.encode() + b"\n")
        except OSError:
            return False
        return True

    def leave(self, patience: float, others_serve: Iterable[int]) -> None:
        """Tell it to finish what it has within `patience` seconds; others go on to accept at these descriptors."""
        self.told = True
        self.leave_by = time.monotonic() + patience
        if not self.ready or not self.order("leave " + ",".join(map(str, others_serve))):
            self.kill(signal.SIGTERM)

    def kill(self, number: int) -> None:
        """Send a signal; a process that is gone already is no error."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close(self) -> None:
        """Give the channel back."""
        self.channel.close()


def describe_end(status: int, *, by_us: bool = False, out_of_memory: bool = False) -> str:
    """What a wait status says, in words; `by_us`: the master itself ended the process."""
    if not os.WIFSIGNALED(status):
        return f"exited with code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    hint = ""
    if number == signal.SIGKILL and not by_us:
        hint = (
            ": its control group ran out of memory, and the kernel chose it"
            if out_of_memory
            else ", which was not sent from here; perhaps because the system is out of memory"
        )
    elif os.WCOREDUMP(status):
        hint = " (core dumped)"
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"was ended by {name}{hint}"
