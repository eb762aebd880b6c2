"""Processes of their own beside the one that measures: started from a module, told and asked by lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

SCRIPTS = Path(__file__).resolve().parent.parent
END_SECONDS = 10.0


class Companion:
    """A Python process that runs `attacking.MODULE` until the end of the block."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"attacking.{module}", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(SCRIPTS), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, order: str = "") -> Any:
        """Send a line, and return the JSON of the line that answers it; RuntimeError if the process has ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a companion has pipes")
        self._process.stdin.write(f"{order}\n".encode())
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with exit code {self._process.wait()}")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process: by the end of its input, and if that does not do, by its number."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Orders:
    """The other end: the lines that a companion is sent, and its answers."""

    def __init__(self) -> None:
        self._received = b""

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is an order."""
        return sys.stdin.fileno()

    def read(self) -> list[str | None]:
        """Return the orders that have come; None, as the last of them, stands for their end."""
        data = os.read(self.fileno(), 4096)
        *lines, self._received = (self._received + data).split(b"\n")
        orders: list[str | None] = [line.decode() for line in lines]
        return orders if data else [*orders, None]

    def reply(self, answer: object) -> None:
        """Answer an order with one line of JSON."""
        print(json.dumps(answer), flush=True)
