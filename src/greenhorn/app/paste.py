"""Paste Deployment: the application that an ini file describes."""

import importlib
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from greenhorn.app.tracebacks import frames_of, traceback_of
from greenhorn.config.ini import variables_of
from greenhorn.errors import AppLoadError, ConfigError

CANNOT_LOAD = 3
"""Exit code when the application's own code fails."""
NOT_DESCRIBED = 4
"""Exit code when the file describes no such application."""


def check_paste() -> None:
    """Raise `ConfigError` if the library that reads such files is missing."""
    _deploy()


def load_paste(paste: str, global_conf: Iterable[str]) -> Callable[..., Any]:
    """Load the application that `paste`, as PATH or PATH#SECTION, describes; `global_conf` has KEY=VALUE for it.

    Raises `AppLoadError`: with exit code 3 when the application's code fails, with its traceback; with 4 when the file
    has no such section, or names what there is not. Raises `ConfigError` without the library PasteDeploy.
    """
    deploy = _deploy()
    path, _, section = paste.partition("#")
    try:
        application = deploy.loadapp(
            f"config:{quote(path)}", name=section or None, global_conf=variables_of(global_conf)
        )
    except KeyboardInterrupt:
        raise
    except BaseException as wrong:  # noqa: BLE001 - whatever the factory raises, SystemExit included, is its fault
        raise _refusal(paste, wrong, Path(deploy.__file__).parent) from None
    if not callable(application):
        raise AppLoadError(f"{paste}: what it describes is {application!r}, which cannot be called", NOT_DESCRIBED)
    loaded: Callable[..., Any] = application
    return loaded


def _deploy() -> Any:
    try:
        return importlib.import_module("paste.deploy")
    except ImportError as wrong:
        raise ConfigError(f"paste: the package PasteDeploy is needed ({wrong}): pip install greenhorn[paste]") from None


def _refusal(paste: str, wrong: BaseException, library: Path) -> AppLoadError:
    """Say it in one line where the library found fault with the file, else with the application's traceback."""
    places = [Path(frame.filename) for frame in frames_of(wrong)]
    if not all(place.is_relative_to(library) or _is_standard(place) for place in places):
        return AppLoadError(f"{paste}: the application cannot be loaded:\n{traceback_of(wrong)}", CANNOT_LOAD)
    what = " ".join("".join(traceback.format_exception_only(wrong)).split())
    return AppLoadError(f"{paste}: {what}", NOT_DESCRIBED)


def _is_standard(place: Path) -> bool:
    """Whether it belongs to the standard library."""
    return place.is_relative_to(sysconfig.get_path("stdlib")) and "site-packages" not in place.parts
