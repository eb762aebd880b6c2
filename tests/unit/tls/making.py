"""Certificates made to measure: of any names, times, keys and issuers, and the files they are kept in."""

import datetime as dt
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from greenhorn.tls.options import Pair, TLSOptions

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
SERVER = "zq.example"


@functools.cache
def rsa_key(_number: int = 0) -> rsa.RSAPrivateKey:
    """Keys of this kind take long to make: there are a few, by number."""
    return rsa.generate_private_key(65537, 2048)


def new_key(kind: str) -> Any:
    """A private key of the kind rsa, ec or ed25519."""
    if kind == "rsa":
        return rsa_key()
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()


class Made(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: str | None = None) -> bytes:
        """The key as PEM; with a password it is encrypted."""
        encryption = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password.encode())
        )
        return bytes(self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))

    def write(self, folder: Path, name: str = "server", password: str | None = None) -> Pair:
        """Keep it in files, each put in place of the one before at once, the certificate last."""
        pair = Pair(str(folder / f"{name}.pem"), str(folder / f"{name}.key"))
        for path, data in ((pair.keyfile, self.key_pem(password)), (pair.certfile, self.pem)):
            assert path is not None
            put(Path(path), data)
        return pair


def put(path: Path, data: bytes) -> None:
    """Put a file in place of another at once."""
    fresh = path.with_name(path.name + ".fresh")
    fresh.write_bytes(data)
    fresh.replace(path)


def make(
    *names: str,
    kind: str = "ec",
    key: Any = None,
    common_name: str | None = None,
    subject: x509.Name | None = None,
    issuer: Made | None = None,
    begins: dt.datetime = NOW - DAY,
    ends: dt.datetime = NOW + 90 * DAY,
    extensions: Sequence[x509.ExtensionType] = (),
    is_authority: bool = False,
) -> Made:
    """Make a certificate for DNS names; without `issuer` it signs itself."""
    key = key or new_key(kind)
    if subject is None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(issuer.certificate.subject if issuer else subject)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    if is_authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    signer = issuer.key if issuer else key
    return Made(builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()), key)


def authority(common_name: str = "zq authority") -> Made:
    """One that signs others."""
    return make(common_name=common_name, is_authority=True)


def write_crl(path: Path, issuer: Made, *revoked: Made, next_update: dt.datetime = NOW + DAY) -> str:
    """Keep a list of what the issuer has revoked in a file, and return its path."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(NOW - 2 * DAY).next_update(next_update)
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(NOW - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    path.write_bytes(builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return str(path)


def options(*pairs: Pair, **others: Any) -> TLSOptions:
    """Options of a server that shows these certificates."""
    return TLSOptions(certificates=pairs, **others)
