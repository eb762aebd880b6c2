"""Clients as proxies tell of them: X-Forwarded-* and Forwarded (RFC 7239), counted from the end."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhorn.errors import HTTPError
from greenhorn.http.forwarded import EXTRAS, REMEMBERED, Forwarding, Told, read_node, split_last_element
from greenhorn.http.peer import Networks
from unit.http.cases import Case, Delivery, accepted, get, in_every_delivery, play, refused
from unit.http.driver import Client, Setup

EVERYBODY = Networks(["*"])
always_the_same = settings(deadline=None, derandomize=True, database=None, max_examples=500)


def by_list(hops: int = 1, *extras: str) -> Forwarding:
    return Forwarding(hops, trusted=EVERYBODY, extras=extras)


def by_standard(hops: int = 1, *extras: str) -> Forwarding:
    return Forwarding(hops, trusted=EVERYBODY, standard=True, extras=extras)


# Nodes.


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("203.0.113.7", ("203.0.113.7", "")),
        ("203.0.113.7:4711", ("203.0.113.7", "4711")),
        ("203.0.113.7:0", ("203.0.113.7", "0")),
        ("203.0.113.7:00080", ("203.0.113.7", "80")),
        ("203.0.113.7:65535", ("203.0.113.7", "65535")),
        ("203.0.113.7:_hidden", ("203.0.113.7", "")),
        ("2001:db8::7", ("2001:db8::7", "")),
        ("2001:DB8:0:0::7", ("2001:db8::7", "")),
        ("::FFFF:203.0.113.7", ("203.0.113.7", "")),
        ("::", ("::", "")),
        ("[2001:db8::7]", ("2001:db8::7", "")),
        ("[2001:db8::7]:4711", ("2001:db8::7", "4711")),
        ("[2001:db8::7]:_p", ("2001:db8::7", "")),
        ("", None),
        ("unknown", None),
        ("Unknown", None),
        ("unknown:80", None),
        ("_hidden", None),
        ("_SEVKISEK:80", None),
    ],
)
def test_a_node_is_an_address_with_a_port_or_not_or_nobody(text: str, client: tuple[str, str] | None):
    assert read_node(text) == client


MALFORMED_NODES = [
    "localhost", "unix:", "203.0.113", "203.0.113.256", "203.0.113.07", "203.0.113.7:", "203.0.113.7:x",
    "203.0.113.7:-1", "203.0.113.7:65536", "203.0.113.7:000080", "203.0.113.7:\xb2", "203.0.113.7 203.0.113.8",
    "203.0.113.7/32", "3405803783",
    "[2001:db8::7", "2001:db8::7]", "[2001:db8::7]x", "[2001:db8::7]4711", "[2001:db8::7]:", "[203.0.113.7]", "[]",
    "[:]",
    "[unknown]", "fe80::1%eth0", "[fe80::1%<b>]", "2001:db8::7::8", "1:2", "_", "_a b", "_a\n", '"203.0.113.7"', "\xff",
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED_NODES)
def test_a_node_that_is_none_is_refused(text: str):
    with pytest.raises(HTTPError) as caught:
        read_node(text)
    assert caught.value.status == 400


# X-Forwarded-For.


@pytest.mark.parametrize(
    ("hops", "value", "address"),
    [
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7, 198.51.100.1", "203.0.113.7"),
        (2, "203.0.113.7,198.51.100.1", "203.0.113.7"),
        (3, "6.6.6.6,203.0.113.7 ,\t198.51.100.1 , 10.0.0.1", "203.0.113.7"),
        # What is beyond the hop is never looked at.
        (1, 'zq", <script>, ;, 203.0.113.7', "203.0.113.7"),
        (2, "unknown, zq, 203.0.113.7, zq", "203.0.113.7"),
        # Who is not told stays the peer.
        (2, "203.0.113.7", None),
        (3, "6.6.6.6, 203.0.113.7", None),
        (1, "", None),
        (1, "6.6.6.6, ", None),
        (2, "6.6.6.6, , 198.51.100.1", None),
        (1, "6.6.6.6, unknown", None),
        (1, "6.6.6.6, _hidden", None),
    ],
)
def test_the_client_is_the_entry_that_the_outermost_of_our_proxies_appended(hops: int, value: str, address: str | None):
    fields = {"HTTP_X_FORWARDED_FOR": value, "HTTP_FORWARDED": "for=9.9.9.9"}
    told = by_list(hops).read(fields)
    assert told == Told(client=address and (address, ""))  # type: ignore[arg-type]
    assert by_list(hops).client(fields) == told.client


def test_nothing_is_told_without_the_field():
    assert by_list().read({"HTTP_FORWARDED": "for=9.9.9.9", "HTTP_X_REAL_IP": "9.9.9.9"}) == Told()
    assert by_standard().read({"HTTP_X_FORWARDED_FOR": "9.9.9.9"}) == Told()


def test_an_entry_that_counts_has_to_be_an_address():
    for value in ("203.0.113.7, localhost", "localhost", "203.0.113.7, unix:"):
        for _ in range(2):
            with pytest.raises(HTTPError) as caught:
                by_list().read({"HTTP_X_FORWARDED_FOR": value})
            assert caught.value.status == 400


def test_strangers_cannot_fill_the_memory_of_addresses():
    forwarding = by_list()
    for number in range(2 * REMEMBERED):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert forwarding.client({"HTTP_X_FORWARDED_FOR": address}) == (address, "")
        assert forwarding.client({"HTTP_X_FORWARDED_FOR": " " * 100 + address}) == (address, "")
    assert len(forwarding._known) <= REMEMBERED
    assert max(map(len, forwarding._known)) < 100


# X-Forwarded-Host, -Port and -Prefix.

ALL = {
    "HTTP_X_FORWARDED_FOR": "203.0.113.7",
    "HTTP_X_FORWARDED_HOST": "shop.example:8443",
    "HTTP_X_FORWARDED_PORT": "8443",
    "HTTP_X_FORWARDED_PREFIX": "/shop",
}


def test_host_port_and_prefix_are_read_only_where_they_are_asked_for():
    assert by_list().read(ALL) == Told(client=("203.0.113.7", ""))
    assert by_list(1, "host").read(ALL).host == "shop.example:8443"
    assert by_list(1, "port").read(ALL) == Told(client=("203.0.113.7", ""), port="8443")
    assert by_list(1, *EXTRAS).read(ALL) == Told(("203.0.113.7", ""), None, "shop.example:8443", "8443", "/shop")
    assert by_list(1, *EXTRAS).read({}) == Told()
    assert by_list(1, *EXTRAS).read(dict.fromkeys(ALL, "")) == Told()


def test_only_the_fields_that_are_read_are_watched():
    assert by_list().keys == {"HTTP_X_FORWARDED_FOR"}
    assert by_list(1, *EXTRAS).keys == set(ALL)
    assert by_standard(1, *EXTRAS).keys == {"HTTP_FORWARDED"}


@pytest.mark.parametrize(
    ("hops", "value", "host"),
    [
        (1, "a.example", "a.example"),
        (1, "spoof, a.example", "a.example"),
        (1, "sp<oof ,[::1]:81", "[::1]:81"),
        (2, "a.example", "a.example"),
        (2, "a.example, inner", "a.example"),
        (2, "spoof, a.example, inner", "a.example"),
    ],
)
def test_of_what_proxies_set_or_append_to_the_entry_of_the_outermost_counts(hops: int, value: str, host: str):
    assert by_list(hops, "host").read({"HTTP_X_FORWARDED_HOST": value}).host == host


@pytest.mark.parametrize(
    ("value", "prefix"),
    [("/shop", "/shop"), ("/shop/", "/shop"), ("/", ""), ("/a/b.c~d", "/a/b.c~d"), ("/a, /b", "/b")],
)
def test_a_prefix_is_a_path_without_a_slash_at_its_end(value: str, prefix: str):
    assert by_list(1, "prefix").read({"HTTP_X_FORWARDED_PREFIX": value}).prefix == prefix


@pytest.mark.parametrize(
    ("extra", "value"),
    [
        *(("host", value) for value in ("a b", "a/b", "a@b", "<a>", "[::zq]", "a:b", "\xe4", "http://a", "a:1:2")),
        *(("port", value) for value in ("https", "-1", "65536", "123456", "8 0", "\xb2", "0x50", "+80")),
        *(("prefix", value) for value in ("shop", "//evil.example", "/a//b", "/%2fevil", "/a b", "/a?b")),
        *(("prefix", value) for value in ("/a\tb", "/a#b", "/\xe4", "http://a/", '/"')),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_if_it_is_asked_for(extra: str, value: str):
    fields = {f"HTTP_X_FORWARDED_{extra.upper()}": value}
    with pytest.raises(HTTPError) as caught:
        by_list(1, extra).read(fields)
    assert caught.value.status == 400
    assert by_list(1).read(fields) == Told()


# Forwarded.


@pytest.mark.parametrize(
    ("hops", "value", "told"),
    [
        (1, "for=203.0.113.7", Told(("203.0.113.7", ""))),
        (1, 'For="203.0.113.7:4711"', Told(("203.0.113.7", "4711"))),
        (1, "for=203.0.113.7:4711", Told(("203.0.113.7", "4711"))),
        (1, 'for="[2001:db8::7]"', Told(("2001:db8::7", ""))),
        (1, 'for="[2001:db8::7]:4711"', Told(("2001:db8::7", "4711"))),
        (1, "for=[2001:db8::7]", Told(("2001:db8::7", ""))),
        (1, r'for="203\.0\.113\.7"', Told(("203.0.113.7", ""))),
        (1, r'for=203.0.113.7;x="a\"b\\";y="\""', Told(("203.0.113.7", ""))),
        (1, 'for=203.0.113.7;x="a, for=9.9.9.9"', Told(("203.0.113.7", ""))),
        (1, "for=203.0.113.7;proto=https;by=203.0.113.43", Told(("203.0.113.7", ""), "https")),
        (1, "proto=HTTP; for=203.0.113.7 ", Told(("203.0.113.7", ""), "http")),
        (1, ";for=203.0.113.7;;proto=wss;", Told(("203.0.113.7", ""), "https")),
        (1, "for=203.0.113.7;proto=gopher", Told(("203.0.113.7", ""), "http")),
        (1, 'for=203.0.113.7;host="a.example:81"', Told(("203.0.113.7", ""), None, "a.example:81")),
        (1, "proto=https", Told(None, "https")),
        (1, "for=unknown;proto=https", Told(None, "https")),
        (1, "for=_hidden", Told()),
        (1, "", Told()),
        (1, "for=9.9.9.9,", Told()),
        (1, "for=;proto=", Told()),
        (2, "for=9.9.9.9, for=203.0.113.7;proto=https, for=198.51.100.1;proto=a", Told(("203.0.113.7", ""), "https")),
        (2, "for=203.0.113.7,for=198.51.100.1", Told(("203.0.113.7", ""))),
        (2, "for=203.0.113.7", Told()),
        (2, "for=9.9.9.9,,for=198.51.100.1", Told()),
        # What a client makes up cannot swallow what proxies append.
        (1, 'for="9.9.9.9, for=203.0.113.7', Told(("203.0.113.7", ""))),
        (1, 'for=9.9.9.9;x=", for="203.0.113.7"', Told(("203.0.113.7", ""))),
        (1, 'for="\\, for="203.0.113.7"', Told(("203.0.113.7", ""))),
        (2, '"\\", for="[2001:db8::7]";host="a", for=198.51.100.1', Told(("2001:db8::7", ""), None, "a")),
        (1, "zq zq zq, for=203.0.113.7", Told(("203.0.113.7", ""))),
    ],
)  # fmt: skip
def test_the_element_of_the_outermost_of_our_proxies_tells_address_scheme_and_host(hops: int, value: str, told: Told):
    fields = {"HTTP_FORWARDED": value, "HTTP_X_FORWARDED_FOR": "9.9.9.9"}
    assert by_standard(hops, "host").read(fields) == told
    assert by_standard(hops).read(fields) == told._replace(host=None)
    assert by_standard(hops).client(fields) == told.client


@pytest.mark.parametrize(
    "value",
    [
        "203.0.113.7", "for", "for= 203.0.113.7", "=203.0.113.7", "for==1", "for=203.0.113.7 proto=https",
        "for=1.1.1.1;for=2.2.2.2", "for=localhost", 'for="203.0.113.7', 'for=203.0.113.7"', "for='203.0.113.7'", '"',
        '""', 'x""', "f r=203.0.113.7", 'for="1.1.1.1"x', '"a"=1', "\\", 'for=a"b"', "for=fe80::1%eth0",
        'for="[::1%eth0]"',
        "for=9.9.9.9, zq", "host=a<b", "for=\xe4", "f\xe4r=1", "proto=a b",
    ],
)  # fmt: skip
def test_an_element_that_counts_has_to_be_well_formed(value: str):
    with pytest.raises(HTTPError) as caught:
        by_standard(1, "host").read({"HTTP_FORWARDED": value})
    assert caught.value.status == 400


# What no proxy may do to the server, and no client to what proxies say.

SCRAPS = st.sampled_from(
    ["for=", "FOR=", "proto=https", "host=a", ",", ", ", ";", "=", '"', "\\", '\\"', " ", "\t", "203.0.113.7", "[::1]",
     ":80", "[", "]", ":", "unknown", "_a", "%", "/", "\xe4", "x=y"]
)  # fmt: skip
ANYTHING = st.lists(SCRAPS | st.text(st.characters(max_codepoint=255), max_size=3), max_size=12).map("".join)
FIELDS = st.dictionaries(st.sampled_from([*ALL, "HTTP_FORWARDED"]), ANYTHING)
FORWARDINGS = st.builds(
    lambda hops, standard, extras: Forwarding(hops, trusted=EVERYBODY, standard=standard, extras=extras),
    st.integers(1, 4), st.booleans(), st.sets(st.sampled_from(EXTRAS)),
)  # fmt: skip


def read_unless_refused(forwarding: Forwarding, fields: dict[str, str]) -> Told | None:
    try:
        return forwarding.read(fields)
    except HTTPError as error:
        status = error.status
    assert status == 400
    return None


@always_the_same
@given(fields=FIELDS, forwarding=FORWARDINGS)
def test_whatever_is_told_is_understood_or_refused(fields: dict[str, str], forwarding: Forwarding):
    told = read_unless_refused(forwarding, fields)
    if told is None:
        return
    assert forwarding.client(fields) == told.client
    if told.client is not None:
        address, port = told.client
        assert str(ipaddress.ip_address(address)) == address
        assert port == "" or 0 <= int(port) < 65536
    assert told.scheme in (None, "http", "https")
    assert told.port is None or 0 <= int(told.port) < 65536
    assert told.prefix == "" or (told.prefix[0] == "/" and "//" not in told.prefix and told.prefix.isascii())


QUOTED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
ELEMENTS = st.lists(
    st.tuples(st.sampled_from(["203.0.113.7", '"[2001:db8::7]:1"', "unknown"]), QUOTED).map(
        lambda element: f"for={element[0]};x={element[1]}"
    ),
    min_size=1,
    max_size=4,
)


@always_the_same
@given(junk=ANYTHING, elements=ELEMENTS)
def test_nothing_before_the_elements_of_our_proxies_changes_how_they_are_read(junk: str, elements: list[str]):
    alone = ", ".join(elements)
    behind: str | None = f"{junk},{alone}"
    expected: str | None = alone
    for _ in elements:
        assert expected is not None
        assert behind is not None
        pairs, expected = split_last_element(expected)
        same, behind = split_last_element(behind)
        assert pairs == same
    assert behind == junk
    assert expected is None


@always_the_same
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_quoted_value_is_what_was_quoted(text: str):
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    pairs, rest = split_last_element(f'for=1.1.1.1;x="{quoted}"')
    assert (pairs, rest) == ({"for": "1.1.1.1", "x": text}, None)


# Whole requests.


def setup(forwarding: Forwarding, **changes: Any) -> Setup:
    return Setup(forwarding=forwarding, **changes)


def trusting(*networks: str) -> Forwarding:
    return Forwarding(1, trusted=Networks(networks), extras=EXTRAS)


ONE = setup(by_list())
EACH = setup(by_list(1, *EXTRAS))
STANDARD = setup(by_standard(1, "host"), trusts_scheme=True)
FOR = "X-Forwarded-For: 203.0.113.7"
PEER: dict[str, Any] = {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "50000", "greenhorn.peer_addr": None}
TOLD: dict[str, Any] = {
    "REMOTE_ADDR": "203.0.113.7", "REMOTE_PORT": None, "greenhorn.peer_addr": ("127.0.0.1", "50000")
}  # fmt: skip
CASES = [
    accepted("off", get(FOR, "Forwarded: for=9.9.9.9"), **PEER),
    accepted("nothing told", get(), setup=ONE, **PEER),
    accepted("told", get(FOR), setup=ONE, **TOLD, HTTP_X_FORWARDED_FOR="203.0.113.7"),
    accepted("told on two lines", get("X-Forwarded-For: 9.9.9.9", FOR), setup=ONE, **TOLD),
    accepted("told behind junk", get('X-Forwarded-For: ", ,zq', FOR), setup=ONE, **TOLD),
    accepted("told with a port", get(f"{FOR}:4711"), setup=ONE, REMOTE_ADDR="203.0.113.7", REMOTE_PORT="4711"),
    accepted("not told", get("X-Forwarded-For: unknown"), setup=ONE, **PEER),
    accepted("with an underscore", get("X_Forwarded_For: 9.9.9.9"), setup=ONE, **PEER),
    accepted("of a stranger", get(FOR, "X-Forwarded-Host: a"), setup=setup(trusting("10.0.0.0/8")), **PEER,
             HTTP_HOST="zq.example"),
    accepted("malformed of a stranger", get("X-Forwarded-For: zq"), setup=setup(trusting("10.0.0.0/8")), **PEER),
    accepted("of somebody known", get(FOR), setup=setup(trusting("127.0.0.0/8")), **TOLD),
    accepted("host and port", get("X-Forwarded-Host: a.example", "X-Forwarded-Port: 443"), setup=EACH,
             HTTP_HOST="a.example", SERVER_PORT="443", SERVER_NAME="127.0.0.1", REMOTE_ADDR="127.0.0.1"),
    accepted("prefix", get("X-Forwarded-Prefix: /shop"), setup=EACH, SCRIPT_NAME="/shop", PATH_INFO="/", RAW_URI="/"),
    accepted("prefix beside SCRIPT_NAME", get("X-Forwarded-Prefix: /shop", "SCRIPT_NAME: /"),
             setup=setup(by_list(1, *EXTRAS), allowed=("SCRIPT_NAME",)), SCRIPT_NAME="", PATH_INFO="/"),
    accepted("Forwarded", get("Forwarded: for=203.0.113.7;proto=https;host=a.example", "X-Forwarded-Proto: http"),
             setup=STANDARD, **TOLD, **{"wsgi.url_scheme": "https"}, HTTP_HOST="a.example"),
    accepted("Forwarded without a scheme", get("Forwarded: for=203.0.113.7", "X-Forwarded-Proto: https"),
             setup=STANDARD, **TOLD, **{"wsgi.url_scheme": "https"}),
    accepted("a scheme of whom no scheme is believed", get(FOR, "X-Forwarded-Proto: https"), setup=ONE, **TOLD,
             **{"wsgi.url_scheme": "http"}),
    refused("malformed", get("X-Forwarded-For: zq"), 400, ONE),
    refused("malformed host", get("X-Forwarded-Host: zq<b>"), 400, EACH),
    refused("malformed Forwarded", get("Forwarded: zq"), 400, STANDARD),
]  # fmt: skip


@in_every_delivery(CASES)
def test_the_client_of_a_request_is_told_by_whom_is_trusted(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


def test_each_request_of_a_connection_has_its_own_client():
    with Client(ONE) as client:
        for field in (FOR, "A: b", "X-Forwarded-For: 203.0.113.8:1", FOR):
            client.send(get(field))
        environs = [call.environ for call in client.app.seen]
    assert [(environ["REMOTE_ADDR"], environ.get("REMOTE_PORT")) for environ in environs] == [
        ("203.0.113.7", None), ("127.0.0.1", "50000"), ("203.0.113.8", "1"), ("203.0.113.7", None),
    ]  # fmt: skip


@pytest.mark.parametrize(("trusted", "address"), [("192.0.2.1", "203.0.113.7"), ("127.0.0.1", "192.0.2.1")])
def test_with_the_proxy_protocol_it_counts_whether_whom_its_header_names_is_trusted(trusted: str, address: str):
    with Client(setup(trusting(trusted), proxy_versions="auto")) as client:
        client.send(b"PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n" + get(FOR) + get())
        first, second = (call.environ for call in client.app.seen)
    assert first["REMOTE_ADDR"] == address
    assert second["REMOTE_ADDR"] == "192.0.2.1"
    assert first["greenhorn.peer_addr"] == second["greenhorn.peer_addr"] == ("127.0.0.1", "50000")
    assert first["PROXY_ADDR"] == "198.51.100.2"
