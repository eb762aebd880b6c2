"""The configuration file: Python code whose global variables are settings."""

import importlib
import linecache
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, NoReturn

from greenhorn.config.misspelling import unread_names
from greenhorn.config.parsers import start_directory
from greenhorn.errors import ConfigError, import_remedy

DEFAULT_FILES = ("./greenhorn.conf.py", "./gunicorn.conf.py")
MODULE_NAME = "__config__"
"""What a file is in sys.modules, as under gunicorn."""

_PACKAGE = Path(__file__).resolve().parents[1]


class ConfigFile(NamedTuple):
    """Where a file was asked for or found, and the variables it leaves behind."""

    config: str | None
    """As the setting `config` has it; None where there is no file."""
    origin: str
    """How messages call it."""
    variables: dict[str, object]
    unread: frozenset[str] = frozenset()
    """Those of them that its own code never reads."""


def read_file(config: str | None, asked_by: str = "") -> ConfigFile:
    """Run the file that `config` names, or the first default file there is, and return its global variables.

    The start directory comes first on sys.path while it runs, and stays there. Raises ConfigError for a file
    that is missing, which names the source that `asked_by` says asked for it, or that raises an exception, with the
    line at fault.
    """
    if config is None:
        config = next((name for name in DEFAULT_FILES if os.path.isfile(name)), None)  # noqa: PTH113 - keeps the "./"
        if config is None:
            return ConfigFile(None, "", {})
    here = start_directory()
    if here not in sys.path:
        sys.path.insert(0, here)
    what = f"{asked_by}: config = {config!r}: " if asked_by else ""
    if config.startswith("python:"):
        module = _run_module(config.removeprefix("python:"), config, what)
        return ConfigFile(config, config, dict(vars(module)), _unread(module))
    path = os.path.abspath(config.removeprefix("file:"))  # noqa: PTH100 - text in, text out
    return ConfigFile(config, path, *_run_path(path, what))


def _run_path(path: str, what: str) -> tuple[dict[str, object], frozenset[str]]:
    try:
        source = Path(path).read_bytes()
    except OSError as wrong:
        raise ConfigError(
            f"{what}{path} cannot be read: {wrong.strerror}: name a file of Python code, or a module as python:MODULE"
        ) from None
    module = ModuleType(MODULE_NAME)
    module.__file__ = path
    before = sys.modules.get(MODULE_NAME)
    sys.modules[MODULE_NAME] = module
    linecache.checkcache(path)
    try:
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))  # noqa: S102 - code is what the file is
    except KeyboardInterrupt:
        raise
    except BaseException as wrong:  # noqa: BLE001 - whatever the file raises, SystemExit included, is its fault
        if before is not None:
            sys.modules[MODULE_NAME] = before
        _blame(wrong, path)
    return dict(vars(module)), unread_names(source)


def _run_module(name: str, origin: str, what: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"{what}{name!r} is no name of a module: write python:MODULE, as in python:shop.deployment")
    # Left out of sys.modules first, so that reading the configuration again reads the module again.
    before = sys.modules.pop(name, None)
    importlib.invalidate_caches()
    linecache.checkcache(getattr(before, "__file__", None))
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as wrong:  # noqa: BLE001 - whatever the module raises, SystemExit included, is its fault
        if before is not None:
            sys.modules[name] = before
        if isinstance(wrong, ModuleNotFoundError) and not frames(wrong):
            raise ConfigError(f"{what}{wrong} (looked in {sys.path[0]} and the rest of sys.path)") from None
        _blame(wrong, origin)


def _unread(module: ModuleType) -> frozenset[str]:
    try:
        return unread_names(Path(module.__file__ or "").read_bytes())
    except (OSError, SyntaxError, ValueError):  # a module without a source of its own
        return frozenset()


def _blame(wrong: BaseException, origin: str) -> NoReturn:
    """Raise ConfigError that says where in `origin` the exception came from, and what it was."""
    what = "".join(traceback.format_exception_only(wrong)).strip().splitlines()[-1] + import_remedy(wrong)
    trace = frames(wrong)
    if isinstance(wrong, SyntaxError) and wrong.filename:
        place, line, code = wrong.filename, wrong.lineno, (wrong.text or "").strip()
    elif trace:
        place, line, code = trace[0].filename, trace[0].lineno, trace[0].line or ""
    else:
        raise ConfigError(f"{origin}: {what}") from None
    message = f"{place}, line {line}: {what}"
    if code:
        message += f"\n    {code}"
    if trace and trace[-1].filename != place:
        last = trace[-1]
        verb = "imported by" if isinstance(wrong, SyntaxError) else "raised in"
        message += f"\n  {verb} {last.filename}, line {last.lineno}"
    if place != origin and origin not in message:
        message = f"{origin}: {message}"
    raise ConfigError(message) from None


def frames(wrong: BaseException) -> list[traceback.FrameSummary]:
    """Return the traceback without the frames of the import system and of this package."""
    return [
        frame
        for frame in traceback.extract_tb(wrong.__traceback__)
        if not frame.filename.startswith("<frozen importlib")
        and frame.filename != importlib.__file__
        and not Path(frame.filename).is_relative_to(_PACKAGE)
    ]
