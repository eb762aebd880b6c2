"""From settings to what is spoken at each address."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.master.entrances import OWN, Entrances, tls_options
from greenhorn.tls.entrance import PLAIN, Entrance
from greenhorn.tls.options import Pair
from unit.tls.making import DAY, NOW, SERVER, authority, make, write_crl
from unit.tls.talking import Talk, client_context, resumes

TLS, HTTP = "https://127.0.0.1:8443", "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder with certificates a, b and c, each with its key."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        make(f"{name}.example").write(tmp_path, name)
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


def entrances(*bind: str, before: Entrances | None = None, **settings: Any) -> Entrances:
    return Entrances(Settings(bind=bind or ("127.0.0.1:0",), **settings), before)


def refusal(*bind: str, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        entrances(*bind, **settings)
    return str(caught.value)


def spoken(made: Entrances) -> list[str]:
    return [entrance.scheme for _, entrance in made.all]


def pairs(made: Entrances) -> list[tuple[Pair, ...] | None]:
    """The certificates at each address."""
    return [entrance.credentials.options.certificates if entrance.credentials else None for _, entrance in made.all]


A = {"certfile": "a.pem", "keyfile": "a.key"}


def test_without_a_certificate_nothing_is_encrypted():
    made = entrances("127.0.0.1:0", "unix:zq.sock", "fd://3", HTTP)
    assert spoken(made) == ["http"] * 4
    assert (made.credentials, made.default) == ([], PLAIN)


def test_a_certificate_turns_tls_on_for_all_addresses_but_those_of_http():
    made = entrances("127.0.0.1:0", "unix:zq.sock", "fd://3", TLS, HTTP, "http+unix:zq.sock", **A)
    assert spoken(made) == ["https"] * 4 + ["http"] * 2
    assert len(made.credentials) == 1
    assert made.default == Entrance(made.credentials[0])


def test_addresses_with_the_same_settings_share_the_keys_of_their_tickets():
    made = entrances(TLS, "https://127.0.0.1:8444", f"{TLS}?tls_min_version=1.3", **A)
    first, second, other = (entrance.credentials for _, entrance in made.all)
    assert first is second is not None
    assert other is not first


def test_each_address_can_have_a_certificate_of_its_own():
    made = entrances(f"{TLS}?certfile=b.pem&keyfile=b.key", TLS, "https+unix:x?certfile=c.pem&keyfile=c.key", **A)
    assert pairs(made) == [(Pair("b.pem", "b.key"),), (Pair("a.pem", "a.key"),), (Pair("c.pem", "c.key"),)]


def test_another_certificate_leaves_the_key_the_password_and_the_others_behind(folder: Path):
    (folder / "both.pem").write_bytes((folder / "b.pem").read_bytes() + (folder / "b.key").read_bytes())
    made = entrances(f"{TLS}?certfile=both.pem", **A, certificates=("c.pem,c.key",), key_password="needless")
    credentials = made.all[0][1].credentials
    assert credentials is not None
    assert credentials.options.certificates == (Pair("both.pem"),)
    assert credentials.options.key_password is None


def test_what_is_not_said_of_an_address_is_as_elsewhere():
    common = {"ca_certs": "ca.pem", "tls_min_version": "1.3", "suppress_ragged_eofs": False}
    made = entrances(f"{TLS}?certfile=b.pem&keyfile=b.key&cert_reqs=optional", **A, **common)
    credentials = made.all[0][1].credentials
    assert credentials is not None
    options = credentials.options
    assert (options.ca_certs, options.cert_reqs) == ("ca.pem", ssl.CERT_OPTIONAL)
    assert (options.minimum, options.strict_end) == (ssl.TLSVersion.TLSv1_3, True)
    assert made.default.credentials is not None
    assert made.default.credentials.options.cert_reqs is ssl.CERT_NONE


def test_an_address_can_have_several_certificates():
    more = "certificates=b.pem%2Cb.key&certificates=c.pem,c.key"
    for bind, settings in ((f"{TLS}?{more}", {}), (TLS, {"certificates": ("b.pem,b.key", "c.pem,c.key")})):
        made = entrances(bind, **A, **settings)
        assert pairs(made) == [(Pair("a.pem", "a.key"), Pair("b.pem", "b.key"), Pair("c.pem", "c.key"))]


def test_the_settings_say_all_that_the_options_hold(folder: Path):
    crl = write_crl(folder / "crl.pem", authority())
    settings = Settings(
        **A,
        certificates=("b.pem",),
        key_password="zq81",
        ca_certs="ca.pem",
        cert_reqs=2,
        crl_file=crl,
        verify_flags=("X509_STRICT", "CRL_CHECK_CHAIN"),
        tls_min_version="1.3",
        ciphers="ECDHE",
        tls_ciphersuites="X",
        suppress_ragged_eofs=False,
    )
    made = tls_options(settings)
    assert made.certificates == (Pair("a.pem", "a.key"), Pair("b.pem"))
    assert (made.key_password, made.ca_certs, made.cert_reqs, made.crl_file) == ("zq81", "ca.pem", 2, crl)
    assert made.verify_flags == ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_CHAIN
    assert (made.minimum, made.ciphers, made.ciphersuites) == (ssl.TLSVersion.TLSv1_3, "ECDHE", "X")
    assert made.strict_end
    assert made.files == ("a.pem", "a.key", "b.pem", "ca.pem", crl)


# What is wrong.


@pytest.mark.parametrize(
    ("bind", "told"),
    [
        (TLS, "bind: https needs a certificate; name one in certfile"),
        ("https+fd://3", "bind: https needs a certificate; name one in certfile"),
        (f"{TLS}?certfile=", "bind: certfile = '': must not be empty: leave it out"),
        (f"{TLS}?keyfile=a.key", "bind: 127.0.0.1:8443: keyfile: a.key needs a certificate; name one in certfile"),
        (f"{TLS}?certfile=nope", "bind: 127.0.0.1:8443: certfile: cannot read nope: No such file or directory"),
        (f"{TLS}?certfile=a.pem&certfile=b.pem", "bind: certfile is set twice at 127.0.0.1:8443; set it once"),
        (f"{TLS}?workers=4", f"bind: 'workers' is nothing that an https address can have; {', '.join(OWN)} are"),
        (f"{TLS}?redirect=443", f"bind: 'redirect' is nothing that an https address can have; {', '.join(OWN)} are"),
        (f"{TLS}?=x", f"bind: '' is nothing that an https address can have; {', '.join(OWN)} are"),
        (
            f"{TLS}?certfile=a.pem&tls_min_version=1.1",
            "bind: tls_min_version = '1.1': must be 1.2 or 1.3: the versions",
        ),
        (f"{HTTP}?certfile=a.pem", "bind: 'certfile' is nothing that an address without TLS can have; redirect is"),
        (f"{HTTP}?redirect=443&x=y", "bind: 'x' is nothing that an address without TLS can have; redirect is"),
        (f"{HTTP}?redirect=443&redirect=444", "bind: redirect is set twice at 127.0.0.1:8080; set it once"),
    ],
)
def test_settings_of_an_address_that_are_wrong_are_told(bind: str, told: str):
    assert refusal(bind).startswith(told)


def test_a_password_is_not_told(folder: Path):
    make(SERVER).write(folder, "locked", "zq81 by heart")
    told = refusal(f"{TLS}?certfile=locked.pem&keyfile=locked.key&key_password=zq82")
    assert (
        told
        == "bind: 127.0.0.1:8443: keyfile: locked.key cannot be opened: key_password is wrong, or the key is damaged"
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keyfile": "a.key"}, "keyfile: a.key needs a certificate; name one in certfile"),
        ({"cert_reqs": 1}, "cert_reqs: clients cannot show a certificate without TLS; set certfile"),
        ({"certificates": ("b.pem",)}, "certificates: those are more certificates; name the first one in certfile"),
        ({"crl_file": "crl.pem"}, "crl_file: no client is asked for a certificate; set cert_reqs"),
        ({**A, "crl_file": "crl.pem"}, "crl_file: no client is asked for a certificate; set cert_reqs"),
        ({**A, "cert_reqs": 2}, "cert_reqs: nobody's client certificates are believed; name their issuers in ca_certs"),
        ({**A, "keyfile": "b.key"}, "keyfile: b.key does not belong to the certificate in a.pem; name the key that"),
        ({**A, "certificates": ("nope",)}, "certfile: cannot read nope: No such file or directory"),
        ({**A, "certificates": ("b.pem,c.key",)}, "keyfile: c.key does not belong to the certificate in b.pem; name"),
    ],
)
def test_settings_that_somebody_would_rely_on_in_vain_are_told(folder: Path, settings: dict[str, Any], told: str):
    write_crl(folder / "crl.pem", authority())
    assert refusal(**settings).startswith(told)


def test_a_revocation_list_counts_where_one_address_asks_for_certificates(folder: Path):
    crl = write_crl(folder / "crl.pem", authority())
    made = entrances(TLS, f"{TLS}?cert_reqs=required", **A, ca_certs="ca.pem", crl_file=crl)
    assert spoken(made) == ["https", "https"]


def test_nothing_is_served_plainly_if_the_certificate_of_an_address_is_wrong():
    assert refusal(HTTP, "127.0.0.1:0", certfile="a.pem", keyfile="nope").startswith("keyfile: cannot read nope")
    assert refusal(HTTP, certfile="nope").startswith("certfile: cannot read nope")


# Redirects.


@pytest.mark.parametrize(
    ("target", "elsewhere"),
    [
        ("443", "443"),
        ("8443", "8443"),
        ("65535", "65535"),
        ("https://zq.example", "https://zq.example"),
        ("https://zq.example/", "https://zq.example"),
        ("https://zq.example:8443", "https://zq.example:8443"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("https://xn--zrich-kva.example", "https://xn--zrich-kva.example"),
    ],
)
def test_clients_of_a_plain_address_can_be_sent_elsewhere(target: str, elsewhere: str):
    for bind in (f"{HTTP}?redirect={target}", f"http+unix:zq.sock?redirect={target}"):
        assert [entrance for _, entrance in entrances(bind).all] == [Entrance(redirect=elsewhere)]


@pytest.mark.parametrize(
    "target",
    [
        *("", "0", "65536", "-1", "²", "zq.example", "http://zq.example", "https://", "https://zq@zq.example"),
        *("https://zq.example/path", "https://zq.example?x", "https://zq.example:0", "https://zq.example:99999"),
        *(
            "https://z%0d%0aSet-Cookie: x",
            "https://z%20q",
            "https://zürich.example",
            "https://雪.example",
            "https://z%00",
        ),
    ],
)
def test_a_redirect_that_leads_nowhere_is_told(target: str):
    told = refusal(f"{HTTP}?redirect={target}")
    assert told.startswith("bind: redirect=")
    assert len(told.splitlines()) == 1
    assert told.endswith(" at 127.0.0.1:8080 is neither a port nor a URL such as https://example.org")


# The hook.


def test_the_hook_makes_the_context_of_each_listener_and_can_ask_for_the_usual_one():
    calls: list[tuple[Settings, ssl.SSLContext]] = []

    def by_hand(config: Settings, factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        calls.append((config, factory()))
        calls[-1][1].maximum_version = ssl.TLSVersion.TLSv1_2
        return calls[-1][1]

    made = entrances(TLS, f"{TLS}?certfile=b.pem&keyfile=b.key", **A, ssl_context=by_hand)
    assert [config.certfile for config, _ in calls] == ["a.pem", "b.pem"]
    for credentials in made.credentials:
        assert Talk(credentials).client.version() == "TLSv1.2"


def test_a_hook_that_fails_is_told_with_its_traceback():
    def by_hand(_config: Settings, _factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        raise LookupError("no such vault")

    told = refusal(**A, ssl_context=by_hand)
    assert told.startswith("ssl_context fails:\nTraceback (most recent call last):\n")
    assert told.endswith("LookupError: no such vault")


@pytest.mark.parametrize("made", [None, True, logging])
def test_a_hook_that_returns_something_else_is_told(made: object):
    told = f"ssl_context returns {type(made).__name__}; it must return an ssl.SSLContext"
    assert refusal(**A, ssl_context=lambda _config, _factory: made) == told


def test_what_is_wrong_with_the_files_is_told_also_where_the_hook_asks():
    told = refusal(certfile="a.pem", keyfile="b.key", ssl_context=lambda _config, factory: factory())
    assert told.startswith("keyfile: b.key does not belong to the certificate in a.pem")


# One reading of the configuration after the other.


def test_what_stays_the_same_keeps_its_sessions_and_takes_new_certificates(folder: Path):
    before = entrances(TLS, f"{TLS}?certfile=b.pem&keyfile=b.key", **A)
    context = client_context()
    sessions = [Talk(one, context) for one in before.credentials]
    second = make(SERVER)
    second.write(folder, "a")
    after = entrances(f"{TLS}?certfile=b.pem&keyfile=b.key", "127.0.0.1:0", **A, before=before, workers=9)
    assert {id(one) for one in after.credentials} == {id(one) for one in before.credentials}
    for one, session in zip(before.credentials, sessions, strict=True):
        assert resumes(one, context, session)
    assert Talk(before.credentials[0], context).shown == second.der


def test_what_is_set_otherwise_is_made_anew():
    before = entrances(TLS, **A)
    after = entrances(TLS, **A, tls_min_version="1.3", before=before)
    assert after.credentials[0] is not before.credentials[0]


def test_a_broken_certificate_gives_the_reading_up_and_the_one_before_goes_on(folder: Path):
    before = entrances(TLS, **A)
    shown = Talk(before.credentials[0]).shown
    (folder / "a.pem").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"^certfile: a\.pem is no certificate in PEM form"):
        entrances(TLS, **A, before=before)
    assert Talk(before.credentials[0]).shown == shown


def test_a_context_of_the_hook_is_made_at_each_reading():
    made: list[ssl.SSLContext] = []

    def by_hand(_config: Settings, factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        made.append(factory())
        return made[-1]

    before = entrances(TLS, **A, ssl_context=by_hand)
    entrances(TLS, **A, ssl_context=by_hand, before=before)
    assert len(made) == 2
    usual = entrances(TLS, **A, before=before)
    assert not usual.credentials[0].is_own


# What should be known.


def test_each_certificate_that_is_not_valid_is_told_once(folder: Path):
    late = make(SERVER, ends=NOW - DAY / 2).write(folder, "late")
    bind = (
        TLS,
        f"{TLS}?certfile={late.certfile}&keyfile={late.keyfile}",
        f"https+unix:x?certfile={late.certfile}&keyfile={late.keyfile}",
    )
    [told] = entrances(*bind, **A).warnings()
    assert told.startswith(f"certfile: {late.certfile} has expired at ")


def test_a_hook_without_a_certificate_is_no_plain_http_in_silence():
    (told,) = entrances(ssl_context=lambda _config, factory: factory()).warnings()
    assert told.startswith("ssl_context is not called, since no address speaks TLS")


@pytest.mark.parametrize(
    ("settings", "oldest"),
    [
        ({}, "1.2"),
        ({"ssl_version": "1.2"}, "1.2"),
        ({"ssl_version": "1.3"}, "1.3"),
        ({"ssl_version": "1.2", "tls_min_version": "1.3"}, "1.3"),
        ({"ssl_version": "1.0"}, "1.2"),
        ({"ssl_version": "3.0", "tls_min_version": "1.3"}, "1.3"),
    ],
)
def test_versions_are_those_that_both_settings_allow_and_never_the_old_ones(settings: dict[str, str], oldest: str):
    made = entrances(**A, **settings)
    assert made.credentials[0].options.minimum.name == "TLSv" + oldest.replace(".", "_")
    is_old = settings.get("ssl_version") in ("1.0", "3.0")
    assert any(told.startswith("ssl_version: ") for told in made.warnings()) == is_old
