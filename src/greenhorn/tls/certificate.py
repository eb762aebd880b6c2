"""What the server has to know of its own certificates: names, time of validity, kind of key (RFC 5280)."""

import binascii
import datetime as dt
import functools
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEQUENCE, CONTEXT_0, CONTEXT_3, DNS_NAME, GENERALIZED_TIME = 0x30, 0xA0, 0xA3, 0x82, 0x18
SUBJECT_ALT_NAME = bytes.fromhex("551d11")
COMMON_NAME = bytes.fromhex("550403")
_PEM = re.compile(r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.+?)-----END ", re.DOTALL)
"""As OpenSSL takes it: older tools write other labels (RFC 7468 5.1)."""
UNREADABLE = "the certificate cannot be read"


@dataclass(frozen=True)
class Certificate:
    """One certificate, as far as a server needs it."""

    names: tuple[str, ...]
    """DNS names, in lower case, wildcards included; the common name where there are none."""
    begins: dt.datetime
    """When it becomes valid, in UTC."""
    ends: dt.datetime
    algorithm: bytes
    """Which kind of key it has: the DER form of the object identifier."""
    der: bytes
    """All of it."""

    @functools.cached_property
    def pem(self) -> str:
        """All of it, in PEM form."""
        return ssl.DER_cert_to_PEM_cert(self.der)

    @classmethod
    def read(cls, path: str) -> "Certificate":
        """The first certificate in a PEM file. Raises `OSError`, and `ValueError` if there is none."""
        match = _PEM.search(Path(path).read_text(encoding="ascii", errors="replace"))
        if match is None:
            raise ValueError("there is no certificate in it")
        try:
            der = binascii.a2b_base64(match[1])
        except ValueError as error:
            raise ValueError(UNREADABLE) from error
        return cls.parse(der)

    @classmethod
    def parse(cls, der: bytes) -> "Certificate":
        """Take a certificate in DER form apart. Raises `ValueError`."""
        try:
            return cls._parse(der)
        except (IndexError, StopIteration, ValueError) as error:
            raise ValueError(UNREADABLE) from error

    @classmethod
    def _parse(cls, der: bytes) -> "Certificate":
        _, whole = next(_elements(der))
        _, content = next(_elements(whole))
        fields = [value for tag, value in _elements(content) if tag != CONTEXT_0]
        tagged = {tag: value for tag, value in _elements(content) if tag != SEQUENCE}
        _, _, _, validity, subject, key = fields[:6]
        begins, ends = (_time(tag, value) for tag, value in _elements(validity))
        _, algorithm = next(_elements(next(_elements(key))[1]))
        names = tuple(_alternative_names(tagged.get(CONTEXT_3, b""))) or tuple(_common_names(subject))
        return cls(names, begins, ends, algorithm, der)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of DER data, each its tag and content. Raises `IndexError` where it is cut."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length >= 0x80:  # noqa: PLR2004 - the long form: so many bytes have the length
            size = length - 0x80
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise IndexError
        yield tag, data[at : at + length]
        at += length


def _time(tag: int, value: bytes) -> dt.datetime:
    text = value.decode("ascii", "replace")
    if tag != GENERALIZED_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text  # RFC 5280 4.1.2.5.1
    return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, listed in _elements(extensions):
        for _, extension in _elements(listed):
            parts = [value for _, value in _elements(extension)]
            if parts[0] == SUBJECT_ALT_NAME:
                for _, names in _elements(parts[-1]):
                    for tag, name in _elements(names):
                        if tag == DNS_NAME:
                            yield name.decode("ascii", "replace").lower()


def _common_names(subject: bytes) -> Iterator[str]:
    for _, relative in _elements(subject):
        for _, attribute in _elements(relative):
            (_, kind), (_, value) = _elements(attribute)
            if kind == COMMON_NAME:
                yield value.decode("utf-8", "replace").lower()
