"""How the settings get their values: defaults < framework < file < a variable with flags < command line."""

import difflib
import inspect
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from greenhorn import __version__
from greenhorn.config.file import ConfigFile, read_file
from greenhorn.config.flags import COMMAND_LINE, read_flags
from greenhorn.config.hooks import forget_modules
from greenhorn.config.ini import read_ini
from greenhorn.config.misspelling import doubtful, misspelt
from greenhorn.config.setting import Row, parsed
from greenhorn.config.tables import HOOKS, ROWS, Settings
from greenhorn.config.tables.gunicorn import FOREIGN, REASON, Foreign
from greenhorn.config.worker_classes import fault_of
from greenhorn.errors import ConfigError

ARGUMENT_VARIABLES = ("GREENHORN_CMD_ARGS", "GUNICORN_CMD_ARGS")
"""Flags by environment; the first one that is set counts."""
DEFAULT = "default"

_ABOUT_SETTING = re.compile(r"([a-z_]+)(?:,[a-z_ ]+| =|:)")
_FOREIGN = {foreign.name: foreign for foreign in FOREIGN}
_NAMES = [name for name in (*ROWS, *_FOREIGN) if name != "config"]
_UNSET_BY_EMPTY = frozenset(
    ("errorlog", "chdir", "raw_env", "certfile", "keyfile", "key_password", "ca_certs", "crl_file")
)
_FLAGS = {
    flag.removeprefix("--").replace("-", "_"): name
    for name, row in ROWS.items()
    for flag in row.flags
    if flag.startswith("--") and flag.removeprefix("--").replace("-", "_") not in ROWS
}
"""Names of settings by those of their flags, where these are others."""
_PLAIN_DATA = (str, bytes, int, float, list, tuple, dict, set, type(None))


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and what there is to tell about them."""

    settings: Settings
    origins: Mapping[str, str]
    """Where each setting's value came from: "default", "environment variable PORT", the path of a file, the
    name of a variable with flags, "command line"."""
    warnings: tuple[str, ...]
    """What somebody should know who wrote the configuration, a sentence each."""

    def sourced(self, message: str) -> str:
        """Return the message of a ConfigError with the source in front of the setting's name that it begins with.

        It stays as it is if it begins otherwise, or if the setting has its default.
        """
        match = _ABOUT_SETTING.match(message)
        origin = self.origins.get(match[1], DEFAULT) if match else DEFAULT
        return message if origin == DEFAULT else f"{origin}: {message}"


class _Source(NamedTuple):
    """Where values come from: how messages call it, and {setting: value}."""

    origin: str
    values: Mapping[str, object]


@dataclass(slots=True)
class _Values:
    """The values found so far; a later source replaces what an earlier one said."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, tuple[object, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take(self, name: str, value: object, origin: str) -> None:
        """Note the value of a setting of greenhorn or gunicorn. Raises ConfigError if it is not valid."""
        if name in ROWS:
            self.values[name] = parsed(ROWS[name], value, origin)
            self.origins[name] = origin
        elif name in _FOREIGN:
            self.foreign[name] = (value, origin)


def load_configuration(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    again: bool = False,
    framework: Mapping[str, object] = MappingProxyType({}),
    framework_origin: str = "framework",
    embedded: bool = False,
) -> Configuration:
    """Return the settings that `arguments`, `environ` (default: of this process) and the file amount to.

    `framework` has {setting: value} that replaces defaults and is replaced by everything else; `config` may be among
    them, and `framework_origin` is how messages call their source. With `embedded` only defaults, their variables and
    `framework` count: no file is read, and no flags.

    Raises ConfigError that names the source, the setting, the value and what would be valid. Faults of the
    command line itself, --help and --version end in SystemExit. May be called again, in the directory where
    it was called first, since relative paths count from there: it reads everything anew, the file, its module and
    the modules that hooks are named in. Then, with `again`, a fault of the command line is a ConfigError as well (a
    directory that it names may have gone), and `environ` should be what it was before raw_env was added to it.
    Called by the main thread of the master.
    """
    environ = os.environ if environ is None else environ
    written: tuple[_Source, ...] = ()
    if not embedded:
        typed = read_flags(sys.argv[1:] if arguments is None else arguments, COMMAND_LINE, exits=not again)
        written = (_read_variable(environ), _Source(COMMAND_LINE, typed))
    forget_modules()
    found = _Values()
    _take_defaults(found, environ)
    told = (_Source(framework_origin, framework), *_read_paste(written))
    for source in told:
        _take_framework(found, source)
    if not embedded:
        _take_file(found, (*reversed(written), *reversed(told)))
    for source in written:
        _take_flags(found, source)
    _name_processes(found)
    _prefer_paste(found)
    _choose_worker(found)
    _judge(found)
    return Configuration(Settings(**found.values), MappingProxyType(found.origins), tuple(found.warnings))


def _read_variable(environ: Mapping[str, str]) -> _Source:
    for name in ARGUMENT_VARIABLES:
        if name in environ:
            try:
                words = shlex.split(environ[name])
            except ValueError as wrong:
                raise ConfigError(f"{name}: {environ[name]!r} cannot be split into words: {wrong}") from None
            return _Source(name, read_flags(words, name))
    return _Source("", {})


def _read_paste(sources: Sequence[_Source]) -> Sequence[_Source]:
    """Return what the ini file says that the last of `sources` to name one names."""
    paste: object = None
    variables: Any = ()
    for source in sources:
        paste = parsed(ROWS["paste"], source.values.get("paste"), source.origin) or paste
        variables = parsed(
            ROWS["raw_paste_global_conf"], source.values.get("raw_paste_global_conf", variables), source.origin
        )
    return [_Source(*read_ini(str(paste), variables))] if paste else []


def _take_flags(found: _Values, source: _Source) -> None:
    for name, value in source.values.items():
        if name == "wsgi_app" and source.origin != COMMAND_LINE:
            found.warnings.append(
                f"{source.origin}: its APP_MODULE is ignored; set wsgi_app in a configuration file instead"
            )
        elif name != "config":
            found.take(name, value, source.origin)


def _take_framework(found: _Values, told: _Source) -> None:
    for name, value in told.values.items():
        if name not in ROWS and name not in _FOREIGN:
            near = difflib.get_close_matches(name, [*ROWS, *_FOREIGN], n=3)
            raise ConfigError(
                f"{told.origin}: {name} is not a setting"
                + (f": did you mean {' or '.join(near)}?" if near else "; docs/settings.md lists them")
            )
        if name != "config":
            found.take(name, value, told.origin)


def _take_file(found: _Values, sources: Sequence[_Source]) -> None:
    """Run the file that the first of `sources` asks for, else a default one, and take what it sets."""
    file, asked_by = _read_file(sources)
    _take_variables(found, file)
    if file.config is not None:
        found.take("config", file.config, asked_by)


def _read_file(sources: Sequence[_Source]) -> tuple[ConfigFile, str]:
    """Return the file, read, and who asked for it; an empty name is the same as none."""
    for source in sources:
        config = parsed(ROWS["config"], source.values.get("config"), source.origin)
        if config is not None:
            return read_file(str(config), source.origin), source.origin
    return read_file(None), "found in the start directory"


def _take_defaults(found: _Values, environ: Mapping[str, str]) -> None:
    for row in ROWS.values():
        variable = row.variable
        text = environ.get(variable.name) if variable else None
        if variable and text is not None and (text.strip() or variable.empty_counts):
            found.take(row.name, variable.form.format(text.strip()), f"environment variable {variable.name}")
        else:
            found.take(row.name, row.default, DEFAULT)


def _name_processes(found: _Values) -> None:
    """Call the processes by the application unless somebody has set their default name."""
    if found.origins["default_proc_name"] == DEFAULT and found.values["wsgi_app"] is not None:
        found.take("default_proc_name", found.values["wsgi_app"], found.origins["wsgi_app"])


def _prefer_paste(found: _Values) -> None:
    """Warn of an application that is named in vain."""
    if found.values["paste"] is not None and found.values["wsgi_app"] is not None:
        named = f"{found.origins['wsgi_app']}: wsgi_app = {found.values['wsgi_app']!r}"
        found.warnings.append(f"{named}: ignored, since paste = {found.values['paste']!r} describes the application")


def _take_variables(found: _Values, file: ConfigFile) -> None:
    for name, value in file.variables.items():
        # A file cannot name itself, and `config` is a likely name for something else in it.
        if name == "config":
            continue
        if name in ROWS and _is_unset(ROWS[name], value):
            continue
        if name in ROWS or name in _FOREIGN:
            found.take(name, value, file.origin)
        elif isinstance(value, _PLAIN_DATA):
            _judge_name(found, name, _NAMES, file)
        elif inspect.isfunction(value) and value.__module__ == file.variables.get("__name__"):
            _judge_name(found, name, HOOKS, file)


def _is_unset(row: Row, value: object) -> bool:
    """Whether a file says nothing by this value, as with `os.environ.get("RELOAD")` where there is no such variable."""
    if value is None:
        try:
            row.parse(None)
        except ValueError:
            return True
    return value == "" and row.name in _UNSET_BY_EMPTY


def _judge_name(found: _Values, name: str, meant: Sequence[str], file: ConfigFile) -> None:
    """Raise ConfigError if `name` most likely stands for one of `meant`, names of settings; warn if it may."""
    fault = misspelt(name, meant, file.variables, file.unread, _FLAGS)
    if fault:
        raise ConfigError(f"{file.origin}: {fault}")
    doubt = doubtful(name, meant, file.variables, file.unread, _FLAGS)
    if doubt:
        found.warnings.append(f"{file.origin}: {doubt}")


def _choose_worker(found: _Values) -> None:
    """Raise ConfigError for a kind of worker that there is not; sync with several threads is gthread, as it ever was.

    Only what is left when all sources are read has to be there: the command line may say something else than a file.
    """
    name, origin = found.values["worker_class"], found.origins["worker_class"]
    if name == "sync" and found.values["threads"] > 1 and found.origins["threads"] != DEFAULT:
        found.values["worker_class"] = name = "gthread"
    elif name == "sync":
        found.values["threads"] = 1
    fault = fault_of(name)
    if fault:
        raise ConfigError(f"{origin}: worker_class = {name!r}: {fault}")


def _judge(found: _Values) -> None:
    """Warn of each setting that greenhorn cannot follow; raise ConfigError where that would be unsafe."""
    refusals = []
    for row in ROWS.values():
        value = found.values[row.name]
        if value == row.default or not (row.pending or row.moot):
            continue
        what = f"{found.origins[row.name]}: {row.name} = {value!r}"
        if row.pending is None:
            found.warnings.append(f"{what}: without effect: {row.moot}")
        elif row.pending.unsafe:
            refusals.append(f"{what}: greenhorn {__version__} has no {row.pending.feature} yet: {row.pending.unsafe}")
        else:
            found.warnings.append(f"{what}: ignored: greenhorn {__version__} has no {row.pending.feature} yet")
    for foreign in FOREIGN:
        value, origin = found.foreign.get(foreign.name, (None, ""))
        if not _asks_for_nothing(foreign, value):
            found.warnings.append(f"{origin}: {foreign.name}: ignored: it {REASON}")
    if refusals:
        raise ConfigError("\n".join(refusals))


def _asks_for_nothing(foreign: Foreign, value: object) -> bool:
    return not value or str(value).strip() == str(foreign.neutral)
