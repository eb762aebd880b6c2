"""A server's certificate, its files, and what it makes of them."""

from pathlib import Path

import pytest

from greenhorn.tls.credentials import Credentials
from greenhorn.tls.options import Pair
from unit.tls.making import SERVER, Made, make, options


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
