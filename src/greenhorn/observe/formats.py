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
DURATIONS_IN_SECONDS = frozenset(("L", "Q", "A"))
"""With six digits."""
DURATIONS = frozenset(("T", "M", "D", *DURATIONS_IN_SECONDS))
FAMILIES = "ioe"
"""%({NAME}i)s is a field of the request, %({NAME}o)s one of the answer, %({NAME}e)s a variable of the environ."""

# Python's printf-style formatting with a mapping key, as `%` reads it.
_DIRECTIVE = re.compile(r"%(?:\((?P<name>[^()]*)\))?(?P<spec>[-#0 +]*\d*(?:\.\d+)?[hlL]?)(?P<type>.?)", re.DOTALL)
_TYPES = "sradiouxXeEfFgG"  # not c, which makes any character of a number
_NUMBER_IN_JSON = re.compile(r"%[- ]*(?:[1-9]\d*)?(?:s|[hlL]?[diu]|(?:\.\d+)?[hlL]?[eEfFgG])")
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

    @property
    def sample(self) -> str:
        """What may stand in its place in a line of JSON."""
        if not self.atom:
            return self.text
        if self.quoted or self.atom in NUMBERS:
            return "0.5" if self.atom in DURATIONS_IN_SECONDS else "0"
        return "null"


class Format(NamedTuple):
    """A format taken apart."""

    pieces: tuple[Piece, ...]
    is_json: bool
    """Whether its lines are JSON objects."""

    @classmethod
    def of(cls, text: str) -> "Format":
        """Take `text` apart. Raises `ConfigError` for what is no directive, or none that JSON can do with."""
        pieces = tuple(_pieces(text))
        if not _is_json(pieces):
            return cls(pieces, is_json=False)
        for piece in pieces:
            if piece.atom in NUMBERS and not piece.quoted and not keeps_number(piece.conversion):
                raise ConfigError(
                    f"access_log_format: what {piece.text!r} makes is no number of JSON; "
                    f"write it in double quotes, or as %({piece.atom})s"
                )
        # Line breaks can only stand between members, where a blank will do: an object is one line.
        return cls(tuple(piece._replace(text=re.sub(r"[\r\n]+", " ", piece.text)) for piece in pieces), is_json=True)

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
        elif not match["name"] or not match["type"] or match["type"] not in _TYPES:
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
        return isinstance(json.loads("".join(piece.sample for piece in pieces)), dict)
    except ValueError:
        return False


def keeps_number(conversion: str) -> bool:
    """Whether a number that is written by this directive is one of JSON (RFC 8259 section 6)."""
    return not conversion or _NUMBER_IN_JSON.fullmatch(conversion) is not None


def format_in_use(access_log_format: str, log_format: str) -> Format:
    """The format of access lines: `JSON` instead of one that is not JSON, where log_format asks for that."""
    own = Format.of(access_log_format)
    return Format.of(JSON) if log_format == "json" and not own.is_json else own
