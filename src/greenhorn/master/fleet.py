"""The workers taken together: how many there are, of which generation, and who replaces whom."""

import contextlib
import math
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from typing import Any, Protocol

from greenhorn.errors import ConfigError, Interrupted
from greenhorn.master.child import HURRY, Child, describe_end
from greenhorn.master.generation import Generation
from greenhorn.master.memory import OomCounter
from greenhorn.observe.logger import Logger
from greenhorn.workers.base import BOOT_FAILED, Worker
from greenhorn.workers.signalling import STOPPING

LOAD_FAILED = 4
TICK = 1.0
LONG_TURN = 5.0
"""Seconds between two turns of the master after which it was the machine, or a halt of everything, that took long."""
SHORTEST_LIFE = 10.0
"""Seconds: a worker that dies younger delays the next one, longer each time."""
FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
LONGEST_DELAY_OF_READY = 5.0
"""The same for workers that were ready when they died: each one serves for a while at least."""


class Master(Protocol):
    """What the fleet asks of the master process."""

    log: Logger

    def become(self, worker: Worker, generation: Generation) -> int:
        """Be the worker from here on, in its process; the exit code."""

    def accepted(self, generation: Generation, before: Generation) -> None:
        """Take note that a new generation serves."""

    def given_up(self, generation: Generation, why: str) -> None:
        """Take note that a new generation cannot serve."""

    def cannot_start(self, why: str, code: int) -> None:
        """Take note that no worker ever was ready, and that one failed to boot."""


class Fleet:
    """All children of the master. Workers are exchanged in one way: spawn, wait until ready, then let the old one go.

    `candidate` is a generation of which one worker is tried. When that is ready, its generation is the `current` one,
    and the others have to go, as have those that ask for it; nobody is told to leave before enough others serve.
    Main thread of the master.
    """

    def __init__(self, master: Master, selector: selectors.BaseSelector) -> None:
        self.children: dict[int, Child] = {}
        self.current: Generation
        self.candidate: Generation | None = None
        self.target = 0
        """How many workers there are to be."""
        self.age = 0
        self.was_ready = False
        """Whether a worker ever was: until then one that cannot boot ends the start."""
        self.stopping = False
        self._master = master
        self._selector = selector
        self._delay = 0.0
        self._spawn_at = 0.0
        self._slowed_at = 0.0
        self._turned_at = time.monotonic()
        self._failure = ""
        """Why a worker could not boot, as it was logged last."""
        self._oom = OomCounter()
        self._meanwhile = 0
        self._announced = False
        """Whether workers say that others should be asked."""

    @property
    def log(self) -> Logger:
        """The master's log."""
        return self._master.log

    def serving(self) -> int:
        """How many workers are ready and not about to leave."""
        return sum(child.serving for child in self.children.values())

    def booting(self) -> list[Child]:
        """The workers that are not ready yet, and will be."""
        return [child for child in self.children.values() if not child.ready and not child.told]

    def turn(self) -> None:
        """Spawn, retire and abort whoever is due."""
        now = time.monotonic()
        timeout = self.current.settings.timeout or math.inf
        if now - self._turned_at > max(1.5 * TICK, min(LONG_TURN, timeout / 2)):
            for child in self.children.values():
                child.last_beat = max(child.last_beat, now)
                child.born += now - self._turned_at
        self._turned_at = now
        self._spawn_missing()
        self._retire(time.monotonic())
        self._abort_silent(time.monotonic())

    def nap(self) -> float:
        """Seconds until there is something to do unasked."""
        if self._missing() > 0:
            return max(0.0, min(TICK, self._spawn_at - time.monotonic()))
        return TICK

    def heard(self, child: Child) -> None:
        """Read what a child has written."""
        was_ready = child.ready
        if not child.listen():
            self._selector.unregister(child.channel)
        if child.ready and not child.told:
            self.was_ready = True
            if not was_ready:
                self._failure = ""
            if self._announced and not child.announced:
                child.announced = child.order("stopping")
            if child.generation is self.candidate:
                before, self.current, self.candidate = self.current, self.candidate, None
                self._delay = self._spawn_at = 0.0
                self._master.accepted(self.current, before)

    # Generations.

    def attempt(self, generation: Generation, meanwhile: int | None = None) -> None:
        """Try a new generation; one that is being tried already is given up for it.

        There are to be so many workers of the current one `meanwhile`; by default as many as now.
        """
        self._meanwhile = self.due() if meanwhile is None else meanwhile
        self.abandon()
        self.candidate = generation
        try:
            self._spawn(generation)
        except (OSError, ConfigError) as error:
            self._give_up(f"no worker can be started: {error}")

    def due(self) -> int:
        """How many workers there are to be now: while a generation is tried, nothing changes for the others."""
        return self.target if self.candidate is None else self._meanwhile

    def want_meanwhile(self, count: int) -> None:
        """Let there be so many workers of the current generation while another one is tried."""
        self._meanwhile = count

    def abandon(self) -> None:
        """Try no other generation any more."""
        for child in self.children.values():
            if child.generation is self.candidate and not child.told:
                child.leave(HURRY, ())
        self.candidate = None

    def _give_up(self, why: str) -> None:
        generation = self.candidate
        self.abandon()
        if generation is not None:
            self._master.given_up(generation, why)

    # Coming.

    def _missing(self) -> int:
        """How many workers of the current generation to spawn now."""
        staying = [
            child
            for child in self.children.values()
            if child.generation is self.current and not child.told and not child.retiring
        ]
        missing = self.due() - len(staying)
        if missing > 0 and self.serving() >= self.due():
            # Nobody is missed: these are for others to leave. After a reload all at once, else one by one.
            outdated = any(child.generation is not self.current for child in self.children.values() if child.serving)
            booting = sum(not child.ready for child in staying)
            missing = min(missing, (self.due() if outdated else 1) - booting)
        return missing

    def _spawn_missing(self) -> None:
        while self._missing() > 0 and time.monotonic() >= self._spawn_at:
            try:
                self._spawn(self.current)
            except (OSError, ConfigError) as error:  # of processes, memory, descriptors: there may be some again soon
                if isinstance(error, ConfigError) and not self.was_ready:
                    self._master.cannot_start(str(error), 1)
                    return
                self._spawn_at = time.monotonic() + TICK
                self.log.error("Cannot start a worker: %s; trying again in %.0f s", error, TICK)  # noqa: TRY400 - said

    def _spawn(self, generation: Generation) -> None:
        """Fork a worker. Raises `OSError`, and `ConfigError` for a hook that fails."""
        self.age += 1
        settings = generation.settings
        ours, theirs = socket.socketpair()
        worker = generation.make_worker(self.age, self.log, theirs)
        try:
            call_hook(settings.pre_fork, "pre_fork", self._master, worker)
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it, or it is closed
                    stream.flush()
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
            pid = os.fork()
        except (OSError, ConfigError):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            ours.close()
            theirs.close()
            raise
        if not pid:
            ours.close()
            for sibling in self.children.values():
                sibling.close()
            sys.exit(self._master.become(worker, generation))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        theirs.close()
        worker.pid = pid
        child = self.children[pid] = Child(pid, ours, generation, worker)
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    # Going.

    def _retire(self, now: float) -> None:
        """Tell workers to leave that are to go, once as many others serve, and end those that do not."""
        for child in self.children.values():
            if child.told and now > child.leave_by:
                child.kill(signal.SIGKILL)
            elif not child.ready and not child.told and child.generation not in (self.current, self.candidate):
                child.leave(HURRY, ())
        to_go = sorted((child for child in self.children.values() if child.serving), key=self._order_of_leaving)
        for child in to_go[: max(0, self.serving() - self.due())]:
            if child.retiring or child.generation is not self.current:
                self.log.info("Worker (pid:%d) is exchanged", child.pid)
            self._let_go(child)

    def _order_of_leaving(self, child: Child) -> tuple[bool, bool, int]:
        return not child.retiring, child.generation is self.current, child.worker.age

    def _let_go(self, child: Child) -> None:
        """Tell a worker to leave, whose listeners others serve as far as they are still listened at."""
        own = child.generation
        served = [each.fd for each in own.listeners if each in self.current.listeners and not each.reserved]
        child.leave(own.settings.graceful_timeout + HURRY, served)

    def _abort_silent(self, now: float) -> None:
        """End the workers whose loop does not turn any more, and those that do not become ready.

        One at a time, as the stacks that they log would run into each other.
        """
        for child in self.children.values():
            if child.aborted:
                if now > child.leave_by:
                    child.kill(signal.SIGKILL)
                continue
            patience = self._patience(child)
            if child.silent_since + patience < now and child.channel in self._selector.get_map():
                self.heard(child)  # the master itself may have been busy for long
                patience = self._patience(child)
            if child.silent_since + patience >= now:
                continue
            if child.ready:
                self.log.critical("WORKER TIMEOUT (pid:%d)", child.pid)
            else:
                child.failure = f"it was not ready after boot_timeout ({patience:.0f} s)"
                self.log.critical("WORKER BOOT TIMEOUT (pid:%d): its stacks follow", child.pid)
            child.aborted = True
            child.leave_by = now + HURRY
            child.kill(signal.SIGABRT)
            return

    def _patience(self, child: Child) -> float:
        """Seconds for which a worker may be silent, or take to become ready."""
        settings = child.generation.settings
        return (settings.timeout if child.ready else settings.boot_timeout) or math.inf

    # What becomes of the dead.

    def reap(self) -> list[int]:
        """Bury the workers that have ended; return the pids of other children, which somebody else knows."""
        dead: list[tuple[Child, int]] = []
        others = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            child = self.children.pop(pid, None)
            if child is None:
                others.append(pid)
            else:
                dead.append((child, status))
        killed = any(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL for _, status in dead)
        out_of_memory = killed and self._oom.killed()
        for child, status in dead:
            self._bury(child, status, out_of_memory=out_of_memory)
        return others

    def _bury(self, child: Child, status: int, *, out_of_memory: bool = False) -> None:
        """Take note of a worker's end, and of what it means for the next one."""
        if child.channel in self._selector.get_map():
            self.heard(child)
            if child.channel in self._selector.get_map():
                self._selector.unregister(child.channel)
        child.close()
        code = os.waitstatus_to_exitcode(status)
        by_us = child.aborted or child.told
        end = describe_end(status, by_us=by_us, out_of_memory=out_of_memory)
        if not self.stopping and not child.ready:
            if child.generation is self.candidate:
                self._give_up(f"worker (pid:{child.pid}) {self._reason(child) or end}")
                self._call_child_exit(child)
                return
            if not child.told and not self.was_ready:
                code = code if code == LOAD_FAILED else BOOT_FAILED
                self._master.cannot_start(self._reason(child) or f"worker (pid:{child.pid}) {end}", code)
                return
        self._call_child_exit(child)
        if not self.stopping:
            if child.told:
                self.log.info("Worker (pid:%d) %s", child.pid, end)
            else:
                self._slow_down(child, status, end)

    def _call_child_exit(self, child: Child) -> None:
        try:
            call_hook(child.generation.settings.child_exit, "child_exit", self._master, child.worker)
        except ConfigError as error:
            self.log.error("%s", error)  # noqa: TRY400 - it has the traceback

    def _reason(self, child: Child) -> str:
        """Why a worker could not boot, in full only when it is another reason than that of the one before."""
        if not child.failure:
            return ""
        again = child.failure == self._failure
        self._failure = child.failure
        return "cannot boot, for the same reason as the one before" if again else f"cannot boot: {child.failure}"

    def _slow_down(self, child: Child, status: int, end: str) -> None:
        """Say how a worker ended that should not have, and when the next one starts."""
        now = time.monotonic()
        lived_long = now - child.born >= SHORTEST_LIFE and child.ready
        if lived_long:
            self._delay = 0.0
        self._spawn_at = now + self._delay
        tell = self.log.error if status else self.log.info  # code 0: somebody told it to leave
        next_one = f"; the next one starts in {self._delay:.2g} s" if self._delay else ""
        tell("Worker (pid:%d) %s%s", child.pid, self._reason(child) or end, next_one)
        if lived_long or child.born >= self._slowed_at:  # older ones died of the same cause as the one before
            longest = LONGEST_DELAY_OF_READY if child.ready else LONGEST_DELAY
            self._delay = min(max(FIRST_DELAY, 2 * self._delay), longest)
            self._slowed_at = now

    # The end.

    def announce_stop(self) -> None:
        """Let workers say that others should be asked, while they go on to serve."""
        self._announced = True
        for child in self.children.values():
            if child.ready:
                child.announced = child.order("stopping")

    def stop(self, number: int, *, others_serve: bool) -> None:
        """Let every worker end, by this signal; where other masters serve, it leaves them who waits for a worker."""
        self.stopping = True
        for child in self.children.values():
            if number == signal.SIGTERM and others_serve:
                self._let_go(child)
            else:
                child.kill(number)

    def tell_all(self, number: int) -> None:
        """Send a signal to every worker."""
        for child in self.children.values():
            child.kill(number)

    def tell_ready(self, number: int) -> None:
        """Send a signal to the workers that have a handler for it."""
        for child in self.children.values():
            if child.ready:
                child.kill(number)


def call_hook(hook: Any, name: str, *arguments: Any) -> None:
    """Call a hook of the configuration file, if it is set; raises `ConfigError` that has the traceback of a failure."""
    if hook is None:
        return
    try:
        hook(*arguments)
    except Interrupted:
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt included
        own = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, own)).rstrip()
        raise ConfigError(f"the hook {name} failed:\n{text}") from error
