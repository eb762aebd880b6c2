"""One value of the setting bind: an address, and what is spoken there."""

import re
from typing import NamedTuple
from urllib.parse import unquote

from greenhorn.errors import ConfigError
from greenhorn.net.listener import Address, parse_address

PORTS = {"http": 80, "https": 443}
LAST_PORT = 65535
_URL = re.compile(r"(https?)(://|\+(?=unix:|fd://))(.*)", re.DOTALL | re.IGNORECASE)
_HOST = re.compile(r"(?:\[[^\[\]]*\]|[^\[\]:/#@\s]*)(?::(?P<port>[0-9]{1,5}))?")
_SETTING = re.compile(r"\?[a-z_]+=")
_SECRET = re.compile(r"(\bkey(?:[_-]|%5f|%2d)password=)[^&]*", re.IGNORECASE)


class Bind(NamedTuple):
    """Where to listen, what is spoken there if that was said, and settings of this address alone."""

    address: Address
    scheme: str = ""
    """http or https; empty where certfile decides."""
    settings: tuple[tuple[str, str], ...] = ()


def parse_bind(text: str) -> Bind:
    """Take one value of bind apart. Raises `ConfigError`.

    An address as `parse_address` knows it, or a URL: http://HOST:PORT, https://HOST:PORT?certfile=PATH, and
    http+unix:PATH, https+unix:PATH, http+fd://N, https+fd://N. A URL without a port means 80 or 443. A percent sign
    and two digits stand for a character (RFC 3986 2.1); a plus sign is one.
    """
    url = _URL.fullmatch(text)
    if url is None:
        return Bind(_parse_plain(text))
    scheme = url[1].lower()
    place, mark, query = url[3].partition("?")
    settings = tuple(_parse_setting(part, text) for part in query.split("&")) if mark else ()
    if url[2] != "://":
        return Bind(parse_address(place), scheme, settings)
    place = place.removesuffix("/")
    if not place:
        raise ConfigError(f"bind: {masked(text)!r} names no host; write {scheme}://0.0.0.0:{PORTS[scheme]}")
    host = _HOST.fullmatch(place)
    if host is None or int(host["port"] or 0) > LAST_PORT:
        raise ConfigError(
            f"bind: {masked(text)!r} is no address; write {scheme}://HOST:PORT or {scheme}://[IPv6]:PORT, "
            f"with a port from 0 to {LAST_PORT}"
        )
    address = parse_address(f"tcp://{place}")
    return Bind(address if host["port"] else address._replace(port=PORTS[scheme]), scheme, settings)


def masked(text: str) -> str:
    """A value of bind without its password."""
    return _SECRET.sub(r"\1...", text)


def _parse_plain(text: str) -> Address:
    if text.lower().startswith(("http+", "https+")):
        raise ConfigError(f"bind: {masked(text)!r} is no address; write https+unix:PATH or https+fd://N")
    if _SETTING.search(text):
        raise ConfigError(
            f"bind: {masked(text)!r}: only a URL can have settings; "
            "write https://HOST:PORT?NAME=VALUE or https+unix:PATH?NAME=VALUE"
        )
    return parse_address(text)


def _parse_setting(part: str, text: str) -> tuple[str, str]:
    name, sign, value = part.partition("=")
    if not sign:
        raise ConfigError(f"bind: {masked(text)!r}: behind the question mark stands NAME=VALUE&NAME=VALUE")
    return unquote(name).replace("-", "_"), unquote(value)
