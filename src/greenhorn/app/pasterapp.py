"""The server of a Paste Deployment file that somebody else reads: `pserve` with `use = egg:greenhorn#main`."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from greenhorn.app.base import Application
from greenhorn.config import load_configuration
from greenhorn.config.ini import file_settings, server_settings
from greenhorn.config.load import ARGUMENT_VARIABLES


class PasteServer(Application):
    """An application that was loaded already, with the keys of its server's section as settings.

    They replace what the configuration file says, which the key `config` names; else a default one is read.
    """

    def __init__(self, application: Callable[..., Any], file: str, options: Mapping[str, str]) -> None:
        self._application = application
        self._file = file
        self._options = options
        super().__init__()

    @property
    def _name(self) -> str:
        return f"{self._file}, section of the server"

    def load_config(self) -> None:
        """Read the configuration file, then the section. Raises `ConfigError`."""
        told = server_settings(self._options)
        framework = file_settings(self._file)
        framework["config"] = told.pop("config", None)
        environ = {name: value for name, value in os.environ.items() if name not in ARGUMENT_VARIABLES}
        self.cfg.start_from(
            load_configuration((), environ, again=True, framework=framework, framework_origin=self._name)
        )
        for name, value in told.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        """Return the application."""
        return self._application


def serve(app: Callable[..., Any], global_conf: Mapping[str, str], **local_conf: str) -> NoReturn:
    """Serve `app` until told to stop: the entry point `main` of paste.server_runner. Main thread.

    `global_conf` has the path of the file as `__file__`; `local_conf` has the keys of the server's section.
    """
    PasteServer(app, global_conf["__file__"], local_conf).run()
