"""What happens around a request: the request as hooks know it, their faults, and the count of requests."""

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from greenhorn.http.head import Limits, parse_head
from greenhorn.http.names import FieldNames
from greenhorn.workers.hooked import Request
from unit.net.waiting import DEADLINE, wait_until
from unit.workers.inprocess import TestWorker, read_answer, receive_all

GET = b"GET /shop?page=7 HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\n\r\n"
ServeApp = Callable[..., TestWorker]
TEMPLATE = {"wsgi.url_scheme": "https", "REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4242"}


def request(raw: str = "GET / HTTP/1.1\r\nHost: a", template: dict[str, Any] | None = None, **names: Any) -> Request:
    head = parse_head(raw.encode("latin-1"), FieldNames(**names), Limits())
    return Request(head, TEMPLATE if template is None else template, io.BytesIO(b"body"))


class Seen:
    """An application that keeps its environs, and hooks that keep what they were given."""

    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []
        self.before: list[tuple[Any, ...]] = []
        self.after: list[tuple[Any, ...]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.environs.append(dict(environ))
        start_response("200 OK", [("X-Answer", "yes")])
        return [b"Hello, world!"]

    def pre_request(self, *given: Any) -> None:
        self.before.append(given)

    def post_request(self, *given: Any) -> None:
        self.after.append(given)


# A request by gunicorn's names.


def test_a_request_has_the_attributes_that_hooks_know():
    one = request(
        "POST /a%20b?c=%20&d HTTP/1.0\r\n"
        "Host: a\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX-Own: 1\r\nx-own: 2"
    )
    assert (one.method, one.uri, one.path, one.query) == ("POST", "/a%20b?c=%20&d", "/a%20b", "c=%20&d")
    assert (one.version, one.fragment, one.trailers, one.scheme) == ((1, 0), "", [], "https")
    assert one.peer_addr == one.remote_addr == ("192.0.2.7", "4242")
    assert one.body.read() == b"body"
    assert dict(one.headers) == {"HOST": "a", "CONTENT-TYPE": "text/plain", "CONTENT-LENGTH": "4", "X-OWN": "1,2"}


@pytest.mark.parametrize(
    ("raw", "closes"),
    [
        ("GET / HTTP/1.1\r\nHost: a", False),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close", True),
        ("GET / HTTP/1.0", True),
        ("GET / HTTP/1.0\r\nConnection: keep-alive", False),
    ],
)
def test_a_request_says_whether_the_connection_ends_with_it(raw: str, closes: bool):
    assert request(raw).should_close() is closes


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/a//b", "/a//b", ""),
        ("http://a/x/y?z", "/x/y", "z"),
        ("http://a/", "/", ""),
    ],
)
def test_a_path_is_that_of_the_target_as_it_was_sent(target: str, path: str, query: str):
    one = request(f"GET {target} HTTP/1.1\r\nHost: a")
    assert (one.uri, one.path, one.query) == (target, path, query)


def test_a_client_of_a_unix_socket_has_no_address():
    assert request(template={"wsgi.url_scheme": "http", "REMOTE_ADDR": ""}).peer_addr == ("", "")


@pytest.mark.parametrize("peer", [("10.0.0.1", "80"), None])
def test_a_client_that_a_proxy_told_of_is_another_one_than_the_peer(peer: tuple[str, str] | None):
    template = {"wsgi.url_scheme": "http", "REMOTE_ADDR": "192.0.2.7", "greenhorn.peer_addr": peer}
    one = request(template=template)
    assert (one.remote_addr, one.peer_addr) == (("192.0.2.7", ""), peer or ("", ""))


# Headers.


def test_headers_that_nobody_changed_are_not_even_copied():
    one = request()
    before = one.head.fields
    one.take_over()
    assert one.head.fields is before


def test_changed_headers_are_those_of_the_environ():
    one = request("GET / HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\nX-Own: 1\r\nContent-Type: text/plain")
    one.headers = [pair for pair in one.headers if pair[0] != "X-GONE"]
    one.headers += [("X-NEW", "n"), ("x-lower", "l"), ("X_UNDER", "u"), ("X-OWN", "2"), ("Content-Language", "de")]
    one.take_over()
    assert one.head.fields == {
        "HTTP_HOST": "a",
        "HTTP_X_OWN": "1,2",
        "CONTENT_TYPE": "text/plain",
        "HTTP_X_NEW": "n",
        "HTTP_X_LOWER": "l",
        "HTTP_X_UNDER": "u",
        "HTTP_CONTENT_LANGUAGE": "de",
    }


def test_a_change_in_place_counts_as_well():
    one = request("GET / HTTP/1.1\r\nHost: a\r\nX-Own: 1")
    one.headers[1] = ("X-OWN", "2")
    one.take_over()
    assert one.head.fields == {"HTTP_HOST": "a", "HTTP_X_OWN": "2"}


def test_where_a_trusted_proxy_has_mounted_the_application_stays_when_a_header_changes():
    one = request("GET /told/x HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /told", allowed=("SCRIPT_NAME",))
    assert one.head.fields["SCRIPT_NAME"] == "/told"
    one.headers.append(("X-NEW", "n"))
    one.take_over()
    assert one.head.fields["SCRIPT_NAME"] == "/told"
    assert "HTTP_SCRIPT_NAME" not in one.head.fields


def test_a_stranger_cannot_mount_the_application_by_way_of_a_hook():
    one = request("GET /told/x HTTP/1.1\r\nHost: a\r\nScript-Name: /told")
    one.headers.append(("X-NEW", "n"))
    one.take_over()
    assert "SCRIPT_NAME" not in one.head.fields
    assert one.head.fields["HTTP_SCRIPT_NAME"] == "/told"


# In a worker.


def test_hooks_are_given_the_worker_the_request_the_environ_and_the_response(serve_app: ServeApp):
    seen = Seen()
    served = serve_app(seen, pre_request=seen.pre_request, post_request=seen.post_request)
    client = served.connect()
    for number in (1, 2):
        client.sendall(GET)
        assert read_answer(client)[1] == b"Hello, world!"
        wait_until(lambda number=number: len(seen.after) == number, "post_request")
    for before, after in zip(seen.before, seen.after, strict=True):
        assert before == after[:2]
        worker, req, environ, resp = after
        assert worker is served.worker
        assert req.path == "/shop"
        assert environ["PATH_INFO"] == "/shop"
        assert environ["QUERY_STRING"] == "page=7"
        assert (resp.status, resp.status_code, resp.sent) == ("200 OK", 200, 13)
        assert resp.headers == [("X-Answer", "yes")]
        assert resp.headers_sent
        assert not resp.should_close()
    assert seen.after[0][1] is not seen.after[1][1]
    assert served.worker.nr == 2


def test_a_header_that_pre_request_adds_reaches_the_application(serve_app: ServeApp):
    seen = Seen()

    def pre_request(_worker: Any, req: Any) -> None:
        req.headers.append(("X-REQUEST-ID", "42"))
        req.headers = [pair for pair in req.headers if pair[0] != "X-OWN"]

    served = serve_app(seen, pre_request=pre_request)
    client = served.connect()
    client.sendall(GET)
    read_answer(client)
    [environ] = seen.environs
    assert environ["HTTP_X_REQUEST_ID"] == "42"
    assert "HTTP_X_OWN" not in environ
    assert environ["HTTP_HOST"] == "a"


def test_a_pre_request_that_fails_is_a_500_and_the_next_connection_is_served(serve_app: ServeApp):
    seen = Seen()

    def pre_request(_worker: Any, req: Any) -> None:
        if req.path == "/shop":
            raise LookupError("it fails")

    served = serve_app(seen, access=True, pre_request=pre_request, post_request=seen.post_request)
    client = served.connect()
    client.sendall(GET)
    answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"LookupError" not in answer
    wait_until(lambda: seen.after, "post_request")
    worker, req, environ, resp = seen.after[0]
    assert (worker, req.path, environ, resp) == (served.worker, "/shop", {}, None)
    assert seen.environs == []
    assert "pre_request failed for GET /shop?page=7" in served.log()
    assert "LookupError: it fails" in served.log()
    assert '"GET /shop?page=7 HTTP/1.1" 500 ' in served.access_log()
    client = served.connect()
    client.sendall(GET.replace(b"/shop", b"/home"))
    assert read_answer(client)[1] == b"Hello, world!"


def test_a_post_request_that_fails_is_logged_and_harms_nobody(serve_app: ServeApp):
    def post_request(*_: Any) -> None:
        raise LookupError("it fails")

    served = serve_app(Seen(), post_request=post_request)
    client = served.connect()
    for _ in range(3):
        client.sendall(GET)
        assert read_answer(client)[1] == b"Hello, world!"
    wait_until(lambda: served.log().count("Exception in post_request hook") == 3, "the log")
    assert served.log().count("LookupError: it fails") == 3


def test_post_request_is_called_for_what_the_application_failed_at(serve_app: ServeApp):
    seen = Seen()

    def application(_environ: dict[str, Any], _start_response: Callable[..., Any]) -> list[bytes]:
        raise LookupError("it fails")

    served = serve_app(application, post_request=seen.post_request)
    client = served.connect()
    client.sendall(GET)
    assert receive_all(client).startswith(b"HTTP/1.1 500 ")
    wait_until(lambda: seen.after, "post_request")
    assert seen.after[0][1].path == "/shop"
    assert seen.after[0][2]["PATH_INFO"] == "/shop"


def test_what_is_no_request_is_neither_counted_nor_told_to_hooks(serve_app: ServeApp):
    seen = Seen()
    served = serve_app(seen, pre_request=seen.pre_request, post_request=seen.post_request)
    client = served.connect()
    client.sendall(b"NONSENSE\r\n\r\n")
    assert receive_all(client).startswith(b"HTTP/1.1 400 ")
    client = served.connect()
    client.sendall(GET)
    read_answer(client)
    wait_until(lambda: seen.after, "post_request")
    assert (len(seen.before), len(seen.after), served.worker.nr) == (1, 1, 1)


# Several threads.


def test_each_thread_has_its_own_request(serve_app: ServeApp):
    together = threading.Barrier(4)
    pairs: list[tuple[Any, ...]] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        together.wait(DEADLINE)
        start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
        return [b"!"]

    def post_request(_worker: Any, req: Any, environ: Any, resp: Any) -> None:
        pairs.append((req.path, environ["PATH_INFO"], environ["HTTP_X_ADDED"], resp.headers[0][1]))

    def pre_request(_worker: Any, req: Any) -> None:
        req.headers.append(("X-ADDED", req.path))

    served = serve_app(application, threads=4, pre_request=pre_request, post_request=post_request)
    clients = [served.connect() for _ in range(4)]
    for turn in range(20):
        for number, client in enumerate(clients):
            client.sendall(b"GET /%d-%d HTTP/1.1\r\nHost: a\r\n\r\n" % (turn, number))
        for client in clients:
            read_answer(client)
    wait_until(lambda: len(pairs) == 80, "all hooks")
    assert all(len(set(pair)) == 1 for pair in pairs)
    assert len({pair[0] for pair in pairs}) == 80
    assert served.worker.nr == 80


@pytest.mark.usefixtures("hasty_switches")
def test_the_exchange_is_asked_for_once_at_the_number_that_was_said(serve_app: ServeApp):
    served = serve_app(Seen(), threads=4, max_requests=50, timeout=0)
    clients = [served.connect() for _ in range(8)]

    def ask(client: Any) -> None:
        for _ in range(10):
            client.sendall(GET)
            read_answer(client)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    wait_until(lambda: served.worker.nr == 80, "the count")
    assert served.log().count("max_requests is reached") == 1
    served._channel.setblocking(False)
    assert served._channel.recv(2**20).count(b"retire\n") == 1


def test_before_its_number_a_worker_does_not_ask(serve_app: ServeApp):
    served = serve_app(Seen(), max_requests=3)
    client = served.connect()
    for number in (1, 2, 3):
        assert "max_requests is reached" not in served.log()
        client.sendall(GET)
        read_answer(client)
        wait_until(lambda number=number: served.worker.nr == number, "the count")
    wait_until(lambda: "max_requests is reached" in served.log(), "the wish to be exchanged")
    client.sendall(GET)
    assert read_answer(client)[1] == b"Hello, world!"
