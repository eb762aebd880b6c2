"""What waits for a client: where it is kept, that files are unlinked and closed, and regions of files."""

import gzip
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenhorn.errors import ClientGone, StorageError
from greenhorn.net.outbox import LARGEST_FILE, PER_TURN, FileRegion, Outbox, Piece
from unit.net.sockets import SMALLEST, open_files


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and a server's that sends little at a time."""
    client, server = socket.socketpair()
    server.setblocking(False)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST)
    client.setblocking(False)
    with client, server:
        yield client, server


def read_through(outbox: Outbox, client: socket.socket, server: socket.socket) -> bytes:
    """Flush and read in turns until nothing waits."""
    parts = []
    for _ in range(1_000_000):
        outbox.flush(server)
        try:
            parts.append(client.recv(1 << 20))
        except BlockingIOError:
            if not outbox.size:
                break
    return b"".join(parts)


def in_memory(outbox: Outbox) -> int:
    return sum(len(entry.data) for entry in outbox._entries if isinstance(entry, Piece))


def test_bytes_up_to_the_cap_stay_in_memory_and_more_go_to_a_file(tmp_path: Path):
    before = open_files()
    outbox = Outbox(100, str(tmp_path))
    outbox.push(b"a" * 60)
    outbox.push(b"b" * 40)
    assert open_files() == before
    outbox.push(b"c")
    outbox.push(b"d" * 100_000)
    assert outbox.size == 100_101
    assert in_memory(outbox) == 100
    [new] = [name for name in open_files() if name not in before]
    assert new.startswith(f"{tmp_path}/greenhorn-")
    assert new.endswith("(deleted)")
    assert list(tmp_path.iterdir()) == []
    outbox.close()
    assert open_files() == before
    assert outbox.size == 0


def test_the_file_is_given_back_as_soon_as_it_is_sent(tmp_path: Path, pair: tuple[socket.socket, socket.socket]):
    before = open_files()
    outbox = Outbox(10, str(tmp_path))
    outbox.push(b"a" * 50_000)
    assert read_through(outbox, *pair) == b"a" * 50_000
    assert open_files() == before
    outbox.push(b"b" * 5)
    assert open_files() == before
    assert read_through(outbox, *pair) == b"b" * 5
    outbox.close()


def test_bytes_pushed_while_the_file_is_sent_come_after_it(tmp_path: Path, pair: tuple[socket.socket, socket.socket]):
    client, server = pair
    outbox = Outbox(10, str(tmp_path))
    outbox.push(b"a" * 50_000)
    outbox.flush(server)
    outbox.push(b"b" * 5)
    outbox.hold([b"c" * 5])
    outbox.push(b"d" * 5)
    assert read_through(outbox, client, server) == b"a" * 50_000 + b"b" * 5 + b"c" * 5 + b"d" * 5
    outbox.close()


def test_a_large_answer_goes_to_several_files_so_that_disk_is_given_back_early(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
):
    client, server = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    before = open_files()
    outbox = Outbox(10, str(tmp_path))
    piece = b"p" * (LARGEST_FILE // 4)
    for _ in range(9):
        outbox.push(piece)
    assert len(open_files()) == len(before) + 3
    sent = 0
    while sent < LARGEST_FILE + len(piece):
        outbox.flush(server)
        sent += len(client.recv(1 << 20))
    assert len(open_files()) < len(before) + 3
    assert sent + len(read_through(outbox, client, server)) == 9 * len(piece)
    assert open_files() == before
    outbox.close()


def test_held_bytes_never_go_to_a_file_and_do_not_count_for_the_cap(tmp_path: Path):
    outbox = Outbox(100, str(tmp_path))
    before = open_files()
    outbox.hold([b"h" * 5000])
    outbox.push(b"a" * 100)
    assert open_files() == before
    assert outbox.size == 5100
    outbox.close()


def test_the_cap_holds_although_held_bytes_were_sent(tmp_path: Path, pair: tuple[socket.socket, socket.socket]):
    client, server = pair
    outbox = Outbox(1000, str(tmp_path))
    outbox.hold([b"h" * 50_000])
    outbox.push(b"a" * 1000)
    while outbox.size > 1000 + 10_000:
        outbox.flush(server)
        client.recv(1 << 20)
    outbox.push(b"b" * 1000)
    held = outbox.size - 2000
    assert in_memory(outbox) <= held + 1000
    outbox.close()


def test_empty_pieces_are_nothing(pair: tuple[socket.socket, socket.socket]):
    outbox = Outbox(100, None)
    outbox.hold([b""])
    outbox.push(b"")
    assert outbox.size == 0
    outbox.flush(pair[1])
    outbox.hold([b"x"])
    assert read_through(outbox, *pair) == b"x"
    outbox.close()


def test_one_turn_sends_a_bounded_number_of_bytes():
    client, server = socket.socketpair()
    with client, server:
        server.setblocking(False)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)
        outbox = Outbox(0, None)
        outbox.hold([b"x" * (3 * PER_TURN)])
        assert 0 < outbox.flush(server) <= PER_TURN + (1 << 20)
        assert outbox.size
        outbox.close()


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path):
    outbox = Outbox(10, str(tmp_path / "missing"))
    outbox.push(b"0123456789")
    with pytest.raises(StorageError, match="No such file"):
        outbox.push(b"more")
    outbox.close()


def test_sending_to_a_client_that_is_gone_says_so(pair: tuple[socket.socket, socket.socket]):
    client, server = pair
    outbox = Outbox(10, None)
    outbox.hold([b"x" * 10])
    client.close()
    with pytest.raises(ClientGone):
        outbox.flush(server)
    outbox.close()


# Regions of files.


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write a file with this content."""

    def make(content: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    return make


def region_of(path: Path, offset: int = 0) -> FileRegion:
    with path.open("rb") as file:
        file.seek(offset)
        region = FileRegion.rest_of(file)
        assert region is not None
        return region.with_own_descriptor()


@pytest.mark.parametrize(("offset", "count"), [(0, 300_000), (7, 299_993), (100_000, 5), (300_000, 0), (400_000, 0)])
def test_a_region_goes_from_where_the_file_stood(
    offset: int, count: int, make_file: Callable[[bytes], Path], pair: tuple[socket.socket, socket.socket]
):
    content = bytes(number % 253 for number in range(300_000))
    region = region_of(make_file(content), offset)
    region.count = min(region.count, count)
    outbox = Outbox(10, None)
    outbox.hold_file(region)
    outbox.hold([b"|"])
    assert outbox.size == count + 1
    assert read_through(outbox, *pair) == content[offset : offset + count] + b"|"
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(region.fd)
    outbox.close()


def test_a_region_outlives_the_file_object_it_came_from(
    make_file: Callable[[bytes], Path], pair: tuple[socket.socket, socket.socket]
):
    path = make_file(b"x" * 100_000)
    region = region_of(path)
    path.unlink()
    outbox = Outbox(10, None)
    outbox.hold_file(region)
    assert read_through(outbox, *pair) == b"x" * 100_000
    outbox.close()


def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    make_file: Callable[[bytes], Path], pair: tuple[socket.socket, socket.socket]
):
    before = open_files()
    path = make_file(b"x" * 500_000)
    outbox = Outbox(10, None)
    outbox.hold_file(region_of(path))
    outbox.flush(pair[1])
    os.truncate(path, 1000)
    with pytest.raises(ClientGone, match="shorter"):
        read_through(outbox, *pair)
    outbox.close()
    assert open_files() == before


def test_a_file_that_grows_is_sent_as_long_as_it_was(
    make_file: Callable[[bytes], Path], pair: tuple[socket.socket, socket.socket]
):
    path = make_file(b"x" * 1000)
    region = region_of(path)
    with path.open("ab") as file:
        file.write(b"y" * 1000)
    outbox = Outbox(10, None)
    outbox.hold_file(region)
    assert read_through(outbox, *pair) == b"x" * 1000
    outbox.close()


def test_pipes_devices_and_what_has_no_descriptor_have_no_region():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb"):
        assert FileRegion.rest_of(pipe) is None

    class Strange:
        def fileno(self) -> str:
            return "three"

        def tell(self) -> int:
            return 0

    assert FileRegion.rest_of(Strange()) is None
    with Path(os.devnull).open("rb") as device:
        assert FileRegion.rest_of(device) is None


def test_what_only_has_a_descriptor_but_other_bytes_is_no_region(tmp_path: Path):
    path = tmp_path / "packed"
    with gzip.open(path, "wb") as packed:
        packed.write(b"x" * 10_000)
    with gzip.open(path, "rb") as packed:
        assert FileRegion.rest_of(packed) is None


def test_a_file_in_a_wrapper_is_a_region(tmp_path: Path):
    with tempfile.NamedTemporaryFile(dir=tmp_path) as wrapped:
        wrapped.write(b"x" * 1000)
        wrapped.seek(10)
        region = FileRegion.rest_of(wrapped)
        assert region is not None
        assert (region.offset, region.count) == (10, 990)
