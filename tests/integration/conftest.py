"""Fixtures of the tests that start the real server and talk to it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration import answers
from integration.answers import Answer
from integration.running import StartServer, servers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers: `server("wsgi_app", "--threads", "2")`, `server(app_source="def application(...")`.

    At the end of the test each must stop on TERM with exit code 0, within the deadline, and leave nothing
    behind: no process, no listening port, no socket path, no temporary file, no traceback in the log.
    """
    with servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start servers that all tests of a module share, for tests that leave a server as they found it."""
    with servers(tmp_path_factory.mktemp("module")) as start:
        yield start


@pytest.fixture
def curl() -> Callable[..., Answer]:
    """Run curl as `answers.curl` does; skips the test where curl is missing."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return answers.curl


@pytest.fixture(scope="session")
def applications() -> Path:
    """The folder of the applications that were written for these tests."""
    return Path(__file__).with_name("applications")
