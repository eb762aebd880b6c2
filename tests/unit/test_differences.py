"""The table of differences between worker classes, and the markers of the tests that are left out, agree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.config.worker_classes import WORKERS
from integration import kinds

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "workers.md"


def rows() -> dict[str, set[str]]:
    """Return the worker classes of each row of the table."""
    table = DOCUMENT.read_text().partition("## Differences by nature")[2].partition("\n\nThe tests")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert cells[0] == ["difference", "classes", "why"]
    return {row[0]: set(re.split(r",\s*", row[1])) for row in cells[1:]}


def markers() -> Iterator[tuple[str, str, set[str]]]:
    """Yield the test, row and worker classes of each marker in the tests."""
    for path in [*ROOT.glob("tests/integration/test_*.py"), *ROOT.glob("tests/tls/test_*.py")]:
        for test in ast.walk(ast.parse(path.read_text())):
            marks = ast.walk(test.value) if isinstance(test, ast.Assign) else getattr(test, "decorator_list", ())
            for call in marks:
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "differs":
                    [row] = [keyword.value for keyword in call.keywords if keyword.arg == "row"]
                    assert isinstance(row, ast.Name), f"{path.name}: a row has a name in integration/kinds.py"
                    classes = {ast.literal_eval(argument) for argument in call.args}
                    yield f"{path.name}::{getattr(test, 'name', '')}", getattr(kinds, row.id), classes


def test_each_marker_stands_for_a_row_that_names_its_class():
    table = rows()
    wrong = [(test, row) for test, row, classes in markers() if not classes <= table.get(row, set())]
    assert not wrong


def test_there_are_markers_for_the_classes_that_differ():
    assert {name for _, _, classes in markers() for name in classes} == {*WORKERS} - {"gthread"}


@pytest.mark.parametrize("name", WORKERS)
def test_each_worker_class_has_its_line_in_the_document(name: str):
    chosen = DOCUMENT.read_text().partition("## Differences by nature")[0]
    assert f"`{name}`" in chosen


def test_the_tests_run_for_every_class():
    assert {*kinds.KINDS} == {*WORKERS}
