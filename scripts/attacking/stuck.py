"""Scenario: four requests that sleep for ever take all four threads."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attacking.answers import AnswerParser, BadAnswer
from attacking.applications import sleep_for_ever
from attacking.healthy import Healthy
from attacking.latency import Window, milliseconds
from attacking.launching import THREADS, serving, until
from attacking.swarm import SERVER_HOST
from attacking.verdicts import Outcome
from benching.servers import NotServing

if TYPE_CHECKING:
    from attacking.launching import Bench, Target

REQUEST_SECONDS = 2
LIMIT_SECONDS = 2.5
PATIENCE_SECONDS = 10.0
GRACEFUL_SECONDS = 5
EXCHANGE_SECONDS = 15.0
WARM_UP_SECONDS = 1.0
AFTERWARDS_SECONDS = 2.0
TIMED_OUT, OK = 504, 200
TITLE = f"four requests that sleep for ever, --request-timeout {REQUEST_SECONDS}"
_STACK = re.compile(rf"File .*, line \d+, in {sleep_for_ever.__name__}\b")


@dataclass(slots=True)
class Asked:
    """What came of one request: a status, 0 for none, and the seconds until then."""

    status: int = 0
    seconds: float = 0.0


def play(bench: Bench, server: str) -> Outcome:
    """Take all threads for ever, and return who was served nevertheless."""
    outcome = Outcome("stuck", server)
    common = ("--graceful-timeout", str(GRACEFUL_SECONDS), "--log-level", "warning")
    try:
        with (
            serving(bench, server, ("--request-timeout", str(REQUEST_SECONDS)), common) as target,
            Healthy(target.port, clients=1, interval=0.02) as healthy,
        ):
            _play(target, healthy, outcome)
    except (NotServing, RuntimeError) as failure:
        outcome.failure = str(failure)
    return outcome


def _play(target: Target, healthy: Healthy, outcome: Outcome) -> None:
    time.sleep(WARM_UP_SECONDS)
    before = target.workers()
    began = time.monotonic()
    stuck = [_Asking(target.port, "/stuck") for _ in range(THREADS)]
    time.sleep(0.2)  # all threads are taken
    fifth = _Asking(target.port, "/")
    for asking in (*stuck, fifth):
        asking.join()
    exchanged = until(lambda: not before & target.workers() and bool(target.workers()), EXCHANGE_SECONDS)
    exchanged_at = time.monotonic() - began
    time.sleep(AFTERWARDS_SECONDS)
    window = Window.cut(healthy.stop(), began, time.monotonic())
    in_time = [asking.asked for asking in stuck if asking.asked.status == TIMED_OUT]
    latest = max((asked.seconds for asked in in_time), default=0.0)
    kept = len(in_time) == THREADS and latest < LIMIT_SECONDS
    found = f"{len(in_time)}, the last after {latest:.2f} s" if in_time else "0"
    outcome.note("answers 504", found, f"{THREADS} within {LIMIT_SECONDS} s", kept=kept)
    stacks = len(_STACK.findall(target.running.log()))
    outcome.note("stacks in the log", str(stacks), str(THREADS), kept=stacks >= THREADS)
    answer = fifth.asked
    found = f"{answer.status} after {answer.seconds:.2f} s" if answer.status else "not served"
    outcome.note("the fifth client", found, str(OK), kept=answer.status == OK)
    found = "no" if exchanged is None else f"within {exchanged_at:.0f} s"
    outcome.note("worker exchanged", found, "yes", kept=exchanged is not None)
    outcome.note("healthy: failures", window.describe_failures(), "0", kept=not window.failures)
    outcome.note("healthy: slowest, ms", milliseconds(window.milliseconds(1)))


class _Asking(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._path = path
        self.asked = Asked()
        self.start()

    def run(self) -> None:
        """Ask, and note what came of it."""
        began = time.monotonic()
        try:
            with socket.create_connection((SERVER_HOST, self._port), PATIENCE_SECONDS) as connection:
                connection.sendall(f"GET {self._path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                parser = AnswerParser()
                while (answer := parser.feed(connection.recv(4096))) is None:
                    pass
                self.asked.status = answer.status
        except (OSError, BadAnswer):
            pass
        self.asked.seconds = time.monotonic() - began
