"""An access_log_format as one function, compiled once: it looks at nothing that the format does not name."""

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from os import getpid
from typing import Any, Protocol

from greenhorn.observe.escaping import escape, quote_json
from greenhorn.observe.formats import NUMBERS, OURS, Format, Piece

REQUEST_ID = "greenhorn.request_id"
"""The environ's key of the request id."""


class Timed(Protocol):
    """When things happened to a request, on the monotonic clock; 0 for what did not, or was not measured."""

    @property
    def queued_at(self) -> float:
        """It was ready to be read."""

    @property
    def read_at(self) -> float:
        """Its head was read."""

    @property
    def taken_at(self) -> float:
        """A thread took the whole of it on."""


class Asked(Protocol):
    """What a client asked for; `method` is empty where the request could not be read."""

    method: str
    target: str
    version: str
    path: str
    query: str
    fields: dict[str, str]

    @property
    def request_line(self) -> str:
        """The request line as it was received."""


class Answered(Protocol):
    """What it got: status line or None, header fields, and how many bytes of a body."""

    @property
    def status(self) -> str | None:
        """Code and reason phrase; None if there was no answer."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """The header fields of the application."""

    @property
    def sent(self) -> int:
        """Bytes of the body."""


Line = Callable[[Timed, Mapping[str, Any], Asked, Answered, str], str]
"""Makes the line of an answer, its line end included, of the request's times, environ and head, the answer, and why
the server turned it away (empty if it did not). Any thread."""


def user_of(fields: Mapping[str, str]) -> str:
    """The user name of Basic credentials (RFC 7617), as the client chose it; `-` where there is none."""
    scheme, _, credentials = fields.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return "-"
    return decoded.partition(":")[0] or "-"


def field_of(headers: Sequence[tuple[str, str]], name: str) -> str:
    """The value of an answer's header field, the last of several; `name` is in lower case."""
    found = "-"
    for key, value in headers:
        if key.lower() == name:
            found = value
    return found


def variable_of(environ: Mapping[str, Any], name: str) -> str:
    """The value of a variable as text, whatever the case of its name."""
    value = environ.get(name, environ.get(name.upper(), environ.get(name.lower())))
    if value is None:
        lowered = name.lower()
        value = next((value for key, value in list(environ.items()) if str(key).lower() == lowered), "-")
    return text_of(value)


def text_of(value: object) -> str:
    """The text of a value that may be the application's; `-` if it has none."""
    if type(value) is str:
        return value
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an object that cannot be shown
        return "-"


def _clock(form: str, made: list[tuple[int, str]]) -> Callable[..., str]:
    """A function that returns the local time, now or at a given one, in this form; it is made once a second.

    The only item of `made` is the second and the text that were made last.
    """

    def tell(at: float = 0.0) -> str:
        second = int(at or time.time())
        known = made[0]
        if known[0] != second:
            made[0] = known = (second, time.strftime(form, time.localtime(second)))
        return known[1]

    return tell


clf_made = [(-1, "")]
clf_time = _clock("[%d/%b/%Y:%H:%M:%S %z]", clf_made)
"""[05/Nov/2026:09:30:00 +0100], as gunicorn has it."""
_seconds = _clock("%Y-%m-%dT%H:%M:%S", [(-1, "")])
_zone = _clock("%z", [(-1, "")])


def iso_time() -> str:
    """2026-11-05T09:30:00.123+0100 (ISO 8601)."""
    now = time.time()
    return f"{_seconds(now)}.{int(now % 1 * 1000):03d}{_zone(now)}"


EXPRESSIONS = {
    "h": 'environ.get("REMOTE_ADDR") or "-"',
    "l": '"-"',
    "u": 'user_of(fields) if "HTTP_AUTHORIZATION" in fields else "-"',
    "t": "clf_made[0][1] if clf_made[0][0] == int(time()) else clf_time()",
    "z": "iso_time()",
    "r": 'f"{head.method} {head.target} {head.version}" if head.method else head.request_line',
    "m": 'head.method or "-"',
    "R": "head.target",
    "U": 'environ.get("PATH_INFO") or head.path',
    "q": "head.query",
    "H": "head.version",
    "s": 'response.status[:3] if response.status else "-"',
    "B": "response.sent",
    "b": "response.sent",
    "f": 'fields.get("HTTP_REFERER", "-")',
    "a": 'fields.get("HTTP_USER_AGENT", "-")',
    "T": "int(total)",
    "M": "int(total * 1000)",
    "D": "int(total * 1000000)",
    "L": 'f"{total:.6f}"',
    "Q": 'f"{max(0.0, times.taken_at - times.queued_at) if times.taken_at else 0.0:.6f}"',
    "A": 'f"{now - times.taken_at if times.taken_at else 0.0:.6f}"',
    "p": 'f"<{getpid()}>"',
    "P": "getpid()",
    "id": 'environ.get("greenhorn.request_id", "-")',
    "E": 'reason or "-"',
}
"""What is evaluated for each atom, over the parameters of a `Line`."""
ENVIRON = frozenset(("h", "U", "id"))
"""Atoms whose value the application may have replaced by something that is no text."""
RECEIVED = frozenset(("r", "m", "R", "q", "H", "f", "a"))
"""Atoms, beside fields of the request, that were parsed: of control characters they have at most tabs."""


def field_key(name: str) -> str:
    """The environ's key of a request's field."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _expression(piece: Piece) -> str:
    family = piece.family
    if family is None:
        return EXPRESSIONS.get(piece.atom, '"-"')
    name, letter = family
    if letter == "i":
        return f'fields.get({field_key(name)!r}, "-")'
    return f"field_of(response.headers, {name.lower()!r})" if letter == "o" else f"variable_of(environ, {name!r})"


def converted(conversion: str, text: str) -> str:
    """`text` by a directive of `%` other than %s; as it is if it is no number and the directive wants one."""
    try:
        if conversion[-1] in "sra":
            return conversion % text
        return conversion % (float(text) if "." in text else int(text))
    except (TypeError, ValueError, OverflowError):
        return text


def bare_json(value: str) -> str:
    """A JSON string, or null for `-`."""
    return "null" if value == "-" else quote_json(value)


def _source(form: Format, strict: bool) -> str:
    """The source of the function that makes a line of `form`."""
    atoms = [(f"v{number}", piece) for number, piece in enumerate(form.pieces) if piece.atom]
    body = ["fields = head.fields"]
    if form.tells_durations:
        body += ["now = monotonic()", "total = now - times.read_at if times.read_at else 0.0"]
    for name, piece in atoms:
        body.append(f"{name} = {_expression(piece)}")
        if piece.atom in ENVIRON:
            body.append(f"if type({name}) is not str: {name} = text_of({name})")
    body += _conversions(form, atoms, before_escaping=True)
    body += _escaping_in_json(atoms) if form.is_json else _escaping(atoms, strict)
    body += _conversions(form, atoms, before_escaping=False)
    parts = [f"f'{{v{number}}}'" if piece.atom else repr(piece.text) for number, piece in enumerate(form.pieces)]
    if form.is_json or "E" in form.atoms:
        body.append("return (" + " ".join([*parts, repr("\n")]) + ")")
    else:
        body.append("if reason:")
        body.append("    return (" + " ".join([*parts, "' \"' f'{escape(reason)}' '\"\\n'"]) + ")")
        body.append("return (" + " ".join([*parts, repr("\n")]) + ")")
    return "def line(times, environ, head, response, reason):\n" + "".join(f"    {row}\n" for row in body)


def _conversions(form: Format, atoms: list[tuple[str, Piece]], *, before_escaping: bool) -> list[str]:
    """What converts the atoms that are to be converted before they are escaped, or those that are not.

    What may be cut must not be cut within an escape. Only in text and without quotes can that do no harm, and there
    the blanks that fill it up are not to be escaped.
    """
    rows = []
    for name, piece in atoms:
        is_before = piece.atom not in NUMBERS if form.is_json else piece.quoted
        if piece.conversion and is_before is before_escaping:
            condition = f"if {name} != '-': " if is_before and not piece.quoted else ""  # - becomes null
            rows.append(f"{condition}{name} = converted({piece.conversion!r}, f'{{{name}}}')")
    return rows


def _escaping(atoms: list[tuple[str, Piece]], strict: bool) -> list[str]:
    chosen = [(name, piece) for name, piece in atoms if piece.atom not in OURS and piece.known]
    if not chosen:
        return []
    foreign = [name for name, piece in chosen if strict or not _is_received(piece)]
    # Cheaper than escaping each: nearly always there is nothing to escape.
    clean = ["head.method", "text.isascii()", *(f"{character!r} not in text" for character in '"\\\t')]
    clean += [f"{name}.isprintable()" for name in foreign]
    rows = [
        f"text = {' + '.join(name for name, _ in chosen)}",
        f"if not ({' and '.join(clean)}):",
        *(f"    {name} = escape({name})" for name, _ in chosen),
    ]
    for name, piece in chosen:
        if not piece.quoted:
            # The blanks of a request line that could be read are its own.
            condition = "not head.method and ' ' in " if piece.atom == "r" else "' ' in "
            rows.append(f"if {condition}{name}: {name} = {name}.replace(' ', '\\\\x20')")
    return rows


def _is_received(piece: Piece) -> bool:
    family = piece.family
    return family[1] == "i" if family else piece.atom in RECEIVED


def _escaping_in_json(atoms: list[tuple[str, Piece]]) -> list[str]:
    rows = []
    for name, piece in atoms:
        if piece.atom in NUMBERS:
            if piece.atom == "s" and not piece.quoted:
                rows.append(f"{name} = 'null' if {name} == '-' else {name}")
        elif piece.quoted:
            rows.append(f"{name} = quote_json({name})[1:-1]")
        else:
            rows.append(f"{name} = bare_json({name})")
    return rows


def compile_line(form: Format, *, strict: bool = False) -> Line:
    """The function that makes the lines of `form`. `strict`: heads may have been changed since they were parsed."""
    known: dict[str, Any] = {
        "monotonic": time.monotonic,
        "getpid": getpid,
        **{function.__name__: function for function in (text_of, user_of, field_of, variable_of, escape, iso_time)},
        **{function.__name__: function for function in (converted, bare_json)},
        "time": time.time,
        "clf_made": clf_made,
        "clf_time": clf_time,
        "quote_json": quote_json,
    }
    # The source is made of the expressions above; what a format has beside them goes in as literals.
    exec(compile(_source(form, strict), "<access_log_format>", "exec"), known)  # noqa: S102 - its source is made here
    made: Line = known["line"]
    if form.is_json and "E" not in form.atoms:
        return lambda times, environ, head, response, reason: _with_reason(
            made(times, environ, head, response, reason), reason
        )
    return made


def _with_reason(line: str, reason: str) -> str:
    """A JSON object with one more member, if there is a reason."""
    if not reason:
        return line
    begun = line.rstrip().removesuffix("}").rstrip()
    return f'{begun}{"" if begun.endswith("{") else ", "}"reason": {quote_json(reason)}}}\n'
