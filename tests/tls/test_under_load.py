"""Workers that come and go while clients speak TLS: nobody's handshake and nobody's request is lost."""

import os
import signal
import ssl

from integration.kinds import EVERY_KIND, ONE_REQUEST, differs
from integration.load import load
from integration.reloading import hang_up, source
from integration.running import StartServer, wait_until
from integration.upgrading import second_master, stop, wait_for_workers
from integration.wire import receive_to_end
from tls.clients import GET, LAST_GET, Steps, ask


@EVERY_KIND
def test_max_requests_exchanges_workers_and_no_request_fails(secure: StartServer):
    site = secure(None, "--max-requests", "80", "--max-requests-jitter", "40", app_source=source("one"), workers=2)
    first = site.worker_pids()
    with load(site, 6) as clients:
        answers = clients.more(500)
        wait_until(lambda: not set(first) & set(site.worker_pids()), what="other workers")
    assert len({answer.text for answer in answers}) > 2
    assert "ERROR" not in site.log()


@EVERY_KIND
def test_reloads_under_load_lose_nothing(secure: StartServer):
    site = secure(app_source=source("one"), workers=2)
    with load(site, 6) as clients:
        for _ in range(2):
            clients.more(60)
            hang_up(site)
        clients.more(60)


def test_another_master_takes_over_under_load_and_nothing_is_lost(secure: StartServer):
    site = secure(app_source=source("one"))
    with load(site, 6) as clients:
        clients.more(60)
        successor = second_master(site)
        wait_for_workers(site, successor)
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        clients.more(60)
    stop(successor)


@EVERY_KIND
@differs("sync", row=ONE_REQUEST)
def test_who_has_connected_before_the_end_is_answered(secure: StartServer, trusting: ssl.SSLContext):
    """At the end there are clients everywhere: in the listen queue, in their handshakes, and with requests."""
    site = secure("wsgi_app")
    kept = [site.connect() for _ in range(4)]
    for connection in kept:
        assert ask(connection).status == 200
    half_way = []
    for _ in range(4):
        steps = Steps(site.dial(), trusting)
        steps.connection.sendall(steps.hello)
        half_way.append((steps, steps.next_flight()))
    worker = site.worker_pid()
    site.pause(worker)
    waiting = [Steps(site.dial(), trusting) for _ in range(4)]
    for steps in waiting:
        steps.connection.sendall(steps.hello)
    for connection in kept:
        connection.sendall(GET)
    site.signal(signal.SIGTERM)
    os.kill(worker, signal.SIGCONT)
    for connection in kept:
        assert receive_to_end(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    for steps, flight in half_way:
        steps.connection.sendall(flight + steps.records(LAST_GET))
        assert steps.read_to_end().startswith(b"HTTP/1.1 200 OK\r\n")
    for steps in waiting:
        steps.connection.sendall(steps.next_flight() + steps.records(LAST_GET))
        assert steps.read_to_end().startswith(b"HTTP/1.1 200 OK\r\n")
    assert site.wait() == 0
