"""Where clients of plain HTTP are sent to."""

import pytest

from greenhorn.errors import HTTPError
from greenhorn.workers.redirect import location


@pytest.mark.parametrize(
    ("elsewhere", "host", "url"),
    [
        ("443", "example.org", "https://example.org/a?b"),
        ("443", "example.org:8080", "https://example.org/a?b"),
        ("8443", "example.org:8080", "https://example.org:8443/a?b"),
        ("443", "[2001:db8::1]:80", "https://[2001:db8::1]/a?b"),
        ("8443", "[::1]", "https://[::1]:8443/a?b"),
        ("https://www.example.org", "example.org", "https://www.example.org/a?b"),
    ],
)
def test_it_is_the_same_place_at_another_address(elsewhere: str, host: str, url: str):
    assert location(elsewhere, host, "/a?b") == url


@pytest.mark.parametrize(
    "host", ["", ":80", "a b", "x;y", "x,y", "x%0d%0aSet", "a/b", "a@b", "a\\b", "[x]", "[::1", "a:b"]
)
def test_a_host_that_is_none_leads_nowhere(host: str):
    with pytest.raises(HTTPError) as caught:
        location("443", host, "/evil.example/x")
    assert caught.value.status == 400


@pytest.mark.parametrize("target", ["*", "http://evil.example/", "evil.example:443"])
def test_neither_does_a_target_that_is_no_path(target: str):
    with pytest.raises(HTTPError):
        location("443", "example.org", target)
