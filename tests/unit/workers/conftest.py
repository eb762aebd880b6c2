"""Fixtures of the tests that run a worker in the test's process."""

import selectors
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.net.poller import SelectorPoller
from unit.workers.inprocess import Application, TestWorker, hello

SELECTORS = [name for name in ("EpollSelector", "PollSelector", "SelectSelector") if hasattr(selectors, name)]


@pytest.fixture
def make_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TestWorker]]:
    """Prepare workers that are driven by the test: `make_worker(app, threads=2)`. Their loops are hastier."""
    for name, seconds in (("gthread.TICK", 0.05), ("gthread.SHORT_TICK", 0.05), ("deadlines.FAREWELL", 0.2)):
        monkeypatch.setattr(f"greenhorn.workers.{name}", seconds)
    made: list[TestWorker] = []

    def make(app: Application = hello, **settings: Any) -> TestWorker:
        made.append(TestWorker(tmp_path, app, **settings))
        return made[-1]

    yield make
    for one in made:
        print(one.log())  # noqa: T201 - pytest shows it when the test fails
        one.finish()


@pytest.fixture
def serve_app(make_worker: Callable[..., TestWorker]) -> Callable[..., TestWorker]:
    """Serve an application in a thread: `serve_app(app, threads=2)`; the end of the test ends it."""

    def serve(app: Application = hello, bind: tuple[str, ...] = ("127.0.0.1:0",), **settings: Any) -> TestWorker:
        return make_worker(app, bind=bind, **settings).start()

    return serve


@pytest.fixture(params=["best", *SELECTORS])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let workers wait with each kind of poller in turn."""
    name: str = request.param
    if name != "best":
        made = getattr(selectors, name)
        monkeypatch.setattr("greenhorn.workers.gthread.best_poller", lambda: SelectorPoller(made()))
    return name
