"""What is in flight: a signal to the master or a worker shows it in the log, and harms nobody."""

import os
import re
import signal

import pytest

from integration.answers import AnswerReader
from integration.kinds import EVERY_KIND
from integration.running import wait_until
from integration.staging import (
    DUMP,
    GET,
    Theatre,
    assert_tells,
    port_of,
    records,
    status_on,
    wait_for_records,
)
from integration.wire import connect, receive_to_end

pytestmark = EVERY_KIND("gthread", "gevent", "eventlet", "tornado")  # sync does nothing else meanwhile

SUM = re.compile(r"\] \d+ in flight, ")
"""What the log says of all requests together."""


@pytest.mark.parametrize("limit", ["0", "30"])
def test_a_signal_shows_what_is_in_flight_and_harms_nobody(stage: Theatre, limit: str):
    site = stage.start("--threads", "3", "--request-timeout", limit)
    worker = site.worker_pid()
    one, first = stage.hold(site, "/held?1")
    other, second = stage.hold(site, "/begun?2")
    with connect(site) as idle, connect(site) as half:
        assert status_on(idle) == 200
        half.sendall(GET[:-2])
        for count, pid, number in ((1, site.pid, DUMP), (2, worker, signal.SIGUSR2)):
            os.kill(pid, number)
            wait_until(lambda count=count: len(SUM.findall(site.log())) == count, what="the sum")
            told = [record for record in records(site, "In flight") if record["path"] != "/"]  # it has just its answer
            assert len(told) == 2 * count
            by_path = {record["path"]: record for record in told[-2:]}
            assert_tells(by_path["/held?1"], port_of(one), "/held?1", "application", "held", "wait_on_stage")
            assert_tells(by_path["/begun?2"], port_of(other), "/begun?2", "begun", "wait_on_stage")
        for held in (first, second):
            held.release()
        assert AnswerReader(one).read().text == str(worker)
        assert AnswerReader(other).read().text == "begunended"
        half.sendall(GET[-2:])
        assert AnswerReader(half).read().status == 200
        assert status_on(idle) == status_on(one) == status_on(other) == 200
    assert site.worker_pids() == [worker]


def test_a_signal_shows_nothing_when_nothing_is_in_flight(stage: Theatre):
    site = stage.start(workers=2)
    workers = site.worker_pids()
    site.signal(DUMP)
    wait_until(
        lambda: site.log().count("] 0 in flight, ") == 2,
        what="the sums of both workers",
    )
    assert not records(site, "In flight")
    assert site.worker_pids() == workers


def test_a_signal_shows_requests_that_were_given_up_and_still_run(stage: Theatre):
    site = stage.start("--threads", "1", "--request-timeout", "1")
    connection, _ = stage.hold(site, "/held?1")
    assert receive_to_end(connection).startswith(b"HTTP/1.1 504 ")
    site.signal(DUMP)
    [record] = wait_for_records(site, "In flight", 1)
    assert_tells(record, port_of(connection), "/held?1", "held")
    site.wait_for_log("1 in flight, .*1 stuck.*; so far 1 requests? beyond request_timeout")
