"""Fixtures of the tests that start the real server and talk to it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration import answers, kinds
from integration.answers import Answer
from integration.running import Server, StartServer, servers
from integration.staging import Theatre, theatre


@pytest.fixture
def server(tmp_path: Path, kind: str) -> Iterator[StartServer]:
    """Start servers: `server("wsgi_app", "--threads", "2")`, `server(app_source="def application(...")`.

    At the end of the test each must stop on TERM with exit code 0, within the deadline, and leave nothing
    behind: no process, no listening port, no socket path, no temporary file, no traceback in the log.
    """
    with servers(tmp_path) as start:
        yield kinds.of_kind(start, kind)


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Iterator[StartServer]:
    """Start servers that all tests of a module share, for tests that leave a server as they found it."""
    with servers(tmp_path_factory.mktemp("module")) as start:
        yield kinds.of_kind(start, kind)


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


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A named pipe: `gate.write_bytes(b"!")` lets the one request go on that `holding` holds."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


@pytest.fixture
def holding(server: StartServer, applications: Path, gate: Path) -> StartServer:
    """Start servers of the application `holding`, whose paths /held and /begun wait for the gate."""

    def start(app: str | None = "holding", *arguments: str, **options: Any) -> Server:
        return server(app, *arguments, pythonpath=(applications,), env={"GATE": str(gate)}, **options)

    return start


@pytest.fixture
def stage(server: StartServer, applications: Path) -> Iterator[Theatre]:
    """Start servers whose requests are held until they are released, as `staging` says."""
    with theatre(server, applications) as opened:
        yield opened
