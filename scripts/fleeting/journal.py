"""What the application has written down: who has imported it, and which requests it has seen. Both sides have this."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IMPORTS, REQUESTS = "imports", "requests"
BEGUN, ENDED = "begun", "ended"
SLOW_PATH = "/slow"
NAP_SECONDS = 0.005
"""What a request takes elsewhere."""


@dataclass(slots=True)
class Journal:
    """Requests by their numbers: the process that has begun each, and those that have come to their end."""

    begun: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Return what the journal in `folder` has; a line without a number is of a probe."""
        journal = cls()
        path = folder / REQUESTS
        for line in path.read_text().splitlines() if path.exists() else ():
            what, number, pid = line.split(" ")
            if not number:
                continue
            if what == BEGUN:
                journal.begun[int(number)] = int(pid)
            else:
                journal.ended.add(int(number))
        return journal

    def unfinished(self, pid: int) -> set[int]:
        """Return the requests that the process has begun and not ended."""
        return {number for number, owner in self.begun.items() if owner == pid and number not in self.ended}


def importers(folder: Path) -> list[int]:
    """Return the processes that have imported the application, in order."""
    path = folder / IMPORTS
    return [int(line) for line in path.read_text().split()] if path.exists() else []
