"""The command as a class and as a function: `python -m greenhorn.app.wsgiapp` is `greenhorn`."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from greenhorn.app.base import Application
from greenhorn.app.load import load_app
from greenhorn.app.paste import load_paste
from greenhorn.cli import main
from greenhorn.errors import ConfigError


class WSGIApplication(Application):
    """An `Application` that is named: by APP_MODULE, by wsgi_app, by paste, or by `app_uri` where a subclass sets it.

    A subclass that replaces `load_config` brings its own configuration, as with `BaseApplication`.
    """

    app_uri: str | None = None
    """APP_MODULE."""

    def load_config(self) -> None:
        """Read all sources. Raises `ConfigError`, also where they name no application."""
        super().load_config()
        if self.app_uri is None and self.cfg.wsgi_app is None and self.cfg.paste is None:
            raise ConfigError(
                f"{self._name}: no application is named: name one on the command line as in `hello:app`, set wsgi_app "
                "in a configuration file, or set app_uri"
            )

    def load(self) -> Callable[..., Any]:
        """Load the application that is named. Raises `AppLoadError`."""
        if self.app_uri is None and self.cfg.paste is not None:
            return load_paste(self.cfg.paste, self.cfg.raw_paste_global_conf)
        return load_app(self.app_uri or self.cfg.wsgi_app or "")


def run(prog: str | None = None) -> NoReturn:
    """Do as the command `greenhorn`; `prog` is taken for the sake of those who give it, and has no effect."""
    del prog
    sys.exit(main())


if __name__ == "__main__":
    run()
