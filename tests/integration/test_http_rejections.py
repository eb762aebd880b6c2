"""Requests that the server refuses: the answer, the line in the access log, and the end of the connection."""

from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.wire import connect, is_readable, pieces, refusals, refusals_behind, send_byte_by_byte

MARK = b"zq81"
"""Stands in every bad request, so that an echo of it can be seen."""
GOOD = b"POST /good HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ngood"
TAIL = b"x" * 50_000


def head(*fields: bytes, line: bytes = b"GET /zq81 HTTP/1.1", host: bytes | None = b"Host: zq81") -> bytes:
    """Return a head of these lines; `host=None` leaves the Host out."""
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


def chunked(body: bytes) -> bytes:
    """Return a request whose chunked body is `body`, as it stands."""
    return head(b"Transfer-Encoding: chunked", line=b"POST /zq81 HTTP/1.1") + body


REJECTED: dict[str, tuple[int, bytes]] = {
    "request line without a version": (400, head(line=b"GET /zq81")),
    "request line of one word": (400, head(line=b"zq81")),
    "request line with two spaces": (400, head(line=b"GET  /zq81 HTTP/1.1")),
    "request line with a tab": (400, head(line=b"GET\t/zq81 HTTP/1.1")),
    "request line with a space at its end": (400, head(line=b"GET /zq81 HTTP/1.1 ")),
    "a space in the target": (400, head(line=b"GET /zq 81 HTTP/1.1")),
    "a second empty line before the request": (400, b"\r\n\r\n" + head()),
    "method that is no token": (400, head(line=b"G(T /zq81 HTTP/1.1")),
    "target beyond ASCII": (400, head(line=b"GET /zq81\xff HTTP/1.1")),
    "target with a fragment": (400, head(line=b"GET /zq81#x HTTP/1.1")),
    "relative target": (400, head(line=b"GET zq81 HTTP/1.1")),
    "target of another scheme": (400, head(line=b"GET ftp://zq81/ HTTP/1.1")),
    "absolute target with a user": (400, head(line=b"GET http://user@zq81/ HTTP/1.1")),
    "absolute target without a host": (400, head(line=b"GET http:///zq81 HTTP/1.1")),
    "asterisk for GET": (400, head(line=b"GET * HTTP/1.1")),
    "authority for GET": (400, head(line=b"GET zq81:80 HTTP/1.1")),
    "path for CONNECT": (400, head(line=b"CONNECT /zq81 HTTP/1.1")),
    "lower-case protocol": (400, head(line=b"GET /zq81 http/1.1")),
    "version of two digits": (400, head(line=b"GET /zq81 HTTP/1.10")),
    "HTTP/0.9": (505, head(line=b"GET /zq81 HTTP/0.9")),
    "HTTP/1.2": (505, head(line=b"GET /zq81 HTTP/1.2")),
    "HTTP/2.0": (505, head(line=b"PRI * HTTP/2.0", host=None)),
    "no Host in HTTP/1.1": (400, head(host=None)),
    "two Hosts": (400, head(b"Host: zq81")),
    "two Hosts of which one is spelled otherwise": (400, head(b"hOST: zq81")),
    "Host with a path": (400, head(host=b"Host: zq81/x")),
    "Host with a user": (400, head(host=b"Host: x@zq81")),
    "Host with a list": (400, head(host=b"Host: zq81 x")),
    "Host with a named port": (400, head(host=b"Host: zq81:http")),
    "field without a colon": (400, head(b"zq81")),
    "field without a name": (400, head(b": zq81")),
    "space before the colon": (400, head(b"X : zq81")),
    "tab before the colon": (400, head(b"X\t: zq81")),
    "field name that is no token": (400, head(b"X(zq81): x")),
    "field name beyond ASCII": (400, head(b"X\xe9: zq81")),
    "folded field": (400, head(b"X: a", b" zq81")),
    "space before the first field": (400, head(b"X: zq81", host=b" Host: zq81")),
    "line that ends in LF": (400, b"GET /zq81 HTTP/1.1\nHost: zq81\r\n\r\n"),
    "head of LF lines": (400, b"GET /zq81 HTTP/1.1\nHost: zq81\n\n"),
    "CR in a value": (400, head(b"X: zq\r81")),
    "NUL in a value": (400, head(b"X: zq\x0081")),
    "escape in a value": (400, head(b"X: zq\x1b81")),
    "DEL in a value": (400, head(b"X: zq\x7f81")),
    "two Content-Types": (400, head(b"Content-Type: zq81", b"Content-Type: zq81")),
    "two equal Content-Lengths": (400, head(b"Content-Length: 4", b"Content-Length: 4") + MARK),
    "Content-Length as a list": (400, head(b"Content-Length: 4, 4") + MARK),
    "Content-Length with a sign": (400, head(b"Content-Length: +4") + MARK),
    "negative Content-Length": (400, head(b"Content-Length: -4") + MARK),
    "Content-Length in hex": (400, head(b"Content-Length: 0x4") + MARK),
    "Content-Length with an underscore": (400, head(b"Content-Length: 1_0") + MARK),
    "Content-Length that is empty": (400, head(b"Content-Length:") + MARK),
    "Content-Length beyond ASCII": (400, head(b"Content-Length: \xb2") + MARK),
    "Content-Length of a thousand digits": (400, head(b"Content-Length: " + b"1" * 1000) + MARK),
    "Content-Length and Transfer-Encoding": (
        400,
        head(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"4\r\nzq81\r\n0\r\n\r\n",
    ),
    "Transfer-Encoding in HTTP/1.0": (
        400,
        head(b"Transfer-Encoding: chunked", line=b"POST /zq81 HTTP/1.0") + b"0\r\n\r\n",
    ),
    "chunked twice": (400, head(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n"),
    "chunked twice in two fields": (400, head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    "chunked before another coding": (400, head(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n"),
    "Transfer-Encoding with a control character": (400, head(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n"),
    "unknown coding": (501, head(b"Transfer-Encoding: zq81")),
    "coding before chunked": (501, head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    "unknown expectation": (417, head(b"Expect: zq81", b"Content-Length: 4") + MARK),
    "chunk size that is no hex": (400, chunked(b"zq81\r\n")),
    "chunk size with a prefix": (400, chunked(b"0x4\r\nzq81\r\n0\r\n\r\n")),
    "chunk size with a sign": (400, chunked(b"+4\r\nzq81\r\n0\r\n\r\n")),
    "chunk size with an underscore": (400, chunked(b"0_4\r\nzq81\r\n0\r\n\r\n")),
    "chunk size that is empty": (400, chunked(b"\r\nzq81\r\n0\r\n\r\n")),
    "chunk size of 17 digits": (400, chunked(b"1" * 17 + b"\r\nzq81")),
    "chunk size with LF": (400, chunked(b"4\nzq81\n0\n\n")),
    "chunk extension that is no token": (400, chunked(b"4;(=1\r\nzq81\r\n0\r\n\r\n")),
    "chunk extension without an end": (400, chunked(b"4;" + b"x" * 20_000)),
    "chunk longer than its size": (400, chunked(b"3\r\nzq81\r\n0\r\n\r\n")),
    "chunk shorter than its size": (400, chunked(b"5\r\nzq81\r\n0\r\n\r\n")),
    "trailer that frames": (400, chunked(b"4\r\nzq81\r\n0\r\nContent-Length: 4\r\n\r\n")),
    "trailer that names the host": (400, chunked(b"4\r\nzq81\r\n0\r\nHost: zq81\r\n\r\n")),
    "trailer without a colon": (400, chunked(b"4\r\nzq81\r\n0\r\nzq81\r\n\r\n")),
    "trailer with NUL": (400, chunked(b"4\r\nzq81\r\n0\r\nX: \x00\r\n\r\n")),
}


@pytest.fixture(scope="module")
def site(module_server: StartServer, applications: Path) -> Server:
    return module_server("mirror", "--access-logfile", "-", pythonpath=(applications,))


def assert_refused(site: Server, answer: Answer, status: int, seen: int) -> None:
    """Check the answer and its line in the access log, the only one behind the first `seen` ones."""
    assert answer.status == status
    assert answer.headers.get_content_type() == "text/plain"
    assert answer.headers.get_all("Connection") == ["close"]
    assert answer.headers.get_all("Content-Length") == [str(len(answer.body))]
    assert len(answer.headers.get_all("Server", [])) == 1
    assert parsedate_to_datetime(answer.headers["Date"]).tzinfo is not None
    assert len(answer.headers.get_all("Date", [])) == 1
    assert MARK.decode() not in f"{answer.reason}{answer.headers}{answer.text}"
    lines = refusals_behind(site, seen)
    assert [int(line[3]) for line in lines] == [status]
    assert answer.text == f"{status} {answer.reason}: {lines[0][5]}\n"
    assert lines[0][1] == "127.0.0.1"


@pytest.mark.parametrize("delivery", ["whole", "byte by byte", "after a good one"])
@pytest.mark.parametrize(("status", "bad"), REJECTED.values(), ids=REJECTED)
def test_a_bad_request_is_refused_with_a_reason_in_the_log_and_an_orderly_end(
    site: Server, status: int, bad: bytes, delivery: str
):
    seen = len(refusals(site))
    connection = connect(site)
    reader = AnswerReader(connection)
    if delivery == "byte by byte":
        send_byte_by_byte(connection, bad)
    else:
        connection.sendall(GOOD + bad if delivery == "after a good one" else bad)
    if delivery == "after a good one":
        assert reader.read("POST").status == 200
    answer = reader.read()
    for piece in pieces(TAIL, 5000):
        connection.sendall(piece)
    assert reader.rest() == b""
    assert_refused(site, answer, status, seen)
    assert site.request(GOOD).status == 200


def test_head_is_refused_without_a_body(site: Server):
    raw = site.exchange(head(line=b"HEAD /zq81 HTTP/1.1", host=None))
    assert raw.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\r\n\r\n") == 1


def test_what_a_refused_request_says_cannot_forge_a_line_of_the_log(site: Server):
    seen = len(refusals(site))
    bad = b'GET /"\xe9\\\x1b[2J%0a HTTP/1.1\r\nHost: x\r\n\r\n'
    assert site.request(bad).status == 400
    [line] = refusals_behind(site, seen)
    assert line[2] == r"GET /\x22\xe9\x5c\x1b[2J%0a HTTP/1.1"


def test_nothing_behind_a_refused_request_is_taken_for_a_request(site: Server):
    before = len(site.stdout().splitlines())
    with connect(site) as connection:
        connection.sendall(head(host=None) + GOOD * 3)
        reader = AnswerReader(connection)
        assert reader.read().status == 400
        assert reader.rest() == b""
    assert len(site.stdout().splitlines()) == before + 1


def test_a_refused_client_that_never_stops_sending_is_cut_off(site: Server):
    with connect(site) as connection:
        connection.sendall(head(host=None))
        assert is_readable(connection, DEADLINE)

        def is_cut_off() -> bool:
            try:
                connection.sendall(TAIL)
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        wait_until(is_cut_off, what="the end of the connection")


def test_a_refused_client_that_never_closes_is_let_go(site: Server):
    with connect(site) as connection:
        connection.sendall(head(host=None))
        reader = AnswerReader(connection)
        assert reader.read().status == 400
        assert reader.rest() == b""

        def is_let_go() -> bool:
            try:
                connection.send(b"x")
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        wait_until(is_let_go, what="the end of the connection")
