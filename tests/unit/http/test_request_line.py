"""RFC 9112 section 3: method, target in its four forms, version, and what stands before them."""

import string

from greenhorn.http.head import Leniency
from greenhorn.net.state import State
from unit.http.cases import Case, Delivery, accepted, get, head, in_every_delivery, play, refused
from unit.http.driver import Client, Setup

CASEFOLD = Setup(leniency=Leniency(casefold_method=True))
FOLDING = Setup(leniency=Leniency(obsolete_folding=True))


def line(request_line: str) -> bytes:
    return head(request_line)


METHODS = [
    *(
        accepted(f"method {method}", line(f"{method} / HTTP/1.1"), REQUEST_METHOD=method)
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "M-SEARCH", "get", "X")
    ),
    accepted(
        "method of every token character",
        line(f"!#$%&'*+-.^_`|~{string.digits}{string.ascii_letters} / HTTP/1.1"),
        REQUEST_METHOD=f"!#$%&'*+-.^_`|~{string.digits}{string.ascii_letters}",
    ),
    accepted("method in lower case, casefolded", line("get / HTTP/1.1"), setup=CASEFOLD, REQUEST_METHOD="GET"),
    accepted("unknown method, casefolded", line("Purge / HTTP/1.1"), setup=CASEFOLD, REQUEST_METHOD="PURGE"),
    refused("method that is no token, casefolded", line("g@t / HTTP/1.1"), setup=CASEFOLD),
    refused("no method", line(" / HTTP/1.1")),
    refused("nothing but spaces", line("  ")),
    *(refused(f"method with {char!r}", line(f"G{char}T / HTTP/1.1")) for char in '()<>@,;:\\"/[]?={}\t\x00\x7f\xe9'),
]

ORIGIN = [
    accepted("root", line("GET / HTTP/1.1"), PATH_INFO="/", QUERY_STRING="", RAW_URI="/", REQUEST_URI="/"),
    accepted("query", line("GET /a?b=c&d HTTP/1.1"), PATH_INFO="/a", QUERY_STRING="b=c&d", RAW_URI="/a?b=c&d"),
    accepted("empty query", line("GET /a? HTTP/1.1"), PATH_INFO="/a", QUERY_STRING="", RAW_URI="/a?"),
    accepted("query with question marks", line("GET /a?b?c? HTTP/1.1"), PATH_INFO="/a", QUERY_STRING="b?c?"),
    accepted("query with a URI", line("GET /?u=http://x/ HTTP/1.1"), PATH_INFO="/", QUERY_STRING="u=http://x/"),
    accepted("percent-encoding", line("GET /a%20b%3Fc?%20 HTTP/1.1"), PATH_INFO="/a b?c", QUERY_STRING="%20"),
    accepted("percent-encoded UTF-8", line("GET /%C3%A9 HTTP/1.1"), PATH_INFO="/\xc3\xa9", RAW_URI="/%C3%A9"),
    accepted("percent-encoded line end", line("GET /%0d%0aX:y HTTP/1.1"), PATH_INFO="/\r\nX:y", HTTP_X=None),
    accepted("stray percent", line("GET /100%/%zz HTTP/1.1"), PATH_INFO="/100%/%zz"),
    accepted("two slashes", line("GET //evil.example/a HTTP/1.1"), PATH_INFO="//evil.example/a"),
    accepted("dots", line("GET /a/../b/./c HTTP/1.1"), PATH_INFO="/a/../b/./c"),
    accepted("characters of no URI", line('GET /"<>\\^`{|} HTTP/1.1'), PATH_INFO='/"<>\\^`{|}'),
    accepted("colon in the path", line("GET /a:b@c HTTP/1.1"), PATH_INFO="/a:b@c"),
    refused("no target", line("GET  HTTP/1.1")),
    refused("path without a slash", line("GET path HTTP/1.1")),
    refused("query without a path", line("GET ?query HTTP/1.1")),
    refused("fragment", line("GET /a#zq HTTP/1.1")),
    refused("fragment in the query", line("GET /a?b#zq HTTP/1.1")),
    refused("space in the path", line("GET /a b HTTP/1.1")),
    refused("UTF-8", line("GET /\xc3\xa9 HTTP/1.1")),
    refused("UTF-8 in the query", line("GET /?\xc3\xa9 HTTP/1.1")),
    refused("tab in the path", line("GET /a\tb HTTP/1.1")),
    *(refused(f"target with {char!r}", line(f"GET /a{char}b HTTP/1.1")) for char in "\x00\x01\x08\x0b\x0c\x1f\x7f"),
]

ABSOLUTE = [
    accepted(
        "absolute",
        line("GET http://other.example/a?b HTTP/1.1"),
        HTTP_HOST="other.example",
        PATH_INFO="/a",
        QUERY_STRING="b",
        RAW_URI="http://other.example/a?b",
    ),
    accepted("absolute with a port", line("GET http://other.example:81/ HTTP/1.1"), HTTP_HOST="other.example:81"),
    accepted("absolute, https", line("GET https://other.example/ HTTP/1.1"), HTTP_HOST="other.example"),
    accepted("absolute in upper case", line("GET HTTP://Other.example/ HTTP/1.1"), HTTP_HOST="Other.example"),
    accepted("absolute with IPv6", line("GET http://[::1]:81/a HTTP/1.1"), HTTP_HOST="[::1]:81", PATH_INFO="/a"),
    accepted("absolute without a path", line("GET http://other.example HTTP/1.1"), PATH_INFO="/", QUERY_STRING=""),
    accepted("absolute, query only", line("GET http://other.example?b HTTP/1.1"), PATH_INFO="/", QUERY_STRING="b"),
    accepted("absolute, encoded", line("GET http://other.example/%41 HTTP/1.1"), PATH_INFO="/A"),
    accepted("absolute for OPTIONS", line("OPTIONS http://other.example HTTP/1.1"), PATH_INFO="*"),
    accepted("absolute for OPTIONS with a slash", line("OPTIONS http://other.example/ HTTP/1.1"), PATH_INFO="/"),
    accepted(
        "absolute in HTTP/1.0", line("GET http://other.example/ HTTP/1.0"), keeps=False, HTTP_HOST="other.example"
    ),
    accepted(
        "absolute in HTTP/1.0 without Host",
        head("GET http://other.example/ HTTP/1.0", host=None),
        keeps=False,
        HTTP_HOST="other.example",
    ),
    refused("absolute without Host", head("GET http://other.example/ HTTP/1.1", host=None)),
    refused("absolute with a malformed Host", head("GET http://other.example/ HTTP/1.1", host="Host: a b")),
    refused("absolute with two Hosts", line("GET http://other.example/ HTTP/1.1\r\nHost: other.example")),
    refused("absolute, other scheme", line("GET ftp://other.example/ HTTP/1.1")),
    refused("absolute, scheme only", line("GET http: HTTP/1.1")),
    refused("absolute, one slash", line("GET http:/other.example/ HTTP/1.1")),
    refused("absolute, no authority", line("GET http:// HTTP/1.1")),
    refused("absolute, empty authority", line("GET http:///a HTTP/1.1")),
    refused("absolute, userinfo", line("GET http://user@other.example/ HTTP/1.1")),
    refused("absolute, userinfo with a password", line("GET http://u:p@other.example/ HTTP/1.1")),
    refused("absolute, no number as port", line("GET http://other.example:x/ HTTP/1.1")),
    refused("absolute, fragment", line("GET http://other.example/#zq HTTP/1.1")),
    refused("absolute, UTF-8", line("GET http://\xc3\xa9.example/ HTTP/1.1")),
    refused("absolute, backslash", line("GET http://other.example\\a HTTP/1.1")),
    refused("absolute for CONNECT", line("CONNECT http://other.example/ HTTP/1.1")),
]

AUTHORITY = [
    accepted("authority", line("CONNECT other.example:443 HTTP/1.1"), RAW_URI="other.example:443", PATH_INFO=""),
    accepted("authority with IPv6", line("CONNECT [::1]:443 HTTP/1.1"), RAW_URI="[::1]:443"),
    refused("authority without a port", line("CONNECT other.example HTTP/1.1")),
    refused("authority with an empty port", line("CONNECT other.example: HTTP/1.1")),
    refused("authority with a port that cannot be", line("CONNECT other.example:65536 HTTP/1.1")),
    refused("authority with a word as port", line("CONNECT other.example:https HTTP/1.1")),
    refused("authority without a host", line("CONNECT :443 HTTP/1.1")),
    refused("authority with userinfo", line("CONNECT user@other.example:443 HTTP/1.1")),
    refused("authority with a path", line("CONNECT other.example:443/ HTTP/1.1")),
    refused("path for CONNECT", line("CONNECT / HTTP/1.1")),
    refused("asterisk for CONNECT", line("CONNECT * HTTP/1.1")),
    refused("authority for GET", line("GET other.example:443 HTTP/1.1")),
    refused("authority for OPTIONS", line("OPTIONS other.example:443 HTTP/1.1")),
]

ASTERISK = [
    accepted("asterisk", line("OPTIONS * HTTP/1.1"), PATH_INFO="*", RAW_URI="*", QUERY_STRING=""),
    refused("asterisk for GET", line("GET * HTTP/1.1")),
    refused("asterisk for options in lower case", line("options * HTTP/1.1")),
    refused("asterisk with a query", line("OPTIONS *?a HTTP/1.1")),
    refused("two asterisks", line("OPTIONS ** HTTP/1.1")),
]

VERSIONS = [
    accepted("HTTP/1.1", line("GET / HTTP/1.1"), SERVER_PROTOCOL="HTTP/1.1"),
    accepted("HTTP/1.0", line("GET / HTTP/1.0"), keeps=False, SERVER_PROTOCOL="HTTP/1.0"),
    *(
        refused(f"version {version}", line(f"GET / HTTP/{version}"), 505)
        for version in ("0.9", "1.2", "1.9", "2.0", "3.0", "9.9", "0.0")
    ),
    refused("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    *(
        refused(f"version as {version!r}", line(f"GET / {version}"))
        for version in (
            "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/11", "HTTP/1.10", "HTTP/01.1", "HTTP/1.1x", "HTTP/1,1", "HTTP/1.1.1",
            "HTTP/+1.1", "HTTP/-1.1", "HTTP/1.x", "HTTP/1.\xb9", "HTTP1.1", "http/1.1", "Http/1.1", "HTTPS/1.1",
            "HTP/1.1", "ICE/1.0", "1.1", "HTTP/ 1.1", "HTTP /1.1", "\xefHTTP/1.1",
        )
    ),
    refused("no version", line("GET /")),
    refused("no version but its space", line("GET / ")),
    refused("HTTP/0.9", b"GET /\r\n\r\n"),
]  # fmt: skip

SPACES = [
    refused("two spaces before the target", line("GET  / HTTP/1.1")),
    refused("two spaces before the version", line("GET /  HTTP/1.1")),
    refused("space at the end", line("GET / HTTP/1.1 ")),
    refused("space at the beginning", line(" GET / HTTP/1.1")),
    refused("tab at the beginning", line("\tGET / HTTP/1.1")),
    *(refused(f"{char!r} for the first space", line(f"GET{char}/ HTTP/1.1")) for char in "\t\x0b\x0c\xa0\x85"),
    *(refused(f"{char!r} for the second space", line(f"GET /{char}HTTP/1.1")) for char in "\t\x0b\x0c\xa0\x85"),
    refused("one word", line("GET")),
]

BEFORE = [
    accepted("one empty line before", b"\r\n" + get(), REQUEST_METHOD="GET"),
    refused("two empty lines before", b"\r\n\r\n" + get()),
    refused("three empty lines before", b"\r\n\r\n\r\n" + get()),
    refused("bare LF before", b"\n" + get()),
    refused("bare CR before", b"\r" + get()),
    refused("CR CR LF before", b"\r\r\n" + get()),
    refused("NUL before", b"\0" + get()),
    refused("line with a space before", b" \r\n" + get()),
    refused("byte order mark before", b"\xef\xbb\xbf" + get()),
    refused("no request line", b"Host: zq.example\r\n\r\n"),
    refused("a handshake of SSL 2", bytes.fromhex("802e010002001500000010") + bytes(30) + b"\r\n\r\n"),
    refused("folded request line", b"GET /\r\n HTTP/1.1\r\nHost: zq.example\r\n\r\n", setup=FOLDING),
    refused(
        "folded request line behind an empty line",
        b"\r\nGET /\r\n HTTP/1.1\r\nHost: zq.example\r\n\r\n",
        setup=FOLDING,
    ),
]


@in_every_delivery([*METHODS, *ORIGIN, *ABSOLUTE, *AUTHORITY, *ASTERISK, *VERSIONS, *SPACES, *BEFORE])
def test_a_request_line_is_taken_or_refused(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(30) + b"\r\n\r\n"


def test_a_client_that_speaks_tls_is_told_nothing_that_it_could_not_read():
    for at in range(2, len(HELLO)):
        with Client() as client:
            client.send(HELLO[:at])
            client.send(HELLO[at:])
            assert (client.state, client.received, client.app.seen) == (State.CLOSED, b"", [])


def test_what_looks_like_tls_behind_a_request_is_a_bad_request():
    with Client() as client:
        client.send(get() + HELLO)
        assert [answer.status for answer in client.answers()] == [200, 400]
