"""The atoms of an access line as a mapping, which handlers, formatters and subclasses of gunicorn's logger expect."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from greenhorn.observe.escaping import escape, escape_bare, quote_json
from greenhorn.observe.formats import NUMBERS, Format, keeps_number
from greenhorn.observe.lines import REQUEST_ID, bare_json, converted, iso_time, text_of

MARK = "\0"
"""Before the name of an atom that does not stand in quotes, and between a name and how it is to be converted."""
BLANKS_OF_REQUEST_LINE = 2


class SafeAtoms(dict[str, Any]):
    r"""Atoms by name, each text escaped so that it can stand in double quotes; missing ones are `-`.

    Names of the families (`{name}i`) are looked up in lower case. A name behind a NUL character gives the value as it
    can stand without quotes; a directive behind a name and a NUL is what it is to be converted by.
    """

    def __init__(self, atoms: Mapping[str, Any]) -> None:
        super().__init__()
        for key, value in atoms.items():
            self[key] = value if isinstance(value, (int, float)) else self.escape(text_of(value))
        self._raw = atoms

    def __getitem__(self, key: str) -> Any:
        is_bare = key.startswith(MARK)
        name, _, conversion = key.removeprefix(MARK).partition(MARK)
        if name.startswith("{"):
            name = name.lower()
        value = super().__getitem__(name) if name in self else "-"
        raw = self._raw.get(name, value)
        if is_bare:
            return self.bare(name, raw, conversion)
        return self.escape(converted(conversion, text_of(raw))) if conversion else value

    def escape(self, value: str) -> str:
        """`value` as it can stand in double quotes."""
        return escape(value)

    def bare(self, name: str, value: Any, conversion: str) -> str:
        """The value of an atom as it can stand without quotes; `conversion` is empty for %s."""
        text = text_of(value)
        # The blanks of a time, and of a request line that could be read, are their own.
        has_own_blanks = name == "t" or (name == "r" and text.count(" ") == BLANKS_OF_REQUEST_LINE)
        safe = escape(text) if has_own_blanks else escape_bare(text)
        return converted(conversion, safe) if conversion else safe


class JSONAtoms(SafeAtoms):
    """The same for a format whose lines are JSON."""

    def escape(self, value: str) -> str:
        """`value` as it can stand in a JSON string."""
        return quote_json(value)[1:-1]

    def bare(self, name: str, value: Any, conversion: str) -> str:
        """The value of an atom as JSON; `conversion` is empty for %s."""
        text = text_of(value)
        if text == "-":
            return "null"
        is_number = name in NUMBERS or (type(value) in (int, float) and not name.startswith("{"))
        made = converted(conversion, text) if conversion else text
        return made if is_number and keeps_number(conversion) else bare_json(made)


def marked(form: Format, *, with_reason: bool) -> str:
    """The format as a template for `SafeAtoms`, in which atoms that are not quoted are marked as such.

    `with_reason` puts the reason of a refusal behind it, where the format has no place for it.
    """
    text = "".join(
        piece.text.replace("%", "%%")
        if not piece.atom
        else f"%({'' if piece.quoted else MARK}{piece.atom}{piece.conversion and MARK + piece.conversion})s"
        for piece in form.pieces
    )
    if not with_reason or "E" in form.atoms:
        return text
    if form.is_json:
        return f'{text.rstrip().removesuffix("}")}, "reason": %({MARK}E)s}}'
    return f'{text} "%(E)s"'


def atoms_of(response: Any, request: Any, environ: Mapping[str, Any], request_time: timedelta) -> dict[str, Any]:
    """Every atom, of what gunicorn hands to `Logger.access`; none is escaped. The logger adds `t` and `u`."""
    status = response.status
    asked = [environ.get(key, "-") for key in ("REQUEST_METHOD", "RAW_URI", "SERVER_PROTOCOL")]
    seconds = request_time.total_seconds()
    atoms = {
        "h": environ.get("REMOTE_ADDR") or "-",
        "l": "-",
        "z": iso_time(),
        "r": " ".join(map(text_of, asked)),
        "s": status.split(None, 1)[0] if isinstance(status, str) else status or "-",
        "m": asked[0],
        "R": asked[1],
        "U": environ.get("PATH_INFO", "-"),
        "q": environ.get("QUERY_STRING", "-"),
        "H": asked[2],
        "b": str(getattr(response, "sent", "-")),
        "B": getattr(response, "sent", "-"),
        "f": environ.get("HTTP_REFERER", "-"),
        "a": environ.get("HTTP_USER_AGENT", "-"),
        "T": int(seconds),
        "M": int(seconds * 1000),
        "D": int(seconds * 1000000),
        "L": f"{seconds:.6f}",
        "Q": f"{getattr(request, 'queue_time', 0.0):.6f}",
        "A": f"{getattr(request, 'application_time', 0.0):.6f}",
        "p": f"<{os.getpid()}>",
        "P": os.getpid(),
        "id": environ.get(REQUEST_ID, "-"),
        "E": getattr(response, "reason", "") or "-",
    }
    headers = getattr(request, "headers", ())
    for letter, pairs in (
        ("i", headers.items() if hasattr(headers, "items") else headers),
        ("o", getattr(response, "headers", ())),
        ("e", environ.items()),
    ):
        atoms |= {f"{{{str(name).lower()}}}{letter}": value for name, value in pairs}
    return atoms
