"""The worker class asgi over TLS: encrypted and plain addresses side by side, client certificates, renewal."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from websockets.sync.client import connect

from integration.answers import Answer, AnswerReader
from integration.asgi import FAMILY, Site
from integration.load import load
from integration.reloading import ready_workers, wait_for_others
from integration.running import Server, StartServer, servers, wait_until
from integration.wire import DELIVERIES, REFUSAL, Send
from tls.certificates import Issued, issue
from tls.clients import Steps, ask, ends_within, only, port_of, visit, wait_for_failed_handshakes

GET = b"GET /scope?a=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PLAIN_HERE = "plain HTTP came to an address that speaks https: use https://"
HOSTS = {"main": ("localhost",), "other": ("other.example",), "new": ("localhost",)}
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


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


def test_who_stops_in_the_handshake_or_says_nothing_is_left(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    deadlines = ("--handshake-timeout", "1", "--first-byte-timeout", "1")
    site = start(server, tmp_path, kind, *certificate.flags, *deadlines, trust=trusting).server
    silent, stopped = site.dial(), Steps(site.dial(), trusting)
    stopped.connection.sendall(stopped.hello[:40])
    assert site.request(GET).status == 200
    assert ends_within(silent) == b""
    assert not ends_within(stopped.connection).startswith(b"HTTP")
    wait_for_failed_handshakes(site, 1)
    assert "ERROR" not in site.log()


def test_who_says_nothing_does_not_keep_a_worker_from_leaving(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    site = start(server, tmp_path, kind, *certificate.flags, "--graceful-timeout", "30", trust=trusting).server
    site.dial()
    assert site.request(GET).status == 200
    assert site.stop() == 0  # within a deadline that is shorter


def test_who_says_nothing_makes_room_for_others(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    flags = ("--worker-connections", "2", "--first-byte-timeout", "30")
    site = start(server, tmp_path, kind, *certificate.flags, *flags, trust=trusting).server
    silent = [site.dial() for _ in range(2)]
    assert site.request(GET).status == 200
    assert ends_within(silent[0]) == b""


@DELIVERIES
def test_plain_http_at_an_address_of_tls_gets_an_answer_that_can_be_read(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext, send: Send
):
    site = start(server, tmp_path, kind, *certificate.flags, "--access-logfile", "-", trust=trusting).server
    with site.dial() as connection:
        try:
            send(connection, GET)
        except (BrokenPipeError, ConnectionResetError):
            assert send is not DELIVERIES.args[1][0]  # only bytes behind the first can come too late
        answer = ends_within(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(f"400 Bad Request: {PLAIN_HERE}\n".encode())
    line = wait_until(lambda: site.stdout().rstrip("\n"), what="the line")
    refusal = REFUSAL.match(line)
    assert refusal is not None
    assert (refusal[1], refusal[3], refusal[5]) == ("127.0.0.1", "400", PLAIN_HERE)
    site.wait_for_log(f"Invalid request from ip=127.0.0.1: 400 {PLAIN_HERE}")
    assert site.request(GET).status == 200


def test_what_is_neither_is_closed_quietly_and_counted(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    site = start(server, tmp_path, kind, *certificate.flags, "--access-logfile", "-", trust=trusting).server
    with site.dial() as connection:
        connection.sendall(b"\x00\x01\x02\x03")
        assert ends_within(connection) == b""
    wait_for_failed_handshakes(site, 1)
    assert site.stdout() == ""


@DELIVERIES
def test_a_client_hello_at_a_plain_address_gets_nothing_but_a_hint_in_the_log(
    server: StartServer, tmp_path: Path, kind: str, trusting: ssl.SSLContext, send: Send
):
    site = start(server, tmp_path, kind, "--access-logfile", "-").server
    with site.dial() as connection:
        try:
            send(connection, Steps(connection, trusting).hello)
        except (BrokenPipeError, ConnectionResetError):
            assert send is not DELIVERIES.args[1][0]
        assert ends_within(connection) == b""
    site.wait_for_log(r"1 connections with TLS came to an address of plain HTTP \(bind says https://")
    assert site.stdout() == ""
    with site.dial() as connection:
        connection.sendall(b"\x16GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ends_within(connection).startswith(b"HTTP/1.1 400 ")
    assert site.request(GET).status == 200


@VERSIONS
def test_the_scope_has_the_tls_extension_and_the_names_of_mod_ssl(
    server: StartServer,
    tmp_path: Path,
    kind: str,
    certificate: Issued,
    authority: trustme.CA,
    ca_file: Path,
    trusting: ssl.SSLContext,
    version: ssl.TLSVersion,
):
    log = "%({SSL_PROTOCOL}e)s|%({SSL_CLIENT_S_DN_CN}e)s|%(s)s"
    flags = (*certificate.flags, "--ca-certs", str(ca_file), "--cert-reqs", "1")
    logs = ("--access-logfile", "-", "--access-logformat", log)
    site = Site(server, tmp_path, "asgi_told:application", *flags, *logs, kind=kind, trust=only(trusting, version))
    own = issue(authority, tmp_path / "client", "client.example", common_name="Zq, é")
    answers = []
    for shows in (False, True):
        if shows:
            trusting.load_cert_chain(own.certfile, own.keyfile)
        with site.server.secure(site.server.dial(), trusting) as connection:
            cipher = connection.cipher()
            assert cipher is not None
            told = [json.loads(ask(connection).text) for _ in range(2)]
        assert told[0] == told[1]
        answers.append(told[0])
        extension, names = told[0]["tls"], told[0]["names"]
        assert x509.load_pem_x509_certificate(extension["server_cert"].encode()) == certificate.certificate
        assert extension["tls_version"] == version.value
        assert (
            extension["cipher_suite"] == {one["name"]: one["id"] & 0xFFFF for one in trusting.get_ciphers()}[cipher[0]]
        )
        assert extension["client_cert_error"] is None
        assert (names["HTTPS"], names["SSL_CIPHER"], names["SSL_TLS_SNI"]) == ("on", cipher[0], "localhost")
    nobody, somebody = answers
    assert (nobody["tls"]["client_cert_chain"], nobody["tls"]["client_cert_name"]) == ([], None)
    assert nobody["names"]["SSL_CLIENT_VERIFY"] == "NONE"
    assert x509.load_pem_x509_certificate(somebody["tls"]["client_cert_chain"][0].encode()) == own.certificate
    assert somebody["tls"]["client_cert_name"] == own.certificate.subject.rfc4514_string()
    assert somebody["names"]["SSL_CLIENT_S_DN_CN"] == "Zq, é"
    wait_until(lambda: site.server.stdout().count("\n") == 4, what="the lines")
    name = version.name.replace("_", ".")
    lines = [f"{name}|-|200"] * 2 + [rf"{name}|Zq,\x20\xc3\xa9|200"] * 2
    assert site.server.stdout().splitlines() == lines


def test_websockets_have_them_as_well_and_plain_connections_have_none(
    server: StartServer, tmp_path: Path, kind: str, certificate: Issued, trusting: ssl.SSLContext
):
    bind = (f"https://127.0.0.1:0?{certificate.url}", "http://127.0.0.1:0")
    site = Site(server, tmp_path, "asgi_told:application", kind=kind, bind=bind, trust=trusting).server
    with connect(f"wss://localhost:{port_of(site, 'https')}/", ssl=trusting) as told:
        seen = json.loads(told.recv())
    assert seen["tls"]["tls_version"] == 0x0304
    assert seen["names"]["SSL_PROTOCOL"] == "TLSv1.3"
    with connect(f"ws://localhost:{port_of(site, 'http')}/") as told:
        assert json.loads(told.recv()) == {"tls": None, "names": None}
    with site.dial(port_of(site, "http")) as plain:
        assert json.loads(ask(plain).text) == {"tls": None, "names": None}


def test_the_certificate_in_the_scope_is_the_one_of_the_name_and_of_the_time(
    server: StartServer, tmp_path: Path, kind: str, authority: trustme.CA, trusting: ssl.SSLContext
):
    main, other, new = (issue(authority, tmp_path / name, *hosts) for name, hosts in HOSTS.items())
    flags = (*main.flags, "--certificate", f"{other.certfile},{other.keyfile}", "--reload-certificates")
    site = Site(server, tmp_path, "asgi_told:application", *flags, kind=kind, trust=trusting).server

    def shown(name: str) -> x509.Certificate:
        told = json.loads(visit(site, trusting, server_hostname=name).answer.text)
        return x509.load_pem_x509_certificate(told["tls"]["server_cert"].encode())

    assert (shown("localhost"), shown("other.example")) == (main.certificate, other.certificate)
    main.replace_by(new)
    wait_until(lambda: visit(site, trusting).certificate == new.certificate, what="the new certificate")
    assert (shown("localhost"), shown("other.example")) == (new.certificate, other.certificate)


@VERSIONS
def test_a_client_without_a_certificate_is_turned_away_where_one_is_asked_for(
    server: StartServer,
    tmp_path: Path,
    kind: str,
    certificate: Issued,
    authority: trustme.CA,
    ca_file: Path,
    version: ssl.TLSVersion,
):
    arguments = (*certificate.flags, "--ca-certs", str(ca_file), "--cert-reqs", "2")
    with_one = ssl.create_default_context(cafile=str(ca_file))
    own = issue(authority, tmp_path / "client", "client@example.org")
    with_one.load_cert_chain(own.certfile, own.keyfile)
    site = start(server, tmp_path, kind, *arguments, trust=with_one).server
    assert site.request(GET).status == 200
    without = only(ssl.create_default_context(cafile=str(ca_file)), version)
    with pytest.raises((ssl.SSLError, ConnectionError)):  # without an alert: the loops do not send it
        _answer(site, without)
    wait_for_failed_handshakes(site, 1)


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
