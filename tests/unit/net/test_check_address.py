"""Whether an address could be listened at, asked without listening."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.net.check import check_address
from greenhorn.net.listener import Address, parse_address


def refusal(address: Address) -> str:
    with pytest.raises(ConfigError) as caught:
        check_address(address)
    return str(caught.value)


@pytest.mark.parametrize("text", ["127.0.0.1:8000", ":0", "localhost:1", "0.0.0.0:80", "fd://web"])
def test_addresses_of_this_machine_can_be_listened_at(text: str):
    check_address(parse_address(text))


def test_a_descriptor_has_to_be_open_and_a_socket():
    assert "no such descriptor is open" in refusal(parse_address("fd://999999"))
    with tempfile.TemporaryFile() as file:
        assert "the descriptor is no socket" in refusal(parse_address(f"fd://{file.fileno()}"))
    with socket.socket() as sock:
        check_address(parse_address(f"fd://{sock.fileno()}"))


def test_a_port_that_is_listened_at_already_makes_no_difference():
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address(parse_address(f"127.0.0.1:{server.getsockname()[1]}"))


def test_a_unix_socket_that_is_there_already_stays(tmp_path: Path):
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        check_address(Address(path=str(path)))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_no_path_and_no_descriptor_is_left_behind(tmp_path: Path):
    with tempfile.TemporaryFile() as lowest:
        free = lowest.fileno()
    check_address(Address(path=str(tmp_path / "app.sock")))
    check_address(parse_address("127.0.0.1:0"))
    assert not list(tmp_path.iterdir())
    with tempfile.TemporaryFile() as lowest:
        assert lowest.fileno() == free


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.1:8000", "bind: cannot listen at 192.0.2.1:8000: this machine does not have the address"),
        ("no-such-host.invalid:1", "the name 'no-such-host.invalid' has no address here"),
        (f"{'a' * 64}.example:1", "is no host name"),
        ("unix:/no-such-directory/app.sock", "there is no directory /no-such-directory"),
        (f"unix:/tmp/{'a' * 104}", "the path is longer than"),
        ("unix:/etc/passwd", "there is a file that is no socket"),
    ],
)
def test_what_can_never_be_listened_at_is_an_error_that_says_why(text: str, told: str):
    message = refusal(parse_address(text))
    assert message.startswith("bind: cannot listen at ")
    assert told in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_to_is_an_error(tmp_path: Path):
    tmp_path.chmod(0o500)
    assert "may not be written to" in refusal(Address(path=str(tmp_path / "app.sock")))
