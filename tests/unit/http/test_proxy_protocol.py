"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), before the first request of a connection."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhorn.errors import HTTPError
from greenhorn.http.peer import (
    LARGEST_PROXY_V2,
    LONGEST_PROXY_V1,
    PROXY_V2_SIGNATURE,
    crc32c,
    read_proxy_header,
)
from greenhorn.net.state import State
from unit.http.cases import (
    AFTER,
    Case,
    Delivery,
    accepted,
    byte_by_byte,
    get,
    play,
    refused,
    split_at_every_byte,
    whole,
)
from unit.http.driver import Client, Setup

AUTO = Setup(proxy_versions="auto")
V1 = Setup(proxy_versions="v1")
V2 = Setup(proxy_versions="v2")
STRANGER = Setup(proxy_versions="auto", proxies=("10.0.0.0/8",))
EVERYBODY = Setup(proxy_versions="auto", proxies=("*",))
LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6, UNSPECIFIED, UDP4, UNIX = 0x11, 0x21, 0x00, 0x12, 0x31


def v1(text: str, end: bytes = b"\r\n") -> bytes:
    return b"PROXY " + text.encode("latin-1") + end


def v2(command: int, family: int, block: bytes, size: int | None = None) -> bytes:
    size = len(block) if size is None else size
    return PROXY_V2_SIGNATURE + bytes([command, family]) + size.to_bytes(2) + block


def addresses(client: str, server: str, client_port: int = 51000, server_port: int = 443) -> bytes:
    packed = ipaddress.ip_address(client).packed + ipaddress.ip_address(server).packed
    return packed + client_port.to_bytes(2) + server_port.to_bytes(2)


def tlv(kind: int, value: bytes, size: int | None = None) -> bytes:
    return bytes([kind]) + (len(value) if size is None else size).to_bytes(2) + value


def summed(command: int, family: int, before: bytes, after: bytes = b"") -> bytes:
    """A header with the right checksum between `before` and `after`."""
    zeroed = v2(command, family, before + tlv(3, bytes(4)) + after)
    at = 16 + len(before) + 3
    return zeroed[:at] + crc32c(zeroed).to_bytes(4) + zeroed[at + 4 :]


FOUR = addresses("192.0.2.1", "198.51.100.2")
SIX = addresses("2001:db8::1", "2001:db8::2")
OWN = {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "50000", "PROXY_ADDR": None, "PROXY_PROTOCOL": None}
TOLD4 = {
    "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "51000",
    "PROXY_PROTOCOL": "TCP4", "PROXY_ADDR": "198.51.100.2", "PROXY_PORT": "443",
}  # fmt: skip
TOLD6 = {
    "REMOTE_ADDR": "2001:db8::1", "REMOTE_PORT": "51000",
    "PROXY_PROTOCOL": "TCP6", "PROXY_ADDR": "2001:db8::2", "PROXY_PORT": "443",
}  # fmt: skip
LINE4 = v1("TCP4 192.0.2.1 198.51.100.2 51000 443")
LINE6 = v1("TCP6 2001:db8::1 2001:db8::2 51000 443")


def faulty(header: bytes, at: int) -> bytes:
    return header[:at] + bytes([header[at] ^ 1]) + header[at + 1 :]


def behind(header: bytes) -> bytes:
    return header + get()


GOOD = [
    accepted("v1, IPv4", behind(LINE4), setup=AUTO, **TOLD4),
    accepted("v1, IPv6", behind(LINE6), setup=AUTO, **TOLD6),
    accepted("v1 where only v1 is on", behind(LINE4), setup=V1, **TOLD4),
    accepted("v1 of everybody", behind(LINE4), setup=EVERYBODY, **TOLD4),
    accepted("v1, largest port", behind(v1("TCP4 192.0.2.1 198.51.100.2 65535 0")), setup=AUTO, REMOTE_PORT="65535"),
    accepted("v1, unknown", behind(v1("UNKNOWN")), setup=AUTO, **OWN),
    accepted("v1, unknown with addresses", behind(v1("UNKNOWN ffff::1 ffff::1 65535 65535")), setup=AUTO, **OWN),
    accepted("v1, longest", behind(v1("UNKNOWN " + "x" * (LONGEST_PROXY_V1 - 16))), setup=AUTO, **OWN),
    accepted("v2, IPv4", behind(v2(PROXY, TCP4, FOUR)), setup=AUTO, **TOLD4),
    accepted("v2, IPv6", behind(v2(PROXY, TCP6, SIX)), setup=AUTO, **TOLD6),
    accepted("v2 where only v2 is on", behind(v2(PROXY, TCP4, FOUR)), setup=V2, **TOLD4),
    accepted("v2 with TLVs", behind(v2(PROXY, TCP4, FOUR + b"\x04\x00\x03\r\n\r")), setup=AUTO, **TOLD4),
    accepted("v2 with an empty TLV", behind(v2(PROXY, TCP4, FOUR + tlv(0xEA, b""))), setup=AUTO, **TOLD4),
    accepted("v2 with a long TLV", behind(v2(PROXY, TCP6, SIX + tlv(0xEA, b"\r" * 500))), setup=AUTO, **TOLD6),
    accepted("v2 with a checksum", behind(summed(PROXY, TCP4, FOUR)), setup=AUTO, **TOLD4),
    accepted(
        "v2 with a checksum among TLVs",
        behind(summed(PROXY, TCP6, SIX + tlv(4, b"abc"), tlv(5, b"d"))),
        setup=AUTO,
        **TOLD6,
    ),
    accepted("v2, local with half a TLV", behind(v2(LOCAL, TCP4, FOUR + b"\x04\x01")), setup=AUTO, **OWN),
    accepted("v2, local", behind(v2(LOCAL, UNSPECIFIED, b"")), setup=AUTO, **OWN),
    accepted("v2, local with addresses", behind(v2(LOCAL, TCP4, FOUR)), setup=AUTO, **OWN),
    accepted("v2, unspecified", behind(v2(PROXY, UNSPECIFIED, b"\x00" * 5)), setup=AUTO, **OWN),
    accepted("v2, unix", behind(v2(PROXY, UNIX, b"\x00" * 216)), setup=AUTO, **OWN),
    accepted("no header", get(), setup=AUTO, **OWN),
    accepted("no header of a stranger", get(), setup=STRANGER, **OWN),
    accepted("no header but an empty line", b"\r\n" + get(), setup=AUTO, **OWN),
    *(
        accepted(f"no header but {method}", get().replace(b"GET", method), setup=AUTO, **OWN)
        for method in (b"P", b"PROPFIND", b"PROXYING", b"PATCH")
    ),
]

BAD = [
    refused("v1 of a stranger", behind(LINE4), 403, STRANGER),
    refused("v1, unknown, of a stranger", behind(v1("UNKNOWN")), 403, STRANGER),
    refused("v2 of a stranger", behind(v2(PROXY, TCP4, FOUR)), 403, STRANGER),
    refused("v2, local, of a stranger", behind(v2(LOCAL, UNSPECIFIED, b"")), 403, STRANGER),
    *(
        refused(f"v1 {text!r}", behind(v1(text)), 400, AUTO)
        for text in (
            "", " ", "zq", "TCP4", "UNKNOWNX", "unknown", "tcp4 192.0.2.1 198.51.100.2 51000 443",
            "TCP4 192.0.2.1 198.51.100.2 51000", "TCP4 192.0.2.1 198.51.100.2 51000 443 1",
            "TCP4  192.0.2.1 198.51.100.2 51000 443", "TCP4 192.0.2.1 198.51.100.2 51000 443 ",
            "TCP4\t192.0.2.1\t198.51.100.2\t51000\t443", "TCP4 192.0.2.1 198.51.100.2 65536 443",
            "TCP4 192.0.2.1 198.51.100.2 51000 -1", "TCP4 192.0.2.1 198.51.100.2 +1 443",
            "TCP4 192.0.2.1 198.51.100.2 1_0 443",
            "TCP4 192.0.2.1 198.51.100.2 \xb2 443", "TCP4 192.0.2.1 198.51.100.2 x 443",
            "TCP4 192.0.2.1 198.51.100.2  443",
            "TCP4 192.0.2.1 198.51.100.2 000001 443", "TCP4 192.0.2 198.51.100.2 51000 443",
            "TCP4 192.0.2.256 1.1.1.1 1 2",
            "TCP4 192.0.02.1 198.51.100.2 51000 443", "TCP4 zq.example 198.51.100.2 51000 443",
            "TCP4 3232235521 1.1.1.1 1 2",
            "TCP4 2001:db8::1 2001:db8::2 51000 443", "TCP6 192.0.2.1 198.51.100.2 51000 443",
            "TCP6 2001:db8::1 198.51.100.2 51000 443", "TCP6 2001:db8::1::2 ::1 1 2", "TCP6 [::1] ::1 1 2",
            "TCP6 fe80::1%<zq> ::1 1 2", "UDP4 192.0.2.1 198.51.100.2 51000 443",
            "TCP4 192.0.2.1\x00 198.51.100.2 51000 443",
        )
    ),
    refused("v1 that ends in LF", behind(v1("TCP4 192.0.2.1 198.51.100.2 51000 443", b"\n")), 400, AUTO),
    refused("v1 that is too long", behind(v1("UNKNOWN " + "x" * (LONGEST_PROXY_V1 - 15))), 400, AUTO),
    refused("v1 that is far too long", behind(v1("UNKNOWN " + "x" * 300)), 400, AUTO),
    refused("v1 twice", behind(LINE4 + LINE4), 400, AUTO),
    refused("v1 where only v2 is on", behind(LINE4), 400, V2),
    refused("v1 where none is on", behind(LINE4), 400),
    refused("v1 in lower case", behind(LINE4.replace(b"PROXY", b"proxy")), 400, AUTO),
    refused("v1 behind an empty line", behind(b"\r\n" + LINE4), 400, AUTO),
    refused("v2 where only v1 is on", behind(v2(PROXY, TCP4, FOUR)), 400, V1),
    refused("v2 where none is on", behind(v2(PROXY, TCP4, FOUR)), 400),
    refused("v2 behind v1", behind(LINE4 + v2(PROXY, TCP4, FOUR)), 400, AUTO),
    *(refused(f"v2, version {number:#x}", behind(v2(number, TCP4, FOUR)), 400, AUTO) for number in (0x01, 0x11, 0x31)),
    *(refused(f"v2, command {command:#x}", behind(v2(command, TCP4, FOUR)), 400, AUTO) for command in (0x22, 0x2F)),
    *(refused(f"v2, family {family:#x}", behind(v2(PROXY, family, SIX)), 400, AUTO) for family in (UDP4, 0x10, 0xF1)),
    refused("v2, IPv4 too short", behind(v2(PROXY, TCP4, FOUR[:-1])), 400, AUTO),
    refused("v2, IPv6 too short", behind(v2(PROXY, TCP6, SIX[:-1])), 400, AUTO),
    refused("v2, IPv6 of IPv4's size", behind(v2(PROXY, TCP6, FOUR)), 400, AUTO),
    *(
        refused(f"v2 with a TLV that does not end, {end!r}", behind(v2(PROXY, TCP4, FOUR + end)), 400, AUTO)
        for end in (b"\x04", b"\x04\x00", b"\x04\x00\x01", tlv(4, b"abc", 4), tlv(4, b"a") + tlv(5, b"", 65535))
    ),
    *(
        refused(f"v2 with a checksum of {size} bytes", behind(v2(PROXY, TCP4, FOUR + tlv(3, bytes(size)))), 400, AUTO)
        for size in (0, 3, 4, 5)
    ),
    *(
        refused(f"v2 with a fault at {at}", behind(faulty(summed(PROXY, TCP4, FOUR, tlv(4, b"a")), at)), 400, AUTO)
        for at in (16, 20, 27, 31, 34, 38)
    ),
    refused("v2 that is too large", v2(PROXY, TCP4, FOUR, LARGEST_PROXY_V2 + 1) + b"\0" * 60, 400, AUTO),
    refused("v2 of the largest size there is", v2(PROXY, TCP4, FOUR, 65535) + b"\0" * 60, 400, AUTO),
    refused("fault behind the header", LINE4 + get("A: b\nB: c"), 400, AUTO),
    refused("fault behind the header that does not end", LINE4 + b"GET / HTTP/1.1\n", 400, AUTO),
]  # fmt: skip


@pytest.mark.parametrize("delivery", [whole, split_at_every_byte, byte_by_byte], ids=lambda delivery: delivery.__name__)
@pytest.mark.parametrize("case", [*GOOD, *BAD], ids=str)
def test_a_proxy_header_is_believed_ignored_or_refused(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


def test_what_a_header_told_holds_for_all_requests_of_the_connection() -> None:
    with Client(AUTO) as client:
        client.send(LINE4 + get() + AFTER)
        client.send(AFTER)
        assert [call.environ["REMOTE_ADDR"] for call in client.app.seen] == ["192.0.2.1"] * 3
        assert [call.environ["PROXY_PORT"] for call in client.app.seen] == ["443"] * 3


def test_a_header_before_a_later_request_is_refused() -> None:
    for header in (LINE4, v2(PROXY, TCP4, FOUR)):
        with Client(AUTO) as client:
            client.send(get() + header + get())
            assert [answer.status for answer in client.answers()] == [200, 400]
            assert [call.environ["REMOTE_ADDR"] for call in client.app.seen] == ["127.0.0.1"]


@pytest.mark.parametrize("header", [LINE4, v2(PROXY, TCP6, SIX + b"\0" * 40)])
def test_a_header_that_does_not_end_reaches_nobody(header: bytes) -> None:
    for at in range(1, len(header)):
        assert read_proxy_header(header[:at], "auto") is None
        with Client(AUTO) as client:
            client.send(header[:at])
            assert client.state is State.HANDSHAKE
            client.end()
            assert (client.state, client.received, client.app.seen) == (State.CLOSED, b"", [])


def test_a_header_takes_its_bytes_and_no_more() -> None:
    for header in (LINE4, LINE6, v1("UNKNOWN"), v2(LOCAL, UNSPECIFIED, b"abc"), v2(PROXY, TCP4, FOUR + b"t\0\1v")):
        told = read_proxy_header(header + b"GET", "auto")
        assert told is not None
        assert told.size == len(header)


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_checksum_is_that_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


def test_a_unix_client_of_the_proxy_leaves_the_proxy_as_the_client() -> None:
    with Client(AUTO) as client:
        client.send(behind(v2(PROXY, UNIX, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0") + b"junk")))
        environ = client.app.seen[0].environ
    assert (environ["REMOTE_ADDR"], "greenhorn.peer_addr" in environ) == ("127.0.0.1", False)


def test_who_is_at_the_other_end_of_the_socket_stays_known() -> None:
    with Client(AUTO) as client:
        client.send(behind(LINE4) + AFTER)
        peers = [call.environ["greenhorn.peer_addr"] for call in client.app.seen]
    assert peers == [("127.0.0.1", "50000")] * 2


TLVS = st.lists(st.builds(tlv, st.sampled_from([3, 4, 0xEA]), st.binary(max_size=8)), max_size=4).map(b"".join)
BLOCKS = st.builds(lambda addresses, tlvs, end: addresses + tlvs + end, st.sampled_from([FOUR, SIX, b""]), TLVS,
                   st.binary(max_size=3))  # fmt: skip
BYTE = st.integers(0, 255)
HEADERS = st.builds(
    v2,
    st.sampled_from([LOCAL, PROXY]) | BYTE,
    st.sampled_from([TCP4, TCP6, UNIX, UDP4, UNSPECIFIED]) | BYTE,
    BLOCKS | st.binary(),
    st.none() | st.integers(0, 65535),
)
WORDS = st.sampled_from(
    ["TCP4", "TCP6", "UNKNOWN", "::1", "192.0.2.1", "443", "65536", "-1", "", "\xb2", "%", "::1%a", "\0"]
)
LINES = st.lists(WORDS, max_size=7).map(lambda words: v1(" ".join(words)))


@settings(deadline=None, derandomize=True, database=None, max_examples=1000)
@given(header=HEADERS | LINES, behind=st.binary(max_size=4), versions=st.sampled_from(["v1", "v2", "auto"]))
def test_a_header_is_read_or_refused_with_400_and_nothing_else(header: bytes, behind: bytes, versions: str) -> None:
    status = 400
    told = None
    try:
        told = read_proxy_header(header + behind, versions)
    except HTTPError as error:
        status = error.status
    assert status == 400
    if told is None:
        return
    assert told.size <= len(header + behind)
    for end in (told.client, told.server):
        if end is not None:
            ipaddress.ip_address(end[0])
            assert 0 <= end[1] < 65536
    assert (told.client is None) == (told.server is None)
