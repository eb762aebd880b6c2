"""RFC 9110 7.2 and RFC 9112 3.2: every request of HTTP/1.1 has one well-formed Host."""

from unit.http.cases import Case, Delivery, accepted, head, in_every_delivery, play, refused

GOOD_HOSTS = (
    "a", "zq.example", "ZQ.Example", "zq.example.", "foo-bar_baz.zq.example", "xn--zq-uga.example", "zq.example:80",
    "zq.example:", "zq.example:0", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:80", "[::1]:", "[::ffff:1.2.3.4]",
    "[2001:db8::ef98:0:7654:321]", "[v1.fe80::a+en1]", "%41.zq.example", "a!$&'()*+,;=~b",
)  # fmt: skip
BAD_HOSTS = (
    "zq example", "zq\texample", "zq.example/", "zq.example/path", "zq.example?a", "zq.example#a", "zq\\example",
    "user@zq.example", "u:p@zq.example", "@zq.example", "http://zq.example", "//zq.example", "zq.example:80a",
    "zq.example:a", "zq.example:-1", "zq.example:+1", "zq.example:8 0", "zq.example:80:80", "zq.example:\xb2",
    "zq.example, b.example", "::1", "[::1", "::1]", "[]", "[::1]a", "[::1].", "a[::1]", "[zq.example]", "[1.2.3.4]",
    "[1]", "[::1::2]", "[1:2:3:4:5:6:7:8:9]", "[::12345]", "[v.a]", "[vx.a]", "[::1%]", "{zq}", "<zq>", '"zq"', "zq|a",
    "zq^a", "zq`a", "%", "%4", "%zz", "\xe9.zq.example", "\xc3\xa9.zq.example", "zq\xa0", "\xff",
)  # fmt: skip


def request(host: str, version: str = "1.1") -> bytes:
    return head(f"GET / HTTP/{version}", host=f"Host: {host}")


HOSTS = [
    *(accepted(f"Host: {host}", request(host), HTTP_HOST=host) for host in GOOD_HOSTS),
    *(refused(f"Host: {host!r}", request(host)) for host in BAD_HOSTS),
    *(refused(f"Host: {host!r} in HTTP/1.0", request(host, "1.0")) for host in ("zq example", "u@zq", "\xff", "[::1")),
    accepted("empty Host", request(""), HTTP_HOST=""),
    accepted("Host of spaces", request("  "), HTTP_HOST=""),
    accepted("Host with blanks around", request(" zq.example \t"), HTTP_HOST="zq.example"),
    accepted("Host in lower case", head("GET / HTTP/1.1", host="host: zq.example"), HTTP_HOST="zq.example"),
    accepted("Host behind others", head("GET / HTTP/1.1", "Host: zq.example", host="A: b"), HTTP_HOST="zq.example"),
    accepted("no Host in HTTP/1.0", head("GET / HTTP/1.0", host=None), keeps=False, HTTP_HOST=None),
    refused("no Host", head("GET / HTTP/1.1", host=None)),
    refused("no Host but other fields", head("GET / HTTP/1.1", "A: b", "X-Host: zq.example", host=None)),
    refused("no Host for OPTIONS *", head("OPTIONS * HTTP/1.1", host=None)),
    refused("no Host for CONNECT", head("CONNECT zq.example:443 HTTP/1.1", host=None)),
    refused("no Host with a body", head("POST / HTTP/1.1", "Content-Length: 3", host=None) + b"abc"),
]


@in_every_delivery(HOSTS)
def test_a_host_is_taken_or_refused(case: Case, delivery: Delivery) -> None:
    play(case, delivery)
