"""Who the client is: the PROXY protocol's header, trusted networks, and the scheme that a proxy tells."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from greenhorn.errors import HTTPError

PROXY_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST_PROXY_V1 = 107
"""Bytes of a PROXY v1 line with its CRLF, by the specification."""
LARGEST_PROXY_V2 = 2048
"""Bytes of addresses and TLVs that are taken."""
V2_HEADER = 16
INET, INET6, UNIX, UNSPECIFIED = 1, 2, 3, 0
STREAM = 1
TLV_HEADER = 3
CRC32C = 3
"""The type of the TLV that has a checksum of the whole header."""
_CASTAGNOLI = 0x82F63B78


MAPPED_BITS = 96
"""Bits of an IPv6 address in front of the IPv4 address that it stands for."""


class Networks:
    """A set of addresses that are trusted with something: single ones, networks, or everybody (`*`).

    Peers without an address, which is those of a unix socket, are always in it.
    """

    REMEMBERED = 4096

    __slots__ = ("_everybody", "_known", "_networks")

    def __init__(self, networks: Iterable[str]) -> None:
        texts = [text.strip() for text in networks]
        self._everybody = "*" in texts
        self._known: dict[str, bool] = {"": True}
        self._networks = tuple(_network(text) for text in texts if text not in ("", "*"))

    def __contains__(self, address: str) -> bool:
        if self._everybody:
            return True
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= self.REMEMBERED:
                self._known.clear()
            known = self._known[address] = not address or self._judge(address)
        return known

    def _judge(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed.version == network.version and parsed in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network, of IPv4 if it is one of IPv4 addresses in the form of IPv6 (RFC 4291 2.5.5.2), as peers are."""
    network = ipaddress.ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < MAPPED_BITS:
        return network
    return ipaddress.ip_network(f"{mapped}/{network.prefixlen - MAPPED_BITS}")


class ProxyHeader(NamedTuple):
    """What a PROXY header said. `client` and `server` are (address, port), or None where it leaves them open."""

    size: int
    """How many bytes of the stream it took."""
    client: tuple[str, int] | None
    server: tuple[str, int] | None


def read_proxy_header(data: bytes, versions: str) -> ProxyHeader | None:
    """Parse the PROXY header at the beginning of a connection; None while more bytes are needed.

    `versions` is "v1", "v2" or "auto". A connection that begins with anything else has `size` 0: the header is
    optional. A checksum is verified if there is one; other TLVs are skipped. Raises `HTTPError` 400. Source:
    HAProxy's proxy-protocol.txt, sections 2.1 and 2.2.
    """
    if versions != "v1" and _begins(data, PROXY_V2_SIGNATURE):
        return _read_v2(data)
    if versions != "v2" and _begins(data, b"PROXY "):
        return _read_v1(data)
    return ProxyHeader(0, None, None)


def _begins(data: bytes, signature: bytes) -> bool:
    return data.startswith(signature) or signature.startswith(data)


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, LONGEST_PROXY_V1)
    if end < 0:
        if len(data) >= LONGEST_PROXY_V1:
            raise HTTPError(400, "the PROXY line does not end")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(end + 2, None, None)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):  # noqa: PLR2004 - the words of the line
        raise HTTPError(400, "the PROXY line is malformed")
    version = 4 if words[1] == "TCP4" else 6
    return ProxyHeader(end + 2, _endpoint(words[2], words[4], version), _endpoint(words[3], words[5], version))


def _endpoint(address: str, port: str, version: int) -> tuple[str, int]:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise HTTPError(400, "the PROXY line has a malformed address") from None
    if "%" in address:
        raise HTTPError(400, "the PROXY line has an address with a zone")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1  # noqa: PLR2004 - digits of 65535
    if parsed.version != version or not 0 <= number < 2**16:
        raise HTTPError(400, "the PROXY line has a malformed address or port")
    return address, number


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < V2_HEADER:
        return None
    version, command = data[12] >> 4, data[12] & 15
    family, transport = data[13] >> 4, data[13] & 15
    size = int.from_bytes(data[14:16])
    if version != 2 or command > 1 or size > LARGEST_PROXY_V2:  # noqa: PLR2004 - the protocol's version
        raise HTTPError(400, "the PROXY header is malformed")
    if len(data) < V2_HEADER + size:
        return None
    if command == 0 or family in (UNSPECIFIED, UNIX):  # LOCAL: a health check of the proxy itself
        return ProxyHeader(V2_HEADER + size, None, None)
    width = {INET: 4, INET6: 16}.get(family)
    if width is None or transport != STREAM or size < 2 * width + 4:
        raise HTTPError(400, "the PROXY header is malformed")
    _check_tlvs(data[: V2_HEADER + size], V2_HEADER + 2 * width + 4)
    block = data[V2_HEADER : V2_HEADER + size]
    addresses = [str(ipaddress.ip_address(block[at : at + width])) for at in (0, width)]
    ports = [int.from_bytes(block[2 * width + at : 2 * width + at + 2]) for at in (0, 2)]
    return ProxyHeader(V2_HEADER + size, (addresses[0], ports[0]), (addresses[1], ports[1]))


def _check_tlvs(header: bytes, at: int) -> None:
    """Walk over the TLVs, which begin at `at`; a checksum among them has to be right (section 2.2.3)."""
    checksum = slice(0)
    while at < len(header):
        value = at + TLV_HEADER
        end = value + int.from_bytes(header[at + 1 : value])
        if end > len(header):
            raise HTTPError(400, "the PROXY header has a TLV beyond its end")
        if header[at] == CRC32C:
            checksum = slice(value, end)
        at = end
    if checksum.start is not None:
        zeroed = header[: checksum.start] + bytes(checksum.stop - checksum.start) + header[checksum.stop :]
        if header[checksum] != crc32c(zeroed).to_bytes(4):
            raise HTTPError(400, "the checksum of the PROXY header is wrong")


def crc32c(data: bytes) -> int:
    """The CRC of `data` with Castagnoli's polynomial (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc


_CRC_TABLE = tuple(map(_crc_of_byte, range(256)))


def scheme_from_proxy(fields: Mapping[str, str], secure_scheme_fields: Mapping[str, str]) -> str | None:
    """The scheme that a trusted proxy's fields tell, or None if none of them is there.

    `secure_scheme_fields` maps environ keys to the value that means https, as does a list of nothing else, which is
    what several proxies make of it; any other value means http. Raises `HTTPError` 400 when two of them disagree.
    """
    scheme = None
    for key, secure in secure_scheme_fields.items():
        value = fields.get(key)
        if value is not None:
            told = "https" if value == secure or {part.strip() for part in value.split(",")} == {secure} else "http"
            if scheme is not None and told != scheme:
                raise HTTPError(400, "the fields that tell the scheme contradict each other")
            scheme = told
    return scheme
