"""The turns of a connection through a real worker: what the client gets, what the logs say, what is left behind."""

import hashlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.net.state import State
from unit.net.sockets import open_files
from unit.net.waiting import wait_until
from unit.workers.inprocess import TestWorker, hello, is_closed, read_answer, receive, receive_all, wait_for_state

ServeApp = Callable[..., TestWorker]
Start = Callable[..., Callable[[bytes], None]]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def ask(served: TestWorker, data: bytes, listener: int = 0) -> bytes:
    """Send `data`, end the stream, and return everything that comes."""
    client = served.connect(listener)
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    return receive_all(client)


def show(*keys: str) -> Callable[..., list[bytes]]:
    """An application that answers with these keys of its environ."""

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        return [" ".join(repr(environ.get(key)) for key in keys).encode()]

    return app


def digest(environ: dict[str, Any], start_response: Start) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    framing = [environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING")]
    return [f"{len(body)} {hashlib.sha256(body).hexdigest()[:8]} {framing}".encode()]


# Bodies.


@pytest.mark.parametrize("size", [0, 1, 1000, 131_072, 131_073, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_reaches_the_application_whole_and_with_its_length(serve_app: ServeApp, size: int, chunked: bool):
    served = serve_app(digest)
    body = bytes(number % 251 for number in range(1000)) * (size // 1000) + b"x" * (size % 1000)
    if chunked:
        pieces = [body[at : at + 70_001] for at in range(0, size, 70_001)]
        data = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (size, body)
    answer = ask(served, data).partition(b"\r\n\r\n")[2].decode()
    assert answer == f"{size} {hashlib.sha256(body).hexdigest()[:8]} ['{size}', None]"


def test_a_large_body_leaves_no_file_open_and_no_name(serve_app: ServeApp, tmp_path: Path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    before = open_files()
    seen: list[list[str]] = []

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        seen.append([name for name in open_files() if str(folder) in name])
        seen.append([path.name for path in folder.iterdir()])
        return digest(environ, start_response)

    served = serve_app(app, tmp_upload_dir=str(folder), body_buffer_size=1000)
    before = open_files()
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
    assert read_answer(client)[1].startswith(b"2000 ")
    wait_for_state(served, [State.IDLE])
    assert len(seen[0]) == 1
    assert seen[1] == []
    assert open_files() == before


def test_the_file_of_a_body_that_never_comes_whole_is_given_back(serve_app: ServeApp, tmp_path: Path):
    served = serve_app(digest, tmp_upload_dir=str(tmp_path), body_buffer_size=1000)
    before = open_files()
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + b"x" * 2000)
    wait_until(lambda: len(open_files()) > len(before), "the body's file")
    client.close()
    wait_for_state(served, [])
    wait_until(lambda: open_files() == before, "the end of the body's file")


def test_a_folder_for_bodies_that_is_not_there_is_told_and_answered(serve_app: ServeApp, tmp_path: Path):
    served = serve_app(digest, tmp_upload_dir=str(tmp_path / "missing"), body_buffer_size=1000)
    answer = ask(served, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert str(tmp_path / "missing") in served.log()


@pytest.mark.parametrize(
    "data", [b"Content-Length: 11\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n"]
)
def test_a_body_above_the_limit_is_refused_as_soon_as_that_is_known(serve_app: ServeApp, data: bytes):
    served = serve_app(digest, limit_request_body=10)
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + data)
    assert receive_all(client).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(serve_app: ServeApp):
    served = serve_app(digest)
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert receive(client, 25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"abc")
    assert read_answer(client)[1].startswith(b"3 ")


def test_a_client_whose_body_is_here_gets_no_leave_to_send_it(serve_app: ServeApp):
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"
    assert ask(serve_app(digest), data).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_sent_some_of_its_body_gets_no_leave_for_the_rest(serve_app: ServeApp):
    served = serve_app(digest)
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nab")
    wait_for_state(served, [State.BODY])
    client.sendall(b"c")
    assert read_answer(client)[0].startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_body_that_is_refused_is_not_asked_for(serve_app: ServeApp):
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n"
    assert ask(serve_app(digest, limit_request_body=10), data).startswith(b"HTTP/1.1 413 ")


# What the application does wrong.


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError, OSError, ConnectionResetError, BrokenPipeError, SystemExit, KeyboardInterrupt, GeneratorExit],
)
def test_whatever_the_application_raises_is_a_500_and_the_worker_goes_on(
    serve_app: ServeApp, error: type[BaseException]
):
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        if environ["PATH_INFO"] == "/good":
            return hello(environ, start_response)
        raise error("of the application's own")

    served = serve_app(app, threads=1)
    for _ in range(2):
        answer = ask(served, GET)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"own" not in answer
    assert "Error handling request /" in served.log()
    assert "of the application's own" in served.log()
    assert ask(served, GET.replace(b"/", b"/good", 1)).endswith(b"Hello, world!")


def test_an_answer_that_fails_after_its_head_ends_without_a_last_chunk(serve_app: ServeApp):
    def app(_environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"some"
        raise OSError("of the application's own")

    served = serve_app(app)
    client = served.connect()
    client.sendall(GET)
    answer = receive_all(client)
    assert answer.endswith(b"4\r\nsome\r\n")
    assert "of the application's own" in served.log()


def test_a_wrong_length_is_told_to_the_log(serve_app: ServeApp):
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "9")])
        return [b"short"]

    served = serve_app(app)
    client = served.connect()
    client.sendall(GET)
    assert receive_all(client).endswith(b"short")
    assert "the body has 5 bytes, Content-Length says 9" in served.log()


def test_an_answer_without_a_body_that_becomes_an_error_page_keeps_the_framing(serve_app: ServeApp):
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        if environ["PATH_INFO"] == "/second":
            return hello(environ, start_response)
        start_response("204 No Content", [])
        start_response("500 Oops", [("Content-Length", "5")], (OSError, OSError(), None))
        return [b"sorry"]

    answer = ask(serve_app(app), GET + GET.replace(b"/", b"/second", 1))
    assert b"\r\n\r\nsorryHTTP/1.1 200 OK\r\n" in answer


# Refusals, and the access log.


def test_a_refused_request_is_answered_logged_and_not_passed_on(serve_app: ServeApp):
    served = serve_app(hello, access=True)
    answer = ask(served, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    line = wait_until(served.access_log, "the line")
    assert '"GET / HTTP/1.1" 400 ' in line
    assert line.endswith('"-" "-" "Host is missing"\n')
    assert "Invalid request from ip=127.0.0.1: 400 Host is missing" in served.log()


def test_each_answer_has_one_line_in_the_access_log(serve_app: ServeApp):
    served = serve_app(hello, access=True)
    ask(served, GET * 3 + b"nonsense\r\n\r\n")
    lines = served.access_log().splitlines()
    assert [line.split('"')[1] for line in lines] == ["GET / HTTP/1.1"] * 3 + ["nonsense"]
    assert all(" 200 13 " in line for line in lines[:3])


def test_a_failed_request_has_its_status_in_the_access_log(serve_app: ServeApp):
    def app(_environ: dict[str, Any], _start_response: Start) -> list[bytes]:
        raise ZeroDivisionError

    served = serve_app(app, access=True)
    ask(served, GET)
    assert ' "GET / HTTP/1.1" 500 ' in served.access_log()


def test_a_head_request_that_is_refused_gets_no_body(serve_app: ServeApp):
    def app(_environ: dict[str, Any], _start_response: Start) -> list[bytes]:
        raise ZeroDivisionError

    answer = ask(serve_app(app), GET.replace(b"GET", b"HEAD"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\n")


def test_the_answer_to_a_client_that_still_sends_is_not_lost(serve_app: ServeApp):
    served = serve_app(hello, limit_request_body=10)
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n" + b"x" * 40_000)
    assert receive_all(client).startswith(b"HTTP/1.1 413 ")
    wait_for_state(served, [State.LINGER])
    assert not is_closed_by_reset(client)


def is_closed_by_reset(client: socket.socket) -> bool:
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


# Keeping and closing.


@pytest.mark.parametrize(
    ("lines", "version", "stays"),
    [("", "1.1", True), ("Connection: close\r\n", "1.1", False), ("", "1.0", False),
     ("Connection: keep-alive\r\n", "1.0", True)],
)  # fmt: skip
def test_a_connection_stays_when_both_sides_want_it(serve_app: ServeApp, lines: str, version: str, stays: bool):
    served = serve_app(hello)
    client = served.connect()
    client.sendall(f"GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n".encode())
    assert read_answer(client)[1] == b"Hello, world!"
    if stays:
        client.sendall(GET)
        assert read_answer(client)[1] == b"Hello, world!"
    else:
        wait_until(lambda: is_closed(client), "the connection's end")


def test_a_keep_alive_time_of_none_closes_after_each_answer(serve_app: ServeApp):
    served = serve_app(hello, keepalive=0)
    client = served.connect()
    client.sendall(GET)
    assert b"\r\nConnection: close\r\n" in receive_all(client)


# Who the client is.


def test_a_trusted_proxy_tells_the_scheme_and_a_stranger_does_not(serve_app: ServeApp):
    request = GET[:-2] + b"X-Forwarded-Proto: https\r\n\r\n"
    assert ask(serve_app(show("wsgi.url_scheme")), request).endswith(b"'https'")


def test_a_stranger_does_not_tell_the_scheme(serve_app: ServeApp):
    request = GET[:-2] + b"X-Forwarded-Proto: https\r\n\r\n"
    served = serve_app(show("wsgi.url_scheme"), forwarded_allow_ips=("192.0.2.1",))
    assert ask(served, request).endswith(b"'http'")


def test_fields_that_contradict_each_other_about_the_scheme_are_refused(serve_app: ServeApp):
    request = GET[:-2] + b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n"
    assert ask(serve_app(hello), request).startswith(b"HTTP/1.1 400 ")


def test_the_port_behind_a_proxy_on_a_unix_socket_is_that_of_the_scheme_it_tells(serve_app: ServeApp, tmp_path: Path):
    served = serve_app(show("SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme"), bind=(f"unix:{tmp_path}/s",))
    request = b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-Proto: https\r\n\r\n"
    assert ask(served, request).endswith(b"'example.com' '443' 'https'")


def test_a_proxy_header_names_the_client(serve_app: ServeApp):
    served = serve_app(show("REMOTE_ADDR", "REMOTE_PORT", "PROXY_ADDR", "PROXY_PORT"), proxy_protocol="auto")
    client = served.connect()
    client.sendall(b"PROXY TCP4 192.0.2.9 192.0")
    wait_for_state(served, [State.HANDSHAKE])
    client.sendall(b".2.1 1234 80\r\n" + GET)
    assert read_answer(client)[1] == b"'192.0.2.9' '1234' '192.0.2.1' '80'"
    client.sendall(GET)
    assert read_answer(client)[1] == b"'192.0.2.9' '1234' '192.0.2.1' '80'"


def test_a_proxy_header_of_a_stranger_is_refused(serve_app: ServeApp):
    served = serve_app(hello, proxy_protocol="auto", proxy_allow_ips=("192.0.2.1",))
    assert ask(served, b"PROXY TCP4 192.0.2.9 192.0.2.1 1234 80\r\n" + GET).startswith(b"HTTP/1.1 403 ")


def test_a_proxy_header_is_optional(serve_app: ServeApp):
    assert ask(serve_app(hello, proxy_protocol="auto"), GET).endswith(b"Hello, world!")


# Files.


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_no_descriptor_of_a_file_is_left_open_by_an_answer(serve_app: ServeApp, tmp_path: Path, method: bytes):
    path = tmp_path / "file"
    path.write_bytes(b"F" * 5000)

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    served = serve_app(app)
    before = open_files()
    for _ in range(5):
        ask(served, GET.replace(b"GET", method))
    wait_for_state(served, [])
    assert open_files() == before
