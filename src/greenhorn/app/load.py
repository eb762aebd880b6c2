"""APP_MODULE to callable: `module`, `module:name` or `module:factory("x", y=1)`; what to say if it fails."""

import ast
import difflib
import importlib
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, Protocol

from greenhorn.app.paste import load_paste
from greenhorn.app.tracebacks import frames_of, traceback_of
from greenhorn.errors import AppLoadError

USUAL_NAME = "application"
CANNOT_IMPORT = 3
"""Exit code when the module, or code that it runs, fails."""
NO_SUCH_APPLICATION = 4
"""Exit code when the module is there and the application is not."""

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class _Spec(NamedTuple):
    """APP_MODULE in parts; `arguments` is None where the name itself is the application."""

    module: str
    name: str
    arguments: _Arguments | None


class Naming(Protocol):
    """The settings that name an application."""

    @property
    def wsgi_app(self) -> str | None:
        """APP_MODULE."""

    @property
    def paste(self) -> str | None:
        """A Paste Deployment file, which comes first."""

    @property
    def raw_paste_global_conf(self) -> tuple[str, ...]:
        """KEY=VALUE for that file."""


def load_named(settings: Naming) -> Callable[..., Any]:
    """Load the application that `settings` name and return it. Raises `AppLoadError`, as `load_app` does."""
    if settings.paste is not None:
        return load_paste(settings.paste, settings.raw_paste_global_conf)
    return load_app(settings.wsgi_app or "")


def load_app(spec: str) -> Callable[..., Any]:
    """Import the application that `spec`, an APP_MODULE, names and return it.

    Raises AppLoadError: with exit code 3 when the module is not found, or when its code or the
    factory's raises anything but KeyboardInterrupt, with a traceback of that code only; with exit code 4 for
    a name, call or result that is no application.
    """
    module_name, colon, expression = spec.strip().partition(":")
    parts = _parse(spec, module_name, expression if colon else USUAL_NAME)
    module = _import(spec, parts)
    try:
        found = getattr(module, parts.name)
    except AttributeError:
        raise AppLoadError(_missing(module, parts), NO_SUCH_APPLICATION) from None
    if parts.arguments is not None:
        found = _call(spec, found, parts.arguments)
    if not callable(found):
        what = "None" if found is None else f"{_article(type(found).__name__)}, which cannot be called"
        verb = "is" if parts.arguments is None else "returned"
        message = f"{spec}: {parts.name} {verb} {what}; a WSGI application is needed"
        raise AppLoadError(message, NO_SUCH_APPLICATION)
    application: Callable[..., Any] = found
    return application


def _parse(spec: str, module: str, expression: str) -> _Spec:
    if "/" in module:
        dotted = module.removesuffix(".py").strip("./").replace("/", ".")
        message = f"{spec!r} is a path: name the module, as in {dotted}:{expression}"
        raise AppLoadError(message, CANNOT_IMPORT)
    if not all(module.split(".")):
        raise AppLoadError(f"{spec!r} names no module: write MODULE:NAME, such as hello:app", CANNOT_IMPORT)
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        tree = None
    match tree:
        case ast.Name(id=name):
            return _Spec(module, name, None)
        case ast.Call(func=ast.Name(id=name)):
            return _Spec(module, name, _literals(spec, tree))
    raise AppLoadError(
        f"{spec}: {expression!r} is neither a name nor a call of one, such as app or create_app('prod'); "
        "give anything else a name in the module",
        NO_SUCH_APPLICATION,
    )


def _literals(spec: str, call: ast.Call) -> _Arguments:
    try:
        positional = tuple(ast.literal_eval(argument) for argument in call.args)
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    except (ValueError, TypeError):
        named, positional = {}, ()
    else:
        if len(named) == len(call.keywords):
            return positional, named
    raise AppLoadError(
        f"{spec}: the arguments of {ast.unparse(call.func)} must be literals: texts, numbers, True, None, "
        "or lists, tuples, sets and dicts of them",
        NO_SUCH_APPLICATION,
    )


def _import(spec: str, parts: _Spec) -> ModuleType:
    try:
        return importlib.import_module(parts.module)
    except KeyboardInterrupt:
        raise
    except BaseException as wrong:  # noqa: BLE001 - whatever the module raises, SystemExit included, is its fault
        if isinstance(wrong, ModuleNotFoundError) and not frames_of(wrong):
            message = _not_found(parts, wrong)
        else:
            message = f"{spec}: the module {parts.module} cannot be imported:\n{traceback_of(wrong)}"
        raise AppLoadError(message, CANNOT_IMPORT) from None


def _not_found(parts: _Spec, wrong: ModuleNotFoundError) -> str:
    looked = sys.path[0] or "the current directory"
    message = f"no module named {wrong.name} (looked in {looked} and the rest of sys.path)"
    name = parts.name if parts.name != USUAL_NAME else "app"
    if parts.module.endswith(".py"):
        return f"{message}: did you mean {parts.module.removesuffix('.py')}:{name}?"
    parent, dot, last = parts.module.rpartition(".")
    if dot and wrong.name == parts.module and parent in sys.modules:
        if not hasattr(sys.modules[parent], "__path__"):
            return f"{message}; {parent} is a module, not a package: did you mean {parent}:{last}?"
        return f"{message}; the package {parent} is at {', '.join(sys.modules[parent].__path__)}"
    return f"{message}; --chdir or --pythonpath name another directory"


def _missing(module: ModuleType, parts: _Spec) -> str:
    """Say that the module has no such name, and which of its own callables could be meant."""
    message = f"the module {parts.module} has no {parts.name!r}"
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and not _borrowed(value, module)
    ]
    if not names:
        return f"{message}, nor anything else that could be an application"
    near = difflib.get_close_matches(parts.name, names, n=1)
    usual = [name for name in ("app", USUAL_NAME) if name in names]
    likely = near if near and parts.name != USUAL_NAME else usual or near or names[:1]
    return f"{message}; its callables are {', '.join(names)}: did you mean {parts.module}:{likely[0]}?"


def _borrowed(value: object, module: ModuleType) -> bool:
    """Say whether `value` is a class or function that the module has from elsewhere."""
    return isinstance(value, type | FunctionType) and value.__module__ != module.__name__


def _call(spec: str, factory: Any, arguments: _Arguments) -> Any:
    if not callable(factory):
        raise AppLoadError(f"{spec}: what is called is {_article(type(factory).__name__)}", NO_SUCH_APPLICATION)
    positional, named = arguments
    try:
        return factory(*positional, **named)
    except KeyboardInterrupt:
        raise
    except BaseException as wrong:  # noqa: BLE001 - whatever the factory raises, SystemExit included, is its fault
        # A call that does not fit the signature fails before it enters the factory.
        if isinstance(wrong, TypeError) and wrong.__traceback__ and wrong.__traceback__.tb_next is None:
            raise AppLoadError(f"{spec}: the call does not fit: {wrong}", NO_SUCH_APPLICATION) from None
        raise AppLoadError(f"{spec}: the call failed:\n{traceback_of(wrong)}", CANNOT_IMPORT) from None


def _article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
