"""Certificates that clients show: needed, allowed, or refused, and what the application is told of them."""

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

from integration.kinds import EVERY_KIND
from integration.running import Server, StartServer, wait_until
from tls.certificates import Issued, expired, issue, to_come, trusting_only, write_crl
from tls.clients import ask, failed_handshakes, only, s_client, visit, wait_for_failed_handshakes

NAMES = ("client.example", "other.example", "someone@client.example", "192.0.2.81")
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
"""In TLS 1.3 a client's handshake is complete before the server has looked at its certificate."""


@pytest.fixture(scope="module")
def client(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """A client's certificate."""
    names = {"common_name": 'Zq, the "first" + é', "organization_name": "Zq81", "organization_unit_name": "Tests"}
    return issue(authority, tmp_path_factory.mktemp("client"), *NAMES, **names)


@pytest.fixture(scope="module", params=["required", "optional"])
def asking(request: pytest.FixtureRequest, module_secure: StartServer, ca_file: Path, applications: Path) -> Server:
    """A server whose clients must, or may, show a certificate."""
    return start_asking(module_secure, request.param, ca_file, applications)


@pytest.fixture(scope="module")
def required(module_secure: StartServer, ca_file: Path, applications: Path) -> Server:
    """A server whose clients must show a certificate."""
    return start_asking(module_secure, "2", ca_file, applications)


@pytest.fixture(scope="module")
def optional(module_secure: StartServer, ca_file: Path, applications: Path) -> Server:
    """A server whose clients may show a certificate."""
    return start_asking(module_secure, "CERT_OPTIONAL", ca_file, applications)


def start_asking(start: StartServer, wish: str, ca_file: Path, applications: Path) -> Server:
    return start("mirror", "--ca-certs", str(ca_file), "--cert-reqs", wish, pythonpath=(applications,))


def showing(context: ssl.SSLContext, issued: Issued) -> ssl.SSLContext:
    context.load_cert_chain(issued.certfile, issued.keyfile)
    return context


def environ_at(site: Server, context: ssl.SSLContext) -> dict[str, str]:
    seen: dict[str, Any] = json.loads(visit(site, context).answer.text)["environ"]
    return {name: value for name, value in seen.items() if name.startswith("SSL_CLIENT")}


def assert_refused(site: Server, context: ssl.SSLContext, reason: str, *, told: str) -> None:
    """Check that nobody is served, that the client gets an alert that says `reason`, and what the log says."""
    before = len(site.log())
    with pytest.raises(ssl.SSLError, match=reason), site.secure(site.dial(), context) as connection:
        ask(connection)
    wait_until(lambda: site.log()[before:].endswith("\n"), what="a line in the log")
    [line] = site.log()[before:].splitlines()
    assert line.endswith(told)
    assert "[INFO] The client certificate from 127.0.0.1 is refused: certificate verify failed: " in line


@EVERY_KIND
@VERSIONS
def test_who_must_show_one_and_does_is_served_and_known(
    required: Server, trusting: ssl.SSLContext, client: Issued, authority: trustme.CA, version: ssl.TLSVersion
):
    told = environ_at(required, showing(only(trusting, version), client))
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject.rfc4514_string()
    certificate = client.certificate
    name = certificate.subject.rfc4514_string().encode().decode("latin-1")
    assert told == {
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_S_DN": name,
        "SSL_CLIENT_S_DN_CN": 'Zq, the "first" + é'.encode().decode("latin-1"),
        "SSL_CLIENT_S_DN_O": "Zq81",
        "SSL_CLIENT_S_DN_OU": "Tests",
        "SSL_CLIENT_I_DN": issuer,
        "SSL_CLIENT_I_DN_O": told["SSL_CLIENT_I_DN_O"],
        "SSL_CLIENT_I_DN_OU": told["SSL_CLIENT_I_DN_OU"],
        "SSL_CLIENT_SERIAL": client.serial,
        "SSL_CLIENT_M_SERIAL": client.serial,
        "SSL_CLIENT_V_START": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "SSL_CLIENT_V_END": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "SSL_CLIENT_CERT": told["SSL_CLIENT_CERT"],
        "SSL_CLIENT_SAN_DNS_0": "client.example",
        "SSL_CLIENT_SAN_DNS_1": "other.example",
        "SSL_CLIENT_SAN_Email_0": "someone@client.example",
        "SSL_CLIENT_SAN_IP_0": "192.0.2.81",
    }
    assert x509.load_pem_x509_certificate(told["SSL_CLIENT_CERT"].encode()) == certificate
    assert f"OU={told['SSL_CLIENT_I_DN_OU']}" in issuer


@EVERY_KIND
@VERSIONS
def test_who_must_show_one_and_does_not_is_refused(required: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion):
    before = failed_handshakes(required)
    reason = "CERTIFICATE_REQUIRED" if version is ssl.TLSVersion.TLSv1_3 else "HANDSHAKE_FAILURE"
    with pytest.raises(ssl.SSLError, match=reason):
        visit(required, only(trusting, version))
    wait_for_failed_handshakes(required, before + 1)


@VERSIONS
def test_who_may_show_one_and_does_not_is_served(optional: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion):
    assert environ_at(optional, only(trusting, version)) == {"SSL_CLIENT_VERIFY": "NONE"}


@VERSIONS
def test_who_may_show_one_and_does_is_known_also_when_the_session_goes_on(
    optional: Server, trusting: ssl.SSLContext, client: Issued, version: ssl.TLSVersion
):
    context = showing(only(trusting, version), client)
    first = visit(optional, context)
    second = visit(optional, context, session=first.session)
    assert (first.resumed, second.resumed) == (False, True)
    told = [json.loads(made.answer.text)["environ"] for made in (first, second)]
    assert told[0]["SSL_CLIENT_SERIAL"] == told[1]["SSL_CLIENT_SERIAL"] == client.serial
    assert told[0]["SSL_CLIENT_CERT"] == told[1]["SSL_CLIENT_CERT"]


def test_nobody_is_asked_without_the_setting(
    secure: StartServer, trusting: ssl.SSLContext, client: Issued, applications: Path
):
    site = secure("mirror", pythonpath=(applications,))
    assert environ_at(site, showing(trusting, client)) == {"SSL_CLIENT_VERIFY": "NONE"}


@VERSIONS
@pytest.mark.parametrize(
    ("times", "alert", "told"),
    [
        (expired(), "ALERT_CERTIFICATE_EXPIRED", "certificate has expired"),
        (to_come(), "ALERT_BAD_CERTIFICATE", "certificate is not yet valid"),
    ],
    ids=["expired", "to come"],
)
def test_one_out_of_its_time_is_refused_even_where_none_would_do(
    asking: Server,
    trusting: ssl.SSLContext,
    authority: trustme.CA,
    tmp_path: Path,
    version: ssl.TLSVersion,
    times: Mapping[str, Any],
    alert: str,
    told: str,
):
    wrong = issue(authority, tmp_path, "client.example", **times)
    assert_refused(asking, showing(only(trusting, version), wrong), alert, told=told)


@EVERY_KIND
@VERSIONS
def test_one_of_an_authority_that_is_not_believed_is_refused(
    asking: Server,
    trusting: ssl.SSLContext,
    stranger: trustme.CA,
    tmp_path: Path,
    version: ssl.TLSVersion,
):
    wrong = issue(stranger, tmp_path, "client.example")
    context = showing(only(trusting, version), wrong)
    assert_refused(asking, context, "ALERT_UNKNOWN_CA", told="unable to get local issuer certificate")


@pytest.fixture
def revoking(secure: StartServer, ca_file: Path, applications: Path) -> Any:
    """Start a server that asks for client certificates, with a revocation list."""
    flags = ("--ca-certs", str(ca_file), "--cert-reqs", "2", "--crl-file")
    return lambda path: secure("mirror", *flags, str(path), pythonpath=(applications,))


@VERSIONS
def test_one_that_is_revoked_is_refused_and_others_are_not(
    revoking: Any,
    trusting: ssl.SSLContext,
    authority: trustme.CA,
    client: Issued,
    tmp_path: Path,
    version: ssl.TLSVersion,
):
    revoked = issue(authority, tmp_path, "client.example")
    site = revoking(write_crl(authority, tmp_path / "crl.pem", revoked))
    good = trusting_only(authority)
    assert environ_at(site, showing(only(good, version), client))["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert_refused(site, showing(only(trusting, version), revoked), "CERTIFICATE_REVOKED", told="certificate revoked")


def test_with_a_list_that_is_too_old_nobody_is_believed(
    revoking: Any, trusting: ssl.SSLContext, authority: trustme.CA, client: Issued, tmp_path: Path
):
    site = revoking(write_crl(authority, tmp_path / "crl.pem", is_old=True))
    assert_refused(site, showing(trusting, client), "ALERT_CERTIFICATE_EXPIRED", told="CRL has expired")


def test_with_the_list_of_somebody_else_nobody_is_believed(
    revoking: Any, trusting: ssl.SSLContext, stranger: trustme.CA, client: Issued, tmp_path: Path
):
    site = revoking(write_crl(stranger, tmp_path / "crl.pem"))
    assert_refused(site, showing(trusting, client), "ALERT_UNKNOWN_CA", told="unable to get certificate CRL")


def test_openssl_shows_one_and_is_served(required: Server, client: Issued, ca_file: Path):
    flags = ("-cert", str(client.certfile), "-key", str(client.keyfile), "-CAfile", str(ca_file))
    code, said = s_client(required.port, *flags)
    assert code == 0
    assert f'"SSL_CLIENT_SERIAL": "{client.serial}"' in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--cert-reqs", "2"), "cert_reqs: nobody's client certificates are believed; name their issuers in ca_certs"),
        (("--ca-certs", "/nowhere/ca.pem", "--cert-reqs", "1"), "ca_certs: cannot read /nowhere/ca.pem"),
        (("--ca-certs", "/dev/null", "--cert-reqs", "1"), "ca_certs: there is no certificate in PEM form in /dev/null"),
        (("--crl-file", "/dev/null"), "crl_file: there is no revocation list in PEM form in /dev/null"),
    ],
)
def test_settings_that_cannot_be_followed_end_the_start(secure: StartServer, flags: tuple[str, ...], said: str):
    site = secure("wsgi_app", *flags, ready=False)
    assert site.wait() == 1
    assert said in site.log()
