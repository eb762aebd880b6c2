"""Which kind of application was named: ASGI 3, ASGI 2, or none that can be served here."""

import functools
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from inspect import Parameter
from typing import Any

from greenhorn.app import is_async, name_of
from greenhorn.errors import AppLoadError
from greenhorn.workers.fault import FaultPage

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An application of ASGI 3."""

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def as_asgi3(application: Callable[..., Any]) -> Application:
    """The application as one of ASGI 3. Raises `AppLoadError` for one of WSGI, and for a factory.

    What it is tells the number of its parameters: (scope, receive, send) is ASGI 3, (scope) is ASGI 2, and
    (environ, start_response) is WSGI. One that takes anything is believed to be ASGI 3.
    """
    if isinstance(application, FaultPage):
        return functools.partial(_show, application)
    count = _parameters(application)
    if count == 1:
        return functools.partial(_call_asgi2, application)
    if count in (0, 2):
        name = name_of(application)
        raise AppLoadError(
            f"{name} is an application of WSGI (it takes environ and start_response): the worker class asgi serves "
            "ASGI only; use gthread for it, or name the ASGI application, as get_asgi_application() makes it in Django"
            if count
            else f"{name} takes nothing: if it makes the application, let it be called, as in MODULE:{name}()"
        )
    return application


def _parameters(application: Callable[..., Any]) -> int:
    """How many arguments an application has to be given; -1 for one that does not tell, or takes any number."""
    try:
        # What is async was made for ASGI, whatever it wraps; of anything else, what is wrapped tells more.
        parameters = inspect.signature(application, follow_wrapped=not is_async(application)).parameters.values()
    except (TypeError, ValueError):
        return -1
    if any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters):
        return -1
    return sum(parameter.kind in POSITIONAL and parameter.default is Parameter.empty for parameter in parameters)


async def _call_asgi2(application: Callable[..., Any], scope: Scope, receive: Receive, send: Send) -> None:
    await application(scope)(receive, send)


async def _show(page: FaultPage, scope: Scope, receive: Receive, send: Send) -> None:
    """Show why the application cannot be loaded, whatever is asked for."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    head: list[tuple[bytes, bytes]] = []

    def start(_status: str, fields: list[tuple[str, str]]) -> None:
        head.extend((name.lower().encode(), value.encode()) for name, value in fields)

    body = b"".join(page({"HTTP_ACCEPT": accept, "REQUEST_METHOD": scope["method"]}, start))
    await send({"type": "http.response.start", "status": 500, "headers": head})
    await send({"type": "http.response.body", "body": body})
