"""What TLS is to be like on one listener."""

import ssl
from dataclasses import dataclass, field
from typing import NamedTuple


class Pair(NamedTuple):
    """A certificate with its chain, and its key, as paths of PEM files; the key may stand in the same file."""

    certfile: str
    keyfile: str | None = None

    def __str__(self) -> str:
        return f"{self.certfile},{self.keyfile}" if self.keyfile else self.certfile


@dataclass(frozen=True, kw_only=True)
class TLSOptions:
    """The settings of one listener that make its `ssl.SSLContext`."""

    certificates: tuple[Pair, ...]
    """The first one is for clients that ask for no name, or for one that nobody has."""
    key_password: str | None = field(default=None, repr=False)
    """What opens encrypted keys: the text, `file:PATH`, or `command:COMMAND`."""
    password: str | None = field(default=None, repr=False, compare=False)
    """The same, once somebody has asked for it."""
    ca_certs: str | None = None
    cert_reqs: ssl.VerifyMode = ssl.CERT_NONE
    crl_file: str | None = None
    verify_flags: ssl.VerifyFlags = ssl.VerifyFlags.VERIFY_DEFAULT
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    ciphers: str | None = None
    """Those of TLS 1.2, in OpenSSL's notation."""
    ciphersuites: str | None = None
    """Those of TLS 1.3."""
    protocols: tuple[str, ...] = ("http/1.1",)
    """What ALPN offers (RFC 7301)."""
    strict_end: bool = False
    """Whether a stream that ends without a goodbye is an error."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all files that it names."""
        named = [path for pair in self.certificates for path in pair]
        return tuple(path for path in (*named, self.ca_certs, self.crl_file) if path)

    @property
    def watched(self) -> tuple[str, ...]:
        """These, and the file that tells the password."""
        kind, _, path = (self.key_password or "").partition(":")
        return (*self.files, path) if kind == "file" else self.files
