"""wsgi.file_wrapper: files that leave without being read here, and those that do not."""

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenhorn.errors import ClientGone
from greenhorn.wsgi.exchange import FileWrapper, Response, respond
from unit.net.sockets import buffers, connected, drain, open_files
from unit.wsgi.recording import Facts, RecordingOutput, make_head, run

Start = Callable[..., Callable[[bytes], None]]
CONTENT = bytes(number % 251 for number in range(200_000))


def wrapping(
    file: Any, headers: tuple[tuple[str, str], ...] = (), status: str = "200 OK", block_size: int = 65536
) -> Any:
    def app(_environ: dict[str, Any], start_response: Start) -> FileWrapper:
        start_response(status, list(headers))
        return FileWrapper(file, block_size)

    return app


class OnlyRead:
    """The least that a wrapper takes: something with `read`."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def test_a_wrapper_gives_blocks_until_the_end_and_closes_its_file():
    file = io.BytesIO(b"abcdefgh")
    wrapper = FileWrapper(file, 3)
    assert list(wrapper) == [b"abc", b"def", b"gh"]
    wrapper.close()
    assert file.closed
    assert not hasattr(FileWrapper(OnlyRead(b"")), "close")


def test_what_cannot_be_measured_is_read_and_sent_in_blocks():
    exchange = run(wrapping(OnlyRead(b"abcde"), block_size=2))
    assert exchange.framing == {"transfer-encoding": "chunked"}
    assert exchange.body == b"2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n"


def test_what_can_be_measured_gets_its_length_and_starts_where_it_stood():
    file = io.BytesIO(b"abcdefgh")
    file.seek(3)
    output = RecordingOutput(measures=True)
    exchange = run(wrapping(file), output=output)
    assert exchange.framing == {"content-length": "5"}
    assert exchange.body == b"defgh"
    assert exchange.response.sent == 5
    assert file.closed
    assert output.regions[0].closed


def test_a_content_length_below_the_files_cuts_it_off():
    exchange = run(wrapping(io.BytesIO(b"abcdefgh"), (("Content-Length", "3"),)), output=RecordingOutput(measures=True))
    assert exchange.framing == {"content-length": "3"}
    assert exchange.body == b"abc"
    assert exchange.response.keep_alive


def test_a_content_length_above_the_files_closes_the_connection():
    exchange = run(wrapping(io.BytesIO(b"abc"), (("Content-Length", "8"),)), output=RecordingOutput(measures=True))
    assert exchange.framing["content-length"] == "8"
    assert exchange.body == b"abc"
    assert not exchange.response.keep_alive
    assert "3 bytes" in (exchange.response.complaint or "")


@pytest.mark.parametrize("measures", [True, False])
def test_an_empty_file_is_an_empty_body(measures: bool):
    exchange = run(wrapping(io.BytesIO(b"")), output=RecordingOutput(measures=measures))
    assert exchange.framing == {"content-length": "0"}
    assert exchange.body == b""


def test_a_file_in_answer_to_head_has_its_length_and_no_body():
    output = RecordingOutput(measures=True)
    exchange = run(wrapping(io.BytesIO(b"abc")), "HEAD", output=output)
    assert exchange.framing == {"content-length": "3"}
    assert exchange.body == b""


def test_a_file_behind_a_304_is_not_sent():
    output = RecordingOutput(measures=True)
    exchange = run(wrapping(io.BytesIO(b"abc"), status="304 Not Modified"), output=output)
    assert exchange.body == b""
    assert exchange.framing == {}


def test_a_file_after_a_write_is_read_and_sent_behind_it():
    def app(_environ: dict[str, Any], start_response: Start) -> FileWrapper:
        start_response("200 OK", [])(b"first")
        return FileWrapper(io.BytesIO(b"then"))

    exchange = run(app, output=RecordingOutput(measures=True))
    assert exchange.body == b"5\r\nfirst\r\n4\r\nthen\r\n0\r\n\r\n"


def test_a_file_without_start_response_is_an_error():
    exchange = run(lambda _environ, _start: FileWrapper(io.BytesIO(b"x")), output=RecordingOutput(measures=True))
    assert isinstance(exchange.error, AssertionError)
    assert exchange.sent == b""


def test_a_middleware_that_iterates_the_wrapper_gets_its_bytes():
    def app(_environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", [])
        return (block.upper() for block in FileWrapper(io.BytesIO(b"abc"), 2))

    assert run(app).body == b"2\r\nAB\r\n1\r\nC\r\n0\r\n\r\n"


# Through a real connection.


def send_file(app: Any, method: str = "GET", *, kernel: bool = True, leaves: bool = False) -> tuple[bytes, Any]:
    """Answer over a real connection; what the client gets, and what the application's call raised."""
    head = make_head(method)
    error = None
    with connected(buffers(kernel=kernel)) as (client, connection):
        if leaves:
            client.close()
        response = Response(head, connection, Facts())
        try:
            respond(app, {}, response)
        except ClientGone as raised:
            error = raised
        if leaves:
            return b"", error
        connection.flush()
        got = drain(client, connection, 10**9) if connection.outbox is not None else read_now(client)
    return got, error


def read_now(client: socket.socket) -> bytes:
    client.setblocking(False)
    return client.recv(1 << 20)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("offset", [0, 1, 199_999, 200_000])
def test_a_real_file_arrives_whole_from_where_it_stood(tmp_path: Path, kernel: bool, offset: int):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    file = path.open("rb")
    file.seek(offset)
    got, error = send_file(wrapping(file, (("Content-Length", str(200_000 - offset)),)), kernel=kernel)
    assert error is None
    assert got.partition(b"\r\n\r\n")[2] == CONTENT[offset:]
    assert file.closed


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("leaves", [False, True])
def test_no_descriptor_of_a_file_is_left_open(tmp_path: Path, method: str, leaves: bool):
    path = tmp_path / "file"
    path.write_bytes(b"small")
    before = open_files()
    send_file(wrapping(path.open("rb")), method, leaves=leaves)
    assert open_files() == before


def test_no_descriptor_of_a_file_is_left_open_when_the_head_cannot_be_sent(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"small")
    before = open_files()
    with path.open("rb") as file, pytest.raises(ValueError, match=r"X|codec"):
        send_file(wrapping(file, (("X", "€"),)))
    assert open_files() == before


def test_a_file_that_was_opened_without_a_buffer_is_sent(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"small")
    fd = os.open(path, os.O_RDONLY)
    got, _ = send_file(wrapping(io.FileIO(fd)))
    assert got.endswith(b"\r\n\r\nsmall")
