"""access_log_format: which atoms there are, and a format taken apart."""

import json
import re
from typing import NamedTuple

from greenhorn.errors import ConfigError

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""The line that Apache calls combined."""
JSON = (
    '{"time": %(z)s, "id": %(id)s, "client": %(h)s, "user": %(u)s, "method": %(m)s, "target": %(R)s, '
    '"protocol": %(H)s, "status": %(s)s, "bytes": %(B)s, "referer": %(f)s, "agent": %(a)s, "total": %(L)s, '
    '"queue": %(Q)s, "application": %(A)s, "pid": %(P)s, "reason": %(E)s}'
)
"""The line of log_format json."""

NUMBERS = frozenset(("s", "B", "b", "T", "M", "D", "L", "Q", "A", "P"))
"""Atoms that are numbers, or - where there is none."""
OURS = frozenset(("l", "t", "p", "z", *NUMBERS))
"""Atoms whose text nobody else chooses."""
ATOMS = frozenset(("h", "u", "r", "m", "U", "q", "H", "f", "a", "R", "id", "E", *OURS))
"""Every atom but the families."""
DURATIONS = frozenset(("T", "M", "D", "L", "Q", "A"))
FAMILIES = "ioe"
"""%({NAME}i)s is a field of the request, %({NAME}o)s one of the answer, %({NAME}e)s a variable of the environ."""

# Python's printf-style formatting with a mapping key, as `%` reads it.
_DIRECTIVE = re.compile(r"%(?:\((?P<name>[^()]*)\))?(?P<spec>[-#0 +]*\d*(?:\.\d+)?[hlL]?)(?P<type>.?)", re.DOTALL)
_FAMILY = re.compile(rf"\{{(?P<name>.+)\}}(?P<family>[{FAMILIES}])")


class Piece(NamedTuple):
    """One atom of a format, or the text between two."""

    text: str = ""
    """The text; of an atom its directive."""
    atom: str = ""
    """The name of the atom: one of `ATOMS`, or `{name}` and the letter of a family; empty for text."""
    conversion: str = ""
    """The directive without the name, where it is another than %s."""
    quoted: bool = False
    """Whether the atom stands in double quotes."""

    @property
    def family(self) -> tuple[str, str] | None:
        """The name and the letter of an atom that is one of a family."""
        match = _FAMILY.fullmatch(self.atom)
        return (match["name"], match["family"]) if match else None

    @property
    def known(self) -> bool:
        """Whether there is such an atom."""
        return self.atom in ATOMS or self.family is not None


class Format(NamedTuple):
    """A format taken apart."""

    pieces: tuple[Piece, ...]
    is_json: bool
    """Whether its lines are JSON objects."""

    @classmethod
    def of(cls, text: str) -> "Format":
        """Take `text` apart. Raises `ConfigError` for what is no directive."""
        pieces = tuple(_pieces(text))
        return cls(pieces, _is_json(pieces))

    @property
    def atoms(self) -> frozenset[str]:
        """The names of its atoms."""
        return frozenset(piece.atom for piece in self.pieces if piece.atom)

    @property
    def unknown(self) -> list[str]:
        """The directives of atoms that there are not: each line has a - in their place."""
        return [piece.text for piece in self.pieces if piece.atom and not piece.known]

    @property
    def tells_durations(self) -> bool:
        """Whether the time that a request takes is to be measured."""
        return not DURATIONS.isdisjoint(self.atoms)

    @property
    def tells_id(self) -> bool:
        """Whether requests need ids."""
        return "id" in self.atoms


def _pieces(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    begin = quotes = 0
    for match in _DIRECTIVE.finditer(text):
        before = text[begin : match.start()]
        begin = match.end()
        quotes += before.count('"')
        if before:
            pieces.append(Piece(before))
        if match["name"] is None and match["type"] == "%" and not match["spec"]:
            pieces.append(Piece("%"))
        elif not match["name"] or not match["type"] or match["type"] not in "sradiouxXeEfFgGc":
            raise ConfigError(
                f"access_log_format: {match[0]!r} at character {match.start() + 1} is no atom; "
                "write %(NAME)s, such as %(h)s or %({user-agent}i)s, and %% for a percent sign"
            )
        else:
            conversion = f"%{match['spec']}{match['type']}"
            pieces.append(
                Piece(match[0], match["name"], conversion if conversion != "%s" else "", quoted=quotes % 2 == 1)
            )
    if text[begin:]:
        pieces.append(Piece(text[begin:]))
    return pieces


def _is_json(pieces: tuple[Piece, ...]) -> bool:
    if not any(piece.atom for piece in pieces):
        return False
    try:
        return isinstance(json.loads("".join("0" if piece.atom else piece.text for piece in pieces)), dict)
    except ValueError:
        return False


def format_in_use(access_log_format: str, log_format: str) -> Format:
    """The format of access lines: `JSON` instead of one that is not JSON, where log_format asks for that."""
    own = Format.of(access_log_format)
    return Format.of(JSON) if log_format == "json" and not own.is_json else own
