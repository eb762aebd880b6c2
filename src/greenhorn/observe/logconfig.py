"""Logging configurations of the user's: logconfig_dict, logconfig_json and logconfig, in this order of precedence."""

import configparser
import json
import logging.config
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenhorn.errors import ConfigError

ERROR_FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
TIME_FORMAT = "[%Y-%m-%d %H:%M:%S %z]"
CONFIG_DEFAULTS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "greenhorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False},
        "greenhorn.access": {"level": "INFO", "handlers": ["console"], "propagate": False},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {"generic": {"class": "logging.Formatter", "format": ERROR_FORMAT, "datefmt": TIME_FORMAT}},
}
"""What a dict configuration is laid over: each key of the user's replaces all that stands here under it.

What then names a handler that is not there any more goes as well.
"""


def is_configured(settings: Any) -> bool:
    """Whether the settings name a logging configuration."""
    return bool(settings.logconfig_dict or settings.logconfig_json or settings.logconfig)


def configure(settings: Any) -> None:
    """Apply the logging configuration that the settings name, if any. Main thread. Raises `ConfigError`."""
    if settings.logconfig_dict:
        _apply("logconfig_dict", settings.logconfig_dict)
    elif settings.logconfig_json:
        _apply(f"logconfig_json: {settings.logconfig_json}", _read_json(settings.logconfig_json))
    elif settings.logconfig:
        _apply_file(settings.logconfig)


def _read_json(path: str) -> Mapping[str, Any]:
    try:
        found = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"logconfig_json: cannot read {path!r}: {error.strerror}; name a JSON file") from error
    except ValueError as error:
        raise ConfigError(f"logconfig_json: {path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"logconfig_json: {path} must be an object, as logging.config.dictConfig takes it")
    return found


def _apply(origin: str, given: Mapping[str, Any]) -> None:
    try:
        # A copy: dictConfig changes what it is given, and a reload that fails applies the old one again.
        logging.config.dictConfig(_copied(_laid_over_defaults(given)))
    except Exception as error:  # whatever the classes raise that it names
        raise ConfigError(f"{origin}: {_reason(error)}; see logging.config.dictConfig in Python's manual") from error


def _laid_over_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    laid = {**CONFIG_DEFAULTS, **given}
    if "formatters" in given and isinstance(given["formatters"], Mapping):
        laid["formatters"] = {**CONFIG_DEFAULTS["formatters"], **given["formatters"]}
    there = laid["handlers"] if isinstance(laid["handlers"], Mapping) else {}
    if "root" not in given and not set(laid["root"]["handlers"]) <= set(there):
        del laid["root"]
    if "loggers" not in given:
        laid["loggers"] = {name: log for name, log in laid["loggers"].items() if set(log["handlers"]) <= set(there)}
    return laid


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _apply_file(path: str) -> None:
    if not Path(path).is_file():
        raise ConfigError(f"logconfig: there is no file {path!r}; name a file as logging.config.fileConfig takes it")
    known = {"__file__": path.replace("%", "%%"), "here": str(Path(path).parent).replace("%", "%%")}
    try:
        logging.config.fileConfig(path, defaults=known, disable_existing_loggers=False, encoding="utf-8")
    except KeyError as error:
        raise ConfigError(
            f"logconfig: {path} has no {error}; see logging.config.fileConfig in Python's manual"
        ) from error
    except configparser.Error as error:
        raise ConfigError(f"logconfig: {path}: {' '.join(str(error).split())}") from error
    except Exception as error:  # whatever the classes raise that it names
        raise ConfigError(f"logconfig: {path}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The error and what lies behind it."""
    words = " ".join(str(error).split()) or type(error).__name__
    cause = error.__cause__ or error.__context__
    return f"{words}: {_reason(cause)}" if cause is not None else words
