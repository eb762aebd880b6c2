"""The command line, generated from the table: argparse finds flags, the row's parser judges values."""

import argparse
import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import NoReturn

from greenhorn import __version__
from greenhorn.config.setting import Row
from greenhorn.config.tables import ROWS
from greenhorn.config.tables.gunicorn import FOREIGN, Foreign
from greenhorn.errors import ConfigError

COMMAND_LINE = "command line"
WIDTH = 80

_NO_VALUE = re.compile(r"argument ([^/:]+)[^:]*: expected one argument")
"""How argparse says that a flag has no value."""


class FlagParser(argparse.ArgumentParser):
    """Parses the flags of one source.

    A fault ends the program with exit code 2, or raises ConfigError where `exits` is false.
    """

    def __init__(self, source: str, *, exits: bool) -> None:
        on_command_line = source == COMMAND_LINE
        super().__init__(
            prog="greenhorn",
            usage="greenhorn [OPTIONS] [APP_MODULE]",
            description="Serve a WSGI application over HTTP.",
            epilog="APP_MODULE is MODULE, MODULE:NAME or MODULE:FACTORY(ARGUMENTS), as in hello:app. "
            "SECONDS may have units: 90s, 15m, 1h30m; so may SIZE: 64K, 512M, 1.5G.",
            formatter_class=_page,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
            add_help=False,
        )
        self.source = source
        self.exits = exits
        self.add_argument("wsgi_app", nargs="?", metavar="APP_MODULE", help=argparse.SUPPRESS)
        if on_command_line:
            about = self.add_argument_group("About")
            about.add_argument("-h", "--help", action="help", help="show this page and exit")
            version = f"%(prog)s (version {__version__})"
            about.add_argument("-v", "--version", action="version", version=version, help="print the version and exit")
        groups: dict[str, argparse._ArgumentGroup] = {}
        for row in ROWS.values():
            if row.flags:
                group = groups.get(row.section) or groups.setdefault(row.section, self.add_argument_group(row.section))
                _add_row(group, row)
        for foreign in FOREIGN:
            _add_foreign(self, foreign)

    def error(self, message: str) -> NoReturn:
        """Print usage and `message` and exit with code 2, or raise ConfigError that names the source."""
        match = _NO_VALUE.fullmatch(message)
        row = next((row for row in ROWS.values() if match and match[1] in row.flags), None)
        if row is not None:
            message += f", as in {row.flags[-1]} {row.meta}"
        if self.exits:
            super().error(message)
        raise ConfigError(f"{self.source}: {message}")

    def read(self, arguments: Sequence[str]) -> dict[str, object]:
        """Return {setting: raw text, list of texts or bool} of the flags given, APP_MODULE as wsgi_app."""
        if "_ARGCOMPLETE" in os.environ:
            self._complete()
        namespace, extra = self.parse_known_args(arguments)
        unknown = next((word for word in extra if word.startswith("-")), None)
        if unknown is not None:
            self.error(f"unknown option {unknown}{self._suggestion(unknown)}")
        if extra:
            self.error(f"more than one APP_MODULE: {' '.join([namespace.wsgi_app, *extra])}: name one")
        return vars(namespace)

    def _complete(self) -> None:
        """Write the words that a shell may go on with, and exit; nothing without the package argcomplete."""
        with contextlib.suppress(ImportError):
            import_module("argcomplete").autocomplete(self)

    def _suggestion(self, unknown: str) -> str:
        flag = unknown.partition("=")[0]
        known = [spelling for row in ROWS.values() for spelling in row.flags]
        known += [spelling for foreign in FOREIGN for spelling in foreign.flags]
        near = difflib.get_close_matches(flag, known, n=1, cutoff=0.7) if flag.startswith("--") else []
        return f" (did you mean {near[0]}?)" if near else ": greenhorn --help lists all there are"


def read_flags(arguments: Sequence[str], source: str, *, exits: bool = False) -> dict[str, object]:
    """Return what `arguments` set, as `FlagParser.read`.

    Raises ConfigError, or with `exits` SystemExit; for --help and --version of the command line always SystemExit.
    """
    return FlagParser(source, exits=exits).read(arguments)


def _page(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=28, width=WIDTH)


def _add_row(group: argparse._ArgumentGroup, row: Row) -> None:
    shown = row.summary.replace("%", "%%") + _shown_default(row).replace("%", "%%")
    for flags, text in ((row.flags, shown), (_other_spellings(row.flags), argparse.SUPPRESS)):
        if not flags:
            continue
        if not row.meta:
            group.add_argument(*flags, dest=row.name, action="store_const", const=row.bare, help=text)
        elif row.bare is not None:
            group.add_argument(
                *flags,
                dest=row.name,
                nargs="?",
                const=row.bare,
                metavar=row.meta,
                type=_checked(row),
                help=text,
            )
        else:
            action = "append" if row.repeats else "store"
            group.add_argument(*flags, dest=row.name, action=action, metavar=row.meta, type=_checked(row), help=text)


def _add_foreign(parser: argparse.ArgumentParser, foreign: Foreign) -> None:
    flags = (*foreign.flags, *_other_spellings(foreign.flags))
    if not flags:
        return
    action = "store_true" if isinstance(foreign.neutral, bool) else "store"
    parser.add_argument(*flags, dest=foreign.name, action=action, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _checked(row: Row) -> Callable[[str], str]:
    """Return an argparse type that has the row's parser judge the text, and passes the text on."""

    def check(text: str) -> str:
        try:
            row.parse(text)
        except ValueError as wrong:
            raise argparse.ArgumentTypeError(f"{text!r}: {wrong}") from None
        return text

    return check


def _other_spellings(flags: Iterable[str]) -> tuple[str, ...]:
    """Return the long flags with `-` for `_` and with `_` for `-`, without those that are there already."""
    flags = tuple(flags)
    spellings: dict[str, None] = {}
    for flag in flags:
        if flag.startswith("--"):
            name = flag.removeprefix("--")
            spellings["--" + name.replace("_", "-")] = None
            spellings["--" + name.replace("-", "_")] = None
    return tuple(spelling for spelling in spellings if spelling not in flags)


def _shown_default(row: Row) -> str:
    if not row.meta or row.default in (None, (), "."):
        return ""
    shown = ",".join(row.default) if isinstance(row.default, tuple) else str(row.default)
    return f" [{shown}]"
