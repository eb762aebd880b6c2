"""TERM with requests that run, and with connections that nobody has accepted yet."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from fleeting.journal import SLOW_PATH
from fleeting.requests import REFUSED
from fleeting.stage import THREADS, WORKERS

if TYPE_CHECKING:
    from fleeting.requests import Request
    from fleeting.scene import Scene

RUNNING = WORKERS * THREADS
WAITING = 50
RUN, WAIT = "running", "waiting"
SHARE_SECONDS = 0.5
HALT_SECONDS = 0.05
"""Between TERM and the moment at which the workers, which were halted, run again."""


def terminate(scene: Scene) -> None:
    """Tell TERM while all threads are in the application and 50 connections wait in the listen queue.

    So that they do, the workers are halted by SIGSTOP while those connect. Whoever comes after TERM may be refused.
    """
    stage, load, outcome = scene.stage, scene.load, scene.outcome

    def in_application() -> int:
        return len(load.numbers(RUN) & stage.journal().begun.keys())

    load.burst(RUNNING, SLOW_PATH, RUN)
    # The workers may share them unevenly: then some wait for a thread.
    stage.wait(lambda: in_application() == RUNNING, SHARE_SECONDS)
    workers = stage.workers()
    for pid in workers:
        stage.halt(pid)
    load.burst(WAITING, "/", WAIT)
    stage.wait(lambda: load.waiting(WAIT) == WAITING)
    queued = stage.queue_length()
    running = in_application()
    outcome.note("in the application", f"{running} of {RUNNING} at TERM", "one at least", kept=running > 0)
    outcome.note("listen queue", f"{queued} at TERM", f"at least {WAITING}", kept=queued >= WAITING)
    told_at = time.monotonic()
    stage.tell(signal.SIGTERM)
    time.sleep(HALT_SECONDS)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    ended = stage.wait(lambda: stage.exit_code() is not None)
    took = time.monotonic() - told_at
    code = stage.exit_code()
    outcome.note("exit code", f"{code} after {took:.1f} s" if ended else "does not end", "0", kept=code == 0)
    for group, count in ((RUN, RUNNING), (WAIT, WAITING)):
        stage.wait(lambda group=group, count=count: len(load.over(group)) == count)  # type: ignore[misc]
        answered = sum(not request.failure for request in load.over(group))
        outcome.note(group, f"{answered} of {count} answered", "all", kept=answered == count)

    def came_too_late(request: Request) -> bool:
        return request.failure == REFUSED and request.ended > told_at and not request.group

    scene.excuse = came_too_late
