"""What a worker makes of the settings: small records for the rooms below."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.net.pace import Pace
from greenhorn.net.state import State
from greenhorn.workers.composition import (
    NAMES_TOLD,
    DroppedNames,
    buffers,
    field_names,
    paces,
    secure_schemes,
    template,
)
from unit.workers.inprocess import TestWorker

MakeWorker = Callable[..., TestWorker]


def test_settings_reach_what_the_turns_are_given(make_worker: MakeWorker, tmp_path: Path):
    worker = make_worker(
        limit_request_line=100,
        limit_request_fields=5,
        limit_request_field_size=200,
        limit_request_head=1000,
        limit_request_body=7,
        body_buffer_size=11,
        tmp_upload_dir=str(tmp_path),
        keepalive=0,
        response_buffer_size=12,
        response_buffer_max=13,
        write_timeout=14,
        sendfile=False,
        casefold_http_method=True,
    ).worker
    service = worker.service
    limits = service.limits
    sizes = (limits.request_line, limits.fields, limits.field_size, limits.head, limits.body)
    assert sizes == (100, 5, 200, 1000, 7)
    assert (service.body_memory, service.body_folder, service.keep_alive) == (11, str(tmp_path), False)
    kept = buffers(worker.settings, service.allotment)
    assert (kept.memory, kept.most, kept.folder, kept.sendfile) == (12, 13, str(tmp_path), False)
    assert kept.pace == Pace(14, 1 / 500)
    assert service.leniency.casefold_method is True
    assert service.access is None


def test_times_of_none_are_for_ever(make_worker: MakeWorker):
    none = {"first_byte_timeout": 0, "header_timeout": 0, "body_timeout": 0, "write_timeout": 0, "keepalive": 0}
    none["handshake_timeout"] = 0
    worker = make_worker(**none).worker
    waits = {state for state, pace in worker._paces.items() if pace.most == math.inf}
    assert waits == {State.NEW, State.HANDSHAKE, State.HEAD, State.BODY, State.FLUSH, State.IDLE}


def test_the_script_name_comes_from_the_environment(make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCRIPT_NAME", "/app")
    made = make_worker(bind=("127.0.0.1:0",), threads=1, workers=2)
    shared = template(made.worker.settings, made.listeners[0], made.worker.log, made.worker.is_ready)
    assert shared["SCRIPT_NAME"] == "/app"
    assert (shared["SERVER_NAME"], shared["SERVER_PORT"]) == made.listeners[0].name
    assert shared["wsgi.multithread"] is False
    assert shared["wsgi.multiprocess"] is True
    assert shared["SERVER_SOFTWARE"].startswith("greenhorn/")


def test_dropped_field_names_are_told_once_each_and_not_without_end(make_worker: MakeWorker):
    made = make_worker()
    dropped = DroppedNames(made.worker.log)
    names = field_names(made.worker.settings, dropped, trusted=False)
    others = field_names(made.worker.settings, dropped, trusted=False)
    for _ in range(2):
        for number in range(3 * NAMES_TOLD):
            assert names[f"a_{number}"] is None
            assert others[f"a_{number}"] is None
    assert made.log().count("is not passed on") == NAMES_TOLD
    assert made.log().count("'a_7'") == 1


def test_only_trusted_peers_may_spell_fields_with_underscores(make_worker: MakeWorker):
    worker = make_worker(forwarder_headers=("REMOTE_USER",)).worker
    dropped = DroppedNames(worker.log)
    trusted, untrusted = (field_names(worker.settings, dropped, trusted=each) for each in (True, False))
    assert trusted["Remote_User"] == "HTTP_REMOTE_USER"
    assert trusted["Other_One"] is None
    assert untrusted["Remote_User"] is None


def test_each_state_has_its_pace(make_worker: MakeWorker):
    worker = make_worker(
        first_byte_timeout=1,
        handshake_timeout=2,
        header_timeout=3,
        body_timeout=4,
        keepalive=5,
        write_timeout=6,
        linger_timeout=7,
    ).worker
    states = (State.NEW, State.HANDSHAKE, State.HEAD, State.BODY, State.IDLE, State.FLUSH, State.LINGER)
    assert {state: pace.most for state, pace in paces(worker.settings).items()} == dict(
        zip(states, range(1, 8), strict=True)
    )


def test_limits_of_none_are_none(make_worker: MakeWorker):
    service = make_worker(keepalive_requests=0, queue_timeout=0, request_timeout=0).worker.service
    assert (service.most_requests, service.queue_timeout, service.timed) == (sys.maxsize, math.inf, False)
    service = make_worker(keepalive_requests=3, queue_timeout=4, request_timeout=5).worker.service
    assert (service.most_requests, service.queue_timeout, service.timed) == (3, 4, True)


def test_a_thread_that_is_alone_waits_for_no_reader(make_worker: MakeWorker):
    alone, many = (make_worker(threads=threads, response_buffer_max=13).worker for threads in (1, 5))
    kept = buffers(alone.settings, alone.service.allotment)
    assert (kept.most, kept.waiters._value) == (sys.maxsize, 1)
    kept = buffers(many.settings, many.service.allotment)
    assert (kept.most, kept.waiters._value) == (13, 2)


def test_fields_that_tell_the_scheme_are_known_by_their_environ_keys(make_worker: MakeWorker):
    worker = make_worker(secure_scheme_headers={"X-Forwarded-Proto": "https", "x-ssl": "on"}).worker
    assert secure_schemes(worker.settings) == {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_SSL": "on"}


def test_an_application_can_ask_whether_its_worker_is_ready(make_worker: MakeWorker):
    made = make_worker(bind=("127.0.0.1:0",))
    shared = template(made.worker.settings, made.listeners[0], made.worker.log, made.worker.is_ready)
    assert shared["greenhorn.ready"]() is True
    made._channel.send(b"stopping\n")
    made.worker.follow_orders()
    assert shared["greenhorn.ready"]() is False


def test_requests_are_attended_only_if_there_is_a_reason_to(make_worker: MakeWorker):
    assert make_worker().worker.attendance is None
    for settings in ({"max_requests": 5}, {"pre_request": print}, {"post_request": print}):
        worker = make_worker(**settings).worker
        assert worker.attendance is not None
        assert worker._exchange == worker.attendance.exchange
        assert worker.service.make_environ == worker.attendance.make_environ
