"""What is read of a certificate, compared with what a whole library for certificates reads."""

import base64
import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenhorn.tls.certificate import UNREADABLE, Certificate
from unit.tls.making import DAY, NOW, SERVER, Made, make, rsa_key

LABELS = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9]{0,20}[A-Za-z0-9])?", fullmatch=True)
HOSTS = st.builds(
    lambda labels, star: ("*." if star else "") + ".".join(labels),
    st.lists(LABELS, min_size=1, max_size=4),
    st.booleans(),
)
FIRST = dt.datetime(1950, 1, 1, tzinfo=dt.UTC)
"""The earliest that a certificate can tell (RFC 5280 4.1.2.5)."""
LAST = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
MOMENTS = st.integers(0, int((LAST - FIRST).total_seconds())).map(lambda seconds: FIRST + dt.timedelta(seconds=seconds))
OTHER_NAMES = st.sampled_from(
    [
        x509.RFC822Name("zq@mail.example"),
        x509.UniformResourceIdentifier("https://uri.example/"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "directory.example")])),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.5"), b"\x0c\x0dother.example"),
    ]
)
EXTENSIONS = st.lists(
    st.sampled_from(
        [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            x509.OCSPNoCheck(),
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x03\x82\x01a"),
            x509.IssuerAlternativeName([x509.DNSName("issuer.example")]),
        ]
    ),
    unique_by=type,
)
SUBJECTS = st.lists(
    st.sampled_from(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Z" * 64),
            x509.NameAttribute(NameOID.COMMON_NAME, "First.Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Zürich.example"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "zq@mail.example"),
        ]
    ),
    max_size=4,
)
KINDS = {"rsa": "1.2.840.113549.1.1.1", "ec": "1.2.840.10045.2.1", "ed25519": "1.3.101.112"}


def their_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names that a server has to answer for, as the library reads them."""
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = []
    else:
        names = listed.get_values_for_type(x509.DNSName)
    if not names:
        names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(name.lower() for name in names)


def encoded(identifier: str) -> bytes:
    """An object identifier as DER has it (X.690 8.19)."""
    first, second, *rest = map(int, identifier.split("."))
    octets = [first * 40 + second]
    for number in rest:
        groups = [number & 127]
        while number := number >> 7:
            groups.insert(0, number & 127 | 128)
        octets += groups
    return bytes(octets)


@settings(deadline=None, max_examples=150)
@given(
    hosts=st.lists(HOSTS, max_size=5),
    others=st.lists(OTHER_NAMES, max_size=3),
    subject=SUBJECTS,
    times=st.tuples(MOMENTS, MOMENTS).map(sorted).filter(lambda pair: pair[0] < pair[1]),
    kind=st.sampled_from(list(KINDS)),
    extensions=EXTENSIONS,
)
def test_names_times_and_kinds_of_keys_are_those_that_the_library_reads(
    hosts: list[str],
    others: list[x509.GeneralName],
    subject: list[x509.NameAttribute[str]],
    times: list[dt.datetime],
    kind: str,
    extensions: list[x509.ExtensionType],
):
    names = [*map(x509.DNSName, hosts), *others]
    made = make(
        kind=kind,
        subject=x509.Name(subject),
        begins=times[0],
        ends=times[1],
        extensions=[*extensions, *([x509.SubjectAlternativeName(names)] if names else [])],
    )
    read = Certificate.parse(made.der)
    assert read.names == their_names(made.certificate)
    assert (read.begins, read.ends) == (made.certificate.not_valid_before_utc, made.certificate.not_valid_after_utc)
    assert read.algorithm == encoded(KINDS[kind])


@pytest.mark.parametrize("year", [1950, 1999, 2000, 2049, 2050, 2051, 9999])
def test_both_kinds_of_time_are_read_around_the_years_in_which_they_change(year: int):
    ends = dt.datetime(year, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    made = make(SERVER, begins=FIRST, ends=ends)
    assert Certificate.parse(made.der).ends == ends


def test_the_common_name_counts_only_where_there_are_no_names_of_hosts():
    assert Certificate.parse(make(common_name="Old.Example").der).names == ("old.example",)
    assert Certificate.parse(make("new.example", common_name="old.example").der).names == ("new.example",)
    assert Certificate.parse(make().der).names == ()


# Files.


def armoured(made: Made, label: str) -> bytes:
    body = base64.encodebytes(made.der)
    return b"-----BEGIN " + label.encode() + b"-----\n" + body + b"-----END " + label.encode() + b"-----\n"


@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_the_first_certificate_of_a_file_is_read_whatever_stands_around_it(tmp_path: Path, label: str):
    first, second = make("first.example"), make("second.example")
    path = tmp_path / "chain.pem"
    path.write_bytes("Zürich: key, then chain\r\n".encode() + first.key_pem() + armoured(first, label) + second.pem)
    assert Certificate.read(str(path)).names == ("first.example",)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Certificate.read(str(path)).names == ("first.example",)


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\n", "\ufeff", "\0" * 100])
def test_a_file_without_a_certificate_is_told(tmp_path: Path, text: str):
    path = tmp_path / "cert.pem"
    path.write_text(text)
    with pytest.raises(ValueError, match="there is no certificate in it"):
        Certificate.read(str(path))


@pytest.mark.parametrize("body", ["AAAA", "A", "=", "!!!!", "MAA="])
def test_a_certificate_that_is_none_is_told(tmp_path: Path, body: str):
    path = tmp_path / "cert.pem"
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match=UNREADABLE):
        Certificate.read(str(path))


@pytest.mark.parametrize(("path", "told"), [("nowhere.pem", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_an_error_of_the_system(path: str, told: str):
    with pytest.raises(OSError, match=told):
        Certificate.read(path)


# What is malformed.

SAMPLE = make("a.zq.example", "*.zq.example", common_name=SERVER, key=rsa_key(), begins=NOW, ends=NOW + DAY).der


def test_a_certificate_that_is_cut_anywhere_is_no_certificate():
    for end in range(len(SAMPLE)):
        with pytest.raises(ValueError, match=UNREADABLE):
            Certificate.parse(SAMPLE[:end])


@settings(deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_certificate_whose_bytes_were_changed_is_read_or_refused_and_nothing_else(changes: list[tuple[int, int]]):
    data = bytearray(SAMPLE)
    for at, value in changes:
        data[at] = value
    try:
        read = Certificate.parse(bytes(data))
    except ValueError:
        return
    assert read.begins.tzinfo is read.ends.tzinfo is dt.UTC
    assert all(isinstance(name, str) for name in read.names)


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=200))
def test_bytes_of_no_meaning_are_refused(data: bytes):
    with pytest.raises(ValueError, match=UNREADABLE):
        Certificate.parse(data)
