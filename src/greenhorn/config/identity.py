"""Whom the workers run as, and who may use files."""

import grp
import pwd
import re
from collections.abc import Callable

from greenhorn.config.parsers import whole

MOST_MASK = 0o777
NO_ID = 2**32 - 1
"""The number that setuid and chown take for "leave it as it is"."""

_ID = re.compile(r"[0-9]{1,10}")
_OCTAL = re.compile(r"0[0-7]+")


def user(value: object) -> int:
    """Return a user id, from a number or the name of a user of this system."""
    return _id(value, "user", "passwd", lambda name: pwd.getpwnam(name).pw_uid)


def group(value: object) -> int:
    """Return a group id, from a number or the name of a group of this system."""
    return _id(value, "group", "group", lambda name: grp.getgrnam(name).gr_gid)


def _id(value: object, kind: str, table: str, look_up: Callable[[str], int]) -> int:
    number = _number(value)
    if number is not None:
        return number
    valid = f"must be a {kind} id or the name of a {kind}"
    name = _name(value, valid)
    try:
        return look_up(name)
    except KeyError:
        raise ValueError(f"{valid}: this system has no {kind} {name!r} (`getent {table}` lists them)") from None


def _number(value: object) -> int | None:
    number = int(value) if isinstance(value, str) and _ID.fullmatch(value.strip()) else value
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < NO_ID:
        return int(number)
    return None


def _name(value: object, valid: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value or value.strip().isdecimal():
        raise ValueError(valid)
    return value.strip()


def umask(value: object) -> int:
    """Return a file mode mask; text with a leading zero is octal (0022), else in any base (0o22, 18)."""
    return _permissions(value, "must be a file mode mask from 0 to 0777, such as 0022, 0o22 or 18")


def file_mode(value: object) -> int:
    """Return the permissions of a file, written as for `umask`."""
    return _permissions(value, "must be a file mode from 0 to 0777, such as 0660 or 0o660")


def _permissions(value: object, valid: str) -> int:
    octal = isinstance(value, str) and _OCTAL.fullmatch(value.strip())
    try:
        bits = int(str(value), 8) if octal else whole(value)
    except ValueError:
        bits = -1
    if not 0 <= bits <= MOST_MASK:
        raise ValueError(valid)
    return bits
