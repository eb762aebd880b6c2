"""RFC 9112 section 6: how long a body is, and which requests leave that in doubt."""

import pytest

from greenhorn.net.state import State
from unit.http.cases import Case, Delivery, accepted, chunked, get, head, in_every_delivery, play, post, refused
from unit.http.driver import Client

CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
NO_LENGTHS = (
    "+3", "-3", "-0", "3_0", "0_3", "3 3", "3\t3", "3,3", "3, 3", "3;3", "3;", "0x3", "0X3", "x3", "0b1", "0o7", "3.0",
    "3.", "3e0", "1e1", "three", "'3'", '"3"', "(3)", "3)", "3a", "a3", "3\xa0", "\xa03", "3\x85", "\xb2", "\xb3",
    "3\xb9",
    "\xd9\xa3", "\xef\xbc\x93", "\xe2\x82\x83", "", "  ", ",", "3,", ",3", "chunked", "null", "nan", "inf", "1" * 21,
    "9" * 100,
)  # fmt: skip

LENGTHS = [
    accepted("length", post(b"abc", "Content-Length: 3"), b"abc", CONTENT_LENGTH="3", HTTP_CONTENT_LENGTH=None),
    accepted("length in lower case", post(b"abc", "content-length: 3"), b"abc", CONTENT_LENGTH="3"),
    accepted("length with blanks around", post(b"abc", "Content-Length: \t 3 \t"), b"abc", CONTENT_LENGTH="3"),
    accepted("length without a space", post(b"abc", "Content-Length:3"), b"abc", CONTENT_LENGTH="3"),
    accepted("length with zeros before", post(b"abc", "Content-Length: 0003"), b"abc", CONTENT_LENGTH="3"),
    accepted("length that is no octal number", post(b"0123456789", "Content-Length: 010"),
             b"0123456789", CONTENT_LENGTH="10"),
    accepted("length of nothing", post(b"", "Content-Length: 0"), CONTENT_LENGTH="0"),
    accepted("length of nothing in zeros", post(b"", "Content-Length: 000"), CONTENT_LENGTH="0"),
    accepted("no length", post(b""), CONTENT_LENGTH=None),
    accepted("length with GET", get("Content-Length: 3") + b"abc", b"abc", CONTENT_LENGTH="3"),
    accepted("length with DELETE", head("DELETE / HTTP/1.1", "Content-Length: 3") + b"abc", b"abc"),
    accepted("length with OPTIONS *", head("OPTIONS * HTTP/1.1", "Content-Length: 3") + b"abc", b"abc"),
    accepted("length in HTTP/1.0", head("POST / HTTP/1.0", "Content-Length: 3") + b"abc", b"abc", keeps=False),
    accepted("body that looks like a request", post(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n", "Content-Length: 31"),
             b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    accepted("body of line ends", post(b"\r\n\r\n\0\n", "Content-Length: 6"), b"\r\n\r\n\0\n"),
    *(
        refused(f"length {text[:24]!r} ({len(text)})", post(b"abc", f"Content-Length: {text}"))
        for text in NO_LENGTHS
    ),
    *(refused(f"length {text!r} without a body", get(f"Content-Length: {text}")) for text in ("", "-1", "+0", "0,0")),
]  # fmt: skip

CODINGS = [
    accepted("chunked", chunked(CHUNKS), b"abc", CONTENT_LENGTH="3", HTTP_TRANSFER_ENCODING=None),
    accepted("chunked in upper case", post(CHUNKS, "TRANSFER-ENCODING: CHUNKED"), b"abc", CONTENT_LENGTH="3"),
    accepted("chunked with blanks around", post(CHUNKS, "Transfer-Encoding: \t chunked \t"), b"abc"),
    accepted("chunked with GET", get("Transfer-Encoding: chunked") + CHUNKS, b"abc"),
    accepted("chunks of nothing", chunked(b"0\r\n\r\n"), CONTENT_LENGTH="0", HTTP_TRANSFER_ENCODING=None),
    refused("chunked and a length", chunked(CHUNKS, "Content-Length: 3")),
    refused("a length and chunked", post(CHUNKS, "Content-Length: 13", "Transfer-Encoding: chunked")),
    refused("chunked and a length of nothing", chunked(CHUNKS, "Content-Length: 0")),
    refused("chunked and an empty length", chunked(CHUNKS, "Content-Length:")),
    refused("a length and an empty coding", post(b"abc", "Content-Length: 3", "Transfer-Encoding:")),
    refused("a length and an unknown coding", post(b"abc", "Content-Length: 3", "Transfer-Encoding: zq")),
    refused("a length and identity", post(b"abc", "Content-Length: 3", "Transfer-Encoding: identity")),
    refused("chunked in HTTP/1.0", head("POST / HTTP/1.0", "Transfer-Encoding: chunked") + CHUNKS),
    refused("chunked in HTTP/1.0 and a length", head("POST / HTTP/1.0", "Transfer-Encoding: chunked",
                                                     "Content-Length: 3") + CHUNKS),
    refused("identity in HTTP/1.0", head("POST / HTTP/1.0", "Transfer-Encoding: identity")),
    refused("chunked twice", post(CHUNKS, "Transfer-Encoding: chunked, chunked")),
    refused("chunked in two fields", chunked(CHUNKS, "Transfer-Encoding: chunked")),
    refused("chunked before gzip", post(CHUNKS, "Transfer-Encoding: chunked, gzip")),
    refused("chunked before identity", post(CHUNKS, "Transfer-Encoding: chunked, identity")),
    refused("chunked before identity in two fields", chunked(CHUNKS, "Transfer-Encoding: identity")),
    refused("chunked twice around gzip", post(CHUNKS, "Transfer-Encoding: chunked, gzip, chunked")),
    *(
        refused(f"coding {text!r}", post(CHUNKS, f"Transfer-Encoding: {text}"), 501)
        for text in (
            "gzip, chunked", "gzip", "identity", "identity, chunked", "x, chunked", "xchunked", "chunkedx", "chunke",
            "chunked-1", "'chunked'", "chunked1", "0chunked", "x-chunked", "chunked*", "zq", "chunked;q=1",
        )
    ),
    *(
        refused(f"coding {text!r}", post(CHUNKS, f"Transfer-Encoding: {text}"))
        for text in (
            "", " ", "\xa0chunked", "chunked\xa0", "\x85chunked", "\xadchunked", "chunked\x0b", "\x0bchunked",
            "\x0cchunked",
            "chunked\x00", "\x00chunked", "\x01chunked", "chunked\x7f", "chun\tked", "chun ked", "chunked chunked",
            "chunked gzip", "gzip chunked", '"chunked"', "(chunked)", "[chunked]", "{chunked}", "<chunked>", "chunked)",
            "chunked/1", "chunked=1", "chunked:", ":chunked", "chunked@", "\\chunked", "chun\xe2\x84\xaaed", "\xff",
            "chunked\xc2\xa0", ", chunked, ,gzip", "chunked,", ",chunked", ", ,chunked", ";chunked", "chunked\rx",
            "x\nchunked",
        )
    ),
    refused("coding behind a fold", post(CHUNKS, "Transfer-Encoding: \r\n chunked")),
    accepted("a name that only looks like it", post(b"abc", "Content-Length: 3", "Transfer-Encodin: chunked"), b"abc"),
    accepted("a prefix before the name", post(b"abc", "Content-Length: 3", "X-Transfer-Encoding: chunked"), b"abc"),
    accepted("TE frames nothing", post(b"abc", "Content-Length: 3", "TE: chunked"), b"abc", HTTP_TE="chunked"),
    accepted("Content-Encoding is the application's", post(b"abc", "Content-Length: 3", "Content-Encoding: gzip"),
             b"abc", HTTP_CONTENT_ENCODING="gzip"),
]  # fmt: skip


@in_every_delivery([*LENGTHS, *CODINGS])
def test_a_body_is_framed_in_one_way_or_refused(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


def test_a_length_of_more_digits_than_python_converts_is_refused() -> None:
    with Client() as client:
        client.send(post(b"abc", f"Content-Length: {'9' * 5000}"))
        assert [answer.status for answer in client.answers()] == [400]


@pytest.mark.parametrize("body", [b"", b"ab"])
@pytest.mark.parametrize("field", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_a_body_that_ends_too_soon_never_reaches_the_application(field: str, body: bytes) -> None:
    data = body if field.startswith("C") else b"3\r\n" + body
    with Client() as client:
        client.send(post(data, field))
        assert client.state is State.BODY
        client.end()
        assert client.state is State.CLOSED
        assert client.app.seen == []
        assert client.received == b""


def test_a_body_larger_than_a_turn_and_than_the_memory_for_it_arrives_whole() -> None:
    body = bytes(range(256)) * 1024 * 5
    with Client() as client:
        client.send(post(b"", f"Content-Length: {len(body)}"))
        for at in range(0, len(body), 65536):
            client.send(body[at : at + 65536])
        assert [len(call.body) for call in client.app.seen] == [len(body)]
        assert client.app.seen[0].body == body
