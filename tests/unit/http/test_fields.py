"""RFC 9112 section 5, RFC 9110 section 5: names, values, line ends, folding, and fields that come more than once."""

from greenhorn.http.head import Leniency, Limits
from unit.http.cases import HOST, Case, Delivery, accepted, get, head, in_every_delivery, play, post, refused
from unit.http.driver import Setup

FOLDING = Setup(leniency=Leniency(obsolete_folding=True))
SPACES_STRIPPED = Setup(strip_spaces=True)
CONTROLS = [chr(code) for code in [*range(0x20), 0x7F] if chr(code) not in "\t\r\n"]

NAMES = [
    accepted("name", get("X-Name: value"), HTTP_X_NAME="value"),
    accepted("name in lower case", get("x-name: value"), HTTP_X_NAME="value"),
    accepted("name of digits", get("123: value"), HTTP_123="value"),
    accepted("name of every mark", get("!#$%&'*+-.^`|~: value"), **{"HTTP_!#$%&'*+_.^`|~": "value"}),
    accepted("name of one character", get("x: value"), HTTP_X="value"),
    accepted("name with a prefix of HTTP", get("HTTP-Host: value"), HTTP_HTTP_HOST="value", HTTP_HOST="zq.example"),
    accepted("long name", get(f"{'x' * 100}: value"), **{"HTTP_" + "X" * 100: "value"}),
    refused("no name", get(": value")),
    refused("nothing but a colon", get(":")),
    refused("no colon", get("name")),
    refused("no colon in the first line", head("GET / HTTP/1.1", host="zq.example")),
    refused("space before the colon", get("Name : value")),
    refused("tab before the colon", get("Name\t: value")),
    refused("space before the colon of Host", head("GET / HTTP/1.1", host="Host : zq.example")),
    refused("space before the colon of Content-Length", post(b"abc", "Content-Length : 3")),
    refused("space before the colon of Transfer-Encoding", post(b"0\r\n\r\n", "Transfer-Encoding : chunked")),
    refused("space in the name", get("Na me: value")),
    refused("line of a space", get(" ", "A: b")),
    *(refused(f"name with {char!r}", get(f"Na{char}me: value")) for char in '()<>@,;\\"/[]?={}\xa0\x85\xe9\xff'),
    *(refused(f"name with {char!r}", get(f"Na{char}me: value")) for char in CONTROLS),
    *(refused(f"name behind {char!r}", get(f"{char}Name: value")) for char in " \t\x00\x0b\x0c\xa0\xef"),
    *(refused(f"{char!r} before the colon", get(f"Name{char}: value")) for char in "\x00\x0b\x0c\xa0\x85\xad"),
    accepted("space before the colon, stripped", get("Name \t: value"), setup=SPACES_STRIPPED, HTTP_NAME="value"),
    accepted(
        "space before the colon of Content-Length, stripped",
        post(b"abc", "Content-Length : 3"),
        b"abc",
        setup=SPACES_STRIPPED,
        CONTENT_LENGTH="3",
    ),
    refused("only a space before the colon, stripped", get(" : value"), setup=SPACES_STRIPPED),
    refused("vertical tab before the colon, stripped", get("Name\x0b: value"), setup=SPACES_STRIPPED),
]

VALUES = [
    accepted("no value", get("A:"), HTTP_A=""),
    accepted("value of spaces", get("A:  \t "), HTTP_A=""),
    accepted("value without a space before", get("A:b"), HTTP_A="b"),
    accepted("blanks around the value", get("A: \t b c \t "), HTTP_A="b c"),
    accepted("colons in the value", get("A: b:c:"), HTTP_A="b:c:"),
    accepted("blanks in the value", get("A: b\t c  d"), HTTP_A="b\t c  d"),
    accepted("Latin-1", get("A: \xe9\xff"), HTTP_A="\xe9\xff"),
    accepted("UTF-8", get("A: \xc3\xa9"), HTTP_A="\xc3\xa9"),
    accepted("no-break spaces stay", get("A: \xa0b\x85"), HTTP_A="\xa0b\x85"),
    accepted(
        "every visible character",
        get("A: " + "".join(map(chr, range(0x21, 0x7F)))),
        HTTP_A="".join(map(chr, range(0x21, 0x7F))),
    ),
    *(refused(f"value with {char!r}", get(f"A: b{char}c")) for char in CONTROLS),
    *(refused(f"value that begins with {char!r}", get(f"A: {char}c")) for char in "\x00\x0b\x0c\x1f\x7f"),
    *(refused(f"value that ends with {char!r}", get(f"A: c{char}", "B: c")) for char in "\x00\x0b\x0c\x1f\x7f"),
    refused("NUL in the last value", get("A: b\x00")),
]

LINE_ENDS = [
    refused("LF alone everywhere", get("A: b").replace(b"\r\n", b"\n")),
    refused("CR alone everywhere", get("A: b").replace(b"\r\n", b"\r") + b"\r\n\r\n"),
    refused("LF alone behind the request line", b"GET / HTTP/1.1\nHost: zq.example\r\n\r\n"),
    refused("LF alone behind a field", get("A: b\nB: c")),
    refused("LF alone behind Host", b"GET / HTTP/1.1\r\nHost: zq.example\nA: b\r\n\r\n"),
    refused("LF alone at the end", b"GET / HTTP/1.1\r\nHost: zq.example\r\n\n"),
    refused("LF LF at the end", b"GET / HTTP/1.1\r\nHost: zq.example\n\n"),
    refused("LF CRLF at the end", b"GET / HTTP/1.1\r\nHost: zq.example\n\r\n"),
    refused("LF CR", get("A: b\n\rB: c")),
    refused("CR alone in the request line", head("GET /\rHTTP/1.1")),
    refused("CR alone in the target", head("GET /a\rb HTTP/1.1")),
    refused("CR alone behind the request line", b"GET / HTTP/1.1\rHost: zq.example\r\n\r\n"),
    refused("CR alone in a name", get("A\rB: c")),
    refused("CR alone in a value", get("A: b\rc")),
    refused("CR alone in a value that looks like a field", get("A: b\rContent-Length: 5")),
    refused("CR alone behind the colon", get("A:\rb")),
    refused("CR CR LF behind a field", get("A: b\r", "B: c")),
    refused("CR CR LF behind the request line", head("GET / HTTP/1.1\r")),
    refused("CR CR LF at the end", b"GET / HTTP/1.1\r\nHost: zq.example\r\n\r\r\n\r\n"),
    refused("CR CR LF CRLF", b"GET / HTTP/1.1\r\nHost: zq.example\r\r\n\r\n"),
    refused("CRLF LF", b"GET / HTTP/1.1\r\nHost: zq.example\r\n\nGET /evil HTTP/1.1\r\nHost: zq.example\r\n\r\n"),
]

FOLDS = [
    refused("fold by a space", get("A: b\r\n c")),
    refused("fold by a tab", get("A: b\r\n\tc")),
    refused("fold of nothing", get("A: b\r\n ")),
    refused("fold before the first field", head("GET / HTTP/1.1\r\n A: b")),
    refused("field that begins with a space", get(" Content-Length: 5")),
    refused("fold of Transfer-Encoding", post(b"0\r\n\r\n", "Transfer-Encoding:\r\n chunked")),
    accepted("fold by a space, permitted", get("A: b\r\n c"), setup=FOLDING, HTTP_A="b c"),
    accepted("fold by tabs, permitted", get("A: b \t\r\n\t\t c \r\n\td"), setup=FOLDING, HTTP_A="b c d"),
    accepted("fold of nothing, permitted", get("A: b\r\n \t", "C: d"), setup=FOLDING, HTTP_A="b", HTTP_C="d"),
    accepted("fold of an empty value, permitted", get("A:\r\n b"), setup=FOLDING, HTTP_A="b"),
    accepted(
        "fold that looks like a field, permitted",
        get("A: b\r\n Content-Length: 5"),
        setup=FOLDING,
        HTTP_A="b Content-Length: 5",
        CONTENT_LENGTH=None,
    ),
    accepted(
        "fold of Transfer-Encoding, permitted",
        post(b"1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding:\r\n chunked"),
        b"x",
        setup=FOLDING,
        CONTENT_LENGTH="1",
    ),
    refused("fold of digits, permitted", post(b"abc", "Content-Length: 3\r\n 3"), setup=FOLDING),
    refused("fold before the first field, permitted", head("GET / HTTP/1.1\r\n A: b"), setup=FOLDING),
    refused("fold of a name, permitted", get("A\r\n B: c"), setup=FOLDING),
    refused("fold of Host to two words, permitted", head("GET / HTTP/1.1", host=HOST + "\r\n b"), setup=FOLDING),
    refused(
        "folds without end, permitted",
        get("A: b" + "\r\n" + "\r\n".join([" c" * 10] * 4)),
        431,
        Setup(leniency=Leniency(obsolete_folding=True), limits=Limits(field_size=64)),
    ),
]

REPEATED = [
    accepted("field twice", get("A: b", "C: d", "a: e"), HTTP_A="b,e", HTTP_C="d"),
    accepted("field three times", get("A: b", "A:", "A: c"), HTTP_A="b,,c"),
    accepted(
        "field twice with the same value",
        get("Accept: text/html", "Accept: text/html"),
        HTTP_ACCEPT="text/html,text/html",
    ),
    accepted("Cookie twice", get("Cookie: a=b", "Cookie: c=d; e=f", "Cookie: g=h"), HTTP_COOKIE="a=b; c=d; e=f; g=h"),
    accepted("Content-Type", post(b"", "Content-Type: text/plain"), CONTENT_TYPE="text/plain", HTTP_CONTENT_TYPE=None),
    refused("Host twice", get("Host: other.example")),
    refused("Host twice with the same value", get(HOST)),
    refused("Host twice in another case", get("hOST: zq.example")),
    refused("Host twice, the second empty", get("Host:")),
    refused("Host twice in HTTP/1.0", head("GET / HTTP/1.0", "Host: zq.example")),
    refused("Content-Length twice", post(b"abc", "Content-Length: 3", "Content-Length: 4")),
    refused("Content-Length twice with the same value", post(b"abc", "Content-Length: 3", "content-length: 3")),
    refused("Content-Length twice, of nothing", get("Content-Length: 0", "Content-Length: 0")),
    refused("Content-Length twice, the second empty", post(b"abc", "Content-Length: 3", "Content-Length:")),
    refused("Content-Type twice", get("Content-Type: text/plain", "Content-Type: text/html")),
    refused("Content-Type twice with the same value", get("Content-Type: a/b", "Content-Type: a/b")),
]


@in_every_delivery([*NAMES, *VALUES, *LINE_ENDS, *FOLDS, *REPEATED])
def test_fields_are_taken_or_refused(case: Case, delivery: Delivery) -> None:
    play(case, delivery)
