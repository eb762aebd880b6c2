"""Fixtures of the tests that speak TLS: authorities of their own, and servers that show their certificates."""

import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from integration import answers, kinds
from integration.answers import Answer
from integration.running import EXAMPLES, Server, StartServer, servers
from integration.staging import Theatre, theatre
from tls.certificates import Issued, issue, trusting_only


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The authority that signs the certificates of these tests."""
    return trustme.CA()


@pytest.fixture(scope="session")
def stranger() -> trustme.CA:
    """An authority that nobody believes."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the authority."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return path


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """The certificate of this machine."""
    return issue(authority, tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that believes the authority and nobody else."""
    return trusting_only(authority)


@pytest.fixture
def server(tmp_path: Path, kind: str) -> Iterator[StartServer]:
    """Start servers as the fixture of the integration tests does, with the same checks at the end."""
    with servers(tmp_path) as start:
        yield kinds.of_kind(start, kind)


@pytest.fixture
def secure(server: StartServer, certificate: Issued, trusting: ssl.SSLContext) -> StartServer:
    """Start servers that speak TLS; their `connect`, `request` and `client` do so as well."""

    def start(app: str | None = None, *arguments: str, **options: Any) -> Server:
        return server(app, *certificate.flags, *arguments, **{"trust": trusting, **options})

    return start


@pytest.fixture(scope="module")
def module_secure(
    tmp_path_factory: pytest.TempPathFactory, kind: str, certificate: Issued, authority: trustme.CA
) -> Iterator[StartServer]:
    """Start servers that all tests of a module share, and speak TLS, for tests that leave a server as they found it."""
    trust = trusting_only(authority)
    with servers(tmp_path_factory.mktemp("module")) as start:
        launch = kinds.of_kind(start, kind)

        def started(app: str | None = None, *arguments: str, **options: Any) -> Server:
            return launch(app, *certificate.flags, *arguments, **{"trust": trust, **options})

        yield started


@pytest.fixture(scope="session")
def applications() -> Path:
    """The folder of the applications that were written for tests."""
    return EXAMPLES.parent / "tests" / "integration" / "applications"


@pytest.fixture
def stage(secure: StartServer, applications: Path) -> Iterator[Theatre]:
    """Start servers that speak TLS, whose requests are held until they are released, as `staging` says."""
    with theatre(secure, applications) as opened:
        yield opened


@pytest.fixture
def curl() -> Callable[..., Answer]:
    """Run curl as `answers.curl` does; skips the test where curl is missing."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return answers.curl
