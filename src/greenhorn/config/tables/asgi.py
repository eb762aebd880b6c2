"""Applications of the asynchronous kind."""

from dataclasses import dataclass

from greenhorn.config.logs import any_text
from greenhorn.config.parsers import one_of, seconds, size
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class ASGISettings:
    """What the worker class asgi goes by."""

    asgi_loop: str = setting(
        ("--asgi-loop",),
        default="auto",
        parse=one_of("auto", "asyncio", "uvloop"),
        meta="LOOP",
        doc="""Event loop: asyncio, uvloop, or auto for uvloop where it is installed.""",
    )
    asgi_lifespan: str = setting(
        ("--asgi-lifespan",),
        default="auto",
        parse=one_of("auto", "on", "off"),
        meta="MODE",
        doc="""Whether the application is told of start and stop (the lifespan protocol): on, off, or auto for
            applications that take part in it.""",
    )
    asgi_disconnect_grace_period: int = setting(
        ("--asgi-disconnect-grace-period",),
        default=3,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that the application has to finish once the client has left; 0 = it is cancelled at once.""",
    )
    websocket_max_message_size: int = setting(
        ("--websocket-max-message-size",),
        default=16 << 20,
        parse=size,
        meta="SIZE",
        doc="""Largest message of a WebSocket, in bytes; a larger one closes it; 0 = no limit.""",
    )
    root_path: str = setting(
        ("--root-path",),
        default="",
        parse=any_text,
        meta="PATH",
        doc="""Path at which a proxy has the application, as root_path in the scope.""",
    )
