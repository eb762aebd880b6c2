"""The master: one thread, one selector over signals and the children's channels."""

import math
import os
import selectors
import signal
import socket
import sys
import time
from importlib import import_module

import greenhorn
from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.master.child import Child, describe_end
from greenhorn.master.signals import DUMP, Signals
from greenhorn.net.listener import Listener, listen_all, parse_address
from greenhorn.observe.access import AccessLog
from greenhorn.observe.logger import Logger
from greenhorn.workers.base import BOOT_FAILED, STOPPING, Worker

WORKERS = {"gthread": "greenhorn.workers.gthread:ThreadWorker"}
"""Worker classes by the names of gunicorn; imported by name, so that the master depends on none of them."""
TICK = 1.0
LOAD_FAILED = 4
SHORTEST_LIFE = 10.0
"""Seconds: a worker that dies younger delays the next one, longer each time."""
FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
LONGEST_DELAY_OF_READY = 5.0
"""The same for workers that were ready when they died: each one serves for a while at least."""
HURRY = 2.0
"""Seconds that a quick stop gives the workers."""


def find_worker_class(name: str) -> type[Worker]:
    """The worker class of this name; raises `ConfigError` for one that greenhorn does not have."""
    path = WORKERS.get(name)
    if path is None:
        raise ConfigError(f"worker_class: {name!r} is not available; choose from: {', '.join(sorted(WORKERS))}")
    module, _, attribute = path.partition(":")
    found: type[Worker] = getattr(import_module(module), attribute)
    return found


class Arbiter:
    """The master process: binds, spawns workers, replaces the dead, and stops all of them. It accepts nothing itself.

    Raises `ConfigError` for settings that cannot be followed. Main thread only.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = Logger(settings.errorlog, settings.loglevel)
        self.access = AccessLog(settings.accesslog) if settings.accesslog else None
        self.pid = os.getpid()
        self.children: dict[int, Child] = {}
        self.listeners: list[Listener] = []
        self._worker_class = find_worker_class(settings.worker_class)
        self._signals = Signals()
        self._selector = selectors.DefaultSelector()
        self._age = 0
        self._was_ready = False
        """Whether a worker ever was: until then one that cannot boot ends the start."""
        self._delay = 0.0
        self._spawn_at = 0.0
        self._slowed_at = 0.0
        self._exit_code: int | None = None

    def run(self) -> int:
        """Serve until told to stop; returns the exit code. In a worker's process it never returns."""
        self._start()
        while self._exit_code is None:
            self._spawn_missing()
            self._wait(self._nap())
            for name in self._signals.read():
                self._obey(name)
            self._reap()
            self._retire()
            self._abort_silent()
        self.log.info("Shutting down: Master")
        return self._exit_code

    def _start(self) -> None:
        self.log.info("Starting greenhorn %s", greenhorn.__version__)
        addresses = [parse_address(text) for text in self.settings.bind]
        self.listeners = listen_all(addresses, self.settings.backlog)
        self._signals.install()
        self._selector.register(self._signals.receiver, selectors.EVENT_READ)
        for listener in self.listeners:
            self.log.info("Listening at: %s (%d)", listener, self.pid)
        self.log.info("Using worker: %s", self.settings.worker_class)
        if not self.settings.workers:
            self.log.warning("workers is 0: nobody serves")

    def _wait(self, timeout: float) -> None:
        """Sleep until a signal or a child's line comes, and read the lines."""
        for key, _ in self._selector.select(timeout):
            child = key.data
            if child is not None:
                if not child.listen():
                    self._selector.unregister(child.channel)
                elif child.ready:
                    self._was_ready = True

    def _obey(self, name: str) -> None:
        if name == "CHLD":
            return  # the loop reaps at each turn
        self.log.info("Handling signal: %s", name.lower())
        if name == "TERM":
            self._stop(signal.SIGTERM, self.settings.graceful_timeout)
        elif name in ("INT", "QUIT"):
            self._stop(signal.SIGQUIT, HURRY)
        elif name == DUMP:
            for child in self.children.values():
                if child.ready:
                    child.kill(signal.SIGUSR2)
        else:
            self.log.warning("Signal %s does nothing in greenhorn %s", name, greenhorn.__version__)

    # Workers.

    def _missing(self) -> int:
        """How many workers there are too few, not counting those that are about to leave."""
        return self.settings.workers - sum(not child.retiring for child in self.children.values())

    def _spawn_missing(self) -> None:
        while self._missing() > 0 and time.monotonic() >= self._spawn_at:
            try:
                self._spawn()
            except OSError as error:  # of processes, memory or descriptors: there may be some again soon
                self._spawn_at = time.monotonic() + TICK
                self.log.error("Cannot start a worker: %s; trying again in %.0f s", error, TICK)  # noqa: TRY400 - said

    def _nap(self) -> float:
        """Seconds until there is something to do unasked."""
        if self._missing() > 0:
            return max(0.0, min(TICK, self._spawn_at - time.monotonic()))
        return TICK

    def _spawn(self) -> None:
        self._age += 1
        ours, theirs = socket.socketpair()
        worker = self._worker_class(self._age, self.settings, self.listeners, self.log, self.access, theirs)
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            ours.close()
            theirs.close()
            raise
        if not pid:
            self._become(worker, ours)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        theirs.close()
        child = self.children[pid] = Child(pid, ours)
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    def _become(self, worker: Worker, ours: socket.socket) -> None:
        """Be the worker from here on: let go of what is the master's, run, exit. Only in the child."""
        signal.set_wakeup_fd(-1)
        ours.close()
        self._selector.close()
        self._signals.close()
        for sibling in self.children.values():
            sibling.close()
        self.log.info("Booting worker with pid: %d", os.getpid())
        try:
            code = worker.boot()
        except OSError:
            self.log.exception("Exception in worker process")  # it must not reach the master's code above
            code = BOOT_FAILED
        sys.exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self.children.pop(pid, None)
            if child is not None:
                self._bury(child, status)

    def _bury(self, child: Child, status: int) -> None:
        """Take note of a worker's end, and of what it means for the next one."""
        if child.channel in self._selector.get_map():
            child.listen()
            self._selector.unregister(child.channel)
        child.close()
        self._was_ready = self._was_ready or child.ready
        code = os.waitstatus_to_exitcode(status)
        if self._exit_code is not None:
            return
        if child.retiring:
            self.log.info("Worker (pid:%d) %s", child.pid, describe_end(status, expected=True))
            return
        if code in (BOOT_FAILED, LOAD_FAILED) and not child.ready and not self._was_ready:
            self.log.error("Worker (pid:%d) cannot boot: giving up", child.pid)
            self._stop(signal.SIGTERM, self.settings.graceful_timeout, code)
            return
        now = time.monotonic()
        lived_long = now - child.born >= SHORTEST_LIFE
        if lived_long:
            self._delay = 0.0
        self._spawn_at = now + self._delay
        tell = self.log.error if status else self.log.info  # code 0: somebody told it to leave
        tell(
            "Worker (pid:%d) %s%s",
            child.pid,
            describe_end(status, expected=child.aborted),
            f"; the next one starts in {self._delay:.2g} s" if self._delay else "",
        )
        if lived_long or child.born >= self._slowed_at:  # older ones died of the same cause as the one before
            longest = LONGEST_DELAY_OF_READY if child.ready else LONGEST_DELAY
            self._delay = min(max(FIRST_DELAY, 2 * self._delay), longest)
            self._slowed_at = now

    def _retire(self) -> None:
        """Tell workers to leave that asked for it, once as many others are ready."""
        now = time.monotonic()
        others = sum(child.ready and not child.retiring for child in self.children.values())
        for child in self.children.values():
            if not child.retiring:
                continue
            if child.leave_by == math.inf and others >= self.settings.workers:
                self.log.info("Worker (pid:%d) is exchanged", child.pid)
                child.leave_by = now + self.settings.graceful_timeout + HURRY
                child.kill(signal.SIGTERM)
            elif now > child.leave_by:
                child.kill(signal.SIGKILL)

    def _abort_silent(self) -> None:
        """End the workers whose loop does not turn any more."""
        timeout = self.settings.timeout
        if not timeout:
            return
        now = time.monotonic()
        for child in self.children.values():
            if child.ready and now - child.last_beat > timeout:
                if not child.aborted:
                    self.log.critical("WORKER TIMEOUT (pid:%d)", child.pid)
                    child.aborted = True
                    child.kill(signal.SIGABRT)
                else:
                    child.kill(signal.SIGKILL)

    # The end.

    def _stop(self, number: int, patience: float, exit_code: int = 0) -> None:
        """Stop all workers within `patience` seconds, and end the loop with `exit_code`."""
        self._exit_code = exit_code
        for child in self.children.values():
            child.kill(number)
        # The workers have the listening sockets as well, and serve what already waits in them.
        self._close_listeners()
        deadline = time.monotonic() + patience
        while self.children and time.monotonic() < deadline:
            self._wait(min(TICK, max(0.0, deadline - time.monotonic())))
            self._reap()
            if {"INT", "QUIT"} & set(self._signals.read()) and number != signal.SIGQUIT:
                number = signal.SIGQUIT
                deadline = min(deadline, time.monotonic() + HURRY)
                for child in self.children.values():
                    child.kill(number)
        for child in self.children.values():
            self.log.warning("Worker (pid:%d) did not stop in time and is killed", child.pid)
            child.kill(signal.SIGKILL)
        while self.children:
            self._wait(0.1)
            self._reap()

    def _close_listeners(self) -> None:
        for listener in self.listeners:
            listener.close(unlink=True)
        self.listeners.clear()
