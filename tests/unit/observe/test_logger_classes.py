"""logger_class: whose classes there are, what a subclass may override, and what then sees access lines."""

import logging
import os
import sys
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenhorn import glogging
from greenhorn.config import Settings
from greenhorn.config.logs import OWN_LOGGER, logger_class
from greenhorn.errors import ConfigError
from greenhorn.observe.access import AccessFile, DirectLog, Excluded, Refusal, Unread
from greenhorn.observe.atoms import SafeAtoms
from greenhorn.observe.formats import Format
from greenhorn.observe.logger import Logger
from greenhorn.observe.logger_class import check_logging, find_logger_class, make_logger
from greenhorn.observe.routed import RoutedLog
from greenhorn.workers.composition import access_log
from greenhorn.workers.hooked import stand_in
from unit.observe.exchanges import Answer, Times, basic, environ_of, head


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """A module that somebody has written."""
    made = types.ModuleType("their_logging")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def files(folder: Path, **others: Any) -> Settings:
    return Settings(errorlog=str(folder / "error.log"), accesslog=str(folder / "access.log"), **others)


@pytest.mark.parametrize(
    "name",
    [
        *("gunicorn.glogging.Logger", "gunicorn.glogging:Logger", "gunicorn.instrument.statsd.Statsd", "simple"),
        *("egg:gunicorn#simple", "egg:greenhorn#simple", "greenhorn.observe.logger.Logger", OWN_LOGGER, Logger, None),
    ],
)
def test_gunicorns_names_mean_our_logger(name: Any):
    assert find_logger_class(logger_class(name)) is Logger
    assert glogging.Logger is Logger


@pytest.mark.parametrize("name", ["their_logging.Mine", "their_logging:Mine"])
def test_a_class_is_found_by_its_name(module: types.ModuleType, name: str):
    class Mine(Logger):
        pass

    module.Mine = Mine  # type: ignore[attr-defined]
    assert find_logger_class(name) is Mine
    assert find_logger_class(lambda: name) is Mine


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module.Mine", "cannot import 'no_such_module'"),
        ("greenhorn.glogging.Mine", "'greenhorn.glogging' has no 'Mine'"),
        ("greenhorn.glogging.CONFIG_DEFAULTS", "is no class"),
        ("egg:nobody#mine", "no package that is installed offers"),
        ("mine", "no package that is installed offers"),
        (dict, "has no access, info, error"),
        (7, "7 is no class"),
    ],
)
def test_what_is_no_logger_class_is_an_error_of_the_configuration(name: Any, why: str):
    with pytest.raises(ConfigError, match=r"^logger_class: ") as caught:
        find_logger_class(name)
    assert why in str(caught.value)


def test_a_logger_class_made_for_gunicorn_that_is_not_there_is_told_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "their_loggers.py").write_text("from gunicorn.glogging import Logger\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "gunicorn", None)
    monkeypatch.delitem(sys.modules, "gunicorn.glogging", raising=False)
    with pytest.raises(ConfigError, match=r"^logger_class: cannot .* write greenhorn\.glogging for gunicorn\.glogging"):
        find_logger_class("their_loggers.Logger")


def test_a_logger_class_that_fails_is_an_error_of_the_configuration():
    class Mine(Logger):
        def setup(self, cfg: Any) -> None:
            raise LookupError(f"no such place for {cfg.loglevel}")

    with pytest.raises(ConfigError, match=r"^logger_class: .*Mine fails: LookupError: no such place for info$"):
        make_logger(Settings(logger_class=Mine))


def test_a_class_of_another_family_gets_what_the_server_needs(tmp_path: Path):
    class Theirs:
        installed = 0

        @classmethod
        def install(cls) -> None:
            cls.installed += 1

        def __init__(self, cfg: Any) -> None:
            self.error_log = logging.getLogger("gunicorn.error")
            self.access_log = logging.getLogger("gunicorn.access")
            self.error_log.addHandler(logging.FileHandler(cfg.errorlog))

        def access(self, *_: Any) -> None:
            pass

        info = error = exception = reopen_files = access

    log = make_logger(Settings(errorlog=str(tmp_path / "error.log"), logger_class=Theirs))
    assert set(log.paths) - {os.devnull} == {str(tmp_path / "error.log")}
    assert log.fileno() > 2
    log.stream.write("written\n")
    assert (tmp_path / "error.log").read_text() == "written\n"
    assert log.routes_access
    assert type(log).installed == 1  # type: ignore[attr-defined]


def test_the_loggers_of_python_have_gunicorns_names_as_well():
    for name in ("error", "access"):
        assert logging.getLogger(f"gunicorn.{name}") is logging.getLogger(f"greenhorn.{name}")


# What sees access lines.


def answered(log: Any, *fields: str, request_line: str = "GET /a?b=c HTTP/1.1") -> None:
    asked = head(*fields, request_line=request_line)
    log.answered(Times(), environ_of(asked), asked, Answer("200 OK", 5, (("X-Id", "7"),)))


def attached(settings: Settings) -> Any:
    """The access log that a worker would have."""
    log = make_logger(settings)
    file = AccessFile(settings.accesslog) if settings.accesslog else None
    return access_log(settings, log, file, ())


def with_filter(self: Logger, cfg: Any) -> None:
    Logger.setup(self, cfg)
    self.access_log.addFilter(lambda record: "healthz" not in record.getMessage())


@pytest.mark.parametrize(
    "overridden",
    [
        {"now": lambda _: "NOW"},
        {"access": lambda *_: None},
        {"atoms": lambda *_: {}},
        {"_get_user": lambda *_: "me"},
        {"access_fmt": "%(asctime)s %(message)s"},
        {"atoms_wrapper_class": dict},
        {"setup": with_filter},
    ],
    ids=lambda overridden: next(iter(overridden)),
)
def test_a_subclass_that_has_a_say_in_access_lines_is_asked(tmp_path: Path, overridden: dict[str, Any]):
    assert isinstance(attached(files(tmp_path, logger_class=type("Mine", (Logger,), overridden))), RoutedLog)


def test_a_subclass_that_has_no_say_in_access_lines_costs_nothing(tmp_path: Path):
    class Mine(Logger):
        def info(self, msg: object, *args: Any, **kwargs: Any) -> None:
            super().info(f"mine: {msg}", *args, **kwargs)

    assert isinstance(attached(files(tmp_path, logger_class=Mine)), DirectLog)
    assert attached(Settings(errorlog=str(tmp_path / "e"))) is None


def test_a_handler_that_somebody_has_added_sees_access_lines(tmp_path: Path):
    settings = files(tmp_path)
    log = make_logger(settings)
    assert not log.routes_access
    handler = logging.FileHandler(tmp_path / "other.log")
    logging.getLogger("gunicorn.access").addHandler(handler)
    assert log.routes_access
    answered(access_log(settings, log, None, ()))
    assert (tmp_path / "other.log").read_text() == (tmp_path / "access.log").read_text() != ""


def test_a_filter_can_leave_access_lines_out(tmp_path: Path):
    log = attached(files(tmp_path, logger_class=type("Mine", (Logger,), {"setup": with_filter})))
    answered(log, request_line="GET /healthz HTTP/1.1")
    answered(log)
    assert (tmp_path / "access.log").read_text().count("\n") == 1


def test_what_a_subclass_overrides_is_in_the_line(tmp_path: Path):
    class Mine(Logger):
        def now(self) -> str:
            return "[now]"

        def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:
            known = super().atoms(resp, req, environ, request_time)
            return known | {"shop": f"{req.method} {req.uri} {req.version} {resp.status}"}

    form = '%(h)s %(u)s %(t)s "%(shop)s" %(s)s %(B)d %({x-a}i)s %({x-id}o)s %({Remote_Port}e)s %(none)s "%(f)s"'
    log = attached(files(tmp_path, logger_class=Mine, access_log_format=form))
    answered(log, basic(b"jo e:x"), "X-A: 1 2", 'Referer: a"b')
    assert (tmp_path / "access.log").read_text() == (
        '198.51.100.7 jo\\x20e [now] "GET /a?b=c (1, 1) 200 OK" 200 5 1\\x202 7 4242 - "a\\x22b"\n'
    )


def test_the_atoms_are_the_arguments_of_the_record(tmp_path: Path):
    records: list[logging.LogRecord] = []

    class Seeing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    settings = files(tmp_path)
    log = make_logger(settings)
    log.access_log.addHandler(Seeing())
    answered(access_log(settings, log, None, ()), "User-Agent: curl")
    assert isinstance(records[0].args, SafeAtoms)
    assert records[0].args["h"] == "198.51.100.7"
    assert records[0].args["{User-Agent}i"] == "curl"
    assert records[0].levelname == "INFO"


def test_the_general_path_writes_what_the_direct_one_does(tmp_path: Path):
    form = (
        '%(h)s %(l)s %(u)s "%(r)s" %(r)s %(m)s %(R)s %(U)s %(q)s %(H)s %(s)s %(b)s '
        '"%(f)s" %(a)s %(p)s %({x-a}i)s %% %(E)s'
    )
    asked = head("X-A: 1 2\t", "User-Agent: a\xe9", basic(b'"x'), request_line="GET /%20a?b=%22 HTTP/1.1")
    for number, (text, kind) in enumerate(
        [
            (form, "text"),
            (form, "json"),
            ('{"u": "%(u)s", "s": %(s)s, "a": %(a)s}', "text"),
            ('"%(u).2s" %(a).2s|%(h)-15s|%(s)x %(B)08d "%(b)5d" %(no)5s', "text"),
            ('{\n"u": "%(u).1s", "s": %(s)d, "a": %(a).2s, "f": %(f)9s, "b": "%(b)x", "e": %({wsgi.mine}e)s}', "text"),
        ]
    ):
        (folder := tmp_path / str(number)).mkdir()
        settings = files(folder, access_log_format=text, log_format=kind, access_log_exclude=("/x",))
        log = make_logger(settings)
        direct = access_log(settings, log, AccessFile(str(folder / "direct.log")), ())
        assert isinstance(direct, DirectLog)
        routed = RoutedLog(log, log.form, stand_in, Excluded(settings.access_log_exclude))
        for each in (direct, routed):
            each.answered(Times(), environ_of(asked, **{"wsgi.mine": True}), asked, Answer())
            each.refused(Times(), environ_of(asked), asked, Refusal("413", 3, 'too "large"'))
            each.refused(Times(), {"REMOTE_ADDR": "::1"}, asked, Refusal("413", 3, "too large"))
            answered(each, request_line="GET /x HTTP/1.1")
        written = [steady((folder / name).read_text()) for name in ("direct.log", "access.log")]
        assert written[0] == written[1]
        assert written[0].count("\n") == 3


def steady(text: str) -> str:
    """The lines without their times."""
    return "\n".join(line.partition('"id"')[2] or line for line in text.split("\n"))


def test_a_request_that_could_not_be_read_reaches_the_logger_too(tmp_path: Path):
    seen: list[tuple[Any, ...]] = []

    class Mine(Logger):
        def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
            seen.append(
                (resp.status, resp.sent, resp.reason, req.method, req.headers, environ["RAW_URI"], request_time)
            )
            super().access(resp, req, environ, request_time)

    log = attached(files(tmp_path, logger_class=Mine))
    log.refused(Times(), {"REMOTE_ADDR": "::1"}, Unread("GET /\x1b x y"), Refusal("400", 9, "bad line"))
    assert seen == [("400", 9, "bad line", "-", [], "/\x1b", timedelta(0))]
    assert '"GET /\\x1b x y" 400 9 "-" "-" "bad line"\n' in (tmp_path / "access.log").read_text()


def test_an_access_that_fails_is_told_and_costs_no_answer(tmp_path: Path):
    class Mine(Logger):
        def access(self, *_: Any) -> None:
            raise LookupError("in their code")

    answered(attached(files(tmp_path, logger_class=Mine)))
    assert "LookupError: in their code" in (tmp_path / "error.log").read_text()


@pytest.mark.parametrize("kind", [{"level": 1}, {"msg": 2}])
def test_log_takes_levels_by_name_and_by_number(tmp_path: Path, kind: dict[str, int]):
    log = make_logger(files(tmp_path))
    log.log("warning", "%s", kind)
    log.log(logging.ERROR, "numbered")
    log.log("no such level", "as information")
    text = (tmp_path / "error.log").read_text()
    assert [word in text for word in (f"[WARNING] {kind}", "[ERROR] numbered", "[INFO] as information")] == [True] * 3


# A format with unknown atoms, and checks.


def test_an_atom_that_there_is_not_is_told_once(tmp_path: Path):
    make_logger(files(tmp_path, access_log_format="%(h)s %(shop)s"))
    assert (
        "[WARNING] access_log_format: there is no atom %(shop)s; a - stands for it"
        in (tmp_path / "error.log").read_text()
    )


def test_a_check_leaves_no_empty_file_behind(tmp_path: Path):
    check_logging(files(tmp_path, capture_output=True))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "error.log").write_text("")
    check_logging(files(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["error.log"]


@pytest.mark.parametrize("wrong", [{"access_log_format": "%("}, {"errorlog": "/no/such/folder/log"}])
def test_a_check_finds_what_is_wrong(tmp_path: Path, wrong: dict[str, Any]):
    make: Callable[..., Settings] = Settings
    with pytest.raises(ConfigError):
        check_logging(make(**{"accesslog": str(tmp_path / "access.log"), **wrong}))
    assert list(tmp_path.iterdir()) == []
    assert Format.of("%(h)s").atoms == {"h"}


class Stubbed(Logger):
    """As guides for loguru and structlog have it: all goes to whoever listens at the root."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - the contract of the base class
        handler = logging.NullHandler()
        self.error_logger = logging.getLogger("gunicorn.error")
        self.access_logger = logging.getLogger("gunicorn.access")
        for log in (self.error_logger, self.access_logger):
            log.addHandler(handler)
            log.setLevel("INFO")


@pytest.mark.parametrize("accesslog", [None, "-"])
def test_a_setup_that_does_not_call_ours_is_enough(accesslog: str | None):
    log = Stubbed(Settings(accesslog=accesslog))
    assert access_log(Settings(accesslog=accesslog), log, None, ()) is not None or accesslog is None
    log.info("hello")
    log.reopen_files()
    log.access(Answer(), stand_in(head(), environ_of(head())), environ_of(head()), timedelta(seconds=1))


def test_who_silences_the_access_log_gets_no_lines(tmp_path: Path):
    settings = files(tmp_path)
    log = Logger(settings)
    assert not log.routes_access
    logging.getLogger("gunicorn.access").setLevel(logging.WARNING)
    assert log.routes_access


def test_a_handler_above_gunicorns_loggers_sees_their_lines():
    log = Logger(Settings(errorlog="-"))
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    above = logging.getLogger("gunicorn")
    above.addHandler(handler)
    log.error_log.propagate = True
    try:
        log.error("zq81")
    finally:
        log.error_log.propagate = False
        above.removeHandler(handler)
    assert seen == ["zq81"]
