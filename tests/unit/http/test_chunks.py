"""RFC 9112 section 7.1: chunks, their extensions, and the trailers behind them."""

import random

import pytest

from greenhorn.errors import HTTPError
from greenhorn.http.body import LARGEST_OVERHEAD, LONGEST_CHUNK_LINE, ChunkedBody, LengthBody
from greenhorn.http.head import Limits
from unit.http.cases import Case, Delivery, accepted, chunked, in_every_delivery, play, refused
from unit.http.driver import Setup

SMALL = Setup(limits=Limits(fields=3, field_size=40))
LAST = b"0\r\n\r\n"


def one(line: str, data: bytes = b"abc", end: bytes = b"\r\n") -> bytes:
    """A body of one chunk of three bytes, with this line."""
    return chunked(line.encode("latin-1") + b"\r\n" + data + end + LAST)


def with_trailers(*lines: str) -> bytes:
    return chunked(b"3\r\nabc\r\n0\r\n" + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n")


SIZES = [
    accepted("one chunk", one("3"), b"abc", CONTENT_LENGTH="3"),
    accepted("chunks", chunked(b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"), b"abcdef", CONTENT_LENGTH="6"),
    accepted("size in small hex", chunked(b"a\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    accepted("size in capital hex", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    accepted("size with zeros before", one("0000000000000003"), b"abc"),
    accepted("last chunk of many zeros", chunked(b"3\r\nabc\r\n0000\r\n\r\n"), b"abc"),
    accepted("data of line ends", chunked(b"8\r\n\r\n0\r\n\r\n\n\r\n0\r\n\r\n"), b"\r\n0\r\n\r\n\n"),
    accepted("data that looks like a request", chunked(b"1f\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n"),
             b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    *(
        refused(f"size {text!r}", one(text))
        for text in (
            "", " ", "0x3", "0X3", "x3", "+3", "-3", "-0", "3_0", "0_3", " 3", "\t3", "3 ", "3\t", "3 3", "3.0", "g",
            "3g",
            "3h", "3,", "'3'", '"3"', "\xb3", "\xef\xbc\x93", "3\xa0", "\xa03", "3\x00", "\x003", "3\x0b", "3\x7f",
            "3:",
            "00000000000000003", "10000000000000003", "f" * 17, "f" * 100,
        )
    ),
    refused("a negative size", chunked(b"-1\r\n\r\n0\r\n\r\n")),
    refused("no last chunk but a request", chunked(b"3\r\nabc\r\nGET / HTTP/1.1\r\n\r\n")),
    refused("no chunks at all", chunked(b"xyz\r\n\r\nGET / HTTP/1.1\r\n\r\n")),
]  # fmt: skip

LINE_ENDS = [
    refused("LF behind the size", chunked(b"3\nabc\r\n0\r\n\r\n")),
    refused("CR behind the size", chunked(b"3\rabc\r\n0\r\n\r\n")),
    refused("CR CR LF behind the size", chunked(b"3\r\r\nabc\r\n0\r\n\r\n")),
    refused("LF CR behind the size", chunked(b"3\n\rabc\r\n0\r\n\r\n")),
    refused("LF in an extension", chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n")),
    refused("CR in an extension", chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n")),
    refused("LF in a quoted extension", chunked(b'3;a="\n"\r\nabc\r\n0\r\n\r\n')),
    refused("escaped LF in a quoted extension", chunked(b'3;a="\\\n"\r\nabc\r\n0\r\n\r\n')),
    refused("LF behind the data", one("3", end=b"\n")),
    refused("CR behind the data", one("3", end=b"\r")),
    refused("CR CR LF behind the data", one("3", end=b"\r\r\n")),
    refused("LF CR behind the data", one("3", end=b"\n\r")),
    refused("space behind the data", one("3", end=b" \r\n")),
    refused("nothing behind the data", one("3", end=b"")),
    refused("any two bytes behind the data", one("3", end=b"XX")),
    refused("two line ends behind the data", one("3", end=b"\r\n\r\n")),
    refused("data longer than the size", one("3", data=b"abcd")),
    refused("data shorter than the size", one("3", data=b"ab")),
    refused("data much longer than the size", one("3", data=b"abc" * 20)),
    refused("LF behind the last chunk", chunked(b"3\r\nabc\r\n0\n\r\n")),
    refused("LF LF behind the last chunk", chunked(b"3\r\nabc\r\n0\n\n")),
    refused("LF for the last line", chunked(b"3\r\nabc\r\n0\r\n\n")),
    refused("CR CR LF for the last line", chunked(b"3\r\nabc\r\n0\r\n\r\r\n")),
    refused("CR X for the last line", chunked(b"3\r\nabc\r\n0\r\n\rX")),
]

EXTENSIONS = [
    *(
        accepted(f"extension {text!r}", one(f"3{text}"), b"abc", CONTENT_LENGTH="3")
        for text in (
            ";a", ";a=b", ";a;b;c=d", ';a="b"', ';a=""', ';a="b;c=d"', ';a="\\"\\\\"', ';a="b\tc\xe9"', " ; a = b",
            "\t;\ta\t=\tb ; c", ";!#$%&'*+-.^_`|~=1", ';a="b" ; c', ";3=4",
        )
    ),
    *(
        refused(f"extension {text!r}", one(f"3{text}"))
        for text in (
            ";", ";;a", ";a;", ";=b", ";a=", ";a==b", ";a=b=c", ';a="', ';a="b', ';a="b"c', ';a="b\\"', ";a=b c",
            ";a b",
            ",a", "x;b", ";a=(b)", ";(a)", ";a=\xe9", ";\xe9=a", ";a=b\x00", ";a\x00", ';a="\x00"', ';a="\x7f"',
            ";a\x0b=b", ";a=b ", "; a= ", ";a\xa0", "=a", ":a", " a",
        )
    ),
    accepted("extension of the last chunk", chunked(b'3\r\nabc\r\n0;a="b"\r\n\r\n'), b"abc"),
    refused("malformed extension of the last chunk", chunked(b"3\r\nabc\r\n0;\r\n\r\n")),
]  # fmt: skip

FORBIDDEN = (
    "Content-Length: 3", "Transfer-Encoding: chunked", "Host: zq.example", "Trailer: a", "TE: trailers",
    "Connection: close",
    "Authorization: Basic zq", "Proxy-Authorization: Basic zq", "Cookie: zq", "Expect: 100-continue", "Upgrade: zq",
    "Content-Encoding: gzip", "Forwarded: for=zq",
    "X-Forwarded-For: zq", "X-Forwarded-Proto: https", "X-Forwarded-Host: zq",
)  # fmt: skip

TRAILERS = [
    accepted("trailer", with_trailers("X-Sum: 1"), b"abc", CONTENT_LENGTH="3", HTTP_X_SUM=None),
    accepted("trailers", with_trailers("A: b", "C:", "A: d"), b"abc", HTTP_A=None, HTTP_C=None),
    accepted("trailer that is a field already", with_trailers("User-Agent: zq"), b"abc", HTTP_USER_AGENT=None),
    accepted("trailers about the content", with_trailers("Content-Type: a/b", "Content-Range: bytes 0-1/2"), b"abc"),
    accepted("trailer with an underscore", with_trailers("Content_Length: 3"), b"abc", CONTENT_LENGTH="3"),
    accepted("trailer with blanks", with_trailers("A: \t b \t"), b"abc"),
    accepted("trailer with Latin-1", with_trailers("A: \xe9"), b"abc"),
    *(refused(f"trailer {line}", with_trailers(line)) for line in FORBIDDEN),
    *(refused(f"trailer {line}", with_trailers("A: b", line)) for line in ("CONTENT-LENGTH: 3", "host: zq")),
    *(
        refused(f"trailer {line!r}", with_trailers(line))
        for line in (
            "A", ":", ": b", " A: b", "A : b", "A\t: b", "A B: c", "\xe9: b", "A(: b", "A: b\x00", "A: \x0b",
            "A: \x7f", "\x00",
            "A: b\rB: c", "A: b\nB: c", "A\r: b", "A: b\r\n c", "A: b\r", "GET / HTTP/1.1",
        )
    ),
    accepted("trailers at the limit", with_trailers("A: b", "A: b", "A: b"), b"abc", setup=SMALL),
    refused("trailers above the limit", with_trailers(*["A: b"] * 4), 431, SMALL),
    accepted("trailer of the largest size", with_trailers("A: " + "b" * 35), b"abc", setup=SMALL),
    refused("trailer above the largest size", with_trailers("A: " + "b" * 36), 431, SMALL),
    refused("trailer far above the largest size", with_trailers("A: " + "b" * 200), 431, SMALL),
    accepted("trailers of the largest size", with_trailers("A: " + "b" * 15, "A: " + "b" * 15), b"abc", setup=SMALL),
    refused("trailers above the largest size", with_trailers("A: " + "b" * 15, "A: " + "b" * 16), 431, SMALL),
]  # fmt: skip


@in_every_delivery([*SIZES, *LINE_ENDS, *EXTENSIONS, *TRAILERS])
def test_chunks_are_taken_or_refused(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


def feed(pieces: list[bytes]) -> tuple[bytes, ChunkedBody]:
    body = ChunkedBody(Limits())
    return b"".join(body.feed(piece) for piece in pieces), body


def line_of(size: int) -> bytes:
    return b"1;" + b"a" * (size - 2)


def test_a_chunk_line_of_the_largest_size_is_taken_however_it_is_split() -> None:
    data = line_of(LONGEST_CHUNK_LINE) + b"\r\nx\r\n" + LAST
    for at in range(len(data)):
        decoded, body = feed([data[:at], data[at:]])
        assert decoded == b"x"
        assert body.done


@pytest.mark.parametrize("size", [LONGEST_CHUNK_LINE + 1, LONGEST_CHUNK_LINE + 2, 2 * LONGEST_CHUNK_LINE])
def test_a_longer_chunk_line_is_refused_however_it_is_split(size: int) -> None:
    data = line_of(size) + b"\r\nx\r\n" + LAST
    for at in range(0, len(data), 7):
        with pytest.raises(HTTPError) as caught:
            feed([data[:at], data[at:]])
        assert caught.value.status == 400


def test_chunks_may_cost_as_much_as_the_limit_and_no_byte_more() -> None:
    costly, rest = divmod(LARGEST_OVERHEAD - 1, LONGEST_CHUNK_LINE + 4 - 1)  # the last chunk costs one without data
    flood = (line_of(LONGEST_CHUNK_LINE) + b"\r\nx\r\n") * costly
    assert feed([flood + line_of(rest - 3 - 4) + b"\r\nx\r\n" + LAST])[1].done
    with pytest.raises(HTTPError, match="cost more than they carry"):
        feed([flood + line_of(rest + 3 - 4) + b"\r\nx\r\n" + LAST])


def test_chunks_that_carry_as_much_as_they_cost_are_free() -> None:
    decoded, body = feed([b"9;a=b\r\n123456789\r\n" * 20_000 + LAST])
    assert decoded == b"123456789" * 20_000
    assert body.done


def test_a_flood_of_chunks_of_one_byte_ends() -> None:
    assert feed([b"1\r\nx\r\n" * 4_000 + LAST])[1].done
    with pytest.raises(HTTPError, match="cost more than they carry"):
        feed([b"1\r\nx\r\n" * 5_000 + LAST])


def test_trailers_are_kept_in_order() -> None:
    decoded, body = feed([b"0\r\nA: b\r\nA:  c \r\n\r\nGET"])
    assert (decoded, body.trailers, body.excess) == (b"", [("A", "b"), ("A", "c")], b"GET")


def test_a_body_of_known_length_gives_back_what_is_beyond_it() -> None:
    body = LengthBody(5)
    assert (body.feed(b"abc"), body.done, body.remaining) == (b"abc", False, 2)
    assert (body.feed(b"deGET"), body.done, body.excess) == (b"de", True, b"GET")
    assert LengthBody(0).done


@pytest.mark.parametrize("size", range(1, 17))
def test_small_chunks_are_decoded_alike_together_and_one_by_one(size: int) -> None:
    chunks = [bytes(chance.choices(b"ab\r\n01", k=size)) for chance in [random.Random(size)] for _ in range(300)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    for pieces in ([data + LAST], [bytes([byte]) for byte in data + LAST], [data[:777], data[777:], LAST]):
        decoded, body = feed(pieces)
        assert decoded == b"".join(chunks)
        assert body.done


def test_a_bad_chunk_among_small_ones_is_refused() -> None:
    for bad in (b"g\r\nx\r\n", b"2\r\nx\r\n", b"1\r\nxy\r\n", b" 1\r\nx\r\n", b"1\nx\r\n", b"\r\n"):
        for before in (0, 40, 500, 2000):
            with pytest.raises(HTTPError) as caught:
                feed([b"5\r\nhello\r\n" * before + bad + b"5\r\nhello\r\n" * 100 + LAST])
            assert caught.value.status == 400


def test_the_last_chunk_among_small_ones_ends_the_body() -> None:
    decoded, body = feed([b"6\r\nhello!\r\n" * 500 + LAST + b"6\r\nhello!\r\n" * 500])
    assert decoded == b"hello!" * 500
    assert body.excess == b"6\r\nhello!\r\n" * 500
