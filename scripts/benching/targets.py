"""What greenhorn promises next to its peers, and whether these results keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benching.rounds import describe_errors
from benching.virtualenv import GREENHORN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benching.rounds import Result, Results
    from benching.workloads import Workload

GUNICORN = "gunicorn"
UVICORN = "uvicorn"
LOG_COST = 0.15
"""The part of the requests per second under `browser` that an access log may cost."""


@dataclass(frozen=True, slots=True)
class Target:
    """At least `ratio` times a peer's requests per second."""

    workload: str
    peer: str
    ratio: float


TARGETS = (
    Target("get", GUNICORN, 5),
    Target("get", "granian", 0.8),
    Target("browser", GUNICORN, 5),
    Target("browser", "granian", 0.8),
    Target("close", GUNICORN, 3),
    Target("post", GUNICORN, 3),
    Target("large", GUNICORN, 1.5),
    Target("sleep", GUNICORN, 1.2),
    Target("sync", GUNICORN, 2),
    Target("gevent", GUNICORN, 2),
    Target("gevent-sleep", GUNICORN, 1),
    Target("asgi", UVICORN, 0.95),
    Target("asgi-browser", UVICORN, 0.95),
    Target("tls", GUNICORN, 4),
    Target("tls", "granian", 0.7),
    Target("tls-new", GUNICORN, 3),
    Target("tls-ec", GUNICORN, 4),
    Target("tls-ec", "granian", 0.7),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise in words, what was measured, and whether it is kept: None when it was not measured."""

    promise: str
    found: str
    kept: bool | None


def judge(results: Results, workloads: list[Workload]) -> list[Verdict]:
    """Hold the results against every promise that concerns one of these workloads."""
    names = [workload.name for workload in workloads]
    verdicts = [_ratio(results, target) for target in TARGETS if target.workload in names]
    if {"browser", "logged"} <= set(names):
        verdicts.append(_log_cost(results))
    for name in names:
        verdicts.extend(_conduct(results, name))
    return verdicts


def ratio(ours: Result | None, theirs: Result | None) -> float | None:
    """Return the ratio of two medians of requests per second; None when one has failed or is missing."""
    if not ours or not theirs or not ours.measured or not theirs.measured:
        return None
    return ours.median("requests_per_second") / theirs.median("requests_per_second")


def _ratio(results: Results, target: Target) -> Verdict:
    found = ratio(results.get((GREENHORN, target.workload)), results.get((target.peer, target.workload)))
    promise = f"{target.workload}: at least {target.ratio:g} x {target.peer}"
    if found is None:
        return Verdict(promise, "not measured", None)
    return Verdict(promise, f"{found:.2f} x", found >= target.ratio)


def _log_cost(results: Results) -> Verdict:
    """Give what an access log costs, ours and gunicorn's."""
    costs = {}
    for server in (GREENHORN, GUNICORN):
        found = ratio(results.get((server, "logged")), results.get((server, "browser")))
        if found is not None:
            costs[server] = 1 - found
    told = ", ".join(f"{server} {cost:.0%}" for server, cost in costs.items()) or "not measured"
    kept = costs[GREENHORN] < LOG_COST if GREENHORN in costs else None
    return Verdict(f"logged: an access log costs less than {LOG_COST:.0%} of the requests per second", told, kept)


def _conduct(results: Results, name: str) -> Iterator[Verdict]:
    """Give the promises that hold under each workload: no errors, and a better p99 than gunicorn's."""
    ours, theirs = results.get((GREENHORN, name)), results.get((GUNICORN, name))
    promise = f"{name}: no errors"
    if not ours or not (ours.samples or ours.failure):
        yield Verdict(promise, "not measured", None)
    elif ours.failure:
        yield Verdict(promise, "failed", kept=False)
    else:
        yield Verdict(promise, describe_errors(ours.errors.items()).lstrip(", ") or "none", not ours.errors)
    if theirs is None and (UVICORN, name) in results:
        return  # an application that gunicorn does not run here
    promise = f"{name}: p99 below {GUNICORN}'s"
    if not ours or not theirs or not ours.measured or not theirs.measured:
        yield Verdict(promise, "not measured", None)
    else:
        mine, yours = ours.median("p99_us"), theirs.median("p99_us")
        yield Verdict(promise, f"{mine / 1000:.2f} ms, {GUNICORN} {yours / 1000:.2f} ms", mine < yours)
