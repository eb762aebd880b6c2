"""PEP 3333 between the server and an application that behaves, and one that does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.applications import faulty, validated
from integration.kinds import EVERY_KIND, ONE_REQUEST, differs, keeps_connections
from integration.running import Server, StartServer
from integration.wire import connect, ends_in_order, receive_exactly, receive_head, receive_to_end, reset

pytestmark = EVERY_KIND  # what PEP 3333 says is of WSGI alone

GOOD = b"GET /do/good HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b"one\ntwo\nthree"
BODIES = {
    "GET": b"\r\n",
    "HEAD": b"\r\n",
    "POST": b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\n" + BODY,
    "PUT": b"Transfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n9\r\ntwo\nthree\r\n0\r\n\r\n",
}


@pytest.fixture(scope="module")
def shared(module_server: StartServer, applications: Path) -> Server:
    return module_server("faulty", "--threads", "2", pythonpath=(applications,), allow_traceback=True)


@pytest.fixture
def site(shared: Server) -> Iterator[Server]:
    """The server of this module, whose worker must be the same, and serve, after each test."""
    worker = shared.worker_pid()
    yield shared
    assert shared.request(GOOD).body == b"good"
    assert shared.worker_pid() == worker


def ask(path: str, version: str = "1.1") -> bytes:
    """Return a request that closes its connection."""
    return f"GET {path} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(scope="module")
def valid(module_server: StartServer, applications: Path) -> Iterator[Server]:
    site = module_server("validated", pythonpath=(applications,))
    first = f"/{next(iter(validated.READ))}/{next(iter(validated.SEND))}?a=b"
    assert site.request(ask(first)).status == 200  # also for a class that has no test of its own
    yield site
    assert "without being closed" not in site.log()
    assert "validated lines\n" in site.log()


@differs("sync", row=ONE_REQUEST)
@pytest.mark.parametrize("method", BODIES)
@pytest.mark.parametrize("reading", validated.READ)
@pytest.mark.parametrize("sending", validated.SEND)
def test_the_validator_of_the_standard_library_is_content(valid: Server, method: str, reading: str, sending: str):
    line = f"{method} /{reading}/{sending}?a=b HTTP/1.1\r\nHost: x\r\n".encode()
    with connect(valid) as connection:
        reader = AnswerReader(connection)
        for _ in range(2):
            connection.sendall(line + BODIES[method])
            answer = reader.read(method)
            assert answer.status == 200
            assert answer.body == (BODY if method in ("POST", "PUT") else b"")


@pytest.mark.parametrize("name", faulty.ERRORS)
@pytest.mark.parametrize("moment", ["call", "started", "iter", "first"])
def test_an_error_before_the_head_is_answered_500_and_logged(site: Server, moment: str, name: str):
    before = site.log().count("Traceback")
    with connect(site) as connection:
        connection.sendall(ask(f"/{moment}/{name}").replace(b"Connection: close\r\n", b""))
        reader = AnswerReader(connection)
        answer = reader.read()
        assert answer.status == (200 if (moment, name) == ("first", "StopIteration") else 500)
        if answer.status == 500:
            assert answer.headers.get_content_type() == "text/plain"
            assert answer.headers["Connection"] == "close"
            assert "zq81" not in answer.text
            assert reader.rest() == b""
            assert site.log().count("Traceback") > before


@pytest.mark.parametrize("name", [name for name in faulty.ERRORS if name != "StopIteration"])
@pytest.mark.parametrize("moment", ["written", "second"])
def test_an_error_after_the_head_ends_the_connection_without_a_last_chunk(site: Server, moment: str, name: str):
    raw = site.exchange(ask(f"/{moment}/{name}"))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"4\r\none \r\n"
    site.wait_for_log(f"(?s)/{moment}/{name}.*Traceback")


@pytest.mark.parametrize("moment", ["written", "second"])
def test_an_error_after_the_head_resets_a_connection_whose_end_would_be_that_of_the_answer(site: Server, moment: str):
    with connect(site) as connection:
        connection.sendall(ask(f"/{moment}/OSError", "1.0"))

        with pytest.raises(ConnectionResetError):
            receive_to_end(connection)


@pytest.mark.parametrize("moment", ["first", "second", "close"])
def test_close_is_called_whatever_happens(site: Server, moment: str):
    before = site.log().count("closed\n")
    site.exchange(ask(f"/{moment}/OSError"))
    assert site.log().count("closed\n") == before + 1


@pytest.mark.parametrize("name", faulty.ERRORS)
def test_an_error_in_close_costs_nothing_but_the_connection(site: Server, name: str):
    with connect(site) as connection:
        connection.sendall(ask(f"/close/{name}"))
        assert AnswerReader(connection).begin().read(13) == b"one two three"


@pytest.mark.parametrize("path", ["/do/replaced", "/do/replaced-bodiless", "/do/replaced-closing"])
def test_start_response_with_exc_info_replaces_what_has_not_left(site: Server, path: str):
    answer = site.request(ask(path))
    assert (answer.status, answer.reason) == (503, "Sorry")
    assert answer.headers.get_all("Content-Type") == ["text/plain"]
    assert "zq81" not in str(answer.headers)
    assert answer.body == b"come back later"


def test_start_response_with_exc_info_raises_it_when_the_head_has_left(site: Server):
    raw = site.exchange(ask("/do/replaced-too-late"))
    assert raw.endswith(b"\r\n\r\n4\r\none \r\n")
    site.wait_for_log(r"^ValueError: zq81$")


@pytest.mark.parametrize(
    "name",
    [
        "started-twice",
        "never-started",
        "never-started-empty",
        "never-started-generator",
        "returned-none",
        "returned-text",
        "yielded-text",
        "yielded-none",
        "wrote-text",
    ],
)
def test_an_application_that_breaks_the_protocol_is_answered_500(site: Server, name: str):
    answer = site.request(ask(f"/do/{name}"))
    assert answer.status == 500
    assert b"never" not in answer.body


@pytest.mark.parametrize(("name", "told"), [("endless", "endless: closed"), ("endless-write", "endless-write: told")])
def test_an_application_learns_that_its_client_has_gone(site: Server, name: str, told: str):
    connection = connect(site)
    connection.sendall(ask(f"/do/{name}"))
    assert receive_head(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    receive_exactly(connection, 100_000)
    reset(connection)
    site.wait_for_log(told)


FORMS = ["declared-list", "declared-parts", "declared-generator", "declared-write"]


@pytest.mark.parametrize("form", FORMS)
def test_fewer_bytes_than_declared_end_the_connection_with_a_warning(site: Server, form: str):
    with connect(site) as connection:
        connection.sendall(f"GET /do/{form}?10 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"\r\nContent-Length: 10\r\n" in receive_head(connection)
        assert receive_exactly(connection, 4) == b"data"
        assert ends_in_order(connection)
    site.wait_for_log(rf"WARNING\] .*/do/{form}\?10.* 4 bytes.* 10$")


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_more_bytes_than_declared_are_cut_with_a_warning(site: Server, form: str, length: int, kind: str):
    with connect(site) as connection:
        connection.sendall(f"GET /do/{form}?{length} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + GOOD)
        reader = AnswerReader(connection)
        assert reader.read().body == b"data"[:length]
        assert reader.read().body == b"good" if keeps_connections(kind) else reader.rest() == b""
    site.wait_for_log(rf"WARNING\] .*/do/{form}\?{length}: .* {length}$")


@pytest.mark.parametrize("length", [3, 10])
@pytest.mark.parametrize("form", FORMS)
def test_head_has_the_declared_length_and_needs_no_body(site: Server, form: str, length: int, kind: str):
    with connect(site) as connection:
        connection.sendall(f"HEAD /do/{form}?{length} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + GOOD)
        reader = AnswerReader(connection)
        assert reader.read("HEAD").headers["Content-Length"] == str(length)
        assert reader.read().body == b"good" if keeps_connections(kind) else reader.rest() == b""
