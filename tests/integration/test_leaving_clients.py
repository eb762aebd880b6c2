"""Clients that leave, or say that they have said all, together with their request; with every class."""

import socket

from integration.answers import AnswerReader
from integration.kinds import AT_ONCE, BUSY, EVERY_KIND, HALF_CLOSE, NO_QUEUE, ONE_REQUEST, differs
from integration.running import wait_until
from integration.staging import Theatre, ask, dump, pass_the_poller, seen, wait_seconds
from integration.wire import connect, refusals, reset

pytestmark = EVERY_KIND

FAREWELL = 0.5
"""Seconds after its request from which on the end of a client's stream means that it has left."""


@differs("sync", row=BUSY)
@differs("gevent", "eventlet", row=AT_ONCE)
def test_a_request_that_comes_together_with_a_reset_is_not_given_to_the_application(stage: Theatre):
    site = stage.start("--threads", "1")
    holder, held = stage.hold(site)
    for number in range(5):
        leaving = connect(site)
        leaving.sendall(ask(f"/pid?leaving-{number}"))
        reset(leaving)
    pass_the_poller(site)
    held.release()
    assert AnswerReader(holder).read().status == 200
    assert not [name for name in seen(site) if name]


@differs("sync", "gevent", "eventlet", row=NO_QUEUE)
def test_requests_whose_clients_left_are_dropped_also_when_no_thread_comes_to_them(stage: Theatre):
    site = stage.start("--threads", "1", "--queue-timeout", "1")
    stage.hold(site)
    leaving = connect(site)
    leaving.sendall(ask("/pid?leaving"))
    reset(leaving)
    wait_until(lambda: "1 requests dropped whose clients had left" in dump(site), what="the end of its wait")
    assert not [line for line in refusals(site) if line[3] == "503"]


@differs("sync", row=ONE_REQUEST)
@differs("tornado", row=HALF_CLOSE)
def test_each_request_on_a_connection_asks_anew_whether_its_client_waits(stage: Theatre):
    site = stage.start("--threads", "1")
    connection, first = stage.hold(site)
    wait_seconds(first.since, FAREWELL + 0.2)
    first.release()
    reader = AnswerReader(connection)
    assert reader.read().status == 200
    connection.sendall(ask("/held"))
    connection.shutdown(socket.SHUT_WR)
    second = stage.stage.next()
    pass_the_poller(site)
    assert second.left() == {False}
    second.release()
    assert reader.read().status == 200
