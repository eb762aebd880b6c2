"""Addresses of their own kind side by side: plain and TLS, with own certificates, of TCP, unix and service managers."""

import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from integration.answers import Answer, AnswerReader
from integration.kinds import EVERY_KIND
from integration.launching import activated, ask_at, start_by
from integration.running import DEADLINE, Server, StartServer
from integration.upgrading import upgraded
from integration.wire import DELIVERIES, REFUSAL, Send, connect
from tls.certificates import Issued, issue
from tls.clients import GET, LAST_GET, ends_within, only, port_of, visit

PLAIN = b"HTTP/1.1 400 Bad Request\r\n"
HINT = "plain HTTP came to an address that speaks https: use https://"


@pytest.fixture
def mirror(secure: StartServer, applications: Path) -> StartServer:
    """Start servers that show the environ."""

    def start(*arguments: str, **options: object) -> Server:
        return secure("mirror", *arguments, pythonpath=(applications,), **options)

    return start


def scheme_at(connection: socket.socket) -> str:
    connection.sendall(GET)
    return str(json.loads(AnswerReader(connection).read().text)["environ"]["wsgi.url_scheme"])


@EVERY_KIND
@DELIVERIES
def test_plain_http_at_an_address_of_tls_gets_an_answer_that_can_be_read(secure: StartServer, send: Send):
    site = secure("wsgi_app", "--access-logfile", "-")
    with site.dial() as connection:
        try:
            send(connection, GET)
        except (BrokenPipeError, ConnectionResetError):
            assert send is not DELIVERIES.args[1][0]  # only bytes behind the first can come too late
        answer = ends_within(connection)
    assert answer.startswith(PLAIN)
    assert answer.endswith(f"400 Bad Request: {HINT}\n".encode())
    [line] = site.stdout().splitlines()
    refusal = REFUSAL.match(line)
    assert refusal is not None
    assert (refusal[1], refusal[3], refusal[5]) == ("127.0.0.1", "400", HINT)
    site.wait_for_log(f"Invalid request from ip=127.0.0.1: 400 {HINT}")
    assert site.request(GET).status == 200


def test_curl_shows_what_is_wrong(secure: StartServer, curl: Callable[..., Answer]):
    site = secure("wsgi_app")
    answer = curl(f"http://127.0.0.1:{site.port}/")
    assert (answer.status, answer.text) == (400, f"400 Bad Request: {HINT}\n")


@EVERY_KIND
def test_plain_and_tls_addresses_stand_side_by_side_with_certificates_of_their_own(
    mirror: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, certificate: Issued, tmp_path: Path
):
    other = issue(authority, tmp_path / "other")
    bind = ("127.0.0.1:0", "http://127.0.0.1:0", f"https://127.0.0.1:0?{other.url}", "https://127.0.0.1:0")
    site = mirror(bind=bind)
    assert [address.partition(":")[0] for address in site.addresses] == ["https", "http", "https", "https"]
    for number, shown in enumerate((certificate, other, certificate)):
        made = visit(site, trusting, port=port_of(site, "https", number))
        assert made.certificate == shown.certificate
        environ = json.loads(made.answer.text)["environ"]
        assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    with site.dial(port_of(site, "http")) as plain:
        plain.sendall(GET)
        environ = json.loads(AnswerReader(plain).read().text)["environ"]
    assert environ["wsgi.url_scheme"] == "http"
    assert not [name for name in environ if name.startswith("SSL_") or name == "HTTPS"]


def test_tls_at_one_address_only_needs_no_certificate_for_the_others(
    server: StartServer, certificate: Issued, trusting: ssl.SSLContext
):
    site = server("wsgi_app", bind=("127.0.0.1:0", f"https://127.0.0.1:0?{certificate.url}"))
    assert site.request(GET).status == 200
    assert visit(site, trusting, port=port_of(site, "https")).certificate == certificate.certificate


@EVERY_KIND
def test_an_address_has_settings_of_its_own(
    mirror: StartServer, trusting: ssl.SSLContext, ca_file: Path, certificate: Issued
):
    bind = (
        "https://127.0.0.1:0",
        "https://127.0.0.1:0?tls_min_version=1.3",
        f"https://127.0.0.1:0?ca_certs={ca_file}&cert_reqs=2",
    )
    site = mirror(bind=bind)
    only(trusting, ssl.TLSVersion.TLSv1_2)
    assert visit(site, trusting, port=port_of(site, "https", 0)).answer.status == 200
    for number, reason in ((1, "PROTOCOL_VERSION"), (2, "HANDSHAKE_FAILURE")):
        with pytest.raises(ssl.SSLError, match=reason):
            visit(site, trusting, port=port_of(site, "https", number))
    trusting.load_cert_chain(certificate.certfile, certificate.keyfile)
    environ = json.loads(visit(site, trusting, port=port_of(site, "https", 2)).answer.text)["environ"]
    assert environ["SSL_CLIENT_VERIFY"] == "SUCCESS"


def test_ipv6_speaks_tls(mirror: StartServer, trusting: ssl.SSLContext, certificate: Issued):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("there is no IPv6 here")
    site = mirror(bind=f"https://[::1]:0?{certificate.url}")
    connection = socket.create_connection(("::1", site.port), DEADLINE)
    with site.secure(connection, trusting, server_hostname="::1") as secured:
        secured.sendall(GET)
        environ = json.loads(AnswerReader(secured).read().text)["environ"]
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("::1", "https")
    assert "SSL_TLS_SNI" not in environ  # an address is no name (RFC 6066 3)


def at_path(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(str(path))
    return connection


def test_unix_sockets_speak_tls_or_not_as_they_are_told(mirror: StartServer, trusting: ssl.SSLContext, tmp_path: Path):
    default, encrypted, plain = (tmp_path / name for name in ("default", "encrypted", "plain"))
    site = mirror(bind=(f"unix:{default}", f"https+unix:{encrypted}", f"http+unix:{plain}"))
    for path in (default, encrypted):
        with trusting.wrap_socket(at_path(path), server_hostname="localhost") as connection:
            assert scheme_at(connection) == "https"
    with at_path(plain) as connection:
        assert scheme_at(connection) == "http"
    assert ask_at(encrypted, b"GET / HTTP/1.0\r\n\r\n").startswith(PLAIN)
    assert site.stop() == 0
    assert not [path for path in (default, encrypted, plain) if path.exists()]


def test_descriptors_speak_tls_or_not_as_they_are_told(mirror: StartServer, trusting: ssl.SSLContext):
    with socket.create_server(("127.0.0.1", 0)) as encrypted, socket.create_server(("127.0.0.1", 0)) as plain:
        site = mirror(
            bind=(f"https+fd://{encrypted.fileno()}", f"http+fd://{plain.fileno()}"),
            pass_fds=(encrypted.fileno(), plain.fileno()),
        )
        ports = encrypted.getsockname()[1], plain.getsockname()[1]
    with site.secure(site.dial(ports[0]), trusting) as connection:
        assert scheme_at(connection) == "https"
    with site.dial(ports[1]) as connection:
        assert scheme_at(connection) == "http"


def test_sockets_of_systemd_speak_tls_with_the_certificate_of_the_settings(
    mirror: StartServer, trusting: ssl.SSLContext, certificate: Issued
):
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
        site = _activated(mirror, opened)
    with site.secure(site.dial(port), trusting) as connection:
        assert scheme_at(connection) == "https"
    assert visit(site, trusting, port=port).certificate == certificate.certificate


def _activated(mirror: StartServer, opened: socket.socket, *bind: str) -> Server:
    """Start a server with a socket as systemd does, which is called `web`."""

    def start(_: str | None, *arguments: str, **options: object) -> Server:
        return mirror(*arguments, **options)

    way = activated({"web": opened})
    return start_by(start, way["command"], None, bind=bind, pass_fds=way["pass_fds"])


def test_sockets_of_systemd_are_named_with_what_is_spoken_there(mirror: StartServer, trusting: ssl.SSLContext):
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
        site = _activated(mirror, opened, "http+fd://web", "https://127.0.0.1:0")
    with site.dial(port) as connection:
        assert scheme_at(connection) == "http"
    assert visit(site, trusting, port=port_of(site, "https")).answer.status == 200


def test_another_master_speaks_tls_at_the_same_addresses(
    secure: StartServer, trusting: ssl.SSLContext, certificate: Issued
):
    site = secure("wsgi_app", bind=("127.0.0.1:0", "http://127.0.0.1:0"))
    with upgraded(site):
        for _ in range(8):
            assert visit(site, trusting, port=port_of(site, "https")).certificate == certificate.certificate
            with site.dial(port_of(site, "http")) as plain:
                plain.sendall(LAST_GET)
                assert AnswerReader(plain).read().status == 200


def test_a_worker_serves_when_the_master_has_loaded_the_application(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", "--preload", workers=2)
    for _ in range(8):
        assert visit(site, trusting).answer.status == 200


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        ("https://127.0.0.1:0?redirect=443", "bind: 'redirect' is nothing that an https address can have"),
        ("https://127.0.0.1:0?port=1", "bind: 'port' is nothing that an https address can have"),
        ("http://127.0.0.1:0?certfile=x", "bind: 'certfile' is nothing that an address without TLS can have"),
        ("https://127.0.0.1:0?certfile=/nowhere.pem", "certfile: cannot read /nowhere.pem"),
        ("https://127.0.0.1:0?tls_min_version=9", "bind"),
        ("https://", "bind: 'https://' names no host"),
        ("http://127.0.0.1:0?redirect=x", "bind: redirect='x' at 127.0.0.1:0 is neither a port nor a URL"),
    ],
)
def test_an_address_that_makes_no_sense_ends_the_start(secure: StartServer, bind: str, said: str):
    site = secure("wsgi_app", bind=bind, ready=False)
    assert site.wait() == 1
    assert said in site.log()


@pytest.mark.parametrize("flag", ["--check-config", None])
def test_https_without_a_certificate_never_becomes_http(server: StartServer, flag: str | None):
    site = server("wsgi_app", *filter(None, [flag]), bind="https://127.0.0.1:0", ready=False)
    assert site.wait() == 1
    assert "bind: https needs a certificate; name one in certfile" in site.log()
    assert "Listening" not in site.log()


def test_connect_is_tls_where_a_launch_says_so(secure: StartServer):
    assert isinstance(connect(secure("wsgi_app")), ssl.SSLSocket)
