"""One value of the setting bind: an address, and what is spoken there."""

from typing import NamedTuple
from urllib.parse import parse_qsl

from greenhorn.errors import ConfigError
from greenhorn.net.listener import Address, parse_address

SCHEMES = ("http", "https")
PORTS = {"http": 80, "https": 443}


class Bind(NamedTuple):
    """Where to listen, what is spoken there if that was said, and settings of this address alone."""

    address: Address
    scheme: str = ""
    """http or https; empty where certfile decides."""
    settings: tuple[tuple[str, str], ...] = ()


def parse_bind(text: str) -> Bind:
    """Take one value of bind apart. Raises `ConfigError`.

    An address as `parse_address` knows it, or a URL: http://HOST:PORT, https://HOST:PORT?certfile=PATH, and
    http+unix:PATH, https+unix:PATH, http+fd://N, https+fd://N. A URL without a port means 80 or 443.
    """
    for scheme in SCHEMES:
        if text.startswith((f"{scheme}://", f"{scheme}+")):
            break
    else:
        return Bind(parse_address(text))
    place, mark, query = text.partition("?")
    try:
        settings = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if mark else []
    except ValueError:
        raise ConfigError(f"bind: {text!r}: behind the question mark stands NAME=VALUE&NAME=VALUE") from None
    rest = place.removeprefix(scheme).removeprefix("+").removeprefix("://")
    if place.startswith(f"{scheme}://"):
        rest = rest.removesuffix("/")
        if not rest:
            raise ConfigError(f"bind: {text!r} names no host; write {scheme}://0.0.0.0:{PORTS[scheme]}")
        address = parse_address(f"tcp://{rest}")
        if ":" not in rest.rpartition("]")[2]:
            address = address._replace(port=PORTS[scheme])
    else:
        address = parse_address(rest)
    return Bind(address, scheme, tuple(settings))
