"""Deliveries: the same bytes whole, byte by byte, and split where a parser keeps state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# A token of RFC 9110 section 5.6.2, a CR, a LF, or a run of anything else: every border is a place to split.
TOKENS = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+|\r|\n|[^!#$%&'*+\-.^_`|~0-9A-Za-z\r\n]+")

# Of a long repetition only the ends are cut small: its middle holds no border that the ends do not have.
EDGE_BYTES = 32
MIDDLE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Part:
    """`text`, `times` times over."""

    text: bytes
    times: int


def whole(parts: Iterable[Part]) -> Iterator[bytes]:
    """Everything at once."""
    yield b"".join(part.text * part.times for part in parts)


def byte(parts: Iterable[Part]) -> Iterator[bytes]:
    """One byte at a time."""
    for part in parts:
        data = part.text * part.times
        edge = len(data) if part.times == 1 else EDGE_BYTES
        yield from (data[index : index + 1] for index in range(min(edge, len(data))))
        yield from middle(data, edge)
        yield from (data[index : index + 1] for index in range(max(edge, len(data) - edge), len(data)))


def split(parts: Iterable[Part]) -> Iterator[bytes]:
    """Cut at the borders of tokens, and between CR and LF."""
    for part in parts:
        if part.times == 1:
            yield from TOKENS.findall(part.text)
        else:
            yield from TOKENS.findall(part.text)
            yield from middle(part.text * (part.times - 1), 0)


def middle(data: bytes, edge: int) -> Iterator[bytes]:
    """Yield what lies between the first and the last `edge` bytes of `data`, in large pieces."""
    end = len(data) - edge
    for start in range(edge, end, MIDDLE_BYTES):
        yield data[start : min(start + MIDDLE_BYTES, end)]


# Name in a case's `modes` -> how it cuts.
MODES: dict[str, Callable[[Iterable[Part]], Iterator[bytes]]] = {"whole": whole, "byte": byte, "split": split}
