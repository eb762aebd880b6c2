"""Clients know whom they speak to: curl, httpx and openssl, with certificates of several kinds."""

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
import trustme

from integration import answers
from integration.kinds import EVERY_KIND
from integration.running import Server, StartServer
from tls.certificates import PASSWORD, expired, issue, to_come
from tls.clients import line_of, s_client, visit

NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
HELLO = "Hello from a plain WSGI application.\n"
UNVERIFIED = 60
"""curl's exit code for a certificate that it does not believe."""


@pytest.fixture(scope="module")
def site(module_secure: StartServer) -> Server:
    return module_secure("wsgi_app")


@NEEDS_CURL
def test_curl_believes_the_server_by_its_authority(site: Server, ca_file: Path):
    for version in ("1.2", "1.3"):
        answer = answers.curl(
            "--cacert", str(ca_file), "--tls-max", version, "--tlsv1.2", f"https://localhost:{site.port}/"
        )
        assert (answer.status, answer.text) == (200, HELLO)


@NEEDS_CURL
def test_curl_refuses_a_server_whose_authority_it_does_not_know(site: Server):
    command = ["curl", "--disable", "--silent", "--show-error", "--noproxy", "*", f"https://localhost:{site.port}/"]
    refused = subprocess.run(command, capture_output=True, timeout=50, check=False)
    assert refused.returncode == UNVERIFIED
    assert not refused.stdout


@EVERY_KIND
def test_httpx_believes_the_server_by_its_authority_by_name_and_by_address(site: Server, trusting: ssl.SSLContext):
    for host in ("localhost", "127.0.0.1"):
        with httpx.Client(verify=trusting, trust_env=False) as client:
            answer = client.get(f"https://{host}:{site.port}/")
        assert (answer.status_code, answer.text) == (200, HELLO)


def test_httpx_refuses_a_server_whose_authority_it_does_not_know(site: Server, stranger: trustme.CA):
    elsewhere = ssl.create_default_context()
    stranger.configure_trust(elsewhere)
    with (
        httpx.Client(verify=elsewhere, trust_env=False) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(f"https://localhost:{site.port}/")


def test_a_client_refuses_a_name_that_is_not_in_the_certificate(site: Server, trusting: ssl.SSLContext):
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        visit(site, trusting, server_hostname="elsewhere.example")


def test_openssl_verifies_the_server_and_is_told_the_end(site: Server, ca_file: Path):
    code, said = s_client(site.port, "-CAfile", str(ca_file), "-verify_hostname", "localhost")
    assert code == 0
    assert line_of(said, "Verify return code") == "0 (ok)"
    assert HELLO in said
    assert "closed" in said.splitlines()[-1]


def test_openssl_refuses_a_server_whose_authority_it_does_not_know(site: Server):
    code, said = s_client(site.port)
    assert code != 0
    assert "verify error" in said
    assert HELLO not in said


@pytest.mark.parametrize("key_type", [trustme.KeyType.RSA, trustme.KeyType.ECDSA], ids=["RSA", "ECDSA"])
def test_keys_of_either_kind_serve(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path, key_type: trustme.KeyType
):
    own = issue(authority, tmp_path / "own", key_type=key_type)
    site = server("wsgi_app", *own.flags, trust=trusting)
    made = visit(site, trusting)
    assert made.answer.status == 200
    assert made.certificate == own.certificate


def test_one_name_can_have_keys_of_both_kinds_and_each_client_gets_what_it_knows(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path
):
    rsa = issue(authority, tmp_path / "rsa", key_type=trustme.KeyType.RSA)
    ec = issue(authority, tmp_path / "ec", key_type=trustme.KeyType.ECDSA)
    site = server("wsgi_app", *rsa.flags, "--certificate", f"{ec.certfile},{ec.keyfile}", trust=trusting)
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    for ciphers, shown in (("ECDHE+aRSA", rsa), ("ECDHE+aECDSA", ec)):
        trusting.set_ciphers(ciphers)
        assert visit(site, trusting).certificate == shown.certificate


def test_the_chain_up_to_the_authority_is_shown(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path
):
    below = issue(authority.create_child_ca().create_child_ca(), tmp_path / "below")
    site = server("wsgi_app", *below.flags, trust=trusting)
    assert visit(site, trusting).certificate == below.certificate


def test_certificate_and_key_may_stand_in_one_file(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path
):
    own = issue(authority, tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(own.keyfile.read_bytes() + own.certfile.read_bytes())
    site = server("wsgi_app", "--certfile", str(both), trust=trusting)
    assert visit(site, trusting).certificate == own.certificate


@pytest.mark.parametrize("source", ["text", "file", "command"])
def test_an_encrypted_key_is_opened_by_its_password(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path, source: str
):
    own = issue(authority, tmp_path, encrypted=True)
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    password = {"text": PASSWORD, "file": f"file:{secret}", "command": f"command:cat '{secret}'"}[source]
    site = server("wsgi_app", *own.flags, "--key-password", password, trust=trusting)
    assert visit(site, trusting).certificate == own.certificate
    assert PASSWORD not in site.log()


@pytest.mark.parametrize(
    ("times", "said"), [(expired(), "has expired at"), (to_come(), "is not valid before")], ids=["expired", "to come"]
)
def test_a_certificate_out_of_its_time_serves_with_a_warning(
    server: StartServer,
    authority: trustme.CA,
    trusting: ssl.SSLContext,
    tmp_path: Path,
    times: dict[str, object],
    said: str,
):
    own = issue(authority, tmp_path, **times)
    site = server("wsgi_app", *own.flags, trust=trusting)
    assert f"certfile: {own.certfile} {said}" in site.log()
    with pytest.raises(ssl.SSLCertVerificationError):
        visit(site, trusting)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    assert visit(site, trusting).answer.status == 200
