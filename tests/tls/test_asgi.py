"""The worker class asgi over TLS: encrypted and plain addresses side by side, client certificates, renewal."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
from websockets.sync.client import connect

from integration.answers import Answer, AnswerReader
from integration.asgi import FAMILY, Site
from integration.load import load
from integration.reloading import ready_workers, wait_for_others
from integration.running import Server, StartServer, servers, wait_until
from tls.certificates import Issued, issue
from tls.clients import port_of, visit

GET = b"GET /scope?a=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(params=FAMILY)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(tmp_path: Path):
    with servers(tmp_path) as start:
        yield start


def start(server: StartServer, folder: Path, kind: str, *arguments: str, **options: object) -> Site:
    return Site(server, folder, "asgi_plain:application", *arguments, kind=kind, **options)


def test_encrypted_and_plain_addresses_and_redirects_stand_side_by_side(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    bind = [
        f"https://127.0.0.1:0?{certificate.url}",
        "http://127.0.0.1:0",
        "http://127.0.0.1:0?redirect=8443",
    ]
    site = start(server, tmp_path, kind, "--access-logfile", "-", bind=bind, trust=trusting).server
    assert json.loads(site.request(GET).text)["scheme"] == "https"
    answers = []
    for number in (0, 1):
        with site.dial(port_of(site, "http", number)) as connection:
            connection.sendall(GET)
            answers.append(AnswerReader(connection).read())
    assert json.loads(answers[0].text)["scheme"] == "http"
    assert (answers[1].status, answers[1].headers["Location"]) == (308, "https://localhost:8443/scope?a=1")
    wait_until(lambda: '"GET /scope?a=1 HTTP/1.1" 308 0 ' in site.stdout(), what="the line")


def test_websockets_are_encrypted_as_well(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    site = start(server, tmp_path, kind, *certificate.flags, trust=trusting).server
    with connect(f"wss://localhost:{site.port}/", ssl=trusting) as echo:
        echo.send("hello")
        assert echo.recv() == "hello"


def test_who_stops_in_the_handshake_or_speaks_no_tls_harms_nobody(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    site = start(server, tmp_path, kind, *certificate.flags, "--handshake-timeout", "1", trust=trusting).server
    silent, plain = site.dial(), site.dial()
    plain.sendall(GET)
    assert site.request(GET).status == 200
    assert silent.recv(1) == b""
    assert plain.recv(1) == b""
    assert "ERROR" not in site.log()


def test_a_client_without_a_certificate_is_turned_away_where_one_is_asked_for(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, authority: trustme.CA, ca_file: Path
):
    arguments = (*certificate.flags, "--ca-certs", str(ca_file), "--cert-reqs", "2")
    with_one = ssl.create_default_context(cafile=str(ca_file))
    own = issue(authority, tmp_path / "client", "client@example.org")
    with_one.load_cert_chain(own.certfile, own.keyfile)
    site = start(server, tmp_path, kind, *arguments, trust=with_one).server
    assert site.request(GET).status == 200
    without = ssl.create_default_context(cafile=str(ca_file))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _answer(site, without)


def _answer(site: Server, trust: ssl.SSLContext) -> Answer:
    with site.secure(site.dial(), trust) as connection:
        connection.sendall(GET)
        return AnswerReader(connection).read()


def test_new_certificates_are_shown_to_who_connects_from_then_on(
    server: StartServer, tmp_path: Path, kind: str, authority: trustme.CA, trusting: ssl.SSLContext
):
    old, new = issue(authority, tmp_path / "old"), issue(authority, tmp_path / "new")
    site = start(server, tmp_path, kind, *old.flags, "--reload-certificates", trust=trusting).server
    worker = site.worker_pid()
    assert visit(site, trusting).certificate == old.certificate
    old.replace_by(new)
    wait_until(lambda: visit(site, trusting).certificate == new.certificate, what="the new certificate")
    assert site.worker_pid() == worker


def test_a_reload_under_load_loses_no_request_over_tls(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    site = start(server, tmp_path, kind, *certificate.flags, workers=2, trust=trusting).server
    with load(site, clients=4) as clients:
        old = ready_workers(site)
        clients.more(50)
        site.signal(1)
        wait_for_others(site, old, 2)
        clients.more(50)
