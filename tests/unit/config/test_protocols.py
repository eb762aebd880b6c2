"""Settings about TLS and HTTP/2: what their values may look like."""

import ssl
from pathlib import Path

import pytest

from greenhorn.config import protocols


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((value, 0) for value in (0, "0", "none", " None ", "CERT_NONE", ssl.CERT_NONE)),
        *((value, 1) for value in (1, "1", "optional", "CERT_OPTIONAL", ssl.CERT_OPTIONAL)),
        *((value, 2) for value in (2, "2", "required", "cert_required", ssl.CERT_REQUIRED)),
    ],
)
def test_whether_clients_show_a_certificate_is_a_number_a_word_or_a_member(value: object, number: int):
    assert protocols.certificate_request(value) == number


@pytest.mark.parametrize("value", [3, -1, "3", "", "yes", None, 1.0, [], "require"])
def test_another_request_for_certificates_is_an_error(value: object):
    with pytest.raises(ValueError, match=r"must be 0 \(none\), 1 \(optional\) or 2 \(required\)"):
        protocols.certificate_request(value)


@pytest.mark.parametrize(
    ("value", "version"),
    [
        *((value, "1.2") for value in ("1.2", 1.2, "TLSv1.2", "TLSv1_2", "TLS1.2", ssl.TLSVersion.TLSv1_2, " 1.2 ")),
        *((value, "1.3") for value in ("1.3", 1.3, "TLSv1.3", "TLSv1_3", ssl.TLSVersion.TLSv1_3)),
    ],
)
def test_a_version_is_a_text_a_number_or_a_member(value: object, version: str):
    assert protocols.tls_version(value) == version


@pytest.mark.parametrize("value", ["1", "1.0", "1.1", "TLSv1", "TLSv1_1", 1.1, ssl.TLSVersion.TLSv1, 1])
def test_versions_that_are_broken_are_told_as_such(value: object):
    with pytest.raises(ValueError, match=r"must be 1\.2 or 1\.3: the versions before are broken \(RFC 8996\)"):
        protocols.tls_version(value)


@pytest.mark.parametrize("value", ["", "1.4", "SSLv3", "3", None, True, [], ssl.TLSVersion.MAXIMUM_SUPPORTED, 5])
def test_what_is_no_version_is_an_error(value: object):
    with pytest.raises(ValueError, match=r"must be 1\.2 or 1\.3$"):
        protocols.tls_version(value)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", ()),
        ((), ()),
        (None, ()),
        (0, ()),
        ("x509_strict", ("X509_STRICT",)),
        ("VERIFY_X509_STRICT, crl_check_chain", ("X509_STRICT", "CRL_CHECK_CHAIN")),
        (["X509_STRICT"], ("X509_STRICT",)),
        (ssl.VERIFY_X509_STRICT, ("X509_STRICT",)),
        (int(ssl.VERIFY_X509_STRICT), ("X509_STRICT",)),
    ],
)
def test_verify_flags_are_names_or_members(value: object, names: tuple[str, ...]):
    assert protocols.verify_flags(value) == names


@pytest.mark.parametrize("check", [ssl.VERIFY_CRL_CHECK_LEAF, ssl.VERIFY_CRL_CHECK_CHAIN])
def test_verify_flags_together_are_each_of_them(check: ssl.VerifyFlags):
    both = ssl.VERIFY_X509_STRICT | check
    flags = ssl.VerifyFlags.VERIFY_DEFAULT
    for name in protocols.verify_flags(both):
        flags |= ssl.VerifyFlags[f"VERIFY_{name}"]
    assert flags == both


@pytest.mark.parametrize("value", ["strict", "x509_strict crl_check_chain", ["strict"], True, 1.0, 1 << 30, -1])
def test_other_verify_flags_are_an_error_that_names_them(value: object):
    with pytest.raises(ValueError, match=r"must be names separated by commas, of: .*x509_strict"):
        protocols.verify_flags(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ((), ()),
        ("a.pem", ("a.pem",)),
        ("a.pem,a.key", ("a.pem,a.key",)),
        (" a.pem , a.key ", ("a.pem,a.key",)),
        (["a.pem,a.key", "b.pem"], ("a.pem,a.key", "b.pem")),
        ([("a.pem", "a.key"), ["b.pem"]], ("a.pem,a.key", "b.pem")),
        ([(Path("a.pem"), Path("a.key"))], ("a.pem,a.key",)),
    ],
)
def test_certificates_are_texts_or_pairs_of_paths(value: object, found: tuple[str, ...]):
    assert protocols.certificates(value) == found


@pytest.mark.parametrize("value", [3, None, "", "a,b,c", "a,", ",b", [("a", "b", "c")], [()], [3], [""], {"a": "b"}])
def test_other_certificates_are_an_error(value: object):
    with pytest.raises(ValueError, match="must be CERTFILE, or CERTFILE,KEYFILE, or a list of those"):
        protocols.certificates(value)


@pytest.mark.parametrize(
    ("value", "version"),
    [
        (None, None),
        (" ", None),
        (ssl.PROTOCOL_TLS_SERVER, None),
        (2, None),
        ("SSLv23", None),
        ("TLS", None),
        (5, "1.2"),
        ("TLSv1_2", "1.2"),
        ("PROTOCOL_TLSv1_2", "1.2"),
        ("TLSv1.3", "1.3"),
        (3, "1.0"),
        (4, "1.1"),
        ("TLSv1", "1.0"),
        ("SSLv3", "3.0"),
    ],
)
def test_the_old_setting_for_versions_is_understood(value: object, version: str | None):
    assert protocols.ssl_version(value) == version


@pytest.mark.parametrize("value", [True, [], 1.5, 99, "newest"])
def test_the_old_setting_for_versions_takes_nothing_else(value: object):
    with pytest.raises(ValueError, match="must be a member of ssl"):
        protocols.ssl_version(value)
