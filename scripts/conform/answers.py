"""Answers: the responses in a stream of bytes (RFC 9112 sections 6 and 7), interim ones skipped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*?)[ \t]*")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n]*)?\r\n")
SUCCESS = range(200, 300)
BODILESS = (204, 304)
SWITCHING = 101


class Garbage(ValueError):  # noqa: N818 - says what came, not that somebody erred here
    """Bytes that are no response."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A final response: status, fields (names in lower case, as often as they came), body without framing."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str:
        """Return the values of `name` joined by commas, or an empty text."""
        return ", ".join(value for key, value in self.fields if key == name)

    @property
    def record(self) -> str:
        """The id of the application's record; empty if the server answered by itself."""
        return self.field("x-conform-id")

    @property
    def success(self) -> bool:
        """A 2xx status."""
        return self.status in SUCCESS


@dataclass(frozen=True, slots=True)
class Answers:
    """The final responses in a stream, and what is left after the last whole one."""

    whole: tuple[Answer, ...]
    rest: bytes
    garbage: str


def parse_answers(data: bytes, *, ended: bool, is_head: Callable[[int, str], bool]) -> Answers:
    """Parse as many responses as `data` holds; `ended` says that nothing more will come.

    `is_head(index, record)` says whether the request behind the index-th final answer was a HEAD.
    """
    answers: list[Answer] = []
    position = 0
    try:
        while position < len(data):
            head_end = data.find(b"\r\n\r\n", position)
            if head_end < 0:
                check_start(data[position:])
                break
            status, fields = parse_head(data[position:head_end])
            start = head_end + 4
            if status < SUCCESS.start and status != SWITCHING:
                position = start
                continue
            bare = Answer(status, fields, b"")
            bodiless = status in BODILESS or (is_head(len(answers), bare.record) and bare_head(bare, data, start))
            found = (b"", start) if bodiless else parse_body(bare, data, start, ended=ended)
            if found is None:
                break
            body, position = found
            answers.append(Answer(status, fields, body))
    except Garbage as error:
        return Answers(tuple(answers), data[position:], str(error))
    return Answers(tuple(answers), data[position:], "")


def bare_head(answer: Answer, data: bytes, start: int) -> bool:
    """Say whether an answer to HEAD ends at `start`; to a head that was not understood it may have a body."""
    return bool(answer.record) or not data[start:] or data.startswith(b"HTTP/1.", start)


def check_start(data: bytes) -> None:
    """Raise Garbage if `data` cannot become a status line."""
    if not b"HTTP/1.".startswith(data[:7]):
        raise Garbage(f"no status line: {data[:60]!r}")


def parse_head(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Parse a head without its final empty line. Raises Garbage."""
    first, *lines = head.split(b"\r\n")
    match = STATUS_LINE.fullmatch(first)
    if match is None:
        raise Garbage(f"no status line: {first[:60]!r}")
    fields = []
    for line in lines:
        field = FIELD_LINE.fullmatch(line)
        if field is None:
            raise Garbage(f"no field line: {line[:60]!r}")
        fields.append((field[1].decode("ascii").lower(), field[2].decode("latin-1")))
    return int(match[1]), tuple(fields)


def parse_body(answer: Answer, data: bytes, start: int, *, ended: bool) -> tuple[bytes, int] | None:
    """Return (body, where the next response starts), or None if the body is not whole. Raises Garbage."""
    if answer.field("transfer-encoding"):
        if answer.field("transfer-encoding").lower() != "chunked" or answer.field("content-length"):
            raise Garbage(f"framed by {answer.fields}")
        return parse_chunks(data, start)
    length = answer.field("content-length")
    if length:
        if not (length.isascii() and length.isdigit()):
            raise Garbage(f"Content-Length: {length}")
        end = start + int(length)
        return (data[start:end], end) if end <= len(data) else None
    return (data[start:], len(data)) if ended else None


def parse_chunks(data: bytes, position: int) -> tuple[bytes, int] | None:
    """Decode a chunked body; trailers are skipped. None if it is not whole. Raises Garbage."""
    chunks: list[bytes] = []
    while (line_end := data.find(b"\r\n", position)) >= 0:
        line = CHUNK_LINE.match(data, position)
        if line is None:
            raise Garbage(f"no chunk size: {data[position : line_end + 2]!r}")
        size = int(line[1], 16)
        if size == 0:
            # The last CRLF of the size line may be the first half of the empty line that ends the trailers.
            end = data.find(b"\r\n\r\n", line_end)
            return None if end < 0 else (b"".join(chunks), end + 4)
        start = line.end()
        if data[start + size : start + size + 2] not in (b"\r\n", b"\r", b""):
            raise Garbage(f"chunk data without its end: {data[start + size :][:20]!r}")
        chunks.append(data[start : start + size])
        position = start + size + 2
    return None
