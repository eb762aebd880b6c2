"""Which interface an application has, as far as that can be known without calling it."""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from greenhorn.errors import AppLoadError

OTHER_INTERFACE = 4
"""Exit code where an application is there that cannot be served, as where there is none."""
OF_ASGI3 = ["scope", "receive", "send"]


def check_wsgi(application: Callable[..., Any]) -> None:
    """Raise `AppLoadError` for an application of ASGI or Tornado; what cannot be told is believed to be one of WSGI."""
    tornado = sys.modules.get("tornado.httputil")
    if tornado is not None and isinstance(application, tornado.HTTPServerConnectionDelegate):
        raise AppLoadError(
            f"{name_of(application)} is an application of Tornado, and this worker class serves WSGI: use -k tornado",
            OTHER_INTERFACE,
        )
    if is_asgi(application):
        raise AppLoadError(
            f"{name_of(application)} is an application of ASGI: it is called with (scope, receive, send) and awaited, "
            "and this worker class serves WSGI; use -k asgi for it, or name the WSGI application, as "
            "get_wsgi_application() makes it in Django",
            OTHER_INTERFACE,
        )


def is_asgi(application: Callable[..., Any]) -> bool:
    """Whether nobody but a server of ASGI can call it: what it returns must be awaited."""
    application = without_arguments(application)
    if is_async(application):
        return True
    try:
        parameters = inspect.signature(application, follow_wrapped=False).parameters
    except (TypeError, ValueError):
        return False
    if isinstance(application, type):  # ASGI 2: made of a scope, then called and awaited
        return len(parameters) == 1 and inspect.iscoroutinefunction(getattr(application, "__call__", None))  # noqa: B004 - not whether there is one
    return list(parameters) == OF_ASGI3


def is_async(application: Callable[..., Any]) -> bool:
    """Whether a call of it, a function or an object, makes a coroutine."""
    return inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(type(application).__call__)


def without_arguments(application: Callable[..., Any]) -> Callable[..., Any]:
    """What functools.partial gives arguments to; anything else as it is."""
    while isinstance(application, functools.partial):
        application = application.func
    return application


def name_of(application: Callable[..., Any]) -> str:
    """What messages call it: the name of a function or class, or of the class of an object."""
    application = without_arguments(application)
    name: str = getattr(application, "__qualname__", type(application).__qualname__)
    return name
