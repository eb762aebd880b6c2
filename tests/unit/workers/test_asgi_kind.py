"""Which callables are taken for applications of ASGI, and which versions of uvicorn for new enough."""

import functools
import inspect
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn")

from greenhorn.errors import AppLoadError, ConfigError  # noqa: E402 - only where uvicorn is
from greenhorn.workers.asgi.engine import check_version  # noqa: E402
from greenhorn.workers.asgi.kind import as_asgi3  # noqa: E402


async def asgi3(scope: Any, receive: Any, send: Any) -> None:
    """Serve nothing."""


class Callable3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve nothing."""


class Classic:
    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        self.scope["called"] = (receive, send)


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return [repr((environ, start_response)).encode()]


def wrapped(application: Any) -> Any:
    @functools.wraps(application)
    def around(*arguments: Any, **named: Any) -> Any:
        return application(*arguments, **named)

    return around


def asgi_around(application: Any) -> Any:
    """Make an application of ASGI of one of WSGI, as adapters do."""

    @functools.wraps(application.__call__)
    async def around(scope: Any, receive: Any, send: Any) -> None:
        await asgi3(scope, receive, send)

    return around


def anything(*arguments: Any) -> Any:
    return asgi3(*arguments)


@pytest.mark.parametrize(
    "application",
    [asgi3, asgi_around(Wsgi()), Callable3(), wrapped(asgi3), anything, functools.partial(asgi3), Callable3().__call__],
)
def test_what_takes_three_arguments_or_any_is_served_as_it_is(application: Any):
    assert as_asgi3(application) is application


def test_what_takes_one_argument_is_called_twice():
    scope: dict[str, Any] = {}
    running: Any = as_asgi3(Classic)(scope, "receive", "send")  # type: ignore[arg-type]
    assert inspect.iscoroutine(running)
    with pytest.raises(StopIteration):
        running.send(None)
    assert scope["called"] == ("receive", "send")


@pytest.mark.parametrize("application", [Wsgi(), wrapped(Wsgi().__call__), Wsgi().__call__])
def test_what_takes_two_arguments_is_refused_as_wsgi(application: Any):
    with pytest.raises(AppLoadError, match="use gthread for it") as refused:
        as_asgi3(application)
    assert refused.value.exit_code == 4


def test_what_takes_nothing_is_refused_as_a_factory():
    def create_app() -> Any:
        return asgi3

    with pytest.raises(AppLoadError, match=r"MODULE:.*create_app\(\)"):
        as_asgi3(create_app)


@pytest.mark.parametrize("version", ["0.34.0", "0.34.3", "0.54.0", "1.0.0rc1", "1.2"])
def test_a_version_that_is_new_enough_passes(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(uvicorn, "__version__", version)
    check_version()


@pytest.mark.parametrize("version", ["0.33.0", "0.9.1"])
def test_a_version_that_is_too_old_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(uvicorn, "__version__", version)
    with pytest.raises(ConfigError, match=f"uvicorn {version} is too old .* pip install --upgrade"):
        check_version()
