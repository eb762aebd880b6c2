"""Ini files of Paste Deployment: the settings that their section [server:main] has."""

import configparser
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from greenhorn.config.parsers import start_directory, text
from greenhorn.errors import ConfigError

SERVER = "server:main"
OURS = re.compile(r"egg:\s*(greenhorn|gunicorn)(#main)?")
"""What `use` is in a section that is meant for this server: gunicorn's are read as such."""
HOST = "127.0.0.1"
"""Where a port alone is listened at."""

_EQUALS = re.compile(r"(?<!\\)=")


class _IniParser(configparser.ConfigParser):
    """Reads the names of keys as they are written, as Paste does."""

    def optionxform(self, optionstr: str) -> str:
        """Return the name as it is."""
        return optionstr


def paste_file(value: object) -> str:
    """Return the absolute path of an ini file that exists, with #SECTION if it was named so."""
    path, mark, section = text(value).partition("#")
    absolute = os.path.normpath(os.path.join(start_directory(), path))  # noqa: PTH118 - keeps the logical path
    if not os.path.isfile(absolute):  # noqa: PTH113 - text in, text out
        raise ValueError(f"must be an ini file that exists, as FILE or FILE#SECTION ({absolute} is none)")
    return absolute + mark + section


def read_ini(paste: str, variables: Iterable[str] = ()) -> tuple[str, dict[str, object]]:
    """Return how messages call the file that `paste` names, and {setting: value} of what it says about the server.

    That is its name for the processes, the file itself as `logconfig` if it configures logging, and the keys of
    [server:main] if that section is meant for this server. `variables` has KEY=VALUE that the file may refer to.
    Raises `ConfigError` for a file that cannot be read.
    """
    path = paste.partition("#")[0]
    parser = _parse(path, variables_of(variables))
    found = _of_file(path, parser)
    if parser.has_section(SERVER):
        try:
            options = _options(parser, path)
        except configparser.Error as wrong:
            raise ConfigError(_fault(path, wrong)) from None
        if OURS.fullmatch(options.pop("use", "").strip()):
            found |= server_settings(options)
    return f"{path} [{SERVER}]", found


def variables_of(pairs: Iterable[str]) -> dict[str, str]:
    """Return {key: value} of texts KEY=VALUE; a backslash before an equals sign makes it part of either."""
    parts = (_EQUALS.split(pair, maxsplit=1) for pair in pairs)
    return {key.replace("\\=", "="): "".join(rest).replace("\\=", "=") for key, *rest in parts}


def file_settings(path: str) -> dict[str, object]:
    """Return the settings that follow from an ini file as such, whoever has read it. Raises `ConfigError`."""
    return _of_file(path, _parse(path, {}))


def server_settings(options: Mapping[str, str]) -> dict[str, object]:
    """Return {setting: value} of the keys of a server's section: `host` and `port` are an address."""
    found: dict[str, object] = {name.lower(): value for name, value in options.items()}
    host, port = (str(found.pop(name, "") or "").strip() for name in ("host", "port"))
    if port:
        found["bind"] = (
            f"[{host}]:{port}" if host.count(":") > 1 and not host.startswith("[") else f"{host or HOST}:{port}"
        )
    elif host:
        found["bind"] = host
    return found


def _parse(path: str, variables: Mapping[str, str]) -> configparser.ConfigParser:
    known = {**variables, "here": str(Path(path).parent), "__file__": path}
    parser = _IniParser({name: value.replace("%", "%%") for name, value in known.items()})
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - text in
            parser.read_file(file)
    except (OSError, UnicodeError) as wrong:
        raise ConfigError(f"paste: {path} cannot be read: {wrong}") from None
    except configparser.Error as wrong:
        raise ConfigError(_fault(path, wrong)) from None
    return parser


def _fault(path: str, wrong: configparser.Error) -> str:
    return f"paste: {path}: {' '.join(str(wrong).split())}"


def _of_file(path: str, parser: configparser.ConfigParser) -> dict[str, object]:
    named: dict[str, object] = {"default_proc_name": path}
    return named | {"logconfig": path} if parser.has_section("loggers") else named


def _options(parser: configparser.ConfigParser, path: str) -> dict[str, str]:
    """Return the keys of [server:main] that are its own, as Paste reads them: `get KEY = NAME` refers to a variable."""
    options: dict[str, str] = {}
    for name in parser.options(SERVER):
        if name.startswith("get "):
            wanted = parser.get(SERVER, name)
            if wanted not in parser.defaults():
                raise ConfigError(f"paste: {path} [{SERVER}]: {name} = {wanted}: [DEFAULT] has no {wanted}")
            options[name.removeprefix("get ").strip()] = parser.get(SERVER, wanted)
        elif not name.startswith("set ") and name not in parser.defaults():
            options[name] = parser.get(SERVER, name)
    return options
