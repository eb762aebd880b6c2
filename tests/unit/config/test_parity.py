"""The table beside an installed gunicorn: names, flags, defaults and variables, and the differences that are meant."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from greenhorn.app.cfg import Config
from greenhorn.config import Settings, load_configuration
from greenhorn.config.setting import Row
from greenhorn.config.tables import HOOKS, ROWS
from greenhorn.config.tables.gunicorn import FOREIGN
from greenhorn.errors import ConfigError

with mock.patch.dict(os.environ):
    # It takes defaults from the environment when it is imported.
    for variable in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
        os.environ.pop(variable, None)
    gunicorn = pytest.importorskip("gunicorn.config", reason="the dev group has gunicorn")

VERSION = "27.0.1"
PAGE = Path(__file__).parents[3] / "docs" / "from-gunicorn.md"
THEIRS: dict[str, Any] = {setting.name: setting for setting in gunicorn.KNOWN_SETTINGS}
NOT_CARRIED = {
    "dirty_apps",
    "dirty_workers",
    "dirty_timeout",
    "dirty_threads",
    "dirty_graceful_timeout",
    "on_dirty_starting",
    "dirty_post_fork",
    "dirty_worker_init",
    "dirty_worker_exit",
}
OTHER_DEFAULTS: dict[str, object] = {
    "control_socket": None,
    "default_proc_name": "greenhorn",
    "keepalive": 75,
    "threads": 4,
    "worker_class": "gthread",
}
"""Defaults that are meant to differ, by what they are here."""
SAME_MEANING: dict[str, tuple[object, object]] = {
    "config": (None, "./gunicorn.conf.py"),
    "chdir": (".", str(Path.cwd())),
    "user": (None, os.geteuid()),
    "group": (None, os.getegid()),
    "sendfile": (True, None),
    "ssl_version": (None, 2),
}
"""Defaults that are written differently, here and there, and come to the same."""
MORE_FLAGS = {"tmp_upload_dir": ("--tmp-upload-dir",)}
"""Flags of settings that gunicorn has without one."""


def ours() -> dict[str, Row]:
    return {name: row for name, row in ROWS.items() if not row.differs.startswith("has no such setting")}


SHARED = sorted(set(ours()) & set(THEIRS))


def test_it_is_the_gunicorn_that_the_table_is_made_for():
    assert version("gunicorn") == VERSION


def test_each_of_the_120_names_is_a_setting_or_on_the_list_of_those_not_carried():
    assert len(THEIRS) == 120
    assert set(THEIRS) == set(ours()) | {foreign.name for foreign in FOREIGN}
    assert {foreign.name for foreign in FOREIGN} == NOT_CARRIED
    assert not set(ours()) & NOT_CARRIED


@pytest.mark.parametrize("name", SHARED)
def test_the_flags_are_the_same(name: str):
    theirs = set(THEIRS[name].cli or ())
    assert set(ROWS[name].flags) - set(MORE_FLAGS.get(name, ())) == theirs


@pytest.mark.parametrize("name", [name for name in SHARED if THEIRS[name].cli])
def test_flags_take_values_where_gunicorns_do_and_repeat_where_they_do(name: str):
    row, setting = ROWS[name], THEIRS[name]
    takes_none = setting.action in {"store_true", "store_const"}
    assert (row.meta == "") is takes_none
    assert row.repeats is (setting.action == "append")
    if takes_none:
        assert row.bare is (setting.const if setting.action == "store_const" else True)
    else:
        assert row.bare == setting.const


@pytest.mark.parametrize("foreign", FOREIGN, ids=[foreign.name for foreign in FOREIGN])
def test_settings_that_are_not_carried_are_known_by_their_flags_and_defaults(foreign: Any):
    setting = THEIRS[foreign.name]
    assert foreign.flags == tuple(setting.cli or ())
    assert foreign.neutral == (None if callable(setting.default) else setting.default)


@pytest.mark.parametrize("name", SHARED)
def test_the_defaults_are_the_same_but_where_another_is_meant(name: str):
    row, default = ROWS[name], THEIRS[name].default
    if name in OTHER_DEFAULTS:
        assert row.default == OTHER_DEFAULTS[name]
        assert row.parse(default) != row.default
        assert row.differs
        assert f"`{name}`" in PAGE.read_text()
    elif name in SAME_MEANING:
        assert (row.default, default) == SAME_MEANING[name]
    elif name in HOOKS:
        # Theirs is a function that does nothing, or logs, or calls what it is given.
        assert row.default is None
        assert callable(default)
    else:
        assert row.parse(default) == row.default


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_takes_what_gunicorns_takes_is_accepted(name: str):
    assert callable(ROWS[name].parse(THEIRS[name].default))


TELL = """
import json
from gunicorn.config import Config
config = Config()
print(json.dumps([config.settings[name].get() for name in ("bind", "workers", "forwarded_allow_ips")]))
"""


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PORT": "5000"},
        {"WEB_CONCURRENCY": "3"},
        {"FORWARDED_ALLOW_IPS": "10.0.0.0/8,::1"},
        {"FORWARDED_ALLOW_IPS": "*"},
        {"PORT": "80", "WEB_CONCURRENCY": "1", "FORWARDED_ALLOW_IPS": "127.0.0.1"},
    ],
)
@pytest.mark.usefixtures("start_directory")
def test_variables_give_the_same_defaults(environ: dict[str, str]):
    command = [sys.executable, "-c", TELL]
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH"}}
    told = subprocess.run(command, env=kept | environ, capture_output=True, text=True, timeout=30, check=True)
    bind, workers, networks = json.loads(told.stdout)
    found = load_configuration([], environ).settings
    assert (list(found.bind), found.workers, list(found.forwarded_allow_ips)) == (bind, workers, networks)


# What else hooks and loggers ask of `cfg`.

OF_THE_READING = {"env_orig", "get_cmd_args_from_env", "parser", "prog", "usage"}
"""What gunicorn reads its sources with; that is no matter of who looks at the values."""


def gunicorns(**values: Any) -> Any:
    """A configuration of gunicorn's with these settings."""
    config = gunicorn.Config()
    for name, value in values.items():
        config.set(name, value)
    return config


def ours_with(**values: Any) -> list[Any]:
    """The same as hooks get it, and as a program does that embeds the server."""
    given = {name: ROWS[name].parse(value) for name, value in values.items()}
    config = Config(load_configuration([], {}), "Shop")
    for name, value in values.items():
        config.set(name, value)
    return [Settings(**given), config]


def test_whatever_can_be_asked_of_gunicorns_configuration_can_be_asked_of_ours():
    names = {name for name in dir(gunicorns()) if not name.startswith("_")} | set(THEIRS)
    assert names >= OF_THE_READING | {"env", "set", "settings", "ssl_options", "validate"}
    hooks, embedding = ours_with()
    missing = {name for name in names - NOT_CARRIED if not hasattr(hooks, name)}
    assert missing == OF_THE_READING | {"validate"}
    assert {name for name in names if not hasattr(embedding, name)} == OF_THE_READING


SAME_ANSWERS = ("uid", "gid", "env", "worker_class_str", "paste_global_conf", "reuse_port")


@pytest.mark.parametrize("name", SAME_ANSWERS)
@pytest.mark.parametrize(
    "values",
    [
        {"user": 7, "group": 8, "raw_env": ["A=1", "B=x=y"], "raw_paste_global_conf": ["a=b", "c\\=d=e"]},
        {"worker_class": "gthread", "reuse_port": True},
    ],
)
def test_what_follows_from_settings_is_the_same(name: str, values: dict[str, Any]):
    theirs = getattr(gunicorns(**{"worker_class": "gthread", **values}), name)
    assert [getattr(cfg, name) for cfg in ours_with(**values)] == [theirs, theirs]


@pytest.mark.parametrize("setting", ["forwarded_allow_ips", "proxy_allow_ips"])
def test_allowed_networks_are_the_same(setting: str):
    name = setting.replace("_ips", "_networks")
    for value in ("127.0.0.1,10.0.0.0/8,::1", "*", ""):
        theirs = getattr(gunicorns(**{setting: value}), name)()
        assert [getattr(cfg, name)() for cfg in ours_with(**{setting: value})] == [theirs, theirs]


def test_the_options_of_tls_have_all_of_gunicorns():
    theirs = gunicorns().ssl_options
    for cfg in ours_with(ciphers="ECDHE"):
        assert set(theirs) <= set(cfg.ssl_options)
        assert cfg.ssl_options["ciphers"] == "ECDHE"


def test_settings_can_be_looked_at_one_by_one():
    theirs = gunicorns(workers=3).settings["workers"]
    for cfg in ours_with(workers=3):
        entry = cfg.settings["workers"]
        assert (entry.name, entry.get(), entry.value, entry.default) == (theirs.name, theirs.get(), theirs.value, 1)
        assert (set(ROWS) <= set(cfg.settings), "colour" in cfg.settings) == (True, False)


def test_a_hook_that_sets_a_setting_is_told_where_that_can_be_done():
    cfg = ours_with()[0]
    for change in (lambda: cfg.set("workers", 3), lambda: cfg.settings["workers"].set(3)):
        with pytest.raises(AttributeError, match=r"^workers = 3: no setting can be changed .* server\.num_workers$"):
            change()


def test_a_program_can_ask_whether_its_settings_go_together():
    cfg = ours_with()[1]
    cfg.validate()
    cfg.set("worker_class", "tornadoes")
    with pytest.raises(ConfigError, match="Shop: worker_class = 'tornadoes'"):
        cfg.validate()
