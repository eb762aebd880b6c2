"""Certificates whose files change while the server runs: what master and workers do then."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenhorn.master.entrances import Entrances
from greenhorn.master.renewal import EVERY, Renewal
from unit.master.staff import Crew, generation
from unit.tls.making import SERVER, Made, make, put
from unit.tls.talking import Talk

MakeCrew = Callable[..., Crew]


class Watch:
    """A crew that serves with the certificate server.pem, and whoever looks at its files."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.settings = {"certfile": str(folder / "server.pem"), "keyfile": str(folder / "server.key"), **settings}
        self.crew = Crew(folder, monkeypatch, **self.settings)
        self.crew.staffed(2)
        self.orders()
        self._server: Any = SimpleNamespace(fleet=self.crew.fleet, log=self.crew.master.log)
        self._renewal = Renewal(self._server)
        self.now = 1000.0

    def look(self, after: float = EVERY) -> None:
        """Let time pass, and the master look if it wants to."""
        self.now += after
        self._renewal.look(self.now)

    def orders(self) -> list[list[str]]:
        """What each worker was told since this was asked before."""
        return [self.crew.orders(age) for age in (1, 2)]

    @property
    def shown(self) -> bytes:
        """The certificate that clients of the master's credentials would get."""
        return Talk(self.crew.first.entrances.credentials[0]).shown


@pytest.fixture
def first(tmp_path: Path) -> Made:
    made = make(SERVER)
    made.write(tmp_path)
    return made


@pytest.fixture
def watch(tmp_path: Path, first: Made, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watch]:
    """Make a watch with these settings; the end of the test ends it."""
    assert first
    made: list[Watch] = []

    def begin(**settings: Any) -> Watch:
        made.append(Watch(tmp_path, monkeypatch, **settings))
        return made[-1]

    yield begin
    for one in made:
        one.crew.close()


def test_nothing_is_done_while_nothing_changes(watch: Callable[..., Watch]):
    one = watch(reload_certificates=True)
    for _ in range(3):
        one.look()
    assert (one.orders(), one.crew.log()) == ([[], []], "")


def test_a_new_certificate_is_taken_and_all_workers_are_told_to(tmp_path: Path, watch: Callable[..., Watch]):
    one = watch(reload_certificates=True)
    one.look()
    second = make(SERVER)
    second.write(tmp_path)
    one.look()
    assert one.orders() == [[], []]
    one.look()
    assert one.orders() == [["certificates"], ["certificates"]]
    assert one.shown == second.der
    assert one.crew.log().count(f"There is a new certificate: {tmp_path / 'server.pem'},{tmp_path / 'server.key'}") == 1
    one.look()
    assert (one.orders(), one.crew.log()) == ([[], []], "")


def test_the_files_are_looked_at_once_a_second(tmp_path: Path, watch: Callable[..., Watch]):
    one = watch(reload_certificates=True)
    one.look()
    make(SERVER).write(tmp_path)
    for _ in range(5):
        one.look(EVERY / 100)
    one.look()
    assert one.orders() == [[], []]
    one.look()
    assert one.orders() == [["certificates"], ["certificates"]]


def test_without_the_setting_files_may_change_as_they_like(tmp_path: Path, first: Made, watch: Callable[..., Watch]):
    one = watch()
    make(SERVER).write(tmp_path)
    for _ in range(3):
        one.look()
    assert one.orders() == [[], []]
    assert one.shown == first.der


def test_what_cannot_be_used_is_refused_once_and_the_next_one_is_taken(
    tmp_path: Path, first: Made, watch: Callable[..., Watch]
):
    one = watch(reload_certificates=True)
    put(tmp_path / "server.pem", b"nonsense")
    for _ in range(4):
        one.look()
    assert one.orders() == [[], []]
    assert one.shown == first.der
    log = one.crew.log()
    assert log.count("The new certificate is refused, and the old one stays: certfile: ") == 1
    assert "[ERROR]" in log
    second = make(SERVER)
    second.write(tmp_path)
    for _ in range(2):
        one.look()
    assert one.orders() == [["certificates"], ["certificates"]]
    assert one.shown == second.der


def test_files_that_are_touched_and_the_same_are_no_news(tmp_path: Path, first: Made, watch: Callable[..., Watch]):
    one = watch(reload_certificates=True)
    first.write(tmp_path)
    for _ in range(3):
        one.look()
    assert (one.orders(), one.crew.log()) == ([[], []], "")


def test_while_another_generation_is_tried_a_change_has_to_settle_as_well(tmp_path: Path, watch: Callable[..., Watch]):
    one = watch(reload_certificates=True)
    candidate = generation(**one.settings)
    candidate.entrances = Entrances(candidate.settings, one.crew.first.entrances)
    one.crew.fleet.candidate = candidate
    second = make(SERVER)
    put(tmp_path / "server.key", second.key_pem())
    one.look()
    put(tmp_path / "server.pem", second.pem)
    one.look()
    assert one.crew.log() == ""
    one.look()
    assert one.orders() == [["certificates"], ["certificates"]]
    assert one.shown == second.der
