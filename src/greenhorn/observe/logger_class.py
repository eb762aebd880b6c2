"""logger_class: from a name, a class or a function to a logger."""

import dataclasses
import inspect
import os
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from greenhorn.errors import ConfigError, import_remedy
from greenhorn.observe.logger import Logger
from greenhorn.observe.metered import meter, statsd_of
from greenhorn.observe.new_files import missing_files, remove_empty
from greenhorn.observe.outlets import Outlets

GROUPS = ("greenhorn.loggers", "gunicorn.loggers")
"""Groups of entry points in which packages offer loggers."""
REMEDY = "name a class as MODULE.CLASS or MODULE:CLASS, such as greenhorn.glogging.Logger"


def find_logger_class(value: Any) -> type[Logger]:
    """The class that the setting logger_class names, or is, or that a function returns. Raises `ConfigError`.

    The setting's parser knows what else our own is called. A class that is not derived from ours, such as gunicorn's
    own, gets what the server needs beside.
    """
    if inspect.isroutine(value):
        value = value()
    found = _named(value.strip()) if isinstance(value, str) else value
    if not isinstance(found, type):
        raise ConfigError(f"logger_class: {value!r} is no class; {REMEDY}")
    if issubclass(found, Outlets):
        return cast("type[Logger]", found)
    missing = [name for name in ("access", "info", "error", "exception", "reopen_files") if not hasattr(found, name)]
    if missing:
        raise ConfigError(
            f"logger_class: {found.__module__}.{found.__qualname__} has no {', '.join(missing)}; "
            "derive it from greenhorn.glogging.Logger"
        )
    return cast("type[Logger]", type(found.__name__, (found, Outlets), {"__module__": found.__module__}))


def _named(text: str) -> Any:
    offered = text.removeprefix("egg:")
    if offered != text or not ({".", ":"} & set(text)):
        distribution, _, name = offered.rpartition("#")
        return _offered(text, distribution, name)
    module, _, name = text.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"logger_class: cannot import {module!r} of {text!r}: {error}{import_remedy(error) or f'; {REMEDY}'}"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"logger_class: {module!r} has no {name!r}; {REMEDY}") from error


def _offered(text: str, distribution: str, name: str) -> Any:
    """The logger that a package offers under this name."""
    for group in GROUPS:
        for point in entry_points(group=group, name=name or "main"):
            if not distribution or (point.dist is not None and point.dist.name == distribution):
                return point.load()
    raise ConfigError(f"logger_class: no package that is installed offers {text!r}; {REMEDY}")


def check_logging(settings: Any) -> None:
    """Find out whether the logs can be written as the settings say, and leave no empty file behind.

    Raises `ConfigError`. Main thread of a process that does not go on to log.
    """
    new = missing_files(settings)
    try:
        make_logger(dataclasses.replace(settings, capture_output=False))
    finally:
        remove_empty(new)


def make_logger(settings: Any) -> Logger:
    """The logger that the settings describe, which takes the place of the one before. Raises `ConfigError`."""
    log = _unmetered_logger(settings)
    statsd = statsd_of(settings)
    if statsd is not None:
        meter(log, statsd)
    return log


def _unmetered_logger(settings: Any) -> Logger:
    try:
        found = find_logger_class(settings.logger_class)
        install = getattr(found, "install", None)
        if install is not None:
            install()
        if not issubclass(found, Logger):  # one of gunicorn's own, which takes the ids for numbers
            ids = {"user": os.geteuid(), "group": os.getegid()}
            unset = {name: number for name, number in ids.items() if getattr(settings, name) is None}
            settings = dataclasses.replace(settings, **unset)
        return found(settings)
    except ConfigError:
        raise
    except Exception as error:  # the user's code
        where = getattr(settings.logger_class, "__qualname__", settings.logger_class)
        raise ConfigError(f"logger_class: {where} fails: {type(error).__name__}: {error}") from error
