"""docs/threats.md names settings and tests that exist."""

import re
from pathlib import Path

import pytest

from greenhorn.config.tables import ROWS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text()
TESTS = re.findall(r"`([\w/.]+\.py)::(\w+)`", PAGE)
SETTINGS = re.findall(
    r"`([a-z_]+)`", " ".join(line.split("|")[3] for line in PAGE.splitlines() if line.count("|") == 5)
)


def test_the_page_names_tests_and_settings():
    assert len(TESTS) > 30
    assert len(SETTINGS) > 20


@pytest.mark.parametrize(("file", "name"), TESTS, ids=[name for _, name in TESTS])
def test_each_test_that_the_page_names_is_there(file: str, name: str):
    path = ROOT / file if "/" in file else ROOT / "tests" / "integration" / file
    assert f"\ndef {name}(" in path.read_text()


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_that_the_page_names_is_there(name: str):
    assert name in ROWS
