"""What a setting's value may look like, one function per type.

Each takes the text of a flag or a Python value of a configuration file and returns the value that the record
holds. Each raises ValueError whose message says what would be valid.
"""

import glob
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import TypeVar

T = TypeVar("T")

MOST_FIELDS = 32768
ADDRESSES = "such as 127.0.0.1:8000 or unix:/run/app.sock"

_DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMGT])", re.IGNORECASE)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_GLOB = re.compile(r"[*?[]")
_SWITCH = {
    "true": True, "yes": True, "y": True, "on": True, "1": True,
    "false": False, "no": False, "n": False, "off": False, "0": False,
}  # fmt: skip
_PROXY_MODES = {
    "off": "off", "false": "off", "none": "off", "0": "off", "v1": "v1", "v2": "v2",
    "auto": "auto", "true": "auto", "1": "auto",
}  # fmt: skip


def whole(value: object) -> int:
    """Return a whole number from 0 on; text may be in any base that Python writes (0x10, 0o20, 0b1)."""
    return _at_least(0, value, "must be a whole number, 0 or more")


def positive(value: object) -> int:
    """Return a whole number from 1 on, written as for `whole`."""
    return _at_least(1, value, "must be a whole number, 1 or more")


def seconds(value: object) -> int:
    """Return whole seconds, given as a number (90) or with units (90s, 15m, 1h30m)."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match and any(match.groups()):
        hours, minutes, rest = (int(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + rest
    return _at_least(0, value, "must be whole seconds, 0 or more, such as 90, 90s, 15m or 1h30m")


def size(value: object) -> int:
    """Return bytes, given as a number (65536) or with a unit: 64K, 512M, 1.5G, 1T, each 1024 of the one before."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match:
        return int(Fraction(match[1]) * _UNITS[match[2].upper()])
    return _at_least(0, value, "must be bytes, 0 or more, such as 65536, 64K, 512M or 1.5G")


def _at_least(least: int, value: object, valid: str) -> int:
    number = value
    if isinstance(value, str):
        try:
            number = int(value.strip(), 0)
        except ValueError:
            raise ValueError(valid) from None
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise ValueError(valid)
    return int(number)


def field_count(value: object) -> int:
    """Return the most fields of a head: 0 and everything above 32768 mean 32768."""
    count = whole(value)
    return count if 0 < count < MOST_FIELDS else MOST_FIELDS


def switch(value: object) -> bool:
    """Return a bool, also from its text (true, yes, on, 1 and their opposites, in any case)."""
    try:
        return _SWITCH[str(value).strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def text(value: object) -> str:
    """Return text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty")
    return value.strip()


def path(value: object) -> str:
    """Return the path of a file, from text or an `os.PathLike`."""
    name = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError("must be a path")
    return name.strip()


def directory(value: object) -> str:
    """Return the absolute path of a directory that exists; a relative one counts from the start directory."""
    absolute = os.path.normpath(os.path.join(start_directory(), path(value)))  # noqa: PTH118 - keeps the logical path
    if not os.path.isdir(absolute):  # noqa: PTH112 - text in, text out
        raise ValueError(f"must be a directory that exists ({absolute} is none)")
    return absolute


def start_directory() -> str:
    """Return the current directory, as $PWD names it where that is the same: symbolic links stay."""
    real = os.getcwd()  # noqa: PTH109 - text in, text out
    logical = os.environ.get("PWD", "")
    try:
        return logical if os.path.isabs(logical) and os.path.samefile(logical, real) else real  # noqa: PTH117, PTH121
    except OSError:
        return real


def watched_files(value: object) -> tuple[str, ...]:
    """Return paths and glob patterns, made absolute from the start directory.

    A path has to exist. A pattern (*, ?, [) need not match anything yet; what is both is the path.
    """
    items = (value,) if isinstance(value, str | os.PathLike) else value
    if items is not None and (not isinstance(items, Iterable) or isinstance(items, bytes | Mapping)):
        raise ValueError("must be a path or a list of paths")
    return tuple(_watched(path(item), start_directory()) for item in items or ())


def _watched(name: str, here: str) -> str:
    literal = os.path.normpath(os.path.join(here, name))  # noqa: PTH118 - keeps the logical path
    if os.path.exists(literal):  # noqa: PTH110 - text in, text out
        return literal
    if not _GLOB.search(name):
        raise ValueError(f"must be files that exist, or patterns such as templates/*.html ({literal} is not there)")
    return os.path.normpath(os.path.join(glob.escape(here), name))  # noqa: PTH118 - the pattern starts behind it


def optional(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    """Return a parser that takes None and the empty text as "unset", and leaves the rest to `parse`."""

    def parse_optional(value: object) -> T | None:
        return None if value is None or value == "" else parse(value)

    return parse_optional


def given(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    """Return a parser that takes None as "unset", and refuses the empty text where that would be unsafe to ignore."""

    def parse_given(value: object) -> T | None:
        if value == "":
            raise ValueError("must not be empty: leave it out, or set the variable that it comes from")
        return None if value is None else parse(value)

    return parse_given


def one_of(*choices: str) -> Callable[[object], str]:
    """Return a parser of one of `choices`, in any case."""

    def parse_choice(value: object) -> str:
        chosen = value.strip().lower() if isinstance(value, str) else value
        if chosen not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(chosen)

    return parse_choice


def proxy_mode(value: object) -> str:
    """Return off, v1, v2 or auto; true means auto, false and None mean off."""
    try:
        return _PROXY_MODES[str(value).strip().lower()]
    except KeyError:
        raise ValueError("must be one of off, v1, v2, auto") from None


def texts(value: object) -> tuple[str, ...]:
    """Return a list of texts, also from a single one."""
    return tuple(item.strip() for item in _items(value, "must be a text or a list of texts"))


def addresses(value: object) -> tuple[str, ...]:
    """Return the listening addresses, as written, at least one; the listener judges their syntax."""
    found = tuple(item.strip() for item in _items(value, f"must be an address or a list of them, {ADDRESSES}"))
    if not found:
        raise ValueError(f"must name at least one address, {ADDRESSES}")
    if not all(found):  # what is left of a variable of the shell that is not set
        raise ValueError(f"must not be empty: name an address, {ADDRESSES}, or 0.0.0.0:8000 to let everybody in")
    return found


def assignments(value: object) -> tuple[str, ...]:
    """Return environment variables, each as KEY=VALUE."""
    valid = "must be KEY=VALUE, or a list of them"
    found = _items(value, valid)
    for item in found:
        key, equals, _ = item.partition("=")
        if not equals or not key.strip() or "\0" in item:
            raise ValueError(valid if len(found) == 1 else f"{valid}; {item!r} is not")
    return found


def key_values(value: object) -> tuple[str, ...]:
    """Return pairs, each as KEY=VALUE; an equals sign behind a backslash belongs to the key."""
    valid = "must be KEY=VALUE, or a list of them"
    found = _items(value, valid)
    for item in found:
        if not re.fullmatch(r"(?:\\.|[^\\=])+=.*", item, re.DOTALL):
            raise ValueError(valid if len(found) == 1 else f"{valid}; {item!r} is not")
    return found


def directories(value: object) -> tuple[str, ...]:
    """Return directories from a comma-separated text or a list; whether they exist is not asked."""
    return items_between_commas(value, "must be directories separated by commas, or a list of them")


def names(value: object) -> tuple[str, ...]:
    """Return header names in upper case, from a comma-separated text or a list; `*` stands for all."""
    valid = "must be header names separated by commas, or a list of them"
    return tuple(name.upper() for name in items_between_commas(value, valid))


def networks(value: object) -> tuple[str, ...]:
    """Return IP addresses and networks from a comma-separated text or a list; `*` stands for all.

    Addresses and networks come out in their canonical spelling.
    """
    valid = "must be IP addresses, networks such as 10.0.0.0/8, or *, separated by commas"
    return tuple(_network(item) for item in items_between_commas(value, valid))


def _network(item: str) -> str:
    if item == "*":
        return item
    try:
        if "/" not in item:
            return str(ipaddress.ip_address(item))
        network = ipaddress.ip_network(item, strict=False)
    except ValueError:
        raise ValueError(
            f"must be IP addresses, networks such as 10.0.0.0/8, or *, separated by commas; {item!r} is none"
        ) from None
    address = item.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        raise ValueError(f"must be networks without host bits; {item!r} has some: write {network} or {address}")
    return str(network)


def header_values(value: object) -> Mapping[str, str]:
    """Return a read-only mapping of header names, in upper case, to the value that counts."""
    if not isinstance(value, Mapping) or not all(
        isinstance(part, str) and part for pair in value.items() for part in pair
    ):
        raise ValueError("must be a dict of header names and values, such as {'X-FORWARDED-PROTO': 'https'}")
    return MappingProxyType({name.strip().upper(): content for name, content in value.items()})


def _items(value: object, valid: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        raise ValueError(valid)  # noqa: TRY004 - one kind of error for one kind of fault
    items = tuple(value)
    if not all(isinstance(item, str) for item in items):
        raise ValueError(valid)
    return items


def items_between_commas(value: object, valid: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated text, or of each text of a list, without empty ones.

    `valid` is what the ValueError says for anything else.
    """
    parts = (part.strip() for item in _items(value, valid) for part in item.split(","))
    return tuple(part for part in parts if part)
