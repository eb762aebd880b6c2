"""One row of the settings table: a dataclass field that knows its flags, its parser and its text."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from greenhorn.errors import ConfigError

T = TypeVar("T")

ROW = "greenhorn.setting"
"""The key of the row in the metadata of its dataclass field."""


class Variable(NamedTuple):
    """An environment variable that gives a setting its default."""

    name: str
    form: str = "{}"
    """What its text becomes before it is parsed: `{}` is the text."""
    empty_counts: bool = False
    """Whether an empty text is a value; else it is the same as no variable."""


class Pending(NamedTuple):
    """A feature that a setting asks for, with any value but its default, and that is not there yet."""

    feature: str
    """As in "greenhorn has no FEATURE yet"."""
    unsafe: str = ""
    """Why the start ends instead of going on without it, and what to do; empty where a warning is enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A setting as the table has it. `name` and `section` are known once the row stands in a table."""

    name: str = ""
    section: str = ""
    flags: tuple[str, ...]
    """Long and short flags as they are shown; none for a setting that only a file can give."""
    default: object
    parse: Callable[[object], object]
    """Takes a flag's text or a Python value of a file; ValueError says what would be valid."""
    meta: str
    """How help calls the value; empty for a flag that takes none."""
    bare: object
    """What the flag says when no value follows it; None when one must follow."""
    repeats: bool
    """Whether the flag may be given several times, each adding to a list."""
    variable: Variable | None
    doc: str
    """One paragraph; its first sentence is what --help shows."""
    differs: str
    """What gunicorn has or does instead, and why greenhorn does not; empty where both agree."""
    pending: Pending | None
    moot: str
    """Why the setting has no effect, for the warning of who sets it; empty where it has one."""
    secret: bool
    """Whether nobody should read its value off a screen."""

    @property
    def summary(self) -> str:
        """The first sentence of the text, without its full stop."""
        return self.doc.partition(". ")[0].removesuffix(".")


def setting(
    flags: tuple[str, ...] = (),
    *,
    default: T,
    parse: Callable[[object], T],
    doc: str,
    meta: str = "",
    bare: object = None,
    repeats: bool = False,
    variable: Variable | None = None,
    differs: str = "",
    pending: Pending | None = None,
    moot: str = "",
    secret: bool = False,
) -> T:
    """Return the dataclass field of one setting, which a type checker sees as the setting's value.

    The arguments are those of `Row`; the paragraphs may be wrapped, their line breaks do not count.
    """
    row = Row(
        flags=flags,
        default=default,
        parse=parse,
        meta=meta,
        bare=bare,
        repeats=repeats,
        variable=variable,
        doc=" ".join(doc.split()),
        differs=" ".join(differs.split()),
        pending=pending,
        moot=moot,
        secret=secret,
    )
    # A factory, since a read-only mapping is no default that dataclasses accept.
    return dataclasses.field(default_factory=lambda: default, metadata={ROW: row})


def rows(tables: Mapping[str, type[Any]]) -> dict[str, Row]:
    """Return the rows of all tables, dataclasses by their section, as {name: row}, in written order."""
    return {
        field.name: dataclasses.replace(field.metadata[ROW], name=field.name, section=section)
        for section, table in tables.items()
        for field in dataclasses.fields(table)
    }


def parsed(row: Row, value: object, origin: str) -> object:
    """Return `value` as the record holds it.

    Raises ConfigError that names `origin`, the setting, the value and what would be valid.
    """
    try:
        return row.parse(value)
    except ValueError as wrong:
        shown = (
            "..." if row.secret else getattr(value, "__qualname__", None) or repr(value)
        )  # a function's address would help nobody
        raise ConfigError(f"{origin}: {row.name} = {shown}: {wrong}") from None
