"""Certificates of the tests, as files: of servers and of clients, good ones and others, and revocation lists."""

import datetime as dt
import shutil
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

HOSTS = ("localhost", "127.0.0.1", "::1")
DAY = dt.timedelta(days=1)
PASSWORD = "zq81 by heart"


class Issued(NamedTuple):
    """A certificate with its chain, and its key, in files of their own."""

    certfile: Path
    keyfile: Path
    certificate: x509.Certificate

    @property
    def flags(self) -> tuple[str, ...]:
        """What a server is started with that shows it."""
        return "--certfile", str(self.certfile), "--keyfile", str(self.keyfile)

    @property
    def url(self) -> str:
        """The part of a bind's URL that names it."""
        return f"certfile={self.certfile}&keyfile={self.keyfile}"

    @property
    def serial(self) -> str:
        """Its number in hexadecimal digits, as OpenSSL writes it."""
        digits = f"{self.certificate.serial_number:X}"
        return digits.zfill(len(digits) + len(digits) % 2)

    def replace_by(self, other: "Issued") -> None:
        """Put another certificate in place of this one, as a tool does that renews: each file at once."""
        for mine, its in ((self.keyfile, other.keyfile), (self.certfile, other.certfile)):
            fresh = mine.with_suffix(".fresh")
            shutil.copyfile(its, fresh)
            fresh.replace(mine)


def issue(authority: trustme.CA, folder: Path, *names: str, encrypted: bool = False, **options: Any) -> Issued:
    """Issue a certificate for host names or addresses, by default this machine's; `options` are trustme's.

    `encrypted`: the key can be opened with `PASSWORD`.
    """
    made = authority.issue_cert(*(names or HOSTS), **options)
    folder.mkdir(parents=True, exist_ok=True)
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    certfile.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    keyfile.write_bytes(encrypt(made.private_key_pem.bytes()) if encrypted else made.private_key_pem.bytes())
    return Issued(certfile, keyfile, x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes()))


def trusting_only(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that believes the authority and nobody else."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    return context


def encrypt(key: bytes) -> bytes:
    """The same key, so that only who knows `PASSWORD` can use it."""
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSWORD.encode()),
    )


def expired(ago: dt.timedelta = DAY) -> Mapping[str, dt.datetime]:
    """Options of a certificate whose time is over."""
    now = dt.datetime.now(dt.UTC)
    return {"not_before": now - ago - 30 * DAY, "not_after": now - ago}


def to_come() -> Mapping[str, dt.datetime]:
    """Options of a certificate whose time is still to come."""
    now = dt.datetime.now(dt.UTC)
    return {"not_before": now + DAY, "not_after": now + 30 * DAY}


def write_crl(authority: trustme.CA, path: Path, *revoked: Issued, is_old: bool = False) -> Path:
    """Write down which of the authority's certificates are revoked; `is_old`: another list should have come by now."""
    now = dt.datetime.now(dt.UTC)
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer)
    builder = builder.last_update(now - 3 * DAY).next_update(now - DAY if is_old else now + DAY)
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(now - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))  # type: ignore[arg-type]
    return path
