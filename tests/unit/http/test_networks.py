"""Who is in a set of addresses, also where IPv4 is written as IPv6."""

import pytest

from greenhorn.http.peer import Networks


@pytest.mark.parametrize(
    ("networks", "address", "is_in"),
    [
        (["::ffff:127.0.0.1"], "127.0.0.1", True),
        (["::ffff:127.0.0.1"], "::ffff:127.0.0.1", True),
        (["::ffff:10.0.0.0/104"], "10.9.8.7", True),
        (["::ffff:10.0.0.0/104"], "11.9.8.7", False),
        (["10.0.0.0/8"], "::ffff:10.9.8.7", True),
        (["::/0"], "2001:db8::1", True),
        (["::1"], "0.0.0.1", False),
        (["::"], "0.0.0.0", False),
    ],
)
def test_ipv4_is_the_same_in_both_forms(networks: list[str], address: str, is_in: bool):
    assert (address in Networks(networks)) is is_in
