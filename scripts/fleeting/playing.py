"""One scenario against one server: load before, the exchange, load after, and what came of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attacking.latency import milliseconds
from attacking.verdicts import Outcome
from benching.servers import NotServing
from fleeting.load import Load
from fleeting.requests import judge, windows
from fleeting.scenarios import SCENARIOS, Scenario
from fleeting.scene import Scene
from fleeting.stage import Bench, staged

if TYPE_CHECKING:
    from pathlib import Path

    from attacking.latency import Window
    from fleeting.requests import Request

AFTER_SECONDS = 1.0
MOST_SLOWER_MS = 250.0
LOGS = "fleet"


def play(bench: Bench, number: int, server: str) -> Outcome:
    """Play a scenario against a server; a server that does not start is the outcome's failure."""
    scenario = SCENARIOS[number]
    outcome = Outcome(str(number), server)
    try:
        earlier = _calm(bench, scenario, server) if scenario.worn else []
        _disturb(bench, scenario, server, outcome, earlier)
    except NotServing as error:
        outcome.failure = str(error)
    return outcome


def _calm(bench: Bench, scenario: Scenario, server: str) -> list[Request]:
    """Return the requests to a server that is left alone."""
    with staged(bench, server, (), dict(scenario.variables)) as stage, Load(stage.port) as load:
        time.sleep(bench.seconds)
        return load.stop()


def _disturb(bench: Bench, scenario: Scenario, server: str, outcome: Outcome, earlier: list[Request]) -> None:
    with staged(bench, server, scenario.worn, dict(scenario.variables)) as stage, Load(stage.port) as load:
        scene = Scene(stage, load, outcome, bench.seconds)
        if not scenario.worn:
            time.sleep(bench.seconds)
        disturbed_at = time.monotonic()
        scenario.play(scene)
        time.sleep(AFTER_SECONDS)
        requests = earlier + load.stop()
        _judge(scene, requests, disturbed_at, paced=scenario.paced)
        if outcome.complaints:
            path = keep_log(bench.venv.root, outcome, stage.running.log())
            outcome.note("log", str(path.relative_to(bench.venv.root)))


def _judge(scene: Scene, requests: list[Request], disturbed_at: float, *, paced: bool) -> None:
    """Note what the clients have seen."""
    outcome = scene.outcome
    verdict = judge(requests, scene.stage.journal(), scene.excuse)
    outcome.note("requests", f"{verdict.requests:,}")
    outcome.note("failed", verdict.describe_failures(), "0", kept=not verdict.failures)
    outcome.note("excused", f"{verdict.excused:,}")
    outcome.note("repeated", f"{verdict.repeated:,}")
    before, during = windows((request for request in requests if not request.group), disturbed_at)
    outcome.note("before", _shown(before))
    outcome.note("during", _shown(during))
    slower = during.milliseconds(1) - before.milliseconds(1)
    shown = f"{'-' if slower < 0 else '+'}{milliseconds(abs(slower))}"
    outcome.note("slower ms", shown, f"+{MOST_SLOWER_MS:.0f}", kept=slower <= MOST_SLOWER_MS if paced else None)


def _shown(window: Window) -> str:
    return " / ".join(window.quantiles())


def keep_log(root: Path, outcome: Outcome, log: str) -> Path:
    """Write the server's log to a file that stays, and return its path."""
    folder = root / ".bench" / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.scenario}-{outcome.server}.log"
    path.write_text(log)
    return path
