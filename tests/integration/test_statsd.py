"""Metrics of a running server, as they arrive at a StatsD server. Names and forms are those of gunicorn 27.0.1."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.running import Server, StartServer, wait_until
from integration.staging import ask
from unit.observe.receiving import Receiver, receiving

SOURCE = """
def application(environ, start_response):
    if environ["PATH_INFO"] == "/fails":
        raise RuntimeError("zq82 of the application")
    start_response("404 Not Found" if environ["PATH_INFO"] == "/missing" else "200 OK", [("Content-Length", "2")])
    return [b"hi"]
"""
LAST = "/last"
CLOSE = "Connection: close\r\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def request(server: Server, path: str = "/") -> int:
    """Ask, and return the status."""
    return server.request(ask(path, fields=CLOSE)).status


def counted(receiver: Receiver, status: int, prefix: str = "") -> list[str]:
    """What has come up to the count of a request that was answered with `status`; durations have an x for a number."""
    end = f"{prefix}gunicorn.request.status.{status}:"
    metrics = receiver.until(lambda metrics: metrics and metrics[-1].startswith(end))
    return [
        f"{one.partition(':')[0]}:x|{one.partition('|')[2]}" if "duration" in one else one
        for one in metrics
        if "gunicorn.workers" not in one
    ]


def test_each_answer_is_counted_with_its_time_and_its_status(server: StartServer, receiver: Receiver):
    site = server(None, "--statsd-host", receiver.address, app_source=SOURCE)
    for path, status in (("/", 200), ("/missing", 404)):
        assert request(site, path) == status
        assert counted(receiver, status) == [
            "gunicorn.request.duration:x|ms",
            "gunicorn.requests:1|c|@1.0",
            f"gunicorn.request.status.{status}:1|c|@1.0",
        ]


def test_an_application_that_fails_is_counted_as_a_logged_exception_and_a_500(server: StartServer, receiver: Receiver):
    site = server(None, "--statsd-host", receiver.address, app_source=SOURCE, allow_traceback=True)
    assert request(site, "/fails") == 500
    assert counted(receiver, 500) == [
        "gunicorn.log.exception:1|c|@1.0",
        "gunicorn.request.duration:x|ms",
        "gunicorn.requests:1|c|@1.0",
        "gunicorn.request.status.500:1|c|@1.0",
    ]


def test_a_request_that_the_server_rejects_is_counted_too(server: StartServer, receiver: Receiver):
    site = server(None, "--statsd-host", receiver.address, app_source=SOURCE)
    site.exchange(b"NONSENSE\r\n\r\n")
    assert counted(receiver, 400) == ["gunicorn.requests:1|c|@1.0", "gunicorn.request.status.400:1|c|@1.0"]


def test_every_metric_has_the_prefix_and_the_tags(server: StartServer, receiver: Receiver):
    options = ("--statsd-prefix", "shop.web", "--dogstatsd-tags", "env:test,shop")
    site = server(None, "--statsd-host", receiver.address, *options, app_source=SOURCE)
    request(site)
    metrics = receiver.until(lambda metrics: any("status" in one for one in metrics))
    assert "shop.web.gunicorn.workers:1|g|#env:test,shop" in metrics
    assert "shop.web.gunicorn.requests:1|c|@1.0|#env:test,shop" in metrics
    assert [one for one in metrics if not (one.startswith("shop.web.") and one.endswith("|#env:test,shop"))] == []


def test_metrics_go_to_a_unix_socket_that_may_come_later_than_the_server(server: StartServer, tmp_path: Path):
    path = tmp_path / "statsd.sock"
    site = server(None, "--statsd-host", f"unix://{path}", app_source=SOURCE)
    assert request(site) == 200
    with receiving(path) as receiver:
        assert request(site, "/missing") == 404
        # The metrics of the first request may come as well: they are sent after its answer.
        assert counted(receiver, 404)[-2:] == ["gunicorn.requests:1|c|@1.0", "gunicorn.request.status.404:1|c|@1.0"]


def test_a_name_is_found_for_workers_and_master(server: StartServer, receiver: Receiver):
    site = server(None, "--statsd-host", f"localhost:{receiver.port}", app_source=SOURCE)

    def is_counted() -> bool:
        request(site)
        return not receiver.is_silent()

    wait_until(is_counted, what="a metric of a worker")
    site.signal(signal.SIGTTIN)
    assert receiver.until(lambda metrics: "gunicorn.workers:2|g" in metrics)


def test_a_name_that_nobody_knows_is_told_and_costs_no_request(server: StartServer):
    site = server(None, "--statsd-host", "nobody.invalid:8125", app_source=SOURCE)
    site.wait_for_log(r"\[WARNING\] statsd_host: 'nobody\.invalid': .+; there are no metrics until it is found")
    assert [request(site) for _ in range(3)] == [200, 200, 200]


def test_the_number_of_workers_is_told_when_it_changes(server: StartServer, receiver: Receiver):
    site = server(None, "--statsd-host", receiver.address, app_source=SOURCE)
    receiver.until(lambda metrics: "gunicorn.workers:1|g" in metrics)
    site.signal(signal.SIGTTIN)
    receiver.until(lambda metrics: "gunicorn.workers:2|g" in metrics)
    site.signal(signal.SIGTTOU)
    receiver.until(lambda metrics: "gunicorn.workers:1|g" in metrics)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_connections_that_wait_in_the_kernel_are_measured_if_that_is_asked_for(server: StartServer, receiver: Receiver):
    site = server(None, "--statsd-host", receiver.address, "--enable-backlog-metric", app_source=SOURCE)
    receiver.until(lambda metrics: "gunicorn.backlog:0|h" in metrics)
    worker = site.worker_pid()
    site.pause(worker)
    clients = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(3)]
    receiver.until(lambda metrics: "gunicorn.backlog:3|h" in metrics)
    os.kill(worker, signal.SIGCONT)
    receiver.until(lambda metrics: "gunicorn.backlog:0|h" in metrics)
    for client in clients:
        client.close()


HOOKS = """
def post_request(worker, request, environ, response):
    worker.log.info("", extra={"metric": "app.basket", "value": 3, "mtype": "gauge"})
    worker.log.debug("kept out by loglevel", extra={"metric": "app.sold", "value": 2, "mtype": "counter"})
    worker.log.increment("app.direct", 1)
"""


def test_hooks_send_metrics_by_their_log_calls(server: StartServer, receiver: Receiver):
    site = server(None, "--statsd-host", receiver.address, app_source=SOURCE, config=HOOKS)
    assert request(site) == 200
    metrics = receiver.until(lambda metrics: "app.direct:1|c|@1.0" in metrics)
    assert metrics[-3:] == ["app.basket:3|g", "app.sold:2|c|@1.0", "app.direct:1|c|@1.0"]
    assert "kept out" not in site.log()


def test_a_logger_class_derived_from_gunicorn_s_one_is_metered(server: StartServer, receiver: Receiver):
    config = """
from greenhorn.instrument.statsd import Statsd

class logger_class(Statsd):
    def access(self, resp, req, environ, request_time):
        super().access(resp, req, environ, request_time)
        self.increment("app.path." + environ["PATH_INFO"].strip("/"), 1)
"""
    site = server(None, "--statsd-host", receiver.address, app_source=SOURCE, config=config)
    assert request(site, "/basket") == 200
    metrics = counted(receiver, 200)
    assert metrics[0] == "app.path.basket:1|c|@1.0"
    assert metrics[1:] == [
        "gunicorn.request.duration:x|ms",
        "gunicorn.requests:1|c|@1.0",
        "gunicorn.request.status.200:1|c|@1.0",
    ]


def test_a_reload_takes_another_server_or_goes_on_with_the_same(server: StartServer, receiver: Receiver):
    with receiving() as other:
        config = "statsd_host = {!r}\nstatsd_prefix = {!r}\n"
        site = server(None, app_source=SOURCE, config=config.format(receiver.address, "one"))
        assert request(site) == 200
        counted(receiver, 200, "one.")
        for target, prefix in ((other, "two"), (receiver, "one")):
            before = site.worker_pid()
            (site.folder / "config.py").write_text(config.format(target.address, prefix))
            site.signal(signal.SIGHUP)
            wait_until(lambda before=before: site.worker_pids() not in ([before], []) and len(site.worker_pids()) == 1)
            target.until(lambda metrics, prefix=prefix: f"{prefix}.gunicorn.workers:1|g" in metrics)
            assert request(site, "/missing") == 404
            counted(target, 404, prefix + ".")


def test_a_path_that_is_too_long_ends_the_start_with_what_to_do(server: StartServer):
    path = "/" + "x" * 200
    site = server(None, "--statsd-host", f"unix://{path}", app_source=SOURCE, ready=False)
    assert site.wait() == 1
    assert f"statsd_host: {path!r} is too long for a unix socket; choose a shorter path" in site.log()
