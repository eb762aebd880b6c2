"""What configurations of gunicorn call kinds of workers, and which of those there are."""

from pathlib import Path

import pytest

from greenhorn.config.worker_classes import WORKERS, WorkerKind, fault_of, worker_class
from greenhorn.workers.gthread import ThreadWorker
from unit.offering import offer


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("gthread", "gthread"),
        (" gthread ", "gthread"),
        ("gunicorn.workers.gthread.ThreadWorker", "gthread"),
        ("gunicorn.workers.gthread:ThreadWorker", "gthread"),
        ("egg:gunicorn#gthread", "gthread"),
        ("egg:greenhorn#gthread", "gthread"),
        ("greenhorn.workers.gthread:ThreadWorker", "gthread"),
        (ThreadWorker, "gthread"),
        (lambda: ThreadWorker, "gthread"),
        ("sync", "sync"),
        ("gunicorn.workers.sync.SyncWorker", "sync"),
        ("gevent_pywsgi", "gevent"),
        ("gunicorn.workers.ggevent.GeventWorker", "gevent"),
        ("gunicorn.workers.geventlet.EventletWorker", "eventlet"),
        ("gunicorn.workers.gtornado.TornadoWorker", "tornado"),
        ("egg:gunicorn#tornado", "tornado"),
        ("gunicorn.workers.gasgi.ASGIWorker", "asgi"),
        ("uvicorn.workers.UvicornWorker", "asgi"),
        ("uvicorn.workers.UvicornH11Worker", "asgi-h11"),
        ("uvicorn_worker.UvicornWorker", "asgi"),
        ("meinheld.gmeinheld.MeinheldWorker", "meinheld.gmeinheld.MeinheldWorker"),
        (dict, dict),
        (lambda: "gevent", "gevent"),
    ],
)
def test_names_and_classes_of_gunicorn_are_understood(written: object, name: WorkerKind):
    assert worker_class(written) == name


@pytest.mark.parametrize("wrong", ["", "  ", None, 3, ["gthread"]])
def test_what_is_no_name_is_an_error_that_names_those_there_are(wrong: object):
    with pytest.raises(ValueError, match="must be the name of a worker class: gthread"):
        worker_class(wrong)


def test_there_is_no_fault_with_those_that_run_and_those_that_have_to_be_imported():
    assert all(fault_of(name) == "" for name in WORKERS)
    for kind in ("meinheld.gmeinheld.MeinheldWorker", "shop.workers:Own", dict):
        assert fault_of(kind) == ""


@pytest.mark.parametrize(
    ("name", "meant"), [("gevnt", "gevent"), ("Eventlet", "eventlet"), ("tornadoes", "tornado"), ("agsi", "asgi")]
)
def test_a_name_that_is_none_is_told_with_those_there_are_and_the_one_that_was_meant(name: str, meant: str):
    fault = fault_of(name)
    assert fault.startswith(f"is no worker class of greenhorn (did you mean {meant}?): use gthread, sync, ")
    assert fault.endswith("or the dotted path of a subclass of greenhorn.workers.base.Worker")


def test_a_name_like_no_other_is_not_guessed():
    assert fault_of("meinheld").startswith("is no worker class of greenhorn: use gthread, sync, ")


def test_names_of_kinds_that_other_packages_offer_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    offer(tmp_path, "meinheld = shop.workers:Own")
    monkeypatch.syspath_prepend(tmp_path)
    assert fault_of("meinheld") == ""
    assert "(did you mean meinheld?): use gthread, " in fault_of("meinhelt")


def test_the_classes_of_gunicorn_itself_are_known():
    workers = pytest.importorskip("gunicorn.workers")
    known = set(WORKERS)
    assert {worker_class(name) for name in workers.SUPPORTED_WORKERS} <= known
    assert {worker_class(path) for path in workers.SUPPORTED_WORKERS.values()} <= known
