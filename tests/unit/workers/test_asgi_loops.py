"""What is installed beside uvicorn is found, and what is not is told."""

import asyncio
import importlib.util

import pytest

from greenhorn.errors import ConfigError

loops = pytest.importorskip("greenhorn.workers.asgi.loops")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


@pytest.mark.usefixtures("bare")
def test_a_loop_that_is_not_installed_is_told_with_what_to_do():
    with pytest.raises(ConfigError, match=r"asgi_loop: uvloop is not installed: pip install uvloop, or choose auto"):
        loops.check_loop("uvloop")
    for kind in ("auto", "asyncio"):
        loops.check_loop(kind)


@pytest.mark.usefixtures("bare")
def test_without_uvloop_there_is_the_loop_of_the_standard_library():
    loop = loops.new_loop("auto")
    loop.close()
    assert isinstance(loop, asyncio.BaseEventLoop)


@pytest.mark.usefixtures("bare")
def test_without_a_library_nobody_serves_websockets():
    assert not loops.serves_websockets()


@pytest.mark.parametrize("name", ["websockets", "wsproto"])
def test_either_library_serves_websockets(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: name if wanted == name else None)
    assert loops.serves_websockets()
