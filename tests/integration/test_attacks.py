"""Crowds of hostile clients cost the healthy ones nothing, and leave nothing behind when their time is up.

The clients are those of scripts/attack, which does the same with more of them and for longer.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from attacking.attacks import ATTACKS, IDLE, Attack
from attacking.companion import SCRIPTS, Companion
from attacking.healthy import Healthy
from attacking.observing import Facts, connections, facts
from attacking.swarm import HOSTILE_HOST, SERVER_HOST
from integration.running import Server, StartServer, wait_until

HOSTILE = 24
"""Six times as many as there are threads."""
PER_SECOND = 400
PATIENCE = 1
"""Seconds of every deadline; the server looks once a second."""
LATEST = 6.0
"""Seconds after which all of them are gone for certain: a wait, a lingering close, and two sweeps."""
LONGEST = 1.0
"""Seconds that a healthy client may wait on a busy machine; behind clients that hold the threads it waits for ever."""
HEALTHY = 2
LARGE_MIB = 8
"""Of the answers that nobody reads: twice what the kernel takes for a connection."""
TIMEOUTS = ("--first-byte-timeout", "--header-timeout", "--body-timeout", "--write-timeout", "--linger-timeout")
DEADLINES = [word for name in TIMEOUTS for word in (name, str(PATIENCE))]
IDLERS = 500
MOST_BYTES_EACH = 8192

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the server is observed through /proc")


@pytest.fixture
def attacked(server: StartServer) -> Callable[..., Server]:
    """Start the application of scripts/attack with four threads."""

    def start(*arguments: str) -> Server:
        env = {"LARGE_MIB": str(LARGE_MIB)}
        return server("attacking.applications", "--threads", "4", *arguments, pythonpath=(SCRIPTS,), env=env)

    return start


def hostile(site: Server) -> int:
    return connections(site.port, HOSTILE_HOST)


def has_attacked(attack: Attack, tally: dict[str, Any]) -> bool:
    """Tell whether all have come, and those that repeat themselves have done so often enough."""
    if attack.fleeting:
        return tally["arrived"] >= 20 * HOSTILE
    return tally["arrived"] >= HOSTILE and tally["sent"] >= 200 * len(attack.flood)


def at_rest(site: Server) -> Facts:
    """Return what the worker uses when it has served somebody and nobody is there."""
    assert site.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
    wait_until(lambda: not connections(site.port, SERVER_HOST), what="the end of that connection")
    return facts(site.pid)


def assert_all_served(healthy: Healthy) -> None:
    samples = healthy.stop()
    assert {sample.failure for sample in samples} == {""}
    assert len(samples) > 20 * HEALTHY
    longest = max(sample.seconds for sample in samples)
    assert longest < LONGEST, f"a healthy client waited {longest:.2f} s"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_crowd_of_hostile_clients_costs_the_healthy_nothing(attacked: Callable[..., Server], attack: Attack):
    site = attacked(*DEADLINES)
    before = at_rest(site)
    with (
        Companion("swarm", attack.name, site.port, HOSTILE, PER_SECOND) as swarm,
        Healthy(site.port, clients=HEALTHY, interval=0.01) as healthy,
    ):
        wait_until(lambda: connections(site.port, SERVER_HOST) >= HEALTHY, what="the healthy clients")
        swarm.ask("go")
        wait_until(lambda: has_attacked(attack, swarm.ask()), LATEST, "the attack")
        swarm.ask("rest")
        with suppress(AssertionError):  # what the healthy saw says more, if somebody is left
            wait_until(lambda: not hostile(site), LATEST)
        assert_all_served(healthy)
        assert hostile(site) == 0
    wait_until(lambda: facts(site.pid).descriptors == before.descriptors, LATEST, "the descriptors at rest")
    assert facts(site.pid).threads == before.threads


def test_idle_kept_connections_cost_little_memory_and_no_time(attacked: Callable[..., Server]):
    site = attacked()
    with (
        Companion("swarm", IDLE.name, site.port, IDLERS, 1000) as swarm,
        Healthy(site.port, clients=HEALTHY, interval=0.01) as healthy,
    ):
        wait_until(lambda: connections(site.port, SERVER_HOST) >= HEALTHY, what="the healthy clients")
        before = facts(site.pid)
        swarm.ask("go")
        wait_until(lambda: swarm.ask()["arrived"] == IDLERS, what="the idle connections")
        assert hostile(site) == IDLERS
        each = (facts(site.pid).resident - before.resident) / IDLERS
        assert each < MOST_BYTES_EACH, f"each idle connection costs {each:.0f} bytes"
        assert_all_served(healthy)
