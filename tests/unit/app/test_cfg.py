"""`self.cfg`: settings as load_config sees and sets them."""

import pytest

from greenhorn.app.cfg import Config
from greenhorn.config import load_configuration
from greenhorn.config.tables import ROWS
from greenhorn.errors import ConfigError


def make(*arguments: str, **environ: str) -> Config:
    """A `cfg` that starts from flags and variables."""
    return Config(load_configuration(arguments, environ), "Shop")


def refusal(name: str, value: object) -> str:
    with pytest.raises(ConfigError) as caught:
        make().set(name, value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


def test_what_is_set_is_there_at_once_in_its_own_type():
    cfg = make()
    cfg.set("workers", "3")
    cfg.set("bind", "127.0.0.1:80")
    assert (cfg.workers, cfg.bind, cfg.threads) == (3, ("127.0.0.1:80",), 4)


def test_variables_with_defaults_count_until_something_is_set():
    cfg = make(WEB_CONCURRENCY="7")
    assert cfg.workers == 7
    cfg.set("workers", 3)
    assert cfg.workers == 3


def test_what_is_set_last_counts():
    cfg = make("--threads", "2", "--workers", "2")
    cfg.set("workers", 3)
    cfg.set("workers", 5)
    whole = cfg.whole()
    assert (whole.settings.workers, whole.settings.threads) == (5, 2)
    assert (whole.origins["workers"], whole.origins["threads"]) == ("Shop", "command line")


def test_nothing_set_is_what_was_there():
    configuration = load_configuration((), {})
    assert Config(configuration, "Shop").whole() is configuration


def test_every_setting_is_in_settings_and_nothing_else():
    cfg = make()
    assert set(ROWS) <= set(cfg.settings)
    assert len(cfg.settings) == len(list(cfg.settings))
    assert "workers" in cfg.settings
    assert "dirty_workers" in cfg.settings
    assert "colour" not in cfg.settings
    with pytest.raises(KeyError):
        cfg.settings["colour"]


def test_a_setting_tells_and_takes_its_value():
    cfg = make(WEB_CONCURRENCY="7")
    entry = cfg.settings["workers"]
    assert (entry.name, entry.default, entry.get(), entry.value) == ("workers", 1, 7, 7)
    entry.set("2")
    assert cfg.settings["workers"].get() == cfg.workers == 2


def test_a_hook_that_is_set_is_called_as_it_is():
    def hook(server: object) -> None:
        del server

    cfg = make()
    cfg.set("on_starting", hook)
    assert cfg.on_starting is cfg.whole().settings.on_starting is hook


def test_what_gunicorn_has_and_greenhorn_has_not_is_taken_with_a_warning():
    cfg = make()
    cfg.set("dirty_workers", 4)
    assert cfg.dirty_workers == 4
    [warning] = cfg.whole().warnings
    assert warning.startswith("Shop: dirty_workers")


def test_an_unknown_name_is_an_error_with_the_nearest_names():
    assert refusal("worker", 3).startswith("Shop: worker is not a setting: did you mean workers")
    assert refusal("xyzzy", 3) == "Shop: xyzzy is not a setting; `name in cfg.settings` tells those that are"


def test_a_wrong_value_is_an_error_with_what_would_be_valid():
    assert refusal("workers", "many").startswith("Shop: workers = 'many': must be a whole number")


def test_settings_are_only_set_by_set():
    cfg = make()
    with pytest.raises(AttributeError, match=r"cfg\.set\('workers', 3\)"):
        cfg.workers = 3
    with pytest.raises(AttributeError, match="worker is not a setting: did you mean"):
        _ = cfg.worker
    assert cfg.workers == 1


def test_what_is_taken_from_a_file_replaces_what_was_set_before_it():
    cfg = make()
    cfg.set("workers", 2)
    cfg.set("threads", 2)
    cfg.take(load_configuration(["--workers", "3"], {}))
    assert (cfg.workers, cfg.threads) == (3, 2)
    cfg.set("workers", 4)
    assert (cfg.whole().settings.workers, cfg.whole().settings.threads) == (4, 2)
