"""What configurations of gunicorn call kinds of workers, and which of those there are."""

import pytest

from greenhorn.config.worker_classes import PENDING, WORKERS, fault_of, worker_class
from greenhorn.workers.gthread import ThreadWorker


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
        (dict, "builtins.dict"),
        (lambda: "gevent", "gevent"),
    ],
)
def test_names_and_classes_of_gunicorn_are_understood(written: object, name: str):
    assert worker_class(written) == name


@pytest.mark.parametrize("wrong", ["", "  ", None, 3, ["gthread"]])
def test_what_is_no_name_is_an_error_that_names_those_there_are(wrong: object):
    with pytest.raises(ValueError, match="must be the name of a worker class: gthread"):
        worker_class(wrong)


def test_there_is_no_fault_with_those_that_run_and_a_remedy_for_all_others():
    assert all(fault_of(name) == "" for name in WORKERS)
    assert all(fault_of(name).startswith(f"not available yet: {name}; use gthread: ") for name in PENDING)
    assert fault_of("meinheld.gmeinheld.MeinheldWorker").startswith("is no worker class of greenhorn: use gthread")


def test_the_classes_of_gunicorn_itself_are_known():
    workers = pytest.importorskip("gunicorn.workers")
    known = {*WORKERS, *PENDING}
    assert {worker_class(name) for name in workers.SUPPORTED_WORKERS} <= known
    assert {worker_class(path) for path in workers.SUPPORTED_WORKERS.values()} <= known
