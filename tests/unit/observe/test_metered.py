"""What a logger and an access log count by themselves, beside what they write."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from greenhorn.config import Settings
from greenhorn.instrument.statsd import Statsd
from greenhorn.observe.access import AccessFile, DirectLog, Excluded, NotTimed, Refusal, Unread
from greenhorn.observe.formats import format_in_use
from greenhorn.observe.logger import Logger
from greenhorn.observe.metered import MeteredAccess, meter, metered, statsd_of
from greenhorn.observe.statsd import StatsD
from unit.observe.receiving import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def statsd(receiver: Receiver) -> Iterator[StatsD]:
    made = StatsD(receiver.address)
    yield made
    made.close()


def lines_of(receiver: Receiver, statsd: StatsD) -> list[str]:
    """Everything that was sent before."""
    statsd.gauge("end", 0)
    return receiver.until(lambda metrics: "end:0|g" in metrics)[:-1]


# The error log.


@pytest.fixture
def make_logger(tmp_path: Path, statsd: StatsD) -> Iterator[Callable[..., Any]]:
    made: list[Logger] = []

    def make(of: type[Logger] = Logger, level: str = "info") -> Logger:
        log = of(Settings(errorlog=str(tmp_path / "error.log"), loglevel=level))
        made.append(log)
        meter(log, statsd)
        return log

    yield make
    for log in made:
        for handler in list(log.error_log.handlers):
            log.error_log.removeHandler(handler)
            handler.close()


def written(folder: Path) -> list[str]:
    return [line.split("] ", 3)[-1] for line in (folder / "error.log").read_text().splitlines()]


def test_calls_of_the_four_severe_methods_are_counted_as_gunicorn_counts_them(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD
):
    log = make_logger()
    log.critical("a")
    log.error("b")
    log.warning("c %d", 1)
    try:
        int("x")
    except ValueError:
        log.exception("d")
    log.info("e")
    log.debug("f")
    assert lines_of(receiver, statsd) == [
        "gunicorn.log.critical:1|c|@1.0",
        "gunicorn.log.error:1|c|@1.0",
        "gunicorn.log.warning:1|c|@1.0",
        "gunicorn.log.exception:1|c|@1.0",
    ]


def test_an_error_with_a_traceback_counts_as_an_exception(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD
):
    make_logger().error("it failed", exc_info=ValueError("x"))
    make_logger().warning("it failed", exc_info=ValueError("x"))
    assert lines_of(receiver, statsd) == ["gunicorn.log.exception:1|c|@1.0", "gunicorn.log.warning:1|c|@1.0"]


def test_what_the_level_keeps_out_of_the_log_is_counted_and_sent_all_the_same(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD, tmp_path: Path
):
    log = make_logger(level="critical")
    log.warning("a")
    log.debug("b", extra={"metric": "app.count", "value": 4, "mtype": "counter"})
    assert lines_of(receiver, statsd) == ["gunicorn.log.warning:1|c|@1.0", "app.count:4|c|@1.0"]
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("gauge", ["app.x:1.5|g"]),
        ("counter", ["app.x:1.5|c|@1.0"]),
        ("histogram", ["app.x:1.5|h"]),
        ("timer", ["app.x:1.5|ms"]),
        ("unknown", []),
    ],
)
@pytest.mark.parametrize("method", ["info", "debug", "log"])
def test_log_calls_may_carry_a_metric(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD, method: str, kind: str, expected: list[str]
):
    log = make_logger()
    write = (lambda *args, **options: log.log(20, *args, **options)) if method == "log" else getattr(log, method)
    write("message", extra={"metric": "app.x", "value": 1.5, "mtype": kind})
    assert lines_of(receiver, statsd) == expected


def test_a_metric_without_a_message_is_not_logged_and_one_with_a_message_is(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD, tmp_path: Path
):
    log = make_logger()
    log.info("", extra={"metric": "a", "value": 0, "mtype": "gauge"})
    log.log(20, None, extra={"metric": "b", "value": 1, "mtype": "gauge"})
    log.info("see %s", "c", extra={"metric": "c", "value": 2, "mtype": "gauge"})
    assert lines_of(receiver, statsd) == ["a:0|g", "b:1|g", "c:2|g"]
    assert written(tmp_path) == ["see c"]


@pytest.mark.parametrize(
    "extra",
    [
        None,
        {"other": 1},
        {"metric": "a", "mtype": "gauge"},
        {"metric": "a", "value": None, "mtype": "gauge"},
        {"metric": "", "value": 1, "mtype": "gauge"},
        {"metric": "a", "value": 1},
    ],
)
def test_an_extra_that_is_no_whole_metric_is_only_logged(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD, tmp_path: Path, extra: Any
):
    make_logger().info("message", extra=extra)
    assert lines_of(receiver, statsd) == []
    assert written(tmp_path) == ["message"]


def test_hooks_may_send_metrics_with_the_methods_of_gunicorn_s_logger(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD
):
    log = make_logger()
    log.increment("app.direct", 2)
    log.decrement("app.direct", 1)
    log.gauge("app.gauge", 1)
    log.timer("app.timer", 1)
    log.histogram("app.hist", 1)
    assert lines_of(receiver, statsd) == [
        "app.direct:2|c|@1.0",
        "app.direct:-1|c|@1.0",
        "app.gauge:1|g",
        "app.timer:1|ms",
        "app.hist:1|h",
    ]


def test_a_logger_class_of_the_user_is_counted_too(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD, tmp_path: Path
):
    class Shouting(Logger):
        def warning(self, msg: object, *args: Any, **kwargs: Any) -> None:
            super().warning(str(msg).upper(), *args, **kwargs)

    make_logger(Shouting).warning("quiet")
    assert lines_of(receiver, statsd) == ["gunicorn.log.warning:1|c|@1.0"]
    assert written(tmp_path) == ["QUIET"]


# Answers.


class Answer(NamedTuple):
    status: str | None
    headers: tuple[tuple[str, str], ...] = ()
    sent: int = 5


HEAD = Unread("GET / HTTP/1.1", "GET", "/", "HTTP/1.1", "/")
HEALTH = HEAD._replace(target="/healthz", path="/healthz")


@pytest.mark.parametrize(("status", "code"), [("200 OK", 200), ("404", 404), ("599 Odd", 599)])
def test_an_answer_is_counted_with_its_duration_and_its_status(
    receiver: Receiver, statsd: StatsD, status: str, code: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("greenhorn.observe.metered.monotonic", lambda: 100.25)
    access = MeteredAccess(statsd, None)
    assert access.tells_durations
    assert not access.tells_id
    access.answered(NotTimed(read_at=100.0), {}, HEAD, Answer(status))
    assert lines_of(receiver, statsd) == [
        "gunicorn.request.duration:250.0|ms",
        "gunicorn.requests:1|c|@1.0",
        f"gunicorn.request.status.{code}:1|c|@1.0",
    ]


def test_a_refused_request_is_counted(receiver: Receiver, statsd: StatsD):
    MeteredAccess(statsd, None).refused(NotTimed(), {}, Unread("nonsense"), Refusal("400", 10, "malformed"))
    assert lines_of(receiver, statsd) == ["gunicorn.requests:1|c|@1.0", "gunicorn.request.status.400:1|c|@1.0"]


def test_an_application_that_fails_took_its_time_all_the_same(
    receiver: Receiver, statsd: StatsD, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("greenhorn.observe.metered.monotonic", lambda: 101.5)
    times = NotTimed(read_at=100.0, taken_at=100.5)
    MeteredAccess(statsd, None).refused(times, {}, HEAD, Refusal("500", 10, "the application failed"))
    assert lines_of(receiver, statsd) == [
        "gunicorn.request.duration:1500.0|ms",
        "gunicorn.requests:1|c|@1.0",
        "gunicorn.request.status.500:1|c|@1.0",
    ]


def test_a_request_that_got_no_answer_is_not_counted(receiver: Receiver, statsd: StatsD):
    MeteredAccess(statsd, None).answered(NotTimed(), {}, HEAD, Answer(None))
    assert lines_of(receiver, statsd) == []


def test_the_access_log_is_written_as_before_and_may_leave_out_what_is_counted(
    receiver: Receiver, statsd: StatsD, tmp_path: Path
):
    file = AccessFile(str(tmp_path / "access.log"))
    log = DirectLog(file, format_in_use("%(m)s %(U)s %(s)s %(id)s", "text"), Excluded(("/healthz",)), waiting=[1])
    access = MeteredAccess(statsd, log)
    assert access.tells_id
    access.answered(NotTimed(), {}, HEAD, Answer("200 OK"))
    access.answered(NotTimed(), {}, HEALTH, Answer("204 No Content"))
    assert (tmp_path / "access.log").read_text() == ""
    access.flush()
    access.refused(NotTimed(), {}, HEAD, Refusal("431", 10, "too large"))
    file.close()
    assert (tmp_path / "access.log").read_text() == 'GET / 200 -\nGET / 431 - "too large"\n'
    counted = [line for line in lines_of(receiver, statsd) if "status" in line]
    assert counted == [f"gunicorn.request.status.{code}:1|c|@1.0" for code in (200, 204, 431)]


# Where a logger's metrics go.


def settings(receiver: Receiver, **options: Any) -> Settings:
    return Settings(statsd_host=receiver.address, **options)


def test_without_statsd_host_there_is_nothing_to_send_to():
    assert statsd_of(Settings()) is None


def test_a_logger_that_takes_the_place_of_another_goes_on_with_its_socket(receiver: Receiver):
    first = statsd_of(settings(receiver, statsd_prefix="a"))
    assert first is not None
    assert statsd_of(settings(receiver, statsd_prefix="a", loglevel="debug")) is first
    assert statsd_of(settings(receiver, statsd_prefix="b")) is not first
    assert statsd_of(settings(receiver, statsd_prefix="a", dogstatsd_tags="x:y")) is not first


def test_a_socket_that_no_logger_needs_any_more_is_closed(receiver: Receiver):
    statsd = statsd_of(settings(receiver))
    assert statsd is not None
    descriptor = statsd._socket.fileno()
    del statsd
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


class Derived(Statsd):
    """As a user would derive it from gunicorn's class of the same name."""

    def increment(self, name: str, value: object, sampling_rate: float = 1.0) -> None:
        super().increment(f"mine.{name}", value, sampling_rate)


def test_a_class_derived_from_gunicorn_s_statsd_logger_keeps_its_methods(
    make_logger: Callable[..., Any], receiver: Receiver, statsd: StatsD
):
    log = make_logger(Derived)
    log.increment("a", 1)
    log.decrement("b", 1)
    log.gauge("c", 1)
    log.timer("d", 1)
    log.histogram("e", 1)
    log.warning("f")
    assert lines_of(receiver, statsd) == [
        "mine.a:1|c|@1.0",
        "b:-1|c|@1.0",
        "c:1|g",
        "d:1|ms",
        "e:1|h",
        "gunicorn.log.warning:1|c|@1.0",
    ]


def test_its_methods_do_nothing_without_statsd_host(receiver: Receiver, tmp_path: Path):
    log = Statsd(Settings(errorlog=str(tmp_path / "error.log")))
    for name in ("gauge", "increment", "decrement", "timer", "histogram"):
        getattr(log, name)("a", 1)
    assert receiver.is_silent()
    for handler in list(log.error_log.handlers):
        log.error_log.removeHandler(handler)
        handler.close()


def test_a_worker_of_a_logger_that_does_not_count_writes_its_access_log_as_it_is(tmp_path: Path):
    log = Statsd(Settings(errorlog=str(tmp_path / "error.log")))
    access = object()
    assert metered(log, access) is access  # type: ignore[arg-type]
    assert metered(log, None) is None
    for handler in list(log.error_log.handlers):
        log.error_log.removeHandler(handler)
        handler.close()
