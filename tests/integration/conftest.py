"""Fixtures of the tests that start the real server and talk to it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from integration import running
from integration.running import Answer, Launch, Server, StartServer


@contextmanager
def servers(folder: Path) -> Iterator[StartServer]:
    """Start servers in folders below `folder`; end all of them, with AssertionError for what they left."""
    started: list[Server] = []

    def start(app: str | None = None, *arguments: str, **options: Any) -> Server:
        launch = Launch(app=app, arguments=arguments, **options)
        started.append(Server(launch, folder / f"server-{len(started)}"))
        if launch.ready:
            started[-1].wait_until_ready()
        return started[-1]

    yield start
    problems = []
    for one in reversed(started):
        problems += one.finish()
        print(f"log of {one.pid}:\n{one.log()}")  # noqa: T201 - pytest shows it when the test fails
    assert not problems, "; ".join(problems)


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
    """Run curl as `running.curl` does; skips the test where curl is missing."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return running.curl
