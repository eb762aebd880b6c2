"""Where the server writes down what it did."""

# ruff: noqa: RUF009 - setting() makes a dataclass field

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from greenhorn.config.logs import (
    OWN_LOGGER,
    field_name,
    json_path,
    logger_class,
    logging_dict,
    syslog_address,
    syslog_facility,
)
from greenhorn.config.parsers import one_of, optional, path, switch, text, texts
from greenhorn.config.setting import setting

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""The format of lines that Apache calls combined."""


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """The access log and the error log."""

    accesslog: str | None = setting(
        ("--access-logfile",),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""File for one line per request; - is the standard output. Unset = no access log, unless logconfig or
            syslog has a place for it.""",
    )
    access_log_format: str = setting(
        ("--access-logformat",),
        default=COMBINED,
        parse=text,
        meta="FORMAT",
        doc="""Line of the access log, of text and atoms such as %(h)s or %({user-agent}i)s. docs/logging.md lists the
            atoms.""",
    )
    access_log_exclude: tuple[str, ...] = setting(
        ("--access-log-exclude",),
        default=(),
        parse=texts,
        meta="PATH",
        repeats=True,
        doc="""Paths whose requests the access log leaves out, such as /healthz. A * at the end stands for all that
            begin so. The flag may be given several times, and a file may hold a list.""",
        differs="""has no such setting; a health check fills the log, or a logger_class has to filter.""",
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
    log_format: str = setting(
        ("--log-format",),
        default="text",
        parse=one_of("text", "json"),
        meta="FORMAT",
        doc="""Form of both logs: text, or json for one JSON object per line. An access_log_format that is a JSON object
            itself says what is in the lines of the access log, another one is then left out.""",
        differs="""has no such setting; JSON takes a logging configuration and a package.""",
    )
    request_id_header: str | None = setting(
        ("--request-id-header",),
        default=cast("str | None", "X-Request-ID"),
        parse=optional(field_name),
        meta="NAME",
        doc="""Header field that carries the id of a request. A trusted peer's is taken, else one is made, where a log
            asks for it. Empty or None = no ids.""",
        differs="""has no such setting.""",
    )
    capture_output: bool = setting(
        ("--capture-output",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Send what the processes write to their standard output and error to the file of errorlog, as it is, also
            between lines of JSON. Without effect where errorlog is -.""",
    )
    enable_stdio_inheritance: bool = setting(
        ("-R", "--enable-stdio-inheritance"),
        default=False,
        parse=switch,
        bare=True,
        doc="""Leave standard output and error as they are when daemon goes to the background.""",
    )
    logger_class: str | Callable[..., Any] = setting(
        ("--logger-class",),
        default=cast("str | Callable[..., Any]", OWN_LOGGER),
        parse=logger_class,
        meta="CLASS",
        doc="""Class of the logger, as MODULE.NAME or MODULE:NAME, or in a file the class itself or a function that
            returns a logger. gunicorn.glogging.Logger means greenhorn's own.""",
        differs="""gunicorn.glogging.Logger.""",
    )


@dataclass(frozen=True, kw_only=True)
class LogTargetSettings:
    """Logging configurations, and syslog."""

    logconfig: str | None = setting(
        ("--log-config",),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""Logging configuration in the INI form of logging.config.fileConfig. A relative one counts from chdir.""",
    )
    logconfig_json: str | None = setting(
        ("--log-config-json",),
        default=None,
        parse=optional(json_path),
        meta="FILE",
        doc="""Logging configuration in the form of logging.config.dictConfig, as a JSON file. It comes before
            logconfig. A relative one counts from chdir.""",
        differs="""the same, but a file that is not there is passed over.""",
    )
    logconfig_dict: Mapping[str, object] = setting(
        default=MappingProxyType({}),
        parse=logging_dict,
        doc="""Logging configuration as a dict for logging.config.dictConfig. It comes before logconfig_json and
            logconfig.""",
    )
    syslog: bool = setting(
        ("--log-syslog",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Send the logs to syslog as well.""",
    )
    syslog_addr: str = setting(
        ("--log-syslog-to",),
        default="udp://localhost:514",
        parse=syslog_address,
        meta="ADDRESS",
        doc="""Where syslog listens: udp://HOST:PORT, tcp://HOST:PORT or unix:PATH. A unix path may end in #dgram or
            #stream, else both are tried.""",
        differs="""on macOS and the BSDs a unix socket is the default.""",
    )
    syslog_prefix: str | None = setting(
        ("--log-syslog-prefix",),
        default=None,
        parse=optional(text),
        meta="NAME",
        doc="""Name of the program in syslog, in greenhorn.NAME.error and greenhorn.NAME.access. Unset = the name of the
            processes.""",
        differs="""gunicorn.NAME.error.""",
    )
    syslog_facility: str = setting(
        ("--log-syslog-facility",),
        default="user",
        parse=syslog_facility,
        meta="FACILITY",
        doc="""Facility in syslog, such as user, daemon or local0.""",
    )
    disable_redirect_access_to_syslog: bool = setting(
        ("--disable-redirect-access-to-syslog",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Leave the access log out of syslog.""",
    )
