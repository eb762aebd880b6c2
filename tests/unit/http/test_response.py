"""What may leave: names, values and status lines of an application, early hints, and the server's own answers."""

import re
from typing import Any, NamedTuple

import pytest

from greenhorn.errors import HTTPError
from greenhorn.http.head import RequestHead
from greenhorn.http.response import (
    DROPPED,
    NAMES,
    STATUSES,
    ResponseNames,
    Statuses,
    chunk,
    early_hints,
    error_response,
    read_length,
    server_fields,
)
from greenhorn.wsgi.exchange import FileWrapper, Response, respond


class Facts(NamedTuple):
    fields: str
    keep_alive: bool = True


FIELDS = "Server: greenhorn\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
CONTROLS = [chr(code) for code in [*range(0x20), 0x7F] if chr(code) != "\t"]


class Wire:
    """Keeps what is sent, and sends no files."""

    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> None:
        self.data += data

    def send_all(self, parts: list[bytes]) -> None:
        self.data += b"".join(parts)

    def measure(self, _file: FileWrapper) -> None:
        return None

    def send_file(self, _region: None) -> None:
        raise AssertionError("no file was measured")


def answer(status: Any, headers: Any, body: bytes = b"ok", *, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """What leaves when an application answers with these."""
    wire = Wire()
    response = Response(RequestHead(method, "/", version, "/", "", {}), wire, Facts(FIELDS))

    def app(_: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, headers)
        return [body]

    respond(app, {}, response)
    return wire.data


def head_lines(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_the_head_of_an_answer_has_exactly_its_lines() -> None:
    assert head_lines(answer("200 OK", [("X-A", "b"), ("x-a", "c d"), ("Set-Cookie", "e"), ("Set-Cookie", "f")])) == [
        b"HTTP/1.1 200 OK",
        b"Server: greenhorn",
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT",
        b"X-A: b",
        b"x-a: c d",
        b"Set-Cookie: e",
        b"Set-Cookie: f",
        b"Content-Length: 2",
    ]


@pytest.mark.parametrize("name", [name for lower in sorted(DROPPED) for name in (lower, lower.title(), lower.upper())])
def test_fields_that_are_the_servers_do_not_leave(name: str) -> None:
    plain = answer("200 OK", [("A", "b")])
    assert answer("200 OK", [(name, "chunked"), ("A", "b"), (name, "x")]) == plain


def test_a_connection_field_of_the_application_can_only_close() -> None:
    assert b"Connection: close" in head_lines(answer("200 OK", [("Connection", "Close")]))
    assert b"connection" not in answer("200 OK", [("Connection", "keep-alive, upgrade")]).lower()


@pytest.mark.parametrize(
    "name", ["", " ", "A ", " A", "A B", "A:", "A:B", "A\r\nB", "A\n", "\xe9", "\u0161", "A\x00", "A(", '"A"']
)
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="not a token"):
            answer("200 OK", [(name, "b")])


@pytest.mark.parametrize("name", ["A", "Content-Length", "Connection", "Server", "Transfer-Encoding"])
@pytest.mark.parametrize("char", CONTROLS)
def test_a_value_with_a_control_character_is_refused(name: str, char: str) -> None:
    for value in (f"a{char}b", f"{char}b", f"a{char}"):
        with pytest.raises(ValueError, match=r"control character|not a number"):
            answer("200 OK", [(name, value)])


@pytest.mark.parametrize("value", ["", " b ", "b\tc", "\xe9", "\x80\x85\xa0\xad\xff", '"\\;,'])
def test_every_other_character_of_latin_1_leaves_as_it_is(value: str) -> None:
    assert f"A: {value}".encode("latin-1") in head_lines(answer("200 OK", [("A", value)]))


@pytest.mark.parametrize("value", ["\u0161", "\u20ac", "\u010d\u010a", "\u2028", "\U0001f600", "a\u0100b"])
def test_a_value_beyond_latin_1_is_refused_by_start_response(value: str) -> None:
    response = Response(RequestHead("GET", "/", "HTTP/1.1", "/", "", {}), Wire(), Facts(FIELDS))
    with pytest.raises(ValueError, match="beyond Latin-1"):
        response.start_response("200 OK", [("A", value)])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"A", "b")], [("A", b"b")], [("A", None)], [("A", 1)], [("Content-Length", 2)], [("Content-Length", b"2")],
        [("Connection", b"close")], None, 1, [1], [(None, "b")],
    ],
    ids=repr,
)  # fmt: skip
def test_headers_that_are_not_pairs_of_text_are_refused(headers: Any) -> None:
    with pytest.raises(TypeError):
        answer("200 OK", headers)


@pytest.mark.parametrize(
    "status",
    [
        "", " ", "OK", "200OK", "20 OK", "2 OK", "099 OK", "000 OK", "1000 OK", "0200 OK", " 200 OK", "+20 OK",
        "-20 OK",
        "2O0 OK", "200\tOK", "200-OK", "200\r\nA: b", "200 OK\r\nA: b", "200 OK\n", "200 OK\r", "200 O\x00K",
        "200 O\x7fK",
        "\xb2\xb20 OK", "\u0662\u0660\u0660 OK", "200 \u0161",
    ],
)  # fmt: skip
def test_a_status_that_is_no_code_and_reason_is_refused(status: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="status"):
            answer(status, [])


@pytest.mark.parametrize("status", [b"200 OK", 200, None, ["200 OK"]])
def test_a_status_that_is_no_text_is_refused(status: Any) -> None:
    with pytest.raises(TypeError):
        answer(status, [])


@pytest.mark.parametrize("status", ["200 OK", "299 \xe9", "404 Not\tFound", "999 x", "200 ", "418 I'm a teapot!"])
def test_a_status_leaves_as_it_is(status: str) -> None:
    assert answer(status, []).startswith(f"HTTP/1.1 {status}\r\n".encode("latin-1"))


def test_a_status_without_a_reason_keeps_the_space_behind_its_code() -> None:
    assert head_lines(answer("200", []))[0] == b"HTTP/1.1 200 "  # RFC 9112 section 4


@pytest.mark.parametrize(
    "status", ["100 Continue", "101 x", "103 x", "204 No Content", "304 Not Modified", "199", "204"]
)
def test_statuses_that_have_no_body_end_with_their_head(status: str) -> None:
    assert STATUSES[status]
    assert answer(status, [], b"body").endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", ["200 OK", "205 x", "303 See Other", "305 x", "404 x", "500 x", "201", "999 x"])
def test_all_others_may_have_one(status: str) -> None:
    assert not STATUSES[status]
    assert answer(status, [], b"body").endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(
    "value", ["+2", "-2", "2_0", "0x2", "2,2", "2 2", "", " ", "two", "2.0", "\xb2", "\u0662", "\uff12"]
)
def test_a_length_of_the_application_that_is_no_number_of_bytes_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"Content-Length|int\(\)"):
        answer("200 OK", [("Content-Length", value)])


def test_two_lengths_that_differ_are_refused_and_two_that_agree_are_one() -> None:
    with pytest.raises(ValueError, match="two Content-Length"):
        answer("200 OK", [("Content-Length", "2"), ("content-length", "3")])
    data = answer("200 OK", [("Content-Length", "2"), ("content-length", " 2 ")])
    assert data.lower().count(b"content-length") == 1
    assert (read_length("2"), read_length("\t02 ", 2)) == (2, 2)


def test_early_hints_have_exactly_their_lines() -> None:
    assert early_hints([("Link", "</a>; rel=preload"), ("Link", "\xe9")]) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nLink: \xe9\r\n\r\n"
    )


@pytest.mark.parametrize(
    "header",
    [
        ("Link", "a\r\nB: c"), ("Link", "a\nb"), ("Link", "\x00"), ("Link", "\u0161"), ("Li nk", "a"), ("", "a"),
        ("Content-Length", "2"), ("Transfer-Encoding", "chunked"), ("Connection", "close"), ("Date", "a"),
    ],
)  # fmt: skip
def test_early_hints_that_may_not_leave_are_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"Link|token|early hints"):
        early_hints([("Link", "a"), header])


@pytest.mark.parametrize("header", [("Link", b"a"), (b"Link", "a"), ("Link", None), ("Link", 1)])
def test_early_hints_that_are_no_text_are_refused_as_a_final_answers_are(header: Any) -> None:
    with pytest.raises(TypeError):
        early_hints([header])


def test_a_chunk_has_its_size_in_hex() -> None:
    assert chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"


def test_the_servers_own_answer_has_exactly_its_lines() -> None:
    data = error_response(431, "too much", FIELDS)
    assert data == (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + FIELDS.encode() + b"Connection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 46\r\n\r\n"
        b"431 Request Header Fields Too Large: too much\n"
    )
    assert error_response(431, "too much", FIELDS, head_only=True) == data[: data.index(b"\r\n\r\n") + 4]


@pytest.mark.parametrize("status", [400, 403, 408, 413, 414, 417, 431, 500, 501, 503, 505])
def test_every_status_of_the_server_has_its_reason(status: int) -> None:
    error = HTTPError(status, "why")
    assert re.match(rb"HTTP/1\.1 %d [A-Z][A-Za-z -]+\r\n" % status, error_response(error.status, error.detail, FIELDS))


def test_the_servers_fields_are_two_whole_lines() -> None:
    pattern = r"Server: greenhorn\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n"
    assert re.fullmatch(pattern, server_fields("greenhorn"))


def test_applications_cannot_fill_the_memory_of_names_and_statuses() -> None:
    names, statuses = ResponseNames(), Statuses()
    for number in range(5000):
        assert names[f"X-{number}"] == NAMES["X-A"]
        assert not statuses[f"200 {number}"]
    assert len(names) <= names.REMEMBERED
    assert len(statuses) <= statuses.REMEMBERED
