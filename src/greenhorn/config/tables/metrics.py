"""Where the server counts what it did."""

from dataclasses import dataclass

from greenhorn.config.logs import any_text, statsd_address, statsd_tags
from greenhorn.config.parsers import optional, switch
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """StatsD and its dialect DogStatsD."""

    statsd_host: str | None = setting(
        ("--statsd-host",),
        default=None,
        parse=optional(statsd_address),
        meta="ADDRESS",
        doc="""StatsD server to send metrics to, as HOST:PORT (HOST alone means port 8125) or unix://PATH. Unset = no
            metrics.""",
    )
    statsd_prefix: str = setting(
        ("--statsd-prefix",),
        default="",
        parse=any_text,
        meta="PREFIX",
        doc="""What the names of all metrics begin with; a full stop follows it where there is none.""",
    )
    dogstatsd_tags: str = setting(
        ("--dogstatsd-tags",),
        default="",
        parse=statsd_tags,
        meta="TAGS",
        doc="""Tags on every metric, in the dialect of DogStatsD: NAME:VALUE, separated by commas.""",
    )
    enable_backlog_metric: bool = setting(
        ("--enable-backlog-metric",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Measure how many connections wait in the queues of the listening TCP sockets. Linux only.""",
    )
