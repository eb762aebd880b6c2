"""The nine scenarios: what happens to a server while the clients go on, and what is to be seen of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleeting import stopping
from fleeting.stage import GOOD_MODULE, READY_SECONDS, WORKERS

if TYPE_CHECKING:
    from pathlib import Path

    from fleeting.requests import Request
    from fleeting.scene import Scene

EXCHANGES = 10
IMPORT_SECONDS = 3.0
MAX_REQUESTS = 200
KILLS = 5
PAUSE_SECONDS = 0.3
"""Between two exchanges."""
STORM = ("TTIN",) * 3 + ("TTOU",) * 4 + ("TTIN",) * 2 + ("TTOU",) * 2 + ("TTIN",)
"""Goes from two workers to five, to one, to three, to one, and back to two."""
STORMS = 3
STORM_SECONDS = 0.1
WATCH_SECONDS = 3.0
"""For which a server is watched that was told to take what it cannot."""

BROKEN_MODULE = "import there_is_no_such_module\n"
BROKEN_CONFIGURATION = "workers = (\n"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of exchange. `play` makes it happen, and notes what it finds of it.

    `worn` are settings that exchange workers from the first request on: what was before is then measured with another
    start of the server. `paced` says that answers may not be slower meanwhile.
    """

    title: str
    play: Callable[[Scene], None]
    worn: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    paced: bool = True


def hang_up(scene: Scene) -> None:
    """Tell HUP ten times, each time when the workers of the time before serve."""
    stage = scene.stage
    done = 0
    for _ in range(EXCHANGES):
        if not stage.exchange():
            break
        done += 1
        time.sleep(PAUSE_SECONDS)
    scene.outcome.note("exchanges", str(done), str(EXCHANGES), kept=done == EXCHANGES)


def wear_out(scene: Scene) -> None:
    """Let the workers reach max_requests again and again."""
    time.sleep(max(scene.seconds, 2 * WATCH_SECONDS))
    done = scene.stage.imports() - WORKERS
    scene.outcome.note("exchanges", str(done), "several", kept=done >= WORKERS)


def kill(scene: Scene) -> None:
    """Kill a worker, five times, each time when all are there."""
    stage = scene.stage
    inside: list[tuple[float, set[int], set[int]]] = []
    for turn in range(KILLS):
        victim = sorted(stage.workers())[turn % WORKERS]
        stage.halt(victim)  # so that what it holds is known
        ports = stage.ports_of_clients(victim)
        now = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        inside.append((now, ports, stage.journal().unfinished(victim)))
        if not stage.wait(lambda gone=victim: stage.settled(without={gone})):  # type: ignore[misc]
            break
        time.sleep(PAUSE_SECONDS)
    marked = set().union(*(numbers for _, _, numbers in inside))

    def was_inside(request: Request) -> bool:
        return any(
            attempt.number in marked
            or any(request.began <= at <= request.ended and attempt.port in ports for at, ports, _ in inside)
            for attempt in request.attempts
        )

    scene.excuse = was_inside
    scene.outcome.note("kills", str(len(inside)), str(KILLS), kept=len(inside) == KILLS and stage.settled())
    scene.outcome.note("inside", f"{len(marked)} in the application when it was killed")


def upgrade(scene: Scene) -> None:
    """Start a second master by USR2, wait until its workers serve, and tell the first TERM."""
    stage = scene.stage
    second = stage.pidfile.with_name(f"{stage.pidfile.name}.2")
    stage.tell(signal.SIGUSR2)
    there = stage.wait(lambda: _number(second) != 0)
    master = _number(second)
    there = there and stage.wait(lambda: len(stage.imported(master)) == WORKERS)
    scene.outcome.note("second master", "serves" if there else "does not serve", "serves", kept=there)
    if not there:
        return
    time.sleep(READY_SECONDS)
    stage.tell(signal.SIGTERM)
    ended = stage.wait(lambda: stage.exit_code() is not None)
    stage.master = master
    code = stage.exit_code()
    scene.outcome.note("first master", f"exit code {code}" if ended else "does not end", "0", kept=code == 0)
    promoted = stage.wait(lambda: _number(stage.pidfile) == master)
    scene.outcome.note("pidfile", "the second's" if promoted else "not the second's", kept=promoted)


def storm(scene: Scene) -> None:
    """Tell TTIN and TTOU faster than workers come and go; as many of the one as of the other."""
    stage = scene.stage
    for name in STORM * STORMS:
        stage.tell(signal.Signals[f"SIG{name}"])
        time.sleep(STORM_SECONDS)
    settled = stage.wait(stage.settled)
    scene.outcome.note("workers", f"{len(stage.workers())} afterwards", str(WORKERS), kept=settled)


def break_module(scene: Scene) -> None:
    """Tell HUP with a module that does not import, and then with one that does."""
    scene.stage.module.write_text(BROKEN_MODULE)
    _break(scene)
    scene.stage.module.write_text(GOOD_MODULE)
    _recover(scene)


def break_configuration(scene: Scene) -> None:
    """Tell HUP with a configuration file that has a syntax error, and then with one that has none."""
    scene.stage.configuration.write_text(BROKEN_CONFIGURATION)
    _break(scene)
    scene.stage.configuration.write_text("")
    _recover(scene)


def _break(scene: Scene) -> None:
    stage = scene.stage
    before = stage.workers()
    stage.tell(signal.SIGHUP)
    stage.wait(lambda: not stage.alive(), WATCH_SECONDS)
    alive = stage.alive()
    orphans = "" if alive else f", exit code {stage.exit_code()}"
    scene.outcome.note("broken", f"{'goes on' if alive else 'stops'}{orphans}", "goes on", kept=alive)
    scene.outcome.note("workers", "the same" if stage.workers() == before else "others", kept=stage.workers() == before)
    errors = stage.errors()
    scene.outcome.note("errors logged", str(errors), "1", kept=errors == 1)


def _recover(scene: Scene) -> None:
    if scene.stage.alive():
        done = scene.stage.exchange()
        scene.outcome.note("good HUP", "exchanges" if done else "does not exchange", "exchanges", kept=done)
    else:
        time.sleep(WATCH_SECONDS)


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdigit() else 0


SCENARIOS = {
    1: Scenario("ten HUPs", hang_up),
    2: Scenario(
        f"ten HUPs, import of {IMPORT_SECONDS:g} s", hang_up, variables={"FLEET_IMPORT_SECONDS": str(IMPORT_SECONDS)}
    ),
    3: Scenario(
        f"max_requests of {MAX_REQUESTS}",
        wear_out,
        worn=("--max-requests", str(MAX_REQUESTS), "--max-requests-jitter", "0"),
    ),
    4: Scenario(f"kill -9 of a worker, {KILLS} times", kill),
    5: Scenario("USR2, then TERM of the old master", upgrade),
    6: Scenario("TTIN and TTOU storm", storm),
    7: Scenario("HUP with a broken module, then a good one", break_module),
    8: Scenario("TERM with 8 running and 50 waiting to be accepted", stopping.terminate, paced=False),
    9: Scenario("HUP with a broken configuration file, then a good one", break_configuration),
}
