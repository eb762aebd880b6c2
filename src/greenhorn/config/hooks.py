"""Server hooks as they are given: functions of the configuration file, or the names of some."""

import functools
import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenhorn.config.file import frames
from greenhorn.errors import import_remedy

Hook = Callable[..., Any]

POST_REQUEST = ("worker", "req", "environ", "resp")

_imported: set[str] = set()
"""Modules that are in sys.modules because a hook was named in them."""
_INSTALLED = {"site-packages", "dist-packages"}


def hook(*parameters: str) -> Callable[[object], Hook | None]:
    """Return a parser of a hook that is called with `parameters`, in that order.

    It takes a callable, or the text MODULE.NAME or MODULE:NAME, which is imported; None and the empty text are no
    hook. ValueError says what the hook has to take, or why its module cannot be imported.
    """

    def parse_hook(value: object) -> Hook | None:
        function = _function(value, parameters)
        if function is not None and not _takes(function, len(parameters)):
            raise ValueError(f"must take ({', '.join(parameters)}){_but(function)}")
        return function

    return parse_hook


def post_request_hook(value: object) -> Hook | None:
    """Return a hook that takes (worker, req, environ, resp), as `hook` does.

    One that takes the first two or three only is wrapped, so that what comes back always takes four.
    """
    function = _function(value, POST_REQUEST)
    if function is None:
        return None
    taken = next((count for count in (4, 3, 2) if _takes(function, count)), 0)
    if not taken:
        valid = "must take (worker, req), (worker, req, environ) or (worker, req, environ, resp)"
        raise ValueError(f"{valid}{_but(function)}")
    return function if taken == len(POST_REQUEST) else _first(taken, function)


def hook_name(function: Hook) -> str:
    """Return where `function` is defined, as MODULE:NAME; an object without a name is called by its class."""
    named: Any = function
    while isinstance(named, functools.partial):
        named = named.func
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{getattr(named, '__module__', None) or 'builtins'}:{named.__qualname__}"


def forget_modules() -> None:
    """Have the modules that hooks were named in read anew when they are next named.

    What is installed (standard library, site-packages) stays, and so does what was there before.
    """
    for name in _imported:
        sys.modules.pop(name, None)
    _imported.clear()


def _first(count: int, function: Hook) -> Hook:
    def adapted(worker: Any, req: Any, environ: Any, resp: Any) -> Any:
        return function(*(worker, req, environ, resp)[:count])

    # Without __wrapped__ it is seen with the parameters that it takes, not with those of the function inside.
    functools.update_wrapper(adapted, function)
    del vars(adapted)["__wrapped__"]
    return adapted


def _function(value: object, parameters: tuple[str, ...]) -> Hook | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    found = _named(value.strip()) if isinstance(value, str) else value
    if not callable(found):
        what = f"{value.strip()} is {found!r}" if isinstance(value, str) else f"{found!r} is none"
        wanted = f"({', '.join(parameters)})"
        valid = f"must be a function that takes {wanted}, or its name as MODULE.NAME; {what}"
        raise ValueError(valid)  # noqa: TRY004 - one kind of error for one kind of fault
    if inspect.iscoroutinefunction(found):
        raise ValueError("must be a plain function: nobody awaits a coroutine here")
    return found


def _takes(function: Hook, count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # some functions in C do not say
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _but(function: Hook) -> str:
    return f", but takes {inspect.signature(function)}"


def _named(name: str) -> object:
    module_name, separator, attributes = name.partition(":") if ":" in name else name.rpartition(".")
    parts = attributes.split(".")
    if not separator or not all(part.isidentifier() for part in (*module_name.split("."), *parts)):
        raise ValueError("must be a function, or its name as MODULE.NAME or MODULE:NAME")
    found: object = _module(module_name)
    for part in parts:
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ValueError(f"there is no {attributes} in module {module_name}") from None
    return found


def _module(name: str) -> object:
    known = name in sys.modules
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as wrong:  # noqa: BLE001 - whatever the module raises, SystemExit included, is its fault
        raise ValueError(f"module {name} cannot be imported: {_reason(wrong)}") from None
    if not known and _of_the_application(getattr(module, "__file__", None)):
        _imported.add(name)
    return module


def _of_the_application(file: str | None) -> bool:
    if file is None or not file.endswith(".py"):
        return False
    path = Path(file)
    return not (_INSTALLED & set(path.parts) or path.is_relative_to(sysconfig.get_path("stdlib")))


def _reason(wrong: BaseException) -> str:
    what = "".join(traceback.format_exception_only(wrong)).strip().splitlines()[-1] + import_remedy(wrong)
    if isinstance(wrong, SyntaxError) and wrong.filename:
        return f"{what} ({wrong.filename}, line {wrong.lineno})"
    raised_in = frames(wrong)
    if raised_in:
        return f"{what} ({raised_in[-1].filename}, line {raised_in[-1].lineno})"
    return f"{what} (looked in {sys.path[0]} and the rest of sys.path)"
