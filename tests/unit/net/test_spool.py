"""A request's body on its way in: memory up to the cap, then an unlinked file in the named folder."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhorn.net.spool import Spool
from unit.net.sockets import open_files


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(pieces=st.lists(st.binary(max_size=300), max_size=12), memory=st.integers(0, 600))
def test_what_was_written_is_read_back(pieces: list[bytes], memory: int):
    spool = Spool(memory, None)
    for piece in pieces:
        spool.write(piece)
    whole = b"".join(pieces)
    assert spool.size == len(whole)
    with spool.open() as file:
        assert file.read(3) == whole[:3]
        assert file.read() == whole[3:]
        file.seek(0)
        assert list(file) == whole.splitlines(keepends=True) or b"\r" in whole
    spool.close()


def test_a_body_up_to_the_cap_stays_in_memory(tmp_path: Path):
    before = open_files()
    spool = Spool(1000, str(tmp_path))
    for _ in range(10):
        spool.write(b"x" * 100)
    assert open_files() == before
    assert spool.open().read() == b"x" * 1000
    assert open_files() == before
    spool.close()


def test_a_body_above_the_cap_is_in_an_unlinked_file_of_the_folder_that_is_closed_at_the_end(tmp_path: Path):
    before = open_files()
    spool = Spool(1000, str(tmp_path))
    for _ in range(11):
        spool.write(b"x" * 100)
    [new] = [name for name in open_files() if name not in before]
    assert new.startswith(f"{tmp_path}/")
    assert new.endswith("(deleted)")
    assert list(tmp_path.iterdir()) == []
    assert spool.open().read() == b"x" * 1100
    spool.close()
    assert open_files() == before
    spool.close()


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path):
    spool = Spool(1000, str(tmp_path / "missing"))
    spool.write(b"x" * 1000)
    with pytest.raises(FileNotFoundError):
        spool.write(b"x")
    spool.close()


def test_an_application_that_closes_its_input_harms_nobody(tmp_path: Path):
    spool = Spool(10, str(tmp_path))
    spool.write(b"x" * 100)
    spool.open().close()
    spool.close()
