"""Which lines spew writes: in processes of their own, since tracing is hard to take back."""

import subprocess
import sys
from pathlib import Path

import pytest

APPLICATION = """\
import threading
from greenhorn.workers.spew import install
from greenhorn.workers.fault import fault_page

def double(number):
    result = number * 2   # twice
    return result

def run():
    double(2)
    page = fault_page("x")
    page({"REQUEST_METHOD": "GET"}, answer)

def answer(status, fields):
    seen = status
"""


def spewed(folder: Path, ending: str) -> list[str]:
    """Run the application with that ending; return the lines that were written of it."""
    (folder / "shop.py").write_text(APPLICATION + ending)
    done = subprocess.run(
        [sys.executable, "-c", "import shop"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert "greenhorn." not in done.stdout
    assert "importlib" not in done.stdout
    return [line for line in done.stdout.splitlines() if line.startswith("shop:")]


LINES = [
    "shop:10:     double(2)",
    "shop:6:     result = number * 2   # twice",
    "shop:7:     return result",
    """shop:11:     page = fault_page("x")""",
    """shop:12:     page({"REQUEST_METHOD": "GET"}, answer)""",
    "shop:15:     seen = status",
]


def test_each_line_is_written_with_module_number_and_source_but_none_of_greenhorn(tmp_path: Path):
    assert spewed(tmp_path, "import sys; install(sys.stdout.write); run()\n") == LINES


def test_threads_that_start_later_are_traced(tmp_path: Path):
    ending = "import sys; install(sys.stdout.write)\nt = threading.Thread(target=run); t.start(); t.join()\n"
    assert spewed(tmp_path, ending) == LINES


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no other thread can be traced before Python 3.12")
def test_threads_that_have_started_before_are_traced(tmp_path: Path):
    ending = (
        "import sys; go = threading.Event()\n"
        "def wait(): go.wait(); run()\n"
        "t = threading.Thread(target=wait); t.start()\n"
        "install(sys.stdout.write); go.set(); t.join()\n"
    )
    assert spewed(tmp_path, ending) == LINES


def test_code_without_a_source_is_named_by_its_function(tmp_path: Path):
    ending = (
        "import sys; made = {'__name__': 'shop'}; exec(compile('def f(): return 1', '<made>', 'exec'), made)\n"
        "install(sys.stdout.write); made['f']()\n"
    )
    assert spewed(tmp_path, ending) == ["shop:1: [f]"]


def test_a_stream_that_fails_does_not_disturb_the_application(tmp_path: Path):
    ending = (
        "def fail(_): raise BrokenPipeError\n"
        "install(fail); doubled = double(4)\n"
        "import sys; install(sys.stdout.write); assert double(doubled) == 16\n"
    )
    assert spewed(tmp_path, ending) == LINES[1:3]
