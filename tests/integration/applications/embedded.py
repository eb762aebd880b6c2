"""A program that starts the server itself, as in gunicorn's documentation; its options are JSON in $OPTIONS.

On SIGHUP the options are read again from the file that $OPTIONS_FILE names, if there is one.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from greenhorn.app.base import BaseApplication


def say(text: str):
    sys.stderr.write(f"{text}\n")


def handler_app(environ: dict[str, Any], start_response: Callable[..., Any]):
    threads = StandaloneApplication.running and StandaloneApplication.running.cfg.threads
    body = str(threads) if environ["PATH_INFO"] == "/threads" else "embedded"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body.encode()]


def on_starting(server: Any):
    say(f"on_starting in {server.pid}")


class StandaloneApplication(BaseApplication):
    running: ClassVar["StandaloneApplication | None"] = None

    def __init__(self, app: Any, options: dict[str, Any] | None = None) -> None:
        self.options = options or {}
        self.application = app
        super().__init__()

    def load_config(self):
        file = os.environ.get("OPTIONS_FILE")
        options = self.options | (json.loads(Path(file).read_text()) if file else {})
        config = {key: value for key, value in options.items() if key in self.cfg.settings and value is not None}
        for key, value in config.items():
            self.cfg.set(key.lower(), value)
        self.cfg.set("on_starting", on_starting)

    def load(self):
        say(f"load in {os.getpid()}")
        StandaloneApplication.running = self
        if os.environ.get("FAULT"):
            raise RuntimeError(os.environ["FAULT"])
        return self.application


if __name__ == "__main__":
    given = {"bind": "127.0.0.1:0", **json.loads(os.environ.get("OPTIONS", "{}"))}
    StandaloneApplication(handler_app, given).run()
