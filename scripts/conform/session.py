"""A session: cases grouped by settings; each delivery played and judged, and what may be late once more."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conform.conversation import Conversation, Exchange
from conform.records import Records
from conform.server import TRACEBACK, Server, ServerError
from conform.verdicts import Judge, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from conform.cases import Case

QUIET_SECONDS = 0.4
PATIENT_SECONDS = 2.0
# So many failures that patience did not mend are the server's: the others are believed without a second try.
CONFIRMED_FAILURES = 60
TRACEBACK_LINES = 20
DEFAULTS = "{}"


@dataclass(slots=True, eq=False)
class Result:
    """One case: the verdict on each of its deliveries."""

    case: Case
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """It holds in every delivery."""
        return all(verdict.holds for verdict in self.verdicts.values())


@dataclass(slots=True, eq=False)
class Delivery:
    """One case in one mode, and what came of it last."""

    case: Case
    mode: str
    exchange: Exchange = field(default_factory=Exchange)
    verdict: Verdict = field(default_factory=lambda: Verdict(holds=False, wrong="not played"))


@dataclass(slots=True, eq=False)
class Session:
    """Plays cases against servers started with `command`; `faults` are failures that belong to no case."""

    command: Sequence[str]
    jobs: int
    progress: Callable[[str], None]
    faults: list[str] = field(default_factory=list)

    def run(self, cases: Iterable[Case]) -> list[Result]:
        """Play every case and return the results in the order of the cases."""
        results = {case: Result(case) for case in cases}
        groups: dict[str, list[Delivery]] = {}
        for case in results:
            groups.setdefault(case.settings, []).extend(Delivery(case, mode) for mode in case.modes)
        for settings, deliveries in groups.items():
            self.progress(f"{len(deliveries)} deliveries with settings {settings}")
            self.play_group(settings, deliveries)
            for delivery in deliveries:
                results[delivery.case].verdicts[delivery.mode] = delivery.verdict
        return list(results.values())

    def play_group(self, settings: str, deliveries: list[Delivery]) -> None:
        """Play the deliveries that share a server, and look for its own failures."""
        server = Server(self.command, json.loads(settings))
        try:
            with server:
                records = Records(server.records, by_port=settings == DEFAULTS and tells_port(server))
                loud = [delivery for delivery in deliveries if delivery.case.asks_behaviour]
                self.play_all([delivery for delivery in deliveries if delivery not in loud], server, records)
                quiet_log = server.log_text()
                for delivery in loud:
                    self.play_patiently(delivery, server, records)
                loud_end = len(server.log_text())
                self.look_for_life(settings, server)
                if any(delivery.case.never for delivery in deliveries):
                    # A call that should never be may still be on its way to the application.
                    time.sleep(QUIET_SECONDS)
                server.stop()
                self.judge_late_calls(deliveries, records)
        except ServerError as error:
            for delivery in deliveries:
                delivery.verdict = Verdict(holds=False, wrong=f"the server did not start with {settings}: {error}")
            self.faults.append(f"the server did not start with {settings}: {error}")
            return
        self.look_for_faults(settings, server, records, quiet_log + server.final_log[loud_end:])

    def play_all(self, deliveries: list[Delivery], server: Server, records: Records) -> None:
        """Play side by side, then once more, alone and patiently, what may only have been late."""
        pool = ThreadPoolExecutor(self.jobs if records.by_port else 1)
        try:
            list(pool.map(lambda delivery: self.play(delivery, server, records, QUIET_SECONDS), deliveries))
        finally:
            pool.shutdown(cancel_futures=True)
        confirmed = 0
        for delivery in deliveries:
            if delivery.verdict.timely and server.alive and confirmed < CONFIRMED_FAILURES:
                self.play(delivery, server, records, PATIENT_SECONDS)
                confirmed += not delivery.verdict.holds

    def play_patiently(self, delivery: Delivery, server: Server, records: Records) -> None:
        """Play alone, and once more if it may only have been late."""
        self.play(delivery, server, records, QUIET_SECONDS)
        if delivery.verdict.timely:
            self.play(delivery, server, records, PATIENT_SECONDS)

    def play(self, delivery: Delivery, server: Server, records: Records, quiet: float) -> None:
        """Play and judge one delivery."""
        delivery.exchange = Conversation(delivery.case, delivery.mode, records, quiet).play(server.port)
        delivery.verdict = Judge(delivery.case, delivery.exchange, records).verdict()

    def judge_late_calls(self, deliveries: list[Delivery], records: Records) -> None:
        """Judge again what held: the application may have been called after its client was gone."""
        records.update()
        for delivery in deliveries:
            if delivery.verdict.holds and delivery.case.never:
                delivery.verdict = Judge(delivery.case, delivery.exchange, records).verdict()

    def look_for_life(self, settings: str, server: Server) -> None:
        """Note a server that ended, or that answers no more after all that it was sent."""
        if not server.alive:
            self.faults.append(f"{settings}: the server ended with {server.process.returncode}")
        elif not server.answers_request():
            self.faults.append(f"{settings}: in the end the server answers no more")

    def look_for_faults(self, settings: str, server: Server, records: Records, log: str) -> None:
        """Note a traceback, a worker that was replaced, and a server that TERM did not end."""
        at = log.find(TRACEBACK)
        if at >= 0:
            first = "\n".join(log[at:].splitlines()[:TRACEBACK_LINES])
            self.faults.append(f"{settings}: the server logged {log.count(TRACEBACK)} tracebacks, the first:\n{first}")
        if len(records.workers()) > 1:
            self.faults.append(f"{settings}: the worker was replaced; its log ends:\n{server.final_log[-2000:]}")
        if server.stubborn:
            self.faults.append(f"{settings}: the server did not end on TERM and was killed")


def tells_port(server: Server) -> bool:
    """Say whether the application saw the client's port."""
    return str(server.ready_port) in Records(server.records, by_port=True).ports()
