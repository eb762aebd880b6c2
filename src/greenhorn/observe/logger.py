"""The logger of a process: gunicorn's method names, attributes and line format over the standard library's logging."""

import contextlib
import logging
import os
import sys
import threading
import traceback
from datetime import timedelta
from typing import Any

from greenhorn.errors import ConfigError
from greenhorn.observe import logconfig
from greenhorn.observe.atoms import JSONAtoms, SafeAtoms, atoms_of, marked
from greenhorn.observe.capture import OUTPUT
from greenhorn.observe.formats import format_in_use
from greenhorn.observe.json_lines import JSONFormatter
from greenhorn.observe.lines import clf_time, user_of
from greenhorn.observe.outlets import Outlets, file_handlers, share_loggers
from greenhorn.observe.syslog import SyslogHandler, parse_syslog_address

LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}

SEEN_BY_SUBCLASSES = ("access", "atoms", "now", "_get_user", "access_fmt", "access_log_enabled", "atoms_wrapper_class")
"""What a subclass overrides that wants to have a say in access lines."""

share_loggers()


def _mark(handler: logging.Handler) -> logging.Handler:
    """Note that a handler goes when another logger takes the place of this one; under gunicorn's name."""
    handler._gunicorn = True  # type: ignore[attr-defined]  # noqa: SLF001
    return handler


class Logger(Outlets):
    """The error log of one process, and the access log where Python's logging is to have it.

    Subclasses may override `setup`, `access`, `atoms`, `now` and the attributes, as gunicorn's. `cfg` is the settings.
    Any thread may log; lines of several processes do not mix. Raises `ConfigError` for settings that cannot be
    followed.
    """

    LOG_LEVELS = LEVELS
    loglevel = logging.INFO
    error_fmt = logconfig.ERROR_FORMAT
    datefmt = logconfig.TIME_FORMAT
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"
    atoms_wrapper_class: type[SafeAtoms] = SafeAtoms

    def __init__(self, cfg: Any) -> None:
        self.error_log = logging.getLogger("greenhorn.error")
        self.access_log = logging.getLogger("greenhorn.access")
        self.error_handlers: list[logging.Handler] = []
        self.access_handlers: list[logging.Handler] = []
        self.logfile: Any = None
        """The file that capture_output sends standard output and error to."""
        self.lock = threading.Lock()
        self.cfg = cfg
        # Subclasses have a `setup` of their own, which need not call this one.
        self.form = format_in_use(cfg.access_log_format, cfg.log_format)
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self._own_access_formatter = logging.Formatter(self.access_fmt)
        self._own_access_handler: logging.Handler | None = None
        self.setup(cfg)

    def setup(self, cfg: Any) -> None:
        """Log as the settings say, from now on. Main thread. Raises `ConfigError`."""
        self.cfg = cfg
        self.form = format_in_use(cfg.access_log_format, cfg.log_format)
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self._set_levels()
        as_json = JSONFormatter() if cfg.log_format == "json" else None
        self._set_handler(self.error_log, cfg.errorlog, as_json or logging.Formatter(self.error_fmt, self.datefmt))
        self._set_handler(self.access_log, cfg.accesslog, self._own_access_formatter, stream=sys.stdout)
        self._own_access_handler = self._get_gunicorn_handler(self.access_log)
        self._capture(cfg)
        if cfg.syslog:
            self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
            if not cfg.disable_redirect_access_to_syslog:
                self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")
        if logconfig.is_configured(cfg):
            self._configure(cfg)
        # One that makes atoms of its own has more of them.
        for directive in self.form.unknown if type(self).atoms is Logger.atoms else ():
            self.warning("access_log_format: there is no atom %s; a - stands for it", directive)

    def _configure(self, cfg: Any) -> None:
        """Apply the user's logging configuration; what it adds goes with it at a reload."""
        before = [handler for log in self._loggers() for handler in log.handlers]
        logconfig.configure(cfg)
        for log in self._loggers():
            for handler in log.handlers:
                if handler not in before:
                    _mark(handler)
        self.stay()

    def _loggers(self) -> tuple[logging.Logger, logging.Logger]:
        return self.error_log, self.access_log

    def _set_levels(self) -> None:
        for log, level in ((self.error_log, self.loglevel), (self.access_log, logging.INFO)):
            log.propagate = False
            log.disabled = False
            log.setLevel(level)

    def _get_gunicorn_handler(self, log: logging.Logger) -> logging.Handler | None:
        """The first handler of `log` that a logger of this class has made."""
        return next((handler for handler in log.handlers if getattr(handler, "_gunicorn", False)), None)

    def _set_handler(self, log: logging.Logger, output: str | None, fmt: logging.Formatter, stream: Any = None) -> None:
        """Let `log` write to the file `output`, to `stream` (sys.stderr) for `-`, or to nothing for None.

        What an earlier logger has set goes; what others have added stays. Raises `ConfigError`.
        """
        handler: logging.Handler | None = None
        if output == "-":
            handler = logging.StreamHandler(stream or sys.stderr)
        elif output is not None:
            try:
                handler = logging.FileHandler(output, encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                name = "errorlog" if log is self.error_log else "accesslog"
                raise ConfigError(
                    f"{name}: cannot open {output!r}: {error.strerror}; name a file that can be written, or -"
                ) from error
        while (old := self._get_gunicorn_handler(log)) is not None:
            log.removeHandler(old)
            old.close()
        if handler is not None:
            handler.setFormatter(fmt)
            log.addHandler(_mark(handler))

    def _set_syslog_handler(self, log: logging.Logger, cfg: Any, fmt: str, name: str) -> None:
        """Let `log` go to syslog as well, under the name of the program, a dot and `name`. Raises `ConfigError`."""
        program = cfg.syslog_prefix or (cfg.proc_name or cfg.default_proc_name).replace(":", ".")
        handler = SyslogHandler(parse_syslog_address(cfg.syslog_addr), cfg.syslog_facility)
        begin = f"greenhorn.{program}.{name}: ".replace("%", "%%")
        handler.setFormatter(logging.Formatter(begin + ("%(message)s" if cfg.log_format == "json" else fmt)))
        log.addHandler(_mark(handler))

    # What is logged.

    def critical(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log what ends the server."""
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log what failed."""
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log what somebody should look at."""
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log what happens in the normal life of the server."""
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log what helps to find a fault."""
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log a failure with the traceback of the exception that is being handled."""
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log at a level, by number or name."""
        level = self.LOG_LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
        self.error_log.log(level, msg, *args, **kwargs)

    # The access log.

    @property
    def access_log_enabled(self) -> bool:
        """Whether anybody may want access lines."""
        cfg = self.cfg
        to_syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
        return bool(cfg.accesslog or logconfig.is_configured(cfg) or to_syslog)

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:
        """Every atom of an access line, none of them escaped."""
        return atoms_of(resp, req, environ, request_time) | {"u": self._get_user(environ) or "-", "t": self.now()}

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Write an access line through Python's logging: the format is the message, the atoms are its arguments."""
        if not self.access_log_enabled:
            return
        wrap = self.atoms_wrapper_class
        template = self.cfg.access_log_format
        if wrap is SafeAtoms:
            template = marked(self.form, with_reason=bool(getattr(resp, "reason", "")))
            wrap = JSONAtoms if self.form.is_json else SafeAtoms
        try:
            self.access_log.info(template, wrap(self.atoms(resp, req, environ, request_time)))
        except Exception:  # noqa: BLE001 - a handler's or a subclass's
            self.error(traceback.format_exc())

    def now(self) -> str:
        """The time as access lines have it."""
        return clf_time()

    def _get_user(self, environ: dict[str, Any]) -> str | None:
        """The user name of Basic credentials."""
        user = user_of(environ)
        return None if user == "-" else user

    @property
    def routes_access(self) -> bool:
        """Whether access lines have to go through `access`, for a subclass, a configuration or a filter."""
        kind = type(self)
        if any(getattr(kind, name) is not getattr(Logger, name) for name in SEEN_BY_SUBCLASSES):
            return True
        if not self.access_log_enabled:
            return False
        log, own = self.access_log, self._own_access_handler
        if not log.isEnabledFor(logging.INFO):  # somebody has silenced it
            return True
        if log.propagate and log.parent is not None and log.parent.hasHandlers():
            return True
        if own is None:
            return bool(log.handlers)
        unchanged = not own.filters and own.formatter is self._own_access_formatter
        return not unchanged or bool(log.filters) or log.handlers != [own]

    # Files.

    def _capture(self, cfg: Any) -> None:
        """Send standard output and error to the file of errorlog, or back to where they went before."""
        if cfg.capture_output and cfg.errorlog != "-":
            self.logfile = OUTPUT.hold(cfg.errorlog)
        else:
            OUTPUT.release()
            self.logfile = None

    def reopen_files(self) -> None:
        """Write to the files that have the names now, after those that had them were renamed.

        Threads may log meanwhile: descriptors stay the same. Raises `OSError`, or `ValueError` for a stream that
        somebody has closed, for the first that cannot be opened, when the others were.
        """
        failure: Exception | None = None
        for handler in file_handlers():
            handler.acquire()
            try:
                if handler.stream is not None:
                    with contextlib.suppress(OSError, ValueError):  # a full disk: the new file may have another one
                        handler.flush()
                    with open(handler.baseFilename, "ab") as new:  # noqa: PTH123 - text in
                        os.dup2(new.fileno(), handler.stream.fileno(), inheritable=False)
            except (OSError, ValueError) as error:  # ValueError: somebody has closed the stream
                failure = failure or error
            finally:
                handler.release()
        OUTPUT.reopen()
        if failure is not None:
            raise failure

    def close_on_exec(self) -> None:
        """Let no program that this process executes have its log files."""
        for handler in file_handlers():
            if handler.stream is not None:
                os.set_inheritable(handler.stream.fileno(), False)
