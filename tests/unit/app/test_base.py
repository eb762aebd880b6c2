"""Applications that bring their configuration, up to the point where they serve."""

import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from greenhorn.app.base import Application, BaseApplication
from greenhorn.app.wsgiapp import WSGIApplication
from greenhorn.config import Settings
from greenhorn.errors import AppLoadError, ConfigError

EMBEDDING = Path(__file__).resolve().parents[3] / "docs" / "embedding.md"


def served(environ: object, start_response: object) -> list[bytes]:
    del environ, start_response
    return [b"served"]


class Shop(BaseApplication):
    """The custom application of gunicorn's documentation."""

    def __init__(self, application: Any = served, options: Mapping[str, object] | None = None) -> None:
        self.options = options or {}
        self.application = application
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            if name in self.cfg.settings and value is not None:
                self.cfg.set(name.lower(), value)

    def load(self) -> Any:
        return self.application


@pytest.fixture(autouse=True)
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Start in an empty directory; what is given is what was typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("GREENHORN_CMD_ARGS", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SERVER_SOFTWARE", "restored afterwards")
    modules = set(sys.modules)

    def typed(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["shop", *arguments])

    typed()
    yield typed
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def exit_of(make: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        make()
    code = caught.value.code
    return (1, f"{code}\n") if isinstance(code, str) else (code, capsys.readouterr().err)


# BaseApplication.


def test_the_example_of_the_documentation_works():
    [example] = re.findall(r"```python\n(.+?)```", EMBEDDING.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "example", "exec"), names)
    shop = names["Shop"](names["hello"], {"bind": "127.0.0.1:8000", "workers": 2})
    assert (shop.cfg.workers, shop.cfg.bind, shop.wsgi()) == (2, ("127.0.0.1:8000",), names["hello"])


def test_options_are_settings_and_what_is_none_of_them_is_left_out():
    shop = Shop(served, {"workers": 2, "bind": None, "colour": "red"})
    assert shop.cfg.workers == 2
    assert shop.wsgi() is served


def test_no_file_and_no_flags_are_read(tmp_path: Path, start: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gunicorn.conf.py").write_text("workers = 9\n")
    start("--workers", "9", "--no-such-flag")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 9")
    assert Shop().cfg.workers == 1


def test_a_wrong_setting_ends_with_one_line(capsys: pytest.CaptureFixture[str]):
    code, err = exit_of(lambda: Shop(served, {"workers": "many"}), capsys)
    assert code == 1
    assert err.startswith("greenhorn: error: Shop: workers = 'many': must be a whole number")
    assert len(err.splitlines()) == 1


def test_settings_that_would_be_unsafe_to_ignore_end_as_well(capsys: pytest.CaptureFixture[str]):
    code, err = exit_of(lambda: Shop(served, {"protocol": "uwsgi"}), capsys)
    assert code == 1
    assert "greenhorn: error: Shop: protocol = 'uwsgi'" in err


def test_a_mistake_in_load_config_keeps_its_traceback():
    class Broken(Shop):
        def load_config(self) -> None:
            raise KeyError("colour")

    with pytest.raises(KeyError):
        Broken()


@pytest.mark.parametrize("method", ["load_config", "load"])
def test_a_method_that_is_missing_is_named(method: str):
    namespace = {"load_config": Shop.load_config, "load": Shop.load, "options": {}}
    del namespace[method]
    with pytest.raises(NotImplementedError, match=f"Bare needs a method {method}"):
        type("Bare", (BaseApplication,), namespace)().load()


def test_the_application_is_loaded_once():
    class Counted(Shop):
        loads = 0

        def load(self) -> Any:
            self.loads += 1
            return served

    shop = Counted()
    assert shop.loads == 0
    assert shop.wsgi() is shop.wsgi() is shop.callable is served
    assert shop.loads == 1


def test_a_reload_reads_anew():
    shop = Shop(served, {"workers": 2})
    shop.options = {"threads": 3}
    shop.reload()
    assert (shop.cfg.workers, shop.cfg.threads) == (1, 3)


def test_after_a_reload_that_fails_everything_is_as_before():
    shop = Shop(served, {"workers": 2})
    shop.options = {"workers": "many"}
    with pytest.raises(ConfigError, match="many"):
        shop.reload()
    assert shop.cfg.workers == 2


def test_a_worker_sees_the_settings_that_it_goes_by():
    shop = Shop(served, {"workers": 2})
    assert shop._load_for(Settings(workers=5)) is served
    assert shop.cfg.workers == 5


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        (lambda: 1 // 0, 3, "Broken.load() failed:\nTraceback"),
        (lambda: sys.exit("enough"), 3, "SystemExit: enough"),
        (lambda: None, 4, "Broken.load() returned None, which cannot be called; a WSGI application is needed"),
    ],
)
def test_an_application_that_cannot_be_had_is_told(fault: Callable[[], Any], code: int, told: str):
    class Broken(Shop):
        def load(self) -> Any:
            return fault()

    shop = Broken()
    with pytest.raises(AppLoadError) as caught:
        shop._load_for(shop._configuration.settings)
    assert caught.value.exit_code == code
    assert told in str(caught.value)
    assert "greenhorn/app" not in str(caught.value)


def test_a_check_loads_the_application_and_ends(capsys: pytest.CaptureFixture[str]):
    assert exit_of(Shop(served, {"check_config": True}).run, capsys) == (0, "")
    code, err = exit_of(Shop(5, {"check_config": True}).run, capsys)
    assert (code, err.splitlines()) == (
        1,
        ["greenhorn: error: Shop.load() returned 5, which cannot be called; a WSGI application is needed"],
    )


def test_what_is_set_after_the_constructor_counts(capsys: pytest.CaptureFixture[str]):
    shop = Shop(served, {"workers": 2})
    shop.cfg.set("print_config", True)
    with pytest.raises(SystemExit) as caught:
        shop.run()
    out = capsys.readouterr().out
    assert caught.value.code == 0
    [line] = [line for line in out.splitlines() if line.startswith("workers ")]
    assert line.split() == ["workers", "=", "2", "#", "Shop"]


def test_another_thread_is_told_that_it_is_the_wrong_place(capfd: pytest.CaptureFixture[str]):
    codes: list[object] = []

    def run() -> None:
        try:
            Shop().run()
        except SystemExit as end:
            codes.append(end.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(15)
    assert codes == [1]
    assert "Shop.run() was called in another thread" in capfd.readouterr().err


# Application.


class Till(Application):
    """Settings of its own below those of files and flags."""

    def init(self, parser: Any, opts: Any, args: Sequence[str]) -> Mapping[str, object]:
        self.seen = (parser.prog, opts.workers, opts.threads, opts.args, list(args))
        return {"workers": 2, "THREADS": 2, "keepalive": 2, "backlog": 2}

    def load(self) -> Any:
        return served


def test_sources_follow_each_other(tmp_path: Path, start: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gunicorn.conf.py").write_text("threads = 3\nkeepalive = 3\nbacklog = 3\n")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--keep-alive 4 --backlog 4")
    start("--backlog", "5", "first")
    till = Till()
    assert (till.cfg.workers, till.cfg.threads, till.cfg.keepalive, till.cfg.backlog) == (2, 3, 4, 5)
    assert till.seen == ("greenhorn", None, None, ["first"], ["first"])


def test_what_a_subclass_sets_counts_before_or_after_the_sources(start: Callable[..., None]):
    class Safe(Till):
        def load_config(self) -> None:
            self.cfg.set("graceful_timeout", 7)
            self.cfg.set("timeout", 7)
            super().load_config()
            self.cfg.set("workers", 8)

    start("--workers", "5", "--timeout", "6")
    safe = Safe()
    assert (safe.cfg.workers, safe.cfg.timeout, safe.cfg.graceful_timeout) == (8, 6, 7)


def test_init_may_return_nothing():
    class Plain(Application):
        def load(self) -> Any:
            return served

    assert Plain().cfg.workers == 1


def test_a_configuration_file_can_be_read_on_demand(tmp_path: Path):
    (tmp_path / "mine.py").write_text("workers = 6\n")

    class Reader(Application):
        def load_config(self) -> None:
            self.cfg.set("threads", 2)
            self.load_config_from_file("mine.py")

    reader = Reader()
    assert (reader.cfg.workers, reader.cfg.threads) == (6, 2)
    assert reader._configuration.origins["workers"] == f"{tmp_path}/mine.py"


def test_a_fault_of_init_names_the_class(capsys: pytest.CaptureFixture[str]):
    class Wrong(Application):
        def init(self, parser: Any, opts: Any, args: Sequence[str]) -> Mapping[str, object]:
            del parser, opts, args
            return {"worker": 2}

    code, err = exit_of(Wrong, capsys)
    assert code == 1
    assert err.startswith("greenhorn: error: Wrong: worker is not a setting: did you mean workers")


def test_a_fault_of_the_command_line_ends_with_2(start: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    start("--workers", "many")
    code, err = exit_of(Till, capsys)
    assert code == 2
    assert "argument -w/--workers: 'many'" in err


# WSGIApplication.


def test_an_application_is_named_by_flags_or_file(tmp_path: Path, start: Callable[..., None]):
    (tmp_path / "hello.py").write_text("def app(environ, start_response): pass\ndef other(environ, start): pass\n")
    sys.path.insert(0, str(tmp_path))
    (tmp_path / "gunicorn.conf.py").write_text("wsgi_app = 'hello:other'\n")
    assert WSGIApplication().load().__name__ == "other"
    start("hello:app")
    assert WSGIApplication().load().__name__ == "app"


def test_an_application_is_named_by_app_uri_with_options(tmp_path: Path):
    (tmp_path / "hello.py").write_text("def app(environ, start_response): pass\n")
    sys.path.insert(0, str(tmp_path))

    class Standalone(WSGIApplication):
        def __init__(self, app_uri: str, options: Mapping[str, object]) -> None:
            self.options = options
            self.app_uri = app_uri
            super().__init__()

        def load_config(self) -> None:
            for name, value in self.options.items():
                self.cfg.set(name.lower(), value)

    standalone = Standalone("hello:app", {"workers": 3})
    assert standalone.cfg.workers == 3
    assert standalone.load().__name__ == "app"


def test_no_application_is_an_error(capsys: pytest.CaptureFixture[str]):
    code, err = exit_of(WSGIApplication, capsys)
    assert code == 1
    assert "WSGIApplication: no application is named" in err
