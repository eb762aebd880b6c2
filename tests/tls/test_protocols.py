"""Versions, ciphers and protocols that are spoken, and those that are refused."""

import shutil
import ssl
from pathlib import Path

import httpx
import pytest

from integration import answers
from integration.running import Server, StartServer
from tls.clients import (
    GET,
    LAST_GET,
    line_of,
    only,
    s_client,
    s_client_told,
    visit,
    wait_for_failed_handshakes,
)

OLD = "DEFAULT:@SECLEVEL=0"
"""Lets OpenSSL speak what it does not speak any more by itself."""
REFUSED_CIPHERS = ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "aNULL")
"""Without forward secrecy, with CBC, or without authentication."""


@pytest.fixture(scope="module")
def site(module_secure: StartServer) -> Server:
    return module_secure("wsgi_app")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_both_versions_that_are_good_are_spoken(site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion):
    with site.secure(site.dial(), only(trusting, version)) as connection:
        assert connection.version() == version.name.replace("_", ".")
        cipher = connection.cipher()
        assert cipher is not None
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


@pytest.mark.parametrize("flag", ["-tls1", "-tls1_1"])
def test_versions_before_that_are_refused(site: Server, flag: str):
    code, said = s_client(site.port, flag, "-cipher", OLD)
    assert code != 0
    assert "alert protocol version" in said
    assert "Hello" not in said


def test_a_minimum_of_1_3_refuses_1_2(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", "--tls-min-version", "1.3")
    assert visit(site, trusting).answer.status == 200
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        visit(site, only(trusting, ssl.TLSVersion.TLSv1_2))
    wait_for_failed_handshakes(site, 1)


@pytest.mark.parametrize("cipher", REFUSED_CIPHERS)
def test_ciphers_that_are_weak_are_refused_by_default(site: Server, cipher: str):
    code, said = s_client(site.port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert code != 0
    assert "alert handshake failure" in said


def test_ciphers_can_be_chosen(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384")
    context = only(trusting, ssl.TLSVersion.TLSv1_2)
    with site.secure(site.dial(), context) as connection:
        assert connection.cipher() == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        visit(site, context)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["http/1.1"], "http/1.1"),
        (["h2", "http/1.1"], "http/1.1"),
        (["http/1.1", "http/1.0"], "http/1.1"),
        (["h2"], None),
        ([], None),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_http_1_1_is_what_is_agreed_on_or_nothing(
    site: Server, trusting: ssl.SSLContext, offered: list[str], chosen: str | None
):
    if offered:
        trusting.set_alpn_protocols(offered)
    with site.secure(site.dial(), trusting) as connection:
        assert connection.selected_alpn_protocol() == chosen
    assert visit(site, trusting).answer.status == 200


def test_httpx_and_curl_that_would_speak_http_2_speak_http_1_1(site: Server, trusting: ssl.SSLContext, ca_file: Path):
    with httpx.Client(verify=trusting, trust_env=False) as client:
        assert client.get(f"https://localhost:{site.port}/").http_version == "HTTP/1.1"
    if shutil.which("curl"):
        answer = answers.curl("--http2", "--cacert", str(ca_file), f"https://localhost:{site.port}/")
        assert (answer.version, answer.status) == ("HTTP/1.1", 200)


def test_nothing_is_compressed(site: Server, ca_file: Path):
    _, said = s_client(site.port, "-tls1_2", "-comp", "-CAfile", str(ca_file))
    assert line_of(said, "Compression") == "NONE"


def test_nothing_is_renegotiated(site: Server, tmp_path: Path):
    said = s_client_told(site.port, tmp_path, "-tls1_2", steps=[(b"R\n", "RENEGOTIATING")])
    assert "no renegotiation" in said
    assert site.request(GET).status == 200


def test_a_client_may_change_its_keys_and_those_of_the_server(site: Server, tmp_path: Path):
    steps = [(b"K\n", "KEYUPDATE"), (b"k\n", "KEYUPDATE"), (LAST_GET.replace(b"\r", b""), "200 OK")]
    said = s_client_told(site.port, tmp_path, "-tls1_3", steps=steps)
    assert "HTTP/1.1 200 OK" in said
    assert said.count("KEYUPDATE") == 2


def test_a_setting_that_openssl_does_not_know_ends_the_start(secure: StartServer):
    site = secure("wsgi_app", "--ciphers", "ZQ81", ready=False)
    assert site.wait() == 1
    assert "ciphers: OpenSSL knows none of 'ZQ81'" in site.log()
