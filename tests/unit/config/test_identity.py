"""Users, groups and file mode masks, by number and by name."""

import grp
import os
import pwd
from collections.abc import Callable

import pytest

from greenhorn.config import identity


@pytest.mark.parametrize("parse", [identity.user, identity.group])
@pytest.mark.parametrize(("value", "number"), [(0, 0), (33, 33), ("33", 33), (" 4294967294 ", 4294967294)])
def test_an_id_is_a_number_whether_or_not_somebody_has_it(parse: Callable[[object], int], value: object, number: int):
    assert parse(value) == number


def test_a_name_becomes_the_id_of_who_has_it():
    user = pwd.getpwuid(os.getuid())
    group = grp.getgrgid(os.getgid())
    assert identity.user(user.pw_name) == identity.user(f" {user.pw_name} ") == os.getuid()
    assert identity.group(group.gr_name) == os.getgid()


def test_a_name_that_nobody_has_is_refused_with_where_to_look():
    with pytest.raises(ValueError, match=r"no user 'no-such-one' \(`getent passwd` lists them\)"):
        identity.user("no-such-one")
    with pytest.raises(ValueError, match=r"no group 'no-such-one' \(`getent group` lists them\)"):
        identity.group("no-such-one")


@pytest.mark.parametrize("parse", [identity.user, identity.group])
@pytest.mark.parametrize("value", [-1, 4294967295, "4294967295", "9" * 5000, True, 1.0, b"root", "", " ", "a\0b", None])
def test_what_is_neither_id_nor_name_is_refused(parse: Callable[[object], int], value: object):
    with pytest.raises(ValueError, match=r"must be a (user|group) id or the name of a (user|group)$"):
        parse(value)


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        (0, 0),
        ("0", 0),
        (0o22, 0o22),
        ("0022", 0o22),
        ("022", 0o22),
        ("0o22", 0o22),
        ("18", 0o22),
        (" 0777 ", 0o777),
        ("0xFF", 0xFF),
        ("000", 0),
    ],
)
def test_a_mask_with_a_leading_zero_is_octal(value: object, mask: int):
    assert identity.umask(value) == mask


@pytest.mark.parametrize("value", ["", "08", "0o1000", 512, -1, "-1", "rwx", True, None, 1.5, b"022", "1022"])
def test_what_is_no_mask_is_refused(value: object):
    with pytest.raises(ValueError, match="must be a file mode mask from 0 to 0777"):
        identity.umask(value)
