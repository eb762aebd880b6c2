"""Fixtures of the tests that speak TLS: a certificate authority of their own, and the server."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from integration.running import StartServer, servers


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The authority that signs every certificate of these tests."""
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that believes the authority and nobody else."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers as the fixture of the integration tests does, with the same checks at the end."""
    with servers(tmp_path) as start:
        yield start
