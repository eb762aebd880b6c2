"""Where the server writes down what it did."""

from dataclasses import dataclass

from greenhorn.config.parsers import one_of, optional, path
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """The access log and the error log."""

    accesslog: str | None = setting(
        ("--access-logfile",),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""File for one line per request; - is the standard output. Unset = no access log.""",
    )
    errorlog: str = setting(
        ("--error-logfile", "--log-file"),
        default="-",
        parse=path,
        meta="FILE",
        doc="""File for what the server has to say; - is the standard error.""",
    )
    loglevel: str = setting(
        ("--log-level",),
        default="info",
        parse=one_of("debug", "info", "warning", "error", "critical"),
        meta="LEVEL",
        doc="""Least important messages that go to the error log: debug, info, warning, error or
            critical.""",
        differs="""the same default, but an unknown level means info. Here it ends the start.""",
    )
