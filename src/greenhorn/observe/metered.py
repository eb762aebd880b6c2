"""What becomes a metric by itself: answers, messages of the error log, and log calls that carry one."""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

from greenhorn.observe.access import AccessLog, Refusal
from greenhorn.observe.lines import Answered, Timed
from greenhorn.observe.statsd import StatsD

COUNTED = ("critical", "error", "warning", "exception")
"""Methods of a logger whose calls are counted."""
ERROR, EXCEPTION = "gunicorn.log.error", "gunicorn.log.exception"
LEVELS = ("info", "debug")
"""Methods of a logger whose calls may carry a metric, as may those of `log`."""
DIRECT = ("gauge", "increment", "decrement", "timer", "histogram")
"""What gunicorn's logger can do beside when it sends metrics, and hooks may call."""

_in_use: WeakValueDictionary[tuple[str, str, str], StatsD] = WeakValueDictionary()
"""What loggers of this process send to: one that takes another's place, as after HUP, goes on with its socket."""


def statsd_of(settings: Any) -> StatsD | None:
    """Where the settings want metrics to go, if they do. Main thread. Raises `ConfigError`."""
    if not settings.statsd_host:
        return None
    identity = (settings.statsd_host, settings.statsd_prefix, settings.dogstatsd_tags)
    statsd = _in_use.get(identity)
    if statsd is None:
        statsd = _in_use[identity] = StatsD(*identity)
    return statsd


class MeteredAccess:
    """An `AccessLog` that counts what it is told, and passes it on to the log, if there is one.

    What `access_log_exclude` leaves out of the log is counted all the same.
    """

    tells_durations = True

    def __init__(self, statsd: StatsD, log: AccessLog | None) -> None:
        self.tells_id = log is not None and log.tells_id
        self._statsd = statsd
        self._log = log

    def answered(self, times: Timed, environ: Mapping[str, Any], head: Any, answer: Answered) -> None:
        """Count what the application answered, and the time from its head to its last byte."""
        seconds = monotonic() - times.read_at if times.read_at else 0.0
        if self._log is not None:
            self._log.answered(times, environ, head, answer)
        if answer.status is not None:
            self._statsd.answered(int(answer.status[:3]), seconds)

    def refused(self, times: Timed, environ: Mapping[str, Any], head: Any, refusal: Refusal) -> None:
        """Count what the server answered, with the time if a thread had taken the request on, as when it failed."""
        if self._log is not None:
            self._log.refused(times, environ, head, refusal)
        if times.taken_at:
            self._statsd.answered(int(refusal.status), monotonic() - times.read_at)
        else:
            self._statsd.refused(int(refusal.status))

    def flush(self) -> None:
        """Let the log write what waits."""
        if self._log is not None:
            self._log.flush()


def metered(log: Any, access: AccessLog | None) -> AccessLog | None:
    """The access log of a logger's worker, counted if the logger is; the metrics' server is looked up. At its boot."""
    statsd: StatsD | None = log.statsd
    if statsd is None:
        return access
    statsd.look_up(log.warning)
    return MeteredAccess(statsd, access)


def meter(log: Any, statsd: StatsD) -> None:
    """Let the methods of the logger `log`, of whichever class, count in `statsd` as gunicorn's do, whatever its level.

    `critical`, `error`, `warning` and `exception` count each call, an error with a traceback as an exception; `info`,
    `debug` and `log` send the metric that stands in `extra` as metric, value and mtype (gauge, counter, histogram,
    timer), and log nothing where the message is empty. What else gunicorn's logger can do is added where it is missing.
    """
    log.statsd = statsd
    for name in COUNTED:
        setattr(log, name, _counting(getattr(log, name), statsd, f"gunicorn.log.{name}"))
    for name in LEVELS:
        setattr(log, name, _carrying(getattr(log, name), statsd))
    write = log.log

    def log_metric(lvl: object, msg: object, *args: Any, **kwargs: Any) -> None:
        _send(statsd, kwargs.get("extra"))
        if msg:
            write(lvl, msg, *args, **kwargs)

    log.log = log_metric
    for name in DIRECT:
        if not hasattr(log, name):
            setattr(log, name, getattr(statsd, name))


def _counting(write: Callable[..., None], statsd: StatsD, metric: str) -> Callable[..., None]:
    def log_and_count(msg: object, *args: Any, **kwargs: Any) -> None:
        write(msg, *args, **kwargs)
        # gunicorn calls exception() where this server hands the exception over.
        statsd.increment(EXCEPTION if kwargs.get("exc_info") and metric == ERROR else metric, 1)

    return log_and_count


def _carrying(write: Callable[..., None], statsd: StatsD) -> Callable[..., None]:
    def log_metric(msg: object, *args: Any, **kwargs: Any) -> None:
        _send(statsd, kwargs.get("extra"))
        if msg:
            write(msg, *args, **kwargs)

    return log_metric


def _send(statsd: StatsD, extra: object) -> None:
    """Send the metric that a log call carries, if it does."""
    if not isinstance(extra, Mapping):
        return
    name, value, kind = extra.get("metric"), extra.get("value"), extra.get("mtype")
    if not name or value is None:
        return
    if kind == "gauge":
        statsd.gauge(name, value)
    elif kind == "counter":
        statsd.increment(name, value)
    elif kind == "histogram":
        statsd.histogram(name, value)
    elif kind == "timer":
        statsd.timer(name, value)
