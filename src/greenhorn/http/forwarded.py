"""What proxies in front tell of the client: X-Forwarded-* and Forwarded (RFC 7239), believed for a number of hops.

Whatever a client makes up stands at the beginning of a list, since each proxy appends to what it received. So lists are
read from their ends, and nothing beyond the hop that is believed is looked at.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from greenhorn.errors import HTTPError
from greenhorn.http.grammar import is_host, is_token
from greenhorn.http.head import has_address
from greenhorn.http.peer import Networks

HOST, PORT, PREFIX = "host", "port", "prefix"
EXTRAS = (HOST, PORT, PREFIX)
"""What is only read where it is asked for: many proxies pass on what a client sends under these names."""
X_FORWARDED_FOR = "HTTP_X_FORWARDED_FOR"
X_FORWARDED = {HOST: "HTTP_X_FORWARDED_HOST", PORT: "HTTP_X_FORWARDED_PORT", PREFIX: "HTTP_X_FORWARDED_PREFIX"}
FORWARDED = "HTTP_FORWARDED"
REMEMBERED = 4096
"""Texts of addresses that are remembered before the memory is emptied: strangers choose them."""
LONGEST_REMEMBERED = 64
SECURE = ("https", "wss")

# RFC 3986 3.3: path-absolute without the comma, which separates the entries of a list, and without what is
# percent-encoded: decoded, it could begin a second authority or a line.
is_prefix = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+;=:@]+)*/?").fullmatch
is_port = re.compile(r"[0-9]{1,5}").fullmatch
# RFC 7239 6.3: obfuscated identifiers, of nodes and of ports.
is_hidden = re.compile(r"_[A-Za-z0-9._\-]+").fullmatch

Client = tuple[str, str]


class Told(NamedTuple):
    """What a request's fields told of the client; None, or an empty text, where they left it open."""

    client: Client | None = None
    """Address in its usual spelling, and port; the port is empty if only the address was told."""
    scheme: str | None = None
    host: str | None = None
    port: str | None = None
    prefix: str = ""
    """What a proxy cut off the path, without a slash at its end."""


NOTHING = Told()


class Forwarding:
    """How clients are told by `hops` proxies in front, each of which appends whom it got the request from.

    The client is the entry that the outermost of them appended: the `hops`-th from the end of the list. The peer itself
    is in no list: the last entry is whoever connected to the peer. If there are fewer entries, or the entry is empty,
    `unknown` or obfuscated, the client stays who it was: the peer. X-Forwarded-Host, -Port and -Prefix, which proxies
    set or append to, are read if `extras` name them; the `hops`-th entry from the end counts, or the first if there are
    fewer. With `standard` all that is read is Forwarded, of which an entry is one proxy's as a whole.

    Fields are believed only where the peer is in `trusted`. Frozen but for a memory; pool threads share it.
    """

    __slots__ = ("_extras", "_hops", "_known", "_standard", "keys", "trusted")

    def __init__(self, hops: int, *, trusted: Networks, standard: bool = False, extras: Collection[str] = ()) -> None:
        self._hops = hops
        self._standard = standard
        self._extras = frozenset(extras)
        self._known: dict[str, Client | None] = {}
        self.trusted = trusted
        self.keys: frozenset[str] = frozenset(
            (FORWARDED,) if standard else (X_FORWARDED_FOR, *(X_FORWARDED[extra] for extra in self._extras))
        )
        """Environ keys of the fields that are read."""

    def read(self, fields: Mapping[str, str]) -> Told:
        """What `fields` of a trusted peer tell; raises `HTTPError` 400 where an entry that counts is malformed."""
        if self._standard:
            value = fields.get(FORWARDED)
            return NOTHING if value is None else self._read_standard(value)
        extras = {extra: self._entry(fields, X_FORWARDED[extra]) for extra in self._extras}
        host, port, prefix = extras.get(HOST), extras.get(PORT), extras.get(PREFIX)
        return Told(
            client=self.client(fields),
            host=_check_host(host) if host else None,
            port=_read_port(port) if port else None,
            prefix=_read_prefix(prefix) if prefix else "",
        )

    def client(self, fields: Mapping[str, str]) -> Client | None:
        """Only the client that `fields` of a trusted peer tell; raises `HTTPError` 400."""
        if self._standard:
            return self.read(fields).client
        value = fields.get(X_FORWARDED_FOR)
        if value is None:
            return None
        # Empty entries count, other than in RFC 9110 5.6.1: a proxy that knows no address must not promote what a
        # client made up.
        entries = value.rsplit(",", self._hops)
        if len(entries) > self._hops:
            del entries[0]
        elif len(entries) < self._hops:
            return None
        return self._node(entries[0])

    def _entry(self, fields: Mapping[str, str], key: str) -> str | None:
        value = fields.get(key)
        return value and value.rsplit(",", self._hops)[-self._hops :][0].strip(" \t")

    def _read_standard(self, value: str) -> Told:
        pairs: dict[str, str] = {}
        rest: str | None = value
        for _ in range(self._hops):
            if rest is None:
                return NOTHING
            pairs, rest = split_last_element(rest)
        host, scheme = pairs.get(HOST), pairs.get("proto")
        return Told(
            client=self._node(pairs.get("for", "")),
            scheme=("https" if scheme.lower() in SECURE else "http") if scheme else None,
            host=_check_host(host) if host and HOST in self._extras else None,
        )

    def _node(self, text: str) -> Client | None:
        try:
            return self._known[text]
        except KeyError:
            client = read_node(text.strip(" \t"))
        if len(text) <= LONGEST_REMEMBERED:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[text] = client
        return client


def read_node(text: str) -> Client | None:
    """Address and port of a node, or None if it is empty, `unknown` or obfuscated; raises `HTTPError` 400.

    The port is optional, brackets around an IPv6 address too where no port follows. RFC 7239 6.
    """
    port = ""
    if text.startswith("["):
        address, bracket, behind = text[1:].partition("]")
        if not bracket or (behind and behind[0] != ":") or ":" not in address:
            raise _malformed()
        if behind:
            port = _read_node_port(behind[1:])
    else:
        address = text
        if text.count(":") == 1:
            address, _, port = text.partition(":")
            port = _read_node_port(port)
    if not address or address.lower() == "unknown" or is_hidden(address):
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise _malformed() from None
    if "%" in address:  # a zone means nothing on another machine
        raise _malformed()
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return str(parsed), port


def _read_node_port(text: str) -> str:
    return "" if is_hidden(text) else _read_port(text)


def _read_port(text: str) -> str:
    if not is_port(text) or int(text) >= 2**16:
        raise HTTPError(400, "a port that a proxy forwarded is malformed")
    return str(int(text))


def _check_host(host: str) -> str:
    if not is_host(host) or not has_address(host):
        raise HTTPError(400, "the host that a proxy forwarded is malformed")
    return host


def _read_prefix(text: str) -> str:
    if not is_prefix(text):
        raise HTTPError(400, "the prefix that a proxy forwarded is malformed")
    return text.rstrip("/")


def _malformed() -> HTTPError:
    return HTTPError(400, "the address that a proxy forwarded is malformed")


def split_last_element(value: str) -> tuple[dict[str, str], str | None]:
    """The pairs of the last element of a Forwarded field, by their lower-case names, and what stands before it.

    That is None if nothing does. It is read from its end, since a quotation mark that a client leaves open would
    otherwise swallow what proxies append. Raises `HTTPError` 400. RFC 7239 4.
    """
    pairs: dict[str, str] = {}
    rest = value.rstrip(" \t")
    while True:
        if rest and rest[-1] not in ",;":
            name, text, rest = _split_last_pair(rest)
            if name in pairs:
                raise _malformed_element()
            pairs[name] = text
            rest = rest.rstrip(" \t")
        if not rest:
            return pairs, None
        separator, rest = rest[-1], rest[:-1]
        if separator == ",":
            return pairs, rest
        if separator != ";":
            raise _malformed_element()
        rest = rest.rstrip(" \t")


def _split_last_pair(text: str) -> tuple[str, str, str]:
    """Name, value and what stands before the pair at the end of `text`."""
    if text.endswith('"'):
        at = text.rfind('"', 0, -1)
        while at > 0 and text[at - 1] == "\\":
            at = text.rfind('"', 0, at)
        value = re.sub(r"\\(.)", r"\1", text[at + 1 : -1])
    else:
        at = max(text.rfind(character, 0) for character in '=;, \t"') + 1
        value = text[at:]
    if at < 1 or text[at - 1] != "=":
        raise _malformed_element()
    start = max(text.rfind(character, 0, at - 1) for character in ";, \t") + 1
    name = text[start : at - 1].lower()
    if not is_token(name):
        raise _malformed_element()
    return name, value, text[:start]


def _malformed_element() -> HTTPError:
    return HTTPError(400, "the Forwarded field that a proxy appended is malformed")
