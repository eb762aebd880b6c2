"""Settings that are a choice of several names."""

import pytest

from greenhorn.config.choices import some_of

parse = some_of("host", "port", "prefix")


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        ("", ()),
        ((), ()),
        ("host", ("host",)),
        (" Prefix , HOST,", ("host", "prefix")),
        (["port", "host", "port"], ("host", "port")),
        (("prefix",), ("prefix",)),
        ({"port"}, ("port",)),
    ],
)
def test_any_number_of_choices_comes_out_in_their_own_order(value: object, chosen: tuple[str, ...]):
    assert parse(value) == chosen


@pytest.mark.parametrize("value", ["hosts", "host port", "host,for", ["host", 1], 1, True, None, b"host", {"host": 1}])
def test_anything_else_is_an_error_that_names_the_choices(value: object):
    with pytest.raises(ValueError, match="must be any of host, port, prefix"):
        parse(value)
