"""One reading of the configuration: its worker class, its listeners and log, and its application."""

import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.config import Settings
from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.master.generation import Generation, find_worker_class
from greenhorn.net.listener import Address, Listener, Manner, adopt, listen
from greenhorn.observe.logger import Logger
from greenhorn.workers.gthread import ThreadWorker
from unit.net.waiting import DEADLINE


@pytest.mark.parametrize("name", ["gsync", "gvent", "tornadoes", ""])
def test_a_worker_class_that_there_is_not_is_an_error_that_names_those_there_are(name: str):
    with pytest.raises(ConfigError, match="worker_class") as caught:
        find_worker_class(name)
    assert repr(name) in str(caught.value)
    assert "gthread" in str(caught.value)


def test_a_worker_class_is_found_by_gunicorns_name():
    assert find_worker_class("gthread") is ThreadWorker


def test_a_generation_is_what_its_settings_describe_with_nothing_opened():
    settings = Settings(wsgi_app="hello:app")
    made = Generation.of(settings)
    assert (made.settings, made.worker_class, made.listeners) == (settings, ThreadWorker, [])
    assert (made.access, made.app) == (None, None)
    assert made != Generation.of(settings)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "no application is named"),
        ({"wsgi_app": "hello:app", "worker_class": "gsync"}, "worker_class"),
    ],
)
def test_settings_that_no_worker_can_follow_are_an_error(settings: dict[str, Any], word: str):
    with pytest.raises(ConfigError, match=word):
        Generation.of(Settings(**settings))


# Listeners and the access log.


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    """Listeners to be closed at the end."""
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.close(unlink=True)


def make(**settings: Any) -> Generation:
    return Generation.of(Settings(**{"wsgi_app": "hello:app", **settings}))


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def activated(opened: list[Listener], *names: str) -> list[Listener]:
    """Sockets that a service manager has opened, by their names."""
    made = []
    for name in names:
        outer = listen(Address("127.0.0.1", 0), Manner())
        opened.append(outer)
        fd = os.dup(outer.fd)
        made.append(adopt(fd, Address(fd=fd, name=name)))
    opened += made
    return made


def test_every_address_is_listened_at(opened: list[Listener], tmp_path: Path):
    one = make(bind=("127.0.0.1:0", f"unix:{tmp_path}/s p"), umask=0o117)
    one.open([], [])
    opened += one.listeners
    assert [str(listener.address) for listener in one.listeners] == ["127.0.0.1:0", f"unix:{tmp_path}/s p"]
    assert (tmp_path / "s p").stat().st_mode & 0o777 == 0o660
    assert [listener.reserved for listener in one.listeners] == [False, False]


def test_sockets_that_are_there_are_taken_as_they_are(opened: list[Listener], tmp_path: Path):
    first = make(bind=("127.0.0.1:0", f"unix:{tmp_path}/s"))
    first.open([], [])
    opened += first.listeners
    second = make(bind=(f"unix:{tmp_path}/s", "127.0.0.1:0", "localhost:0"))
    second.open(first.listeners, [])
    opened.append(second.listeners[2])
    assert second.listeners[:2] == [first.listeners[1], first.listeners[0]]
    assert second.listeners[2] not in first.listeners


def test_activated_sockets_stand_in_for_all_addresses(opened: list[Listener]):
    sockets = activated(opened, "unknown", "unknown")
    one = make(bind=("127.0.0.1:1",))
    one.open([], sockets)
    assert one.listeners == sockets


def test_activated_sockets_stand_beside_those_that_are_named_by_number(opened: list[Listener]):
    sockets = activated(opened, "web")
    outer = listen(Address("127.0.0.1", 0), Manner())
    number = os.dup(outer.fd)
    opened.append(outer)
    one = make(bind=("127.0.0.1:1", f"fd://{number}"))
    one.open([], sockets)
    opened.append(one.listeners[1])
    assert one.listeners[0] is sockets[0]
    assert one.listeners[1].fd == number


def test_activated_sockets_can_be_chosen_by_their_names(opened: list[Listener]):
    sockets = activated(opened, "web", "admin")
    one = make(bind=("fd://admin", "127.0.0.1:0"))
    one.open([], sockets)
    opened.append(one.listeners[1])
    assert one.listeners[0] is sockets[1]
    assert one.listeners[1].name[0] == "127.0.0.1"


def test_all_activated_sockets_of_one_name_are_meant_by_it(opened: list[Listener]):
    sockets = activated(opened, "web", "web", "admin")
    one = make(bind=("fd://web",))
    one.open([], sockets)
    assert one.listeners == sockets[:2]


def test_a_name_that_no_socket_was_given_is_an_error(opened: list[Listener]):
    with pytest.raises(ConfigError, match="fd://shop"):
        make(bind=("fd://shop",)).open([], activated(opened, "web"))


def test_with_reuse_port_addresses_are_reserved_and_unix_sockets_are_not(opened: list[Listener], tmp_path: Path):
    one = make(bind=("127.0.0.1:0", f"unix:{tmp_path}/s"), reuse_port=True)
    one.open([], [])
    opened += one.listeners
    assert [listener.reserved for listener in one.listeners] == [True, False]


def test_a_log_that_cannot_be_opened_is_an_error_and_nothing_is_listened_at(tmp_path: Path):
    one = make(bind=(f"unix:{tmp_path}/s",), accesslog="/no/such/folder/log")
    with pytest.raises(ConfigError, match="accesslog"):
        one.open([], [])
    assert not (tmp_path / "s").exists()
    assert one.listeners == []


def test_addresses_that_cannot_be_listened_at_leave_nothing_open(tmp_path: Path):
    one = make(bind=(f"unix:{tmp_path}/s", "unix:/no/such/folder/s"), accesslog=str(tmp_path / "access.log"))
    before = descriptors()
    with pytest.raises(ConfigError, match="/no/such/folder/s"):
        one.open([], [])
    assert descriptors() == before
    assert not (tmp_path / "s").exists()
    assert (one.listeners, one.access) == ([], None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_are_handed_over_to_whom_the_workers_run_as(tmp_path: Path, forget_log: None, opened: list[Listener]):
    del forget_log
    log = Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info"))
    one = make(bind=(f"unix:{tmp_path}/s",), accesslog=str(tmp_path / "access.log"), user=1234, group=1235)
    one.open([], [])
    opened += one.listeners
    application = logging.FileHandler(tmp_path / "app.log")
    logging.root.addHandler(application)
    try:
        one.hand_files_over(log)
    finally:
        logging.root.removeHandler(application)
        application.close()
    for name in ("error.log", "access.log", "s", "app.log"):
        found = (tmp_path / name).stat()
        assert (found.st_uid, found.st_gid) == (1234, 1235), name
    assert one.access is not None
    one.access.close()


# The application.


@pytest.fixture
def applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_log: None) -> Iterator[Logger]:
    """A module `applied` that can be imported, and a log at debug level."""
    del forget_log
    source = "def app(environ, start_response): pass\ndef other(environ, start_response): pass\n"
    (tmp_path / "applied.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="debug"))
    sys.modules.pop("applied", None)
    gc.unfreeze()


def test_without_preload_the_master_loads_nothing(applied: Logger):
    one = make(wsgi_app="applied:app")
    assert not one.preloads
    one.preload(None, applied)
    assert one.app is None
    assert "applied" not in sys.modules


def test_with_preload_the_application_is_there_and_frozen(applied: Logger):
    one = make(wsgi_app="applied:app", preload_app=True)
    gc.unfreeze()
    one.preload(None, applied)
    assert one.app is sys.modules["applied"].app
    assert gc.get_freeze_count() > 0


def test_an_application_that_was_loaded_stays_and_another_one_is_loaded(applied: Logger, tmp_path: Path):
    first = make(wsgi_app="applied:app", preload_app=True)
    first.preload(None, applied)
    same = make(wsgi_app="applied:app", preload_app=True)
    same.preload(first, applied)
    assert same.app is first.app
    assert "USR2 starts a master with new code" in (tmp_path / "error.log").read_text()
    other = make(wsgi_app="applied:other", preload_app=True)
    other.preload(first, applied)
    assert other.app is sys.modules["applied"].other


def test_an_application_that_is_loaded_otherwise_needs_no_name_and_stays_as_well(applied: Logger):
    made: list[Settings] = []

    def load(settings: Settings) -> Any:
        made.append(settings)
        return served

    def served() -> None:
        """Stand in for an application."""

    settings = Settings(preload_app=True)
    first = Generation.of(settings, load)
    first.preload(None, applied)
    second = Generation.of(Settings(preload_app=True, workers=2), load)
    second.preload(first, applied)
    assert first.app is second.app is served
    assert made == [settings]


def test_an_application_that_cannot_be_loaded_is_an_error(applied: Logger):
    one = make(wsgi_app="applied:missing", preload_app=True)
    with pytest.raises(AppLoadError, match="missing"):
        one.preload(None, applied)
    assert one.app is None


def test_reload_goes_before_preload_which_is_told(applied: Logger, tmp_path: Path):
    one = make(wsgi_app="applied:app", preload_app=True, reload=True)
    assert not one.preloads
    one.preload(None, applied)
    assert one.app is None
    assert "preload_app is left out" in (tmp_path / "error.log").read_text()


def test_threads_that_an_application_has_started_are_told(applied: Logger, tmp_path: Path):
    started = threading.Event()
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (started.set(), ended.wait(DEADLINE)), name="shop-keeper")
    thread.start()
    try:
        assert started.wait(DEADLINE)
        make(wsgi_app="applied:app", preload_app=True).preload(None, applied)
    finally:
        ended.set()
        thread.join(DEADLINE)
    assert "shop-keeper" in (tmp_path / "error.log").read_text()
