"""Records: what the application was called with, told apart by connection."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True, eq=False)
class Record:
    """One call of the application: what the server said, and, once the body was read, what the body was."""

    id: str
    called: dict[str, Any]
    read: dict[str, Any] | None = None

    @property
    def method(self) -> str:
        """The request method."""
        return str(self.called["method"])

    @property
    def whole(self) -> bool:
        """The application read a body to its end and could not tell that anything was missing."""
        return self.read is not None and bool(self.read["whole"])

    def reaches(self, path: str) -> bool:
        """Say whether this is a call with `path`, or with a path that starts with it."""
        seen = (str(self.called["path_info"]), str(self.called["raw_uri"]))
        return path in seen or (path != "/" and any(target.startswith(path) for target in seen))

    def shown(self) -> str:
        """Say in a few words what the application saw."""
        length = "unread" if self.read is None else f"{self.read['body_len']} bytes"
        target = self.called["raw_uri"] or self.called["path_info"]
        return f"{self.method} {ascii(target)[1:-1]} ({length})"


@dataclass(slots=True, eq=False)
class Claim:
    """The calls that one connection led to, in order; it grows for as long as nobody else claims the port."""

    records: list[Record] = field(default_factory=list)


class Records:
    """The file that the application appends to, read as it grows. Any thread may call any method."""

    def __init__(self, file: Path, *, by_port: bool) -> None:
        self.file = file
        # Where the client's port is not told, or comes from a PROXY header, deliveries are played one by one.
        self.by_port = by_port
        self._lock = threading.Lock()
        self._offset = 0
        self._unfinished = b""
        self._known: dict[str, Record] = {}
        self._claims: dict[str, Claim] = {}

    def claim(self, port: int) -> Claim:
        """Collect from now on what a client on `port` sends; call it before the first byte."""
        claim = Claim()
        with self._lock:
            self._take_new()
            self._claims[str(port) if self.by_port else ""] = claim
        return claim

    def update(self) -> None:
        """Hand out what was recorded since the last call."""
        with self._lock:
            self._take_new()

    def find(self, number: str) -> Record | None:
        """Return the record with this id."""
        with self._lock:
            if number not in self._known:
                self._take_new()
            return self._known.get(number)

    def ports(self) -> set[str]:
        """Return the clients' ports that the application was told."""
        with self._lock:
            self._take_new()
            return {str(record.called["port"]) for record in self._known.values()}

    def workers(self) -> set[int]:
        """Return the ids of the processes that the application ran in."""
        with self._lock:
            return {int(record.called["pid"]) for record in self._known.values()}

    def _take_new(self) -> None:
        if not self.file.exists():
            return
        with self.file.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        self._offset += len(data)
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, entry: dict[str, Any]) -> None:
        if "read" in entry:
            self._known[entry["id"]].read = entry["read"]
            return
        record = Record(entry["id"], entry["called"])
        self._known[record.id] = record
        claim = self._claims.get(str(record.called["port"]) if self.by_port else "")
        if claim is not None:
            claim.records.append(record)
