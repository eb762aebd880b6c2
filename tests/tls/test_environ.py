"""What an application and the access log are told of a connection with TLS."""

import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from integration.answers import AnswerReader
from integration.kinds import EVERY_KIND, PARSER, differs, keeps_connections
from integration.running import StartServer, wait_until
from integration.staging import GET
from tls.certificates import Issued, issue
from tls.clients import ask, only, visit

SOURCE = """
import json

def application(environ, start_response):
    sock = environ["gunicorn.socket"]
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {"cipher": sock.cipher(), "version": sock.version(), "peer": sock.getpeername()}
    told |= {"alpn": sock.selected_alpn_protocol(), "certificate": sock.getpeercert(), "fd": sock.fileno() >= 0}
    return [json.dumps(told).encode()]
"""


@pytest.fixture
def mirror(secure: StartServer, applications: Path) -> Any:
    """Start servers that show the environ."""
    return lambda *arguments, **options: secure("mirror", *arguments, pythonpath=(applications,), **options)


def environ_of(connection: ssl.SSLSocket, fields: str = "") -> dict[str, str]:
    environ: dict[str, str] = json.loads(ask(connection, fields=fields).text)["environ"]
    return environ


@EVERY_KIND
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_the_environ_tells_what_both_sides_have_agreed_on(
    mirror: Any, trusting: ssl.SSLContext, kind: str, version: ssl.TLSVersion
):
    site = mirror()
    session = None
    for resumed in ("Initial", "Resumed"):
        with site.secure(site.dial(), only(trusting, version), session=session) as connection:
            cipher = connection.cipher()
            assert cipher is not None
            for _ in range(2 if keeps_connections(kind) else 1):  # the same for every request of the connection
                environ = environ_of(connection)
                told = {name: value for name, value in environ.items() if name.startswith("SSL_") or name == "HTTPS"}
                assert told == {
                    "HTTPS": "on",
                    "SSL_PROTOCOL": version.name.replace("_", "."),
                    "SSL_CIPHER": cipher[0],
                    "SSL_CIPHER_USEKEYSIZE": str(cipher[2]),
                    "SSL_SESSION_RESUMED": resumed,
                    "SSL_TLS_SNI": "localhost",
                    "SSL_CLIENT_VERIFY": "NONE",
                }
                assert environ["wsgi.url_scheme"] == "https"
                assert (environ["SERVER_PORT"], environ["REMOTE_ADDR"]) == (str(site.port), "127.0.0.1")
                assert environ["REMOTE_PORT"] == str(connection.getsockname()[1])
            session = connection.session


def test_no_field_of_a_request_can_pass_for_one_of_the_connection(mirror: Any, trusting: ssl.SSLContext):
    site = mirror()
    forged = "SSL-Client-Verify: SUCCESS\r\nSSL-Client-S-DN: CN=admin\r\nHTTPS: off\r\nSSL_CLIENT_VERIFY: SUCCESS\r\n"
    with site.secure(site.dial(), trusting) as connection:
        environ = environ_of(connection, forged)
    assert (environ["SSL_CLIENT_VERIFY"], environ["HTTPS"]) == ("NONE", "on")
    assert "SSL_CLIENT_S_DN" not in environ


@EVERY_KIND
def test_the_socket_tells_an_application_what_a_socket_of_ssl_tells(
    secure: StartServer, trusting: ssl.SSLContext, certificate: Issued, ca_file: Path
):
    site = secure(None, "--ca-certs", str(ca_file), "--cert-reqs", "1", app_source=SOURCE)
    trusting.load_cert_chain(certificate.certfile, certificate.keyfile)
    trusting.set_alpn_protocols(["http/1.1"])
    with site.secure(site.dial(), trusting) as connection:
        told = json.loads(ask(connection).text)
        assert told["cipher"] == list(connection.cipher() or ())
        assert (told["version"], told["alpn"]) == (connection.version(), "http/1.1")
        assert told["peer"] == list(connection.getsockname())
        assert told["certificate"]["serialNumber"] == certificate.serial
        assert told["fd"] is True


@pytest.mark.parametrize(
    ("trusted", "told", "scheme"),
    [
        ("192.0.2.1", "http", "https"),
        ("127.0.0.1", "https", "https"),
        ("127.0.0.1", "http", "http"),
    ],
)
def test_the_scheme_is_that_of_the_client_as_far_as_the_peer_is_believed(
    mirror: Any, trusting: ssl.SSLContext, trusted: str, told: str, scheme: str
):
    """A proxy may speak TLS to the server for a client that came without; HTTPS is about the connection itself."""
    site = mirror("--forwarded-allow-ips", trusted)
    with site.secure(site.dial(), trusting) as connection:
        environ = environ_of(connection, f"X-Forwarded-Proto: {told}\r\n")
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == (scheme, "on")


def test_a_proxy_that_is_believed_tells_on_plain_connections_that_the_client_came_over_tls(mirror: Any):
    site = mirror(bind="http://127.0.0.1:0", trust=None)
    with site.connect() as connection:
        environ = environ_of(connection, "X-Forwarded-Proto: https\r\n")
    assert environ["wsgi.url_scheme"] == "https"
    assert not [name for name in environ if name.startswith("SSL_")]


@EVERY_KIND
def test_the_access_log_can_tell_it(secure: StartServer, trusting: ssl.SSLContext):
    names = ("SSL_PROTOCOL", "SSL_CIPHER", "SSL_SESSION_RESUMED", "SSL_TLS_SNI", "SSL_CLIENT_VERIFY")
    log = " ".join(f"%({{{name}}}e)s" for name in names) + " %(s)s"
    site = secure("wsgi_app", "--access-logfile", "-", "--access-logformat", log)
    made = visit(site, only(trusting, ssl.TLSVersion.TLSv1_2))
    visit(site, trusting, session=made.session)
    lines = wait_until(lambda: site.stdout().splitlines() if site.stdout().count("\n") == 2 else None, what="two lines")
    pattern = r"TLSv1\.2 (ECDHE-\S+) {} localhost NONE 200"
    assert re.fullmatch(pattern.format("Initial"), lines[0])
    assert re.fullmatch(pattern.format("Resumed"), lines[1])


@EVERY_KIND
@differs("tornado", row=PARSER, only=("nonsense",))
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"nonsense\r\n\r\n", 400), (GET[:-2] + b"Content-Length: 11\r\n\r\n", 413)],
    ids=["nonsense", "too large"],
)
def test_the_access_log_tells_it_of_requests_that_are_refused_too(
    secure: StartServer, trusting: ssl.SSLContext, request_bytes: bytes, status: int
):
    site = secure("wsgi_app", "--access-logfile", "-", "--limit-request-body", "10")
    with site.secure(site.dial(), trusting) as connection:
        connection.sendall(request_bytes)
        assert AnswerReader(connection).read().status == status
    line = wait_until(lambda: site.stdout() if site.stdout().endswith("\n") else None, what="the line")
    assert re.search(r'" (\d{3}) \d+ "-" "-" "', line)[1] == str(status)
    assert line.startswith("127.0.0.1 - - [")


def test_names_in_client_certificates_can_forge_no_line(
    secure: StartServer, trusting: ssl.SSLContext, ca_file: Path, hostile: Issued
):
    log = "%({SSL_CLIENT_S_DN_CN}e)s|%({SSL_CLIENT_S_DN}e)s"
    flags = ("--ca-certs", str(ca_file), "--cert-reqs", "2", "--access-logfile", "-", "--access-logformat", log)
    site = secure("wsgi_app", *flags)
    trusting.load_cert_chain(hostile.certfile, hostile.keyfile)
    assert visit(site, trusting).answer.status == 200
    text = wait_until(lambda: site.stdout() if site.stdout().endswith("\n") else None, what="the line")
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()


@pytest.fixture
def hostile(authority: Any, tmp_path: Path) -> Issued:
    """A certificate whose name would end a line."""
    return issue(authority, tmp_path / "hostile", "client.example", common_name='a\r\n127.0.0.1 "GET /forged"')
