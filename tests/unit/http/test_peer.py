"""Who is trusted, and the scheme that those may tell."""

import pytest

from greenhorn.errors import HTTPError
from greenhorn.http.peer import Networks, scheme_from_proxy
from unit.http.cases import Case, Delivery, accepted, get, in_every_delivery, play, refused
from unit.http.driver import Setup

TRUSTING = Setup(trusts_scheme=True)
DEFAULT_SCHEMES = {
    "HTTP_X_FORWARDED_PROTOCOL": "ssl",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_SSL": "on",
}


@pytest.mark.parametrize(
    ("networks", "address", "trusted"),
    [
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.2", False),
        (["127.0.0.1", "::1"], "::1", True),
        (["127.0.0.1", "::1"], "0:0:0:0:0:0:0:1", True),
        (["10.0.0.0/8"], "10.255.255.255", True),
        (["10.0.0.0/8"], "11.0.0.0", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], "::ffff:11.1.2.3", False),
        (["10.0.0.0/8"], "::10.1.2.3", False),
        (["0.0.0.0/0"], "::1", False),
        (["0.0.0.0/0"], "203.0.113.9", True),
        (["::/0"], "203.0.113.9", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["2001:db8::/32"], "2001:DB8::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        ([" 10.0.0.1 ", "10.0.0.2"], "10.0.0.1", True),
        (["*"], "203.0.113.9", True),
        (["*"], "no address", True),
        (["10.0.0.1", "*"], "203.0.113.9", True),
        ([], "127.0.0.1", False),
        ([""], "127.0.0.1", False),
        (["127.0.0.1"], "no address", False),
        (["127.0.0.1"], "127.1", False),
        (["127.0.0.1"], "2130706433", False),
        (["127.0.0.1"], "127.0.0.1:80", False),
        ([], "", True),
        (["127.0.0.1"], "", True),
    ],
)
def test_an_address_is_trusted_if_it_is_in_one_of_the_networks(
    networks: list[str], address: str, trusted: bool
) -> None:
    known = Networks(networks)
    for _ in range(2):
        assert (address in known) is trusted


@pytest.mark.parametrize("network", ["zq.example", "10.0.0.1/8", "10.0.0.0/33", "256.0.0.1", "10.0.0"])
def test_what_is_no_network_is_refused_when_it_is_set_up(network: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Networks(["127.0.0.1", network])


def test_strangers_cannot_fill_the_memory_of_addresses() -> None:
    networks = Networks(["10.0.0.0/8"])
    for number in range(3 * networks.REMEMBERED):
        assert f"192.0.{number >> 8 & 255}.{number & 255}" not in networks
        assert f"10.1.{number >> 8 & 255}.{number & 255}" in networks
    assert len(networks._known) <= networks.REMEMBERED
    assert "" in networks


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ({}, None),
        ({"HTTP_HOST": "a"}, None),
        ({"HTTP_X_FORWARDED_PROTO": "https"}, "https"),
        ({"HTTP_X_FORWARDED_PROTO": "http"}, "http"),
        ({"HTTP_X_FORWARDED_PROTO": ""}, "http"),
        ({"HTTP_X_FORWARDED_PROTO": "https,http"}, "http"),
        ({"HTTP_X_FORWARDED_SSL": "on"}, "https"),
        ({"HTTP_X_FORWARDED_SSL": "off"}, "http"),
        ({"HTTP_X_FORWARDED_PROTOCOL": "ssl", "HTTP_X_FORWARDED_PROTO": "https"}, "https"),
        ({"HTTP_X_FORWARDED_PROTO": "http", "HTTP_X_FORWARDED_SSL": "off"}, "http"),
    ],
)
def test_the_scheme_is_what_the_fields_tell(fields: dict[str, str], scheme: str | None) -> None:
    assert scheme_from_proxy(fields, DEFAULT_SCHEMES) == scheme


def test_fields_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(HTTPError) as caught:
        scheme_from_proxy({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_SSL": "off"}, DEFAULT_SCHEMES)
    assert caught.value.status == 400


HTTPS = "X-Forwarded-Proto: https"
CASES = [
    accepted("scheme of a stranger", get(HTTPS), **{"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "https"}),
    accepted("contradiction of a stranger", get(HTTPS, "X-Forwarded-Protocol: zq"), **{"wsgi.url_scheme": "http"}),
    accepted("no scheme", get(), setup=TRUSTING, **{"wsgi.url_scheme": "http"}),
    accepted("https", get(HTTPS), setup=TRUSTING, **{"wsgi.url_scheme": "https"}),
    accepted(
        "https by another field", get("x-forwarded-protocol: ssl"), setup=TRUSTING, **{"wsgi.url_scheme": "https"}
    ),
    accepted("http", get("X-Forwarded-Proto: http"), setup=TRUSTING, **{"wsgi.url_scheme": "http"}),
    accepted(
        "https with an underscore", get("X_Forwarded_Proto: https"), setup=TRUSTING, **{"wsgi.url_scheme": "http"}
    ),
    refused("contradiction", get(HTTPS, "X-Forwarded-Protocol: zq"), 400, TRUSTING),
]


@in_every_delivery(CASES)
def test_the_scheme_of_a_request_is_told_by_whom_is_trusted(case: Case, delivery: Delivery) -> None:
    play(case, delivery)
