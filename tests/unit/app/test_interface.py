"""Which applications are told to be of ASGI where WSGI is served, and which are left in peace."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greenhorn.app import check_wsgi
from greenhorn.errors import AppLoadError


async def asgi3(scope: Any, receive: Any, send: Any) -> None:
    """Serve nothing."""


def asgi3_that_is_not_async(scope: Any, receive: Any, send: Any) -> Any:
    return asgi3(scope, receive, send)


class Asgi3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve nothing."""

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve nothing."""


class Asgi2:
    def __init__(self, scope: Any) -> None:
        """Be made for each request."""

    async def __call__(self, receive: Any, send: Any) -> None:
        """Serve nothing."""


def configured(setting: str, scope: Any, receive: Any, send: Any) -> Any:
    return setting, asgi3(scope, receive, send)


OF_ASGI: dict[str, Callable[..., Any]] = {
    "asgi3": asgi3,
    "asgi3_that_is_not_async": asgi3_that_is_not_async,
    "Asgi3": Asgi3(),
    "Asgi3.serve": Asgi3().serve,
    "Asgi2": Asgi2,
}


@pytest.mark.parametrize(("name", "application"), OF_ASGI.items(), ids=OF_ASGI)
def test_an_application_of_asgi_is_refused_with_what_to_do(name: str, application: Callable[..., Any]):
    for named in (application, functools.partial(application)):
        with pytest.raises(AppLoadError, match=rf"^{name} is an application of ASGI: .*use -k asgi for it") as refused:
            check_wsgi(named)
        assert refused.value.exit_code == 4


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return [repr((environ, start_response)).encode()]


def wsgi_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield from wsgi(environ, start_response)


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return wsgi(environ, start_response)


class Made:
    def __init__(self, environ: Any, start_response: Any) -> None:
        self.pieces = wsgi(environ, start_response)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)


def wsgi_around(application: Any) -> Any:
    """Make an application of WSGI of one of ASGI, as adapters do."""

    @functools.wraps(application)
    def around(*arguments: Any) -> Any:
        return wsgi(*arguments)

    return around


def with_defaults(environ: Any, start_response: Any, send: Any = None) -> Any:
    return wsgi(environ, start_response), send


class Proxy:
    """Takes any attribute for granted, as proxies of lazy objects do."""

    def __getattr__(self, name: str) -> Any:
        return Proxy()

    def __call__(self, *arguments: Any) -> Any:
        return wsgi(*arguments)


def test_an_application_of_tornado_is_told():
    web = pytest.importorskip("tornado.web")
    with pytest.raises(AppLoadError, match=r"Application is an application of Tornado, .* use -k tornado"):
        check_wsgi(web.Application([]))


@pytest.mark.parametrize(
    "application",
    [
        wsgi,
        wsgi_generator,
        Wsgi(),
        Wsgi().__call__,
        Made,
        functools.partial(configured, "x"),
        functools.partial(with_defaults, send=1),
        wsgi_around(wsgi),
        wsgi_around(asgi3),
        with_defaults,
        Proxy(),
        lambda *_: [b""],
        dict,
        print,
    ],
)
def test_what_may_be_an_application_of_wsgi_is_left_in_peace(application: Callable[..., Any]):
    check_wsgi(application)
