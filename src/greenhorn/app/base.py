"""Applications that start the server themselves, with the classes and methods of gunicorn's documentation."""

import argparse
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from greenhorn.app.cfg import NAMES, Config, config_of
from greenhorn.app.tracebacks import traceback_of
from greenhorn.cli import describe, exit_code_of, start
from greenhorn.config import Configuration, Settings, load_configuration
from greenhorn.config.flags import COMMAND_LINE, FlagParser
from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.master.handover import Handover
from greenhorn.master.surroundings import Surroundings

CANNOT_LOAD = 3
"""Exit code when `load` fails."""
NO_APPLICATION = 4
"""Exit code when it returns what is no application."""


class BaseApplication:
    """An application that brings its own configuration: define `load_config` and `load`, then call `run`.

    `load_config` sets what it likes by `self.cfg.set(name, value)`; variables with defaults (WEB_CONCURRENCY, PORT)
    count, files, flags and variables with flags do not. `load` returns the WSGI application; each worker calls it after
    the fork, with preload_app the master calls it once. HUP calls `load_config` again.

    A wrong setting ends the program with one line and exit code 1. `usage` and `prog` are kept as attributes.
    Main thread.
    """

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        self.usage = usage
        self.prog = prog
        self.cfg: Config
        self.callable: Callable[..., Any] | None = None
        """The application, once it is loaded."""
        self.logger: object = None
        self._again = False
        self._configuration: Configuration
        try:
            self.do_load_config()
        except ConfigError as wrong:
            raise SystemExit(describe(wrong)) from None  # which prints it, with exit code 1

    # What an application defines.

    def load_config(self) -> None:
        """Set the settings. May raise `ConfigError`."""
        raise NotImplementedError(f"{self._name} needs a method load_config, which calls self.cfg.set(name, value)")

    def load(self) -> Any:
        """Return the WSGI application."""
        raise NotImplementedError(f"{self._name} needs a method load, which returns the WSGI application")

    def init(self, parser: Any, opts: Any, args: Sequence[str]) -> Mapping[str, object] | None:
        """Return settings that files and flags may replace. `Application` calls it with what was typed."""

    # What is called.

    def run(self) -> NoReturn:
        """Serve until told to stop, and exit with the code of the command `greenhorn`."""
        sys.exit(exit_code_of(self._start))

    def reload(self) -> None:
        """Read the configuration anew. Raises `ConfigError`, and `cfg` is as before then."""
        self.do_load_config()

    def wsgi(self) -> Callable[..., Any]:
        """Return the WSGI application, loaded at the first call."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def do_load_config(self) -> None:
        """Make a `cfg` of defaults, and have `load_config` fill it. Raises `ConfigError`, and `cfg` is as before."""
        before = vars(self).get("cfg")
        try:
            self.load_default_config()
            self.load_config()
            self._configuration = self._settle()
        except BaseException:
            if before is not None:
                self.cfg = before
            raise
        self._again = True

    def load_default_config(self) -> None:
        """Make a `cfg` of defaults."""
        self.cfg = Config(load_configuration(embedded=True), self._name)

    # The rest.

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _settle(self) -> Configuration:
        configuration = self.cfg.whole()
        self.cfg.start_from(configuration)
        return configuration

    def _start(self) -> int:
        if threading.current_thread() is not threading.main_thread():
            raise ConfigError(f"{self._name}.run() was called in another thread: signals need the main thread")
        self._configuration = self._settle()  # more may have been set after the constructor
        surroundings = Surroundings()
        handover = Handover(surroundings)
        return start(self._configuration, self._read_anew, surroundings, handover, self._load_for)

    def _read_anew(self) -> Configuration:
        self.reload()
        return self._configuration

    def _load_for(self, settings: Settings) -> Callable[..., Any]:
        """Load the application in a process that goes by `settings`."""
        if self._configuration.settings is not settings:  # a reload was given up meanwhile
            self.cfg = config_of(settings, self._name)
        try:
            application = self.wsgi()
        except (KeyboardInterrupt, AppLoadError, ConfigError):
            raise
        except BaseException as wrong:  # noqa: BLE001 - whatever it raises, SystemExit included, is its fault
            raise AppLoadError(f"{self._name}.load() failed:\n{traceback_of(wrong)}", CANNOT_LOAD) from None
        if not callable(application):
            what = f"{self._name}.load() returned {application!r}, which cannot be called; a WSGI application is needed"
            raise AppLoadError(what, NO_APPLICATION)
        return application


class Application(BaseApplication):
    """A `BaseApplication` that takes the sources of the command `greenhorn` as well.

    They are, each replacing what the one before says: what `init` returns, the configuration file, the variables with
    flags, the command line. What a subclass sets after `super().load_config()` replaces all of them.
    """

    def load_config(self) -> None:
        """Read all sources. Raises `ConfigError`; faults of the command line, --help and --version end the program."""
        arguments = sys.argv[1:]
        parser = FlagParser(COMMAND_LINE, exits=not self._again)
        typed = parser.read(arguments)
        words = [typed["wsgi_app"]] if "wsgi_app" in typed else []
        options = argparse.Namespace(**{name: typed.get(name) for name in NAMES}, args=words)
        told = self.init(parser, options, list(map(str, words))) or {}
        given = self.cfg.given | {name.lower(): value for name, value in told.items()}
        self.cfg.start_from(
            load_configuration(arguments, again=self._again, framework=given, framework_origin=self._name)
        )

    def load_config_from_file(self, filename: str | os.PathLike[str]) -> None:
        """Set what a configuration file sets: PATH, file:PATH or python:MODULE. Raises `ConfigError`."""
        self.cfg.take(
            load_configuration((), {}, framework={"config": os.fspath(filename)}, framework_origin=self._name)
        )

    def load_config_from_module_name_or_filename(self, location: str) -> None:
        """Do as `load_config_from_file`."""
        self.load_config_from_file(location)

    def chdir(self) -> None:
        """Change to the directory of the setting chdir, and put it first on sys.path."""
        os.chdir(self.cfg.chdir)
        if self.cfg.chdir not in sys.path:
            sys.path.insert(0, self.cfg.chdir)
