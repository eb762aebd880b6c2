"""What is installed beside uvicorn: an event loop that is faster, and who speaks WebSocket."""

import asyncio
import importlib.util

from greenhorn.errors import ConfigError

WEBSOCKET_LIBRARIES = ("websockets", "wsproto")


def check_loop(kind: str) -> None:
    """Raise `ConfigError` for a loop that is not installed."""
    if kind == "uvloop" and not _is_installed("uvloop"):
        raise ConfigError("asgi_loop: uvloop is not installed: pip install uvloop, or choose auto or asyncio")


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """An event loop: uvloop's where it is installed, unless `kind` is asyncio."""
    if kind != "asyncio" and _is_installed("uvloop"):
        import uvloop  # noqa: PLC0415 - only who has it, and wants it

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()


def serves_websockets() -> bool:
    """Whether a library that speaks WebSocket is installed."""
    return any(map(_is_installed, WEBSOCKET_LIBRARIES))


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
