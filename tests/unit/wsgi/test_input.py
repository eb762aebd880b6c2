"""wsgi.input of a body that is read while it comes: what a read gives, what it asks for, and when it fails."""

import io
from collections.abc import Iterable
from typing import Any

import pytest

from greenhorn.errors import ClientGone, RequestBodyError
from greenhorn.http.body import ChunkedBody, LengthBody
from greenhorn.http.head import Limits
from greenhorn.wsgi.exchange import Response
from greenhorn.wsgi.input import READ_AHEAD, open_stream
from unit.wsgi.recording import Facts, RecordingOutput, make_head

BODY = b"one\ntwo\n\nthree and more\nend"
WIRE = b"9\r\none\ntwo\n\n\r\n12\r\nthree and more\nend\r\n0\r\nX-Trailer: x\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\n"


class Script:
    """What the client sends, piece by piece; an exception is raised where it stands."""

    def __init__(self, pieces: Iterable[bytes | Exception]) -> None:
        self._pieces = list(pieces)
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        assert 0 < size <= READ_AHEAD
        self.calls += 1
        assert self._pieces, "it waits for bytes that it does not need"
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        assert len(piece) <= size
        return piece


class Stream:
    """A streamed body with all that belongs to it."""

    def __init__(
        self,
        *pieces: bytes | Exception,
        begun: bytes = b"",
        limit: int = 0,
        length: int | None = None,
        keep_alive: bool = True,
    ) -> None:
        self.script = Script(pieces)
        head = make_head("POST")
        head.keep_alive = keep_alive
        self.output = RecordingOutput()
        self.response = Response(head, self.output, Facts())
        self.decoder: Any = ChunkedBody(Limits()) if length is None else LengthBody(length)
        if begun and length is not None:
            self.decoder.feed(begun)
        self.file: Any = open_stream(self.decoder, self.script, begun, limit, self.response)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# What a read gives.


@pytest.mark.parametrize("size", range(1, len(WIRE) + 1))
def test_a_body_is_the_same_however_it_comes(size: int):
    assert Stream(*cut(WIRE, size)).file.read() == BODY
    assert Stream(*cut(BODY, size), length=len(BODY)).file.read() == BODY


@pytest.mark.parametrize("size", [1, 5, 100])
def test_every_way_to_read_gives_what_a_file_would(size: int):
    ways = [
        lambda file: [file.read(4), file.read(5), file.read(1000), file.read(1)],
        lambda file: [file.readline(), file.readline(2), file.readlines()],
        lambda file: [file.readlines(1), file.read()],
        lambda file: [file.read(0), next(iter(file)), list(file), file.read()],
        lambda file: [bytes(file.read(-1)), file.read(-1)],
    ]
    for way in ways:
        expected = way(io.BytesIO(BODY))  # type: ignore[no-untyped-call]
        assert way(Stream(*cut(WIRE, size)).file) == expected  # type: ignore[no-untyped-call]
        assert way(Stream(*cut(BODY, size), length=len(BODY)).file) == expected  # type: ignore[no-untyped-call]


def test_what_was_decoded_before_comes_first_and_costs_no_wait():
    stream = Stream(b"more", begun=b"begun ", length=10)
    assert stream.file.read(6) == b"begun "
    assert stream.script.calls == 0
    assert stream.file.read() == b"more"


def test_what_has_come_can_be_had_without_a_wait_for_the_rest():
    stream = Stream(b"5\r\nfirst", b"\r\n5\r\nother\r\n", b"0\r\n\r\n")
    assert stream.file.read1(100) == b"first"
    assert stream.script.calls == 1
    assert stream.file.read1(100) == b"other"
    assert stream.file.read1(100) == b""


def test_a_large_body_needs_no_room_for_all_of_it():
    pieces = [bytes([number]) * READ_AHEAD for number in range(64)]
    stream = Stream(*pieces, length=64 * READ_AHEAD)
    for piece in pieces:
        assert stream.file.read(READ_AHEAD) == piece
    assert stream.file.read(1) == b""


# What a read asks for.


def test_nothing_is_asked_for_before_the_first_read():
    assert Stream(BODY, length=len(BODY)).script.calls == 0


@pytest.mark.parametrize("wire", [WIRE, b"0\r\n\r\n"])
def test_nothing_is_asked_for_behind_the_end(wire: bytes):
    stream = Stream(wire)
    stream.file.read()
    for _ in range(3):
        assert stream.file.read() == stream.file.read(1) == stream.file.readline() == b""
    assert stream.script.calls == 1


def test_the_beginning_of_the_next_request_is_no_part_of_the_body():
    for stream in (Stream(WIRE + NEXT), Stream(BODY + NEXT, length=len(BODY))):
        assert stream.file.read() == BODY
        assert stream.decoder.excess == NEXT


# When it fails.


@pytest.mark.parametrize("size", range(len(WIRE)))
def test_the_end_of_the_stream_before_that_of_the_body_is_a_client_that_left(size: int):
    stream = Stream(*cut(WIRE[:size], 7), b"")
    with pytest.raises(ClientGone):
        stream.file.read()
    before = stream.script.calls
    for read in (stream.file.read, stream.file.readline, lambda: stream.file.read1(1)):
        with pytest.raises(ConnectionError):
            read()
    assert stream.script.calls == before


@pytest.mark.parametrize("size", range(len(BODY)))
def test_the_same_holds_for_a_body_with_a_length(size: int):
    with pytest.raises(ClientGone):
        Stream(*cut(BODY[:size], 7), b"", length=len(BODY)).file.read()


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"zz\r\n", 400),
        (b"3\r\nabcd\r\n", 400),
        (b"0\r\nContent-Length: 3\r\n\r\n", 400),
        (b"0\r\nA: " + b"x" * 9000, 431),
    ],
)
def test_what_is_no_body_is_an_oserror_with_its_status(wire: bytes, status: int):
    stream = Stream(b"5\r\nfirst\r\n", wire)
    assert stream.file.read(5) == b"first"
    for _ in range(2):
        with pytest.raises(OSError) as raised:  # noqa: PT011 - its kind is looked at
            stream.file.read()
        assert isinstance(raised.value, RequestBodyError)
        assert raised.value.status == status
    assert stream.script.calls == 2


@pytest.mark.parametrize("error", [RequestBodyError(408, "the body did not come in time"), ClientGone("reset")])
def test_what_the_wait_raises_is_raised_again_without_another_wait(error: OSError):
    stream = Stream(b"first", error, length=10)
    assert stream.file.read1(100) == b"first"
    for _ in range(3):
        with pytest.raises(type(error), match=str(error)):
            stream.file.read(1)
    assert stream.script.calls == 2


def test_a_body_of_just_the_limit_is_taken():
    assert Stream(b"more", begun=b"begun ", length=10, limit=10).file.read() == b"begun more"
    assert Stream(WIRE, limit=len(BODY)).file.read() == BODY


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_byte_beyond_the_limit_is_413(size: int):
    stream = Stream(*cut(WIRE, size), limit=len(BODY) - 1)
    with pytest.raises(RequestBodyError) as raised:
        stream.file.read()
    assert raised.value.status == 413


def test_what_came_before_counts_for_the_limit():
    stream = Stream(b"5\r\nother\r\n", begun=b"begun ", limit=10)
    assert stream.file.read(6) == b"begun "
    with pytest.raises(RequestBodyError, match="limit_request_body"):
        stream.file.read(1)


def test_a_read_behind_the_exchange_is_refused():
    stream = Stream(BODY, length=len(BODY))
    stream.file.close()
    with pytest.raises(ValueError, match="closed"):
        stream.file.read()
    assert stream.script.calls == 0


# Whether the connection goes on.


def answer(stream: Stream) -> bytes:
    stream.response.start_response("200 OK", [])
    stream.response.send_list([b"x"])
    return b"".join(stream.output.sends)


def test_the_answer_closes_the_connection_while_some_of_the_body_is_to_come():
    stream = Stream(b"first", length=10)
    assert stream.file.read(5) == b"first"
    assert b"\r\nConnection: close\r\n" in answer(stream)


def test_the_connection_goes_on_once_all_was_read():
    for stream in (Stream(BODY, length=len(BODY)), Stream(*cut(WIRE, 5))):
        assert stream.file.read() == BODY
        assert b"Connection: close" not in answer(stream)
        assert stream.response.keep_alive


def test_a_client_that_wants_no_more_stays_heard():
    stream = Stream(BODY, length=len(BODY), keep_alive=False)
    assert stream.file.read() == BODY
    assert b"\r\nConnection: close\r\n" in answer(stream)


def test_what_the_head_said_is_not_taken_back():
    stream = Stream(BODY, length=len(BODY))
    stream.response.start_response("200 OK", [])
    stream.response.write(b"early")
    assert b"\r\nConnection: close\r\n" in stream.output.sends[0]
    assert stream.file.read() == BODY
    assert not stream.response.keep_alive


def test_an_application_that_wants_to_close_is_obeyed_whenever_it_reads():
    stream = Stream(BODY, length=len(BODY))
    stream.response.start_response("200 OK", [("Connection", "close")])
    assert stream.file.read() == BODY
    stream.response.send_list([b"x"])
    assert b"\r\nConnection: close\r\n" in stream.output.sends[0]


@pytest.mark.parametrize("failure", [b"", b"zz\r\n", ClientGone("reset")])
def test_the_connection_ends_behind_a_body_that_failed(failure: bytes | Exception):
    stream = Stream(b"5\r\nfirst\r\n", failure)
    with pytest.raises(OSError):  # noqa: PT011 - any will do
        stream.file.read()
    assert b"\r\nConnection: close\r\n" in answer(stream)
