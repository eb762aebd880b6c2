"""Loading the application that an ini file describes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.app import check_paste, load_named
from greenhorn.app.paste import load_paste
from greenhorn.config import Settings
from greenhorn.config.ini import variables_of
from greenhorn.errors import AppLoadError, ConfigError

SHELF = """
class Served:
    def __init__(self, global_config, settings):
        self.global_config, self.settings = global_config, settings

    def __call__(self, environ, start_response):
        return []

def main(global_config, **settings):
    return Served(global_config, settings)

def broken(global_config, **settings):
    raise LookupError("no shelf")

def ending(global_config):
    raise SystemExit("enough")

def nothing(global_config):
    return 5
"""

INI = """
[DEFAULT]
colour = red
[app:main]
use = call:shelf:main
size = 3
[app:admin]
use = main
size = 4
[app:broken]
use = call:shelf:broken
[app:ending]
use = call:shelf:ending
[app:nothing]
use = call:shelf:nothing
[app:gone]
use = call:no_shelf:main
[app:uninstalled]
use = egg:no_such_distribution
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a directory with an application and an ini file that describes it."""
    (tmp_path / "shelf.py").write_text(SHELF)
    (tmp_path / "shop.ini").write_text(INI)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("shelf", None)


def refusal(folder: Path, section: str) -> tuple[int, str]:
    with pytest.raises(AppLoadError) as caught:
        load_paste(f"{folder}/shop.ini#{section}", ())
    return caught.value.exit_code, str(caught.value)


def test_the_main_application_is_loaded_with_its_settings(folder: Path):
    application: Any = load_paste(f"{folder}/shop.ini", ())
    assert application.settings == {"size": "3"}
    assert application.global_config["__file__"] == f"{folder}/shop.ini"
    assert application.global_config["colour"] == "red"


def test_a_section_names_another_one(folder: Path):
    application: Any = load_paste(f"{folder}/shop.ini#admin", ())
    assert application.settings == {"size": "4"}


def test_variables_are_given_and_do_not_replace_the_file_s_own(folder: Path):
    application: Any = load_paste(f"{folder}/shop.ini", ("depth=a=b", "colour=blue"))
    assert application.global_config["depth"] == "a=b"


def test_a_path_may_have_spaces_and_what_is_special_in_urls(folder: Path):
    place = folder / "b + c?"
    place.mkdir()
    (place / "shop.ini").write_text(INI)
    application: Any = load_paste(f"{place}/shop.ini", ())
    assert application.global_config["__file__"] == f"{place}/shop.ini"


@pytest.mark.parametrize(
    ("pairs", "variables"),
    [
        (("a=b",), {"a": "b"}),
        (("a=b=c",), {"a": "b=c"}),
        ((r"a\=b=c",), {"a=b": "c"}),
        ((r"a=b\=c",), {"a": "b=c"}),
        (("a=", "b=1"), {"a": "", "b": "1"}),
        ((), {}),
    ],
)
def test_variables_are_split_at_the_first_equals_sign_without_a_backslash(
    pairs: tuple[str, ...], variables: dict[str, str]
):
    assert variables_of(pairs) == variables


def test_settings_that_name_a_file_are_loaded_from_it(folder: Path):
    settings = Settings(paste=f"{folder}/shop.ini#admin", wsgi_app="no_shelf:app", raw_paste_global_conf=("depth=1",))
    application: Any = load_named(settings)
    assert application.settings == {"size": "4"}
    assert application.global_config["depth"] == "1"


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("elsewhere", "LookupError: No section 'elsewhere'"),
        ("gone", "no_shelf"),
        ("uninstalled", "no_such_distribution"),
        ("nothing", "what it describes is 5, which cannot be called"),
    ],
)
def test_what_the_file_names_in_vain_is_told_in_one_line(folder: Path, section: str, told: str):
    code, message = refusal(folder, section)
    assert code == 4
    assert message.startswith(f"{folder}/shop.ini#{section}: ")
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(("section", "told"), [("broken", "LookupError: no shelf"), ("ending", "SystemExit: enough")])
def test_an_application_that_fails_is_told_with_its_traceback(folder: Path, section: str, told: str):
    code, message = refusal(folder, section)
    assert code == 3
    assert message.startswith(f"{folder}/shop.ini#{section}: the application cannot be loaded:\nTraceback")
    assert message.endswith(told)
    assert "shelf.py" in message
    assert "greenhorn/app" not in message


def test_a_missing_library_is_told_in_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    check_paste()
    monkeypatch.setitem(sys.modules, "paste.deploy", None)
    with pytest.raises(ConfigError, match=r"pip install greenhorn\[paste\]") as caught:
        check_paste()
    assert "\n" not in str(caught.value)
