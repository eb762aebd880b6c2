"""Values of bind: addresses, and URLs that say what is spoken there."""

import pytest

from greenhorn.errors import ConfigError
from greenhorn.net.bind import Bind, masked, parse_bind
from greenhorn.net.listener import Address, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://0.0.0.0:8443", Bind(Address("0.0.0.0", 8443), "https")),
        ("https://zq.example", Bind(Address("zq.example", 443), "https")),
        ("http://zq.example", Bind(Address("zq.example", 80), "http")),
        ("http://zq.example/", Bind(Address("zq.example", 80), "http")),
        ("HTTPS://ZQ.example:1", Bind(Address("zq.example", 1), "https")),
        ("https://:8443", Bind(Address("0.0.0.0", 8443), "https")),
        ("https://127.0.0.1:0", Bind(Address("127.0.0.1", 0), "https")),
        ("https://[::1]", Bind(Address("::1", 443), "https")),
        ("http://[::]:8080/", Bind(Address("::", 8080), "http")),
        ("https+unix:/run/zq.sock", Bind(Address(path="/run/zq.sock"), "https")),
        ("http+unix:///run/zq.sock", Bind(Address(path="/run/zq.sock"), "http")),
        ("https+unix:zq.sock", Bind(Address(path="zq.sock"), "https")),
        ("https+fd://3", Bind(Address(fd=3), "https")),
        ("http+fd://web", Bind(Address(name="web"), "http")),
    ],
)
def test_a_url_says_where_and_what_is_spoken(text: str, expected: Bind):
    assert parse_bind(text) == expected


@pytest.mark.parametrize("text", ["", "zq.example", "127.0.0.1:80", "[::1]:80", "tcp://h:1", "unix:/run/x", "fd://3"])
def test_an_address_is_one_as_before(text: str):
    assert parse_bind(text) == Bind(parse_address(text))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("certfile=/etc/zq.pem", [("certfile", "/etc/zq.pem")]),
        ("certfile=a&keyfile=b", [("certfile", "a"), ("keyfile", "b")]),
        ("ciphers=ECDHE+AESGCM:ECDHE+CHACHA20", [("ciphers", "ECDHE+AESGCM:ECDHE+CHACHA20")]),
        ("certfile=/a%20b%26c%3Fd%3D", [("certfile", "/a b&c?d=")]),
        ("certfile=/Z%C3%BCrich.pem", [("certfile", "/Zürich.pem")]),
        ("key-password=file:/run/secret", [("key_password", "file:/run/secret")]),
        ("key_password=a=b", [("key_password", "a=b")]),
        ("redirect=https://zq.example:8443", [("redirect", "https://zq.example:8443")]),
        ("certfile=", [("certfile", "")]),
        ("certificates=a,b&certificates=c,d", [("certificates", "a,b"), ("certificates", "c,d")]),
    ],
)
@pytest.mark.parametrize("place", ["https://zq.example:8443", "https://[::1]/", "https+unix:/run/x", "https+fd://web"])
def test_settings_of_an_address_stand_behind_a_question_mark(place: str, query: str, expected: list[tuple[str, str]]):
    found = parse_bind(f"{place}?{query}")
    assert found == parse_bind(place)._replace(settings=tuple(expected))


PLACE = "is no address; write https://HOST:PORT or https://[IPv6]:PORT, with a port from 0 to 65535"
BESIDE = "is no address; write https+unix:PATH or https+fd://N"
ONLY = "only a URL can have settings; write https://HOST:PORT?NAME=VALUE or https+unix:PATH?NAME=VALUE"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://", "'https://' names no host; write https://0.0.0.0:443"),
        ("http:///", "'http:///' names no host; write http://0.0.0.0:80"),
        ("https://h/path", f"'https://h/path' {PLACE}"),
        ("https://h#x", f"'https://h#x' {PLACE}"),
        ("https://zq@h", f"'https://zq@h' {PLACE}"),
        ("https://h:x", f"'https://h:x' {PLACE}"),
        ("https://h:", f"'https://h:' {PLACE}"),
        ("https://h:65536", f"'https://h:65536' {PLACE}"),
        ("https://[::1", f"'https://[::1' {PLACE}"),
        ("https://::1", f"'https://::1' {PLACE}"),
        ("https://unix:/run/x", f"'https://unix:/run/x' {PLACE}"),
        ("https://fd://3", f"'https://fd://3' {PLACE}"),
        ("https+tcp://h:1", f"'https+tcp://h:1' {BESIDE}"),
        ("https+h:1", f"'https+h:1' {BESIDE}"),
        ("HTTP+", f"'HTTP+' {BESIDE}"),
        ("https+unix:", "'unix:' names no path; write unix:/path/to/socket"),
        ("https+fd://a b", "'fd://a b' has neither a descriptor's number nor a name; write fd://3 or fd://web"),
        ("https://h?", "'https://h?': behind the question mark stands NAME=VALUE&NAME=VALUE"),
        ("https://h?certfile", "'https://h?certfile': behind the question mark stands NAME=VALUE&NAME=VALUE"),
        ("https://h?a=b&", "'https://h?a=b&': behind the question mark stands NAME=VALUE&NAME=VALUE"),
        ("0.0.0.0:443?certfile=x", f"'0.0.0.0:443?certfile=x': {ONLY}"),
        ("tcp://h?redirect=443", f"'tcp://h?redirect=443': {ONLY}"),
        ("unix:/run/x?certfile=y", f"'unix:/run/x?certfile=y': {ONLY}"),
        ("fd://3?certfile=y", f"'fd://3?certfile=y': {ONLY}"),
        ("ftp://h", "'ftp://h' has an unknown scheme; tcp://, unix: and fd:// are known"),
    ],
)
def test_a_url_that_is_none_is_told(text: str, told: str):
    with pytest.raises(ConfigError) as caught:
        parse_bind(text)
    assert str(caught.value) == f"bind: {told}"


@pytest.mark.parametrize(
    "text", ["https://h:x?key_password={}", "0.0.0.0?certfile=x&key_password={}", "http+h?key-password={}"]
)
def test_a_password_is_not_told(text: str):
    with pytest.raises(ConfigError) as caught:
        parse_bind(text.format("zq81"))
    assert text.format("...") in str(caught.value)


@pytest.mark.parametrize("name", ["key_password", "key-password", "key%5Fpassword", "KEY_PASSWORD"])
@pytest.mark.parametrize("password", ["zq81", "zq'81", 'zq"81', "zq 81", ""])
def test_passwords_are_masked_and_nothing_else(name: str, password: str):
    assert masked(f"https://h?certfile=a&{name}={password}&ciphers=b") == f"https://h?certfile=a&{name}=...&ciphers=b"
    assert masked(f"https://h?{name}={password}") == f"https://h?{name}=..."
    assert masked("https://h?certfile=key_passwords") == "https://h?certfile=key_passwords"
