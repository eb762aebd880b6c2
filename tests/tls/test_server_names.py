"""Several certificates at one address: which one a client gets for the name that it asks for (RFC 6066 3)."""

import json
import ssl
from pathlib import Path

import pytest
import trustme

from integration.kinds import EVERY_KIND
from integration.running import Server, StartServer
from tls.certificates import Issued, issue
from tls.clients import s_client, visit

NAMES = {
    "main": ("localhost", "127.0.0.1"),
    "shop": ("shop.example", "www.shop.example"),
    "wild": ("*.wild.example", "exact.example"),
    "own": ("own.wild.example",),
}


@pytest.fixture(scope="module")
def several(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Issued]:
    """Certificates by what they are called here."""
    folder = tmp_path_factory.mktemp("several")
    return {what: issue(authority, folder / what, *names) for what, names in NAMES.items()}


@pytest.fixture(scope="module")
def site(module_secure: StartServer, several: dict[str, Issued], applications: Path) -> Server:
    flags = [*several["main"].flags]
    for what in ("shop", "wild", "own"):
        flags += ["--certificate", f"{several[what].certfile},{several[what].keyfile}"]
    return module_secure("mirror", *flags, pythonpath=(applications,))


@pytest.fixture
def careless(trusting: ssl.SSLContext) -> ssl.SSLContext:
    """A context that believes the authority under any name."""
    trusting.check_hostname = False
    return trusting


@EVERY_KIND
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("localhost", "main"),
        ("shop.example", "shop"),
        ("www.shop.example", "shop"),
        ("WWW.Shop.Example", "shop"),
        ("exact.example", "wild"),
        ("any.wild.example", "wild"),
        ("own.wild.example", "own"),
        ("deep.any.wild.example", "main"),
        ("wild.example", "main"),
        ("unknown.example", "main"),
        (None, "main"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_each_name_has_its_certificate_and_is_in_the_environ(
    site: Server,
    careless: ssl.SSLContext,
    several: dict[str, Issued],
    name: str | None,
    what: str,
    version: ssl.TLSVersion,
):
    careless.minimum_version = careless.maximum_version = version
    made = visit(site, careless, server_hostname=name)
    assert made.certificate == several[what].certificate
    environ = json.loads(made.answer.text)["environ"]
    assert environ.get("SSL_TLS_SNI") == (name.lower() if name else None)


def test_openssl_verifies_each_name(site: Server, ca_file: Path):
    for name in ("shop.example", "any.wild.example", "own.wild.example", "localhost"):
        flags = ("-servername", name, "-verify_hostname", name, "-CAfile", str(ca_file))
        code, said = s_client(site.port, *flags)
        assert code == 0, said
        assert f'"SSL_TLS_SNI": "{name}"' in said


@pytest.mark.parametrize("name", ["a" * 63 + ".example", "xn--caf-dma.example", "under_score.example"])
def test_names_that_are_long_or_strange_get_the_first_certificate(
    site: Server, careless: ssl.SSLContext, several: dict[str, Issued], name: str
):
    assert visit(site, careless, server_hostname=name).certificate == several["main"].certificate


def test_an_application_is_told_the_name_that_was_asked_for_and_not_that_of_the_host_field(
    site: Server, careless: ssl.SSLContext
):
    """They may differ, for instance by domain fronting, and which one counts is the application's decision."""
    with site.secure(site.dial(), careless, server_hostname="shop.example") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: exact.example\r\nConnection: close\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    environ = json.loads(received.partition(b"\r\n\r\n")[2])["environ"]
    assert (environ["SSL_TLS_SNI"], environ["HTTP_HOST"]) == ("shop.example", "exact.example")


def test_options_of_the_address_hold_for_every_name(
    secure: StartServer, careless: ssl.SSLContext, several: dict[str, Issued]
):
    other = several["shop"]
    site = secure("wsgi_app", "--certificate", f"{other.certfile},{other.keyfile}", "--tls-min-version", "1.3")
    careless.maximum_version = ssl.TLSVersion.TLSv1_2
    for name in ("localhost", "shop.example"):
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            visit(site, careless, server_hostname=name)
    careless.maximum_version = ssl.TLSVersion.TLSv1_3
    careless.set_alpn_protocols(["http/1.1"])
    for name in ("localhost", "shop.example"):
        with site.secure(site.dial(), careless, server_hostname=name) as connection:
            assert connection.selected_alpn_protocol() == "http/1.1"
