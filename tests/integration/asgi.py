"""What the tests of the worker class asgi have in common: an application that notes what happens to it."""

import os
from pathlib import Path
from typing import Any

from integration.running import Server, StartServer, wait_until

FAMILY = ("asgi", "asgi-h11")
"""Both pairs of protocol and loop."""


class Site:
    """A server of the application `asgi_plain`, or of another one in its folder."""

    def __init__(self, server: StartServer, folder: Path, app: str, *arguments: str, **options: Any) -> None:
        kind = options.pop("kind", "asgi")
        self._notes = folder / "notes"
        self._gate = folder / "gate"
        self._notes.touch()
        os.mkfifo(self._gate)
        env = {"NOTES": str(self._notes), "GATE": str(self._gate), **options.pop("env", {})}
        applications = Path(__file__).with_name("applications")
        self.server: Server = server(
            app, "--worker-class", kind, *arguments, env=env, pythonpath=(applications,), **options
        )

    def notes(self) -> list[str]:
        """Return what the application has noted so far."""
        return self._notes.read_text().split("\n")[:-1]

    def wait_for(self, *events: str) -> None:
        """Return when the application has noted these events."""
        wait_until(lambda: set(events) <= set(self.notes()), what=f"{events} in the notes")

    def open_gate(self) -> None:
        """Let the request go on that waits for it, or is about to."""
        self._gate.write_bytes(b"!")
