"""Servers that are started by a program of their own instead of the command."""

import shlex
import sys
from pathlib import Path
from typing import Any

from integration.launching import start_by
from integration.running import Server, StartServer

APPLICATIONS = Path(__file__).with_name("applications")


def start_program(server: StartServer, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Server:
    """Start `python ARGUMENTS`, which finds the applications of these tests; `options` are those of `server`."""
    line = shlex.join([sys.executable, *arguments])
    # The shell keeps from the program what the fixture would have the command do.
    command = ["sh", "-c", f"exec {line}"]
    environ = {"PYTHONPATH": str(APPLICATIONS), **(env or {})}
    return start_by(server, command, None, env=environ, **options)
