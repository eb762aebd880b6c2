"""Push decoders for a request's body (RFC 9112 sections 6.2 and 7.1): feed what came, take what it says."""

from collections.abc import Callable

from greenhorn.errors import HTTPError
from greenhorn.http.grammar import FORBIDDEN_TRAILERS, find_fault_in_head, is_token, match_chunk_line
from greenhorn.http.head import Limits

LONGEST_CHUNK_LINE = 4096
"""Bytes of a chunk's size and extensions."""
LARGEST_OVERHEAD = 16384
"""Bytes by which the framing of chunks may exceed their data in a body: floods of extensions and of chunks of a byte or
two, which cost more time than anything else that a client can send, end here."""
SMALL = {b"%x" % size: size for size in range(1, 16)} | {b"%X" % size: size for size in range(10, 16)}
"""Sizes of small chunks as they are written."""
SMALL_FRAMING = 5
"""Framing bytes of a small chunk without an extension."""
SMALL_COST = {text: max(0, SMALL_FRAMING - size) for text, size in SMALL.items()}
TOGETHER = 1024
"""Small chunks that are decoded together at the most."""
WORTHWHILE = 32
"""Fewer are not worth looking for again in the same body."""
CHUNK_LINE_TOO_LONG = (400, "a chunk's size and extensions are too long")
TRAILERS_TOO_LARGE = (431, "the trailer section is larger than limit_request_field_size")
LARGEST_TRAILERS = 8190
"""Bytes of a trailer section where limit_request_field_size says nothing."""


class LengthBody:
    """A body of a known number of bytes. Not shared between threads."""

    __slots__ = ("done", "excess", "remaining", "trailers")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0
        self.excess = b""
        """What was fed beyond the end: the beginning of the next request."""
        self.trailers: list[tuple[str, str]] = []

    def feed(self, data: bytes) -> bytes:
        """Take `data` from the wire and return the bytes of the body in it."""
        if len(data) > self.remaining:
            self.excess = data[self.remaining :]
            data = data[: self.remaining]
        self.remaining -= len(data)
        self.done = self.remaining == 0
        return data


class ChunkedBody:
    """A body in chunks, with bounded extensions, overhead and trailers. Not shared between threads."""

    __slots__ = (
        "_left",
        "_limits",
        "_overhead",
        "_pending",
        "_read",
        "_together",
        "_trailers_left",
        "chunks",
        "done",
        "excess",
        "trailers",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pending = b""
        self._left = 0
        self._overhead = 0
        self._trailers_left = limits.field_size or LARGEST_TRAILERS
        self._read: Callable[[bytes, int, list[bytes]], int] = self._read_size
        self._together = True
        self.chunks = 0
        """How many have begun."""
        self.done = False
        self.excess = b""
        """What was fed beyond the end: the beginning of the next request."""
        self.trailers: list[tuple[str, str]] = []

    def feed(self, data: bytes) -> bytes:
        """Take `data` from the wire and return the decoded bytes in it; raises `HTTPError` 400 or 431."""
        data = self._pending + data if self._pending else data
        decoded: list[bytes] = []
        at = 0
        while not self.done:
            after = self._read(data, at, decoded)
            if after < 0:
                break
            at = after
        if self.done:
            self.excess = data[at:]
            self._pending = b""
        else:
            self._pending = data[at:]
        return decoded[0] if len(decoded) == 1 else b"".join(decoded)

    # Each reader takes the data and where it stands in it, and returns where it stands afterwards, or -1 to say
    # that it needs more than there is.

    def _read_size(self, data: bytes, at: int, decoded: list[bytes]) -> int:
        if self._together and data[at + 1 : at + 3] == b"\r\n" and len(data) - at > WORTHWHILE * (SMALL_FRAMING + 1):
            after = self._read_small_chunks(data, at, decoded)
            if after > at:
                return after
        end = _line_end(data, at, LONGEST_CHUNK_LINE, CHUNK_LINE_TOO_LONG)
        if end < 0:
            return -1
        line = match_chunk_line(data[at:end])
        if line is None:
            raise HTTPError(400, "a chunk's size or extension is malformed")
        size = int(line[1], 16)
        self._count(1, max(0, end - at + 4 - size))
        at = end + 2
        if size and data[at + size : at + size + 2] == b"\r\n":  # all of it is here
            decoded.append(data[at : at + size])
            return at + size + 2
        self._left = size
        self._read = self._read_data if size else self._read_trailer
        return at

    def _count(self, chunks: int, overhead: int) -> None:
        self.chunks += chunks
        self._overhead += overhead
        if self._overhead > LARGEST_OVERHEAD:
            raise HTTPError(400, "the chunks cost more than they carry")

    def _read_small_chunks(self, data: bytes, at: int, decoded: list[bytes]) -> int:
        """Read the small chunks that come next, without CRLF in them, together: one by one they take too long.

        What stands between two CRLFs and is as long as the size before it says is a chunk; the first that is not, and
        what is not there as a whole, is left.
        """
        parts = data[at : at + TOGETHER * (SMALL_FRAMING + 15)].split(b"\r\n", 2 * TOGETHER)
        sizes, pieces = parts[0:-1:2], parts[1:-1:2]
        lengths = list(map(SMALL.get, sizes))
        good = 0
        for length, piece in zip(lengths, pieces, strict=False):
            if length != len(piece):
                break
            good += 1
        self._together = good >= WORTHWHILE
        if good:
            self._count(good, sum(map(SMALL_COST.__getitem__, sizes[:good])))
            carried = b"".join(pieces[:good])
            decoded.append(carried)
            at += len(carried) + good * SMALL_FRAMING
        return at

    def _read_data(self, data: bytes, at: int, decoded: list[bytes]) -> int:
        if at == len(data):
            return -1
        piece = data[at : at + self._left] if at or len(data) > self._left else data
        decoded.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._read = self._read_data_end
        return at + len(piece)

    def _read_data_end(self, data: bytes, at: int, _: list[bytes]) -> int:
        end = data[at : at + 2]
        if end != b"\r\n":
            if b"\r\n".startswith(end):
                return -1
            raise HTTPError(400, "a chunk is longer or shorter than its size says")
        self._read = self._read_size
        return at + 2

    def _read_trailer(self, data: bytes, at: int, _: list[bytes]) -> int:
        end = _line_end(data, at, max(0, self._trailers_left - 2), TRAILERS_TOO_LARGE)
        if end < 0:
            return -1
        if end == at:
            self.done = True
            return at + 2
        self._trailers_left -= end - at + 2
        if self._trailers_left < 0:
            raise HTTPError(*TRAILERS_TOO_LARGE)
        if len(self.trailers) >= self._limits.fields:
            raise HTTPError(431, "there are more trailer fields than limit_request_fields")
        self.trailers.append(_parse_trailer(data[at:end]))
        return end + 2


def _line_end(data: bytes, at: int, longest: int, too_long: tuple[int, str]) -> int:
    """Where the CRLF of the line stands that begins at `at`, or -1 while it has not come."""
    end = data.find(b"\r\n", at, at + longest + 2)
    if end < 0:
        if len(data) - at - data.endswith(b"\r") > longest:
            raise HTTPError(*too_long)
        if find_fault_in_head(data, at):
            raise HTTPError(400, "the framing of a chunk has a control character or a bare CR or LF")
    return end


def _parse_trailer(line: bytes) -> tuple[str, str]:
    if find_fault_in_head(line) or b"\r" in line:
        raise HTTPError(400, "a trailer field has a control character")
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon or not is_token(name):
        raise HTTPError(400, "a trailer field has no name directly followed by a colon")
    if name.lower() in FORBIDDEN_TRAILERS:
        raise HTTPError(400, "a trailer field belongs into the head")
    return name, value.strip(" \t")
