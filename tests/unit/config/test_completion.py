"""The words that a shell offers, asked for as the function does that register-python-argcomplete prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("argcomplete")


def offered(folder: Path, line: str) -> list[str]:
    words = folder / "words"
    environ = {
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(words),
    }
    finished = subprocess.run(
        [sys.executable, "-m", "greenhorn"],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    return words.read_text().split()


def test_flags_are_offered_by_how_they_begin(tmp_path: Path):
    assert set(offered(tmp_path, "greenhorn --worker-")) == {
        "--worker-class",
        "--worker-connections",
        "--worker-tmp-dir",
    }
    assert offered(tmp_path, "greenhorn --max-stuck") == ["--max-stuck-threads"]


def test_other_spellings_and_flags_without_effect_on_anything_are_not_offered(tmp_path: Path):
    words = offered(tmp_path, "greenhorn --")
    assert "--bind" in words
    assert not [word for word in words if "dirty" in word or word == "--worker_class"]


def test_files_are_offered_where_no_flag_begins(tmp_path: Path):
    (tmp_path / "deploy.conf.py").touch()
    assert "deploy.conf.py" in offered(tmp_path, "greenhorn -c deploy")
