"""The directory, the sys.path and the environment that a process is started in, and what the settings make of them."""

import os
import sys

from greenhorn import __version__
from greenhorn.config import Settings
from greenhorn.config.parsers import start_directory
from greenhorn.errors import ConfigError


class Surroundings:
    """What was there at the start: a reload begins from it again, and an upgrade starts the next master in it."""

    def __init__(self) -> None:
        self.directory = start_directory()
        """As the shell names it, with its symbolic links: a deployment may have changed where they lead."""
        self.environ = dict(os.environ)
        self._replaced: dict[str, str | None] = {}
        """What `raw_env` hides, by name."""
        self._path: list[str] = []

    def enter(self, settings: Settings) -> None:
        """Give the process what the application is to find; raises `ConfigError` for a directory that is closed."""
        try:
            os.chdir(settings.chdir)
        except OSError as wrong:
            raise ConfigError(f"chdir = {settings.chdir!r}: cannot be entered: {wrong.strerror}") from None
        first = [os.path.abspath(path) for path in settings.pythonpath]  # noqa: PTH100 - sys.path holds text
        wanted = list(dict.fromkeys([*first, settings.chdir]))
        self._path = list(sys.path)
        sys.path[:] = wanted + [path for path in sys.path if path not in wanted]
        for assignment in settings.raw_env:
            name, _, value = assignment.partition("=")
            self._replaced.setdefault(name, os.environ.get(name))
            os.environ[name] = value
        os.environ["SERVER_SOFTWARE"] = f"greenhorn/{__version__}"

    def leave(self) -> None:
        """Undo what `enter` did; raises `ConfigError` if the directory of the start is gone."""
        for name, value in self._replaced.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._replaced.clear()
        if self._path:
            sys.path[:] = self._path
        try:
            os.chdir(self.directory)
        except OSError as wrong:
            raise ConfigError(f"the start directory {self.directory!r} cannot be entered: {wrong.strerror}") from None
