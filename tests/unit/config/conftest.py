"""Where a configuration is read in tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def start_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty directory, and leave sys.path and sys.modules as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
