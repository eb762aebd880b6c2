"""A server's certificate, its files, and what it makes of them."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.tls.credentials import Credentials
from greenhorn.tls.options import Pair
from unit.tls.making import SERVER, Made, make, options
from unit.tls.wire import Wire


@pytest.fixture
def first() -> Made:
    """The certificate of the server."""
    return make(SERVER)


@pytest.fixture
def pair(tmp_path: Path, first: Made) -> Pair:
    """The files that it is in: server.pem and server.key."""
    return first.write(tmp_path)


@pytest.fixture
def credentials(pair: Pair) -> Credentials:
    """Those of a server with this one certificate."""
    return Credentials(options(pair))


@pytest.fixture
def wired(credentials: Credentials) -> Iterator[Callable[..., Wire]]:
    """Connect clients: `wired(context, shaken=False)`; the end of the test closes them."""
    made: list[Wire] = []

    def connect(context: ssl.SSLContext | None = None, **how: Any) -> Wire:
        made.append(Wire(credentials, context, **how))
        return made[-1]

    yield connect
    for wire in made:
        wire.__exit__()


@pytest.fixture
def wire(wired: Callable[..., Wire]) -> Wire:
    """A client after its handshake."""
    return wired()
