"""The access log on a standard output that nobody reads, and in a pipe that several processes write to."""

import json
import os
import re
import subprocess
import sys

import pytest

from greenhorn.observe.access import MOST_WAITING, PIECE, pieces

STALLED = """
import os, sys, time
from greenhorn.observe.access import AccessFile
file = AccessFile(sys.argv[1])
line = b"x" * 99 + b"\\n"
began = time.monotonic()
for _ in range(2000):
    file.write(line)
sys.stderr.write(f"{time.monotonic() - began}")
"""


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_a_standard_output_that_nobody_reads_costs_a_moment_once_and_no_more(target: str):
    reader, writer = os.pipe()
    try:
        command = [sys.executable, "-c", STALLED, target]
        done = subprocess.run(command, check=False, stdout=writer, stderr=subprocess.PIPE, timeout=30)
        assert done.returncode == 0, done.stderr
        assert 1.0 <= float(done.stderr) < 10.0
        os.set_blocking(reader, False)
        kept = os.read(reader, 1 << 20)
        assert kept.count(b"\n") * 100 == len(kept) < 2000 * 100, "what there was room for is whole"
    finally:
        os.close(reader)
        os.close(writer)


def test_lines_go_in_pieces_that_a_pipe_takes_at_once():
    lines = b"".join(b"%d %s\n" % (number, b"x" * (number * 37 % 900)) for number in range(100))
    found = pieces(lines)
    assert b"".join(found) == lines
    assert all(piece.endswith(b"\n") and len(piece) <= PIECE for piece in found)
    assert len(found) < 100


def test_a_line_that_is_longer_than_a_piece_is_cut_short():
    first, cut, last = pieces(b"a\n" + b"x" * PIECE + b"y" * PIECE + b"\nb\n")
    assert (first, last) == (b"a\n", b"b\n")
    assert len(cut) <= PIECE
    assert re.fullmatch(rb"x{2000,}\.\.\.y{2000,}\n", cut), "begin and end tell who it was, and what he got"
    assert pieces(b"") == [b""]


@pytest.mark.parametrize("shift", range(5))
def test_it_is_not_cut_within_an_escape(shift: int):
    (cut,) = pieces(b"a" * shift + rb"\x0a" * PIECE + b"\n")
    assert len(cut) <= PIECE
    assert re.fullmatch(rb"a*(?:\\x0a)+\.\.\.(?:\\x0a)+\n", cut)


def test_of_a_line_in_json_the_long_values_are_cut():
    agent, target = "é" * PIECE, "/" + "x" * 20000
    (cut,) = pieces(json.dumps({"status": 200, "agent": agent, "target": target, "id": None}).encode() + b"\n")
    assert len(cut) <= PIECE
    values = json.loads(cut)
    assert (values["status"], values["id"]) == (200, None)
    for name, whole in (("agent", agent), ("target", target)):
        assert values[name].endswith("...")
        assert whole.startswith(values[name].removesuffix("..."))
        assert len(values[name]) > 100


def test_lines_that_wait_are_bounded():
    assert 1000 <= MOST_WAITING <= 100_000
