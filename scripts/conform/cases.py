"""Request cases: what a JSON file says about raw bytes, what they must lead to, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conform.deliveries import MODES, Part

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = ("must", "should")
EXPECTATIONS = ("accept", "reject", "either", "wait")


class CaseError(Exception):
    """A folder, a file or a case cannot be understood; the message names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One case of one file.

    `parts` is the request; `env` and `if_accept` hold one mapping per answer that is looked at; `n_max`
    is None where any number of answers is fine; `close` says whether the connection has to end (True),
    has to stay (False) or is free (None); `hang_ok` says whether a server may wait for more, None if the
    case does not say; `settings` is canonical JSON, so that cases with the same settings share a server.
    """

    file: str
    id: str
    level: str
    expect: str
    why: str
    parts: tuple[Part, ...]
    modes: tuple[str, ...]
    settings: str
    env: tuple[dict[str, Any], ...]
    if_accept: tuple[dict[str, Any], ...]
    methods: tuple[str, ...]
    never: tuple[str, ...]
    n: int
    n_max: int | None
    ok_before: int
    close: bool | None
    hang_ok: bool | None
    allow_status: bool

    @property
    def first_line(self) -> bytes:
        """The bytes before the first line end."""
        head = b"".join(part.text * min(part.times, 64) for part in self.parts[:2])
        return head.lstrip(b"\r\n").partition(b"\n")[0]

    @property
    def asks_behaviour(self) -> bool:
        """The target asks the application for a behaviour that may make the server complain."""
        return b" /_t/" in self.first_line

    def expectation(self) -> str:
        """Say in one line what the case expects."""
        words = [self.expect]
        if self.expect == "accept":
            most = "any number" if self.n_max is None else str(self.n_max)
            words.append(f"with {self.n} answers" if self.n == self.n_max else f"with {self.n} to {most} answers")
        if self.ok_before:
            words.append(f"after at most {self.ok_before} answers")
        seen = [*self.env] or [*self.if_accept]
        if seen:
            words.append("of an application that saw " + json.dumps(seen))
        if self.never:
            words.append("never " + " ".join(self.never))
        if self.close is not None:
            words.append("then close" if self.close else "then stay open")
        return ", ".join(words)


def load_folder(folder: Path) -> list[Case]:
    """Read every *.json file in `folder`, in the order of their names. Raises CaseError."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise CaseError(f"{folder} holds no *.json file; name a folder of request cases")
    return [case for file in files for case in load_file(file)]


def load_file(file: Path) -> list[Case]:
    """Read the list of cases in `file`. Raises CaseError."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseError(f"{file} cannot be read: {error}") from error
    if not isinstance(entries, list):
        raise CaseError(f"{file} holds no list of cases")
    cases = []
    for number, entry in enumerate(entries):
        try:
            cases.append(parse_case(file.stem, entry))
        except (KeyError, TypeError, ValueError) as error:
            name = entry.get("id", f"case {number}") if isinstance(entry, dict) else f"case {number}"
            what = f"has no {error}" if isinstance(error, KeyError) else f"is malformed: {error}"
            raise CaseError(f"{file.name}: {name} {what}") from error
    return cases


def parse_case(file: str, entry: dict[str, Any]) -> Case:
    """Make a Case of one JSON object. Raises KeyError, TypeError or ValueError."""
    expect = one_of("expect", entry["expect"], EXPECTATIONS)
    n = int(entry.get("n", 1))
    counted = expect == "accept" or "n" in entry or "n_max" in entry
    return Case(
        file=file,
        id=str(entry["id"]),
        level=one_of("level", entry.get("level", "must"), LEVELS),
        expect=expect,
        why=str(entry.get("why", "")),
        parts=parse_raw(entry["raw"]),
        modes=parse_modes(entry.get("modes")),
        settings=json.dumps(entry.get("settings") or {}, sort_keys=True),
        env=mappings(entry.get("env")),
        if_accept=mappings(entry.get("if_accept")),
        methods=tuple(entry.get("methods", ())),
        never=tuple(entry.get("never", ())),
        n=n,
        n_max=int(entry.get("n_max", n)) if counted else None,
        ok_before=int(entry.get("ok_before", 0)),
        close=parse_close(entry),
        hang_ok=entry.get("hang_ok"),
        allow_status=bool(entry.get("allow_status")),
    )


def one_of(key: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`, else raise ValueError."""
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}, not one of {', '.join(allowed)}")
    return str(value)


def parse_raw(raw: object) -> tuple[Part, ...]:
    """Turn a text, or a list of texts and repetitions, into parts. One code point is one byte."""
    entries: list[Any] = raw if isinstance(raw, list) else [raw]
    parts = []
    for entry in entries:
        if isinstance(entry, str):
            parts.append(Part(entry.encode("latin-1"), 1))
        else:
            parts.append(Part(str(entry["rep"]).encode("latin-1"), int(entry["n"])))
    return tuple(parts)


def parse_modes(modes: object) -> tuple[str, ...]:
    """Return the deliveries to play: all of them, unless `modes` names some."""
    if modes is None:
        return tuple(MODES)
    names = modes if isinstance(modes, list) else [modes]
    return tuple(one_of("modes", name, tuple(MODES)) for name in names)


def mappings(value: object) -> tuple[dict[str, Any], ...]:
    """Return a mapping as a tuple of one, and a list of mappings as a tuple."""
    entries = [] if value is None else value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, dict):
            raise TypeError(f"{entry!r} is no mapping of what the application saw")
    return tuple(entries)


def parse_close(entry: dict[str, Any]) -> bool | None:
    """Read the three ways to speak of the connection afterwards; `close: false` asks for nothing."""
    if entry.get("close") or entry.get("must_close"):
        return True
    return False if entry.get("open") else None
