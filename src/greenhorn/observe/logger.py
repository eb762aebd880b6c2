"""The error log: gunicorn's method names and line format over the standard library's logging."""

import logging
import os
import sys
from typing import Any

from greenhorn.errors import ConfigError

LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
LINE = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
TIME = "[%Y-%m-%d %H:%M:%S %z]"


class ErrorStream:
    """`wsgi.errors`: what an application writes goes into the error log as it is (PEP 3333). Any thread."""

    def __init__(self, handler: "logging.StreamHandler[Any]") -> None:
        self._handler = handler

    def write(self, text: str) -> int:
        """Write `text` at once and return its length."""
        handler = self._handler
        handler.acquire()
        try:
            if handler.stream is None and isinstance(handler, logging.FileHandler):
                # The application has configured logging, which closes every handler; this one opens again at need.
                handler.stream = handler._open()  # noqa: SLF001 - as FileHandler.emit does
            handler.stream.write(text)
            handler.flush()
        finally:
            handler.release()
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing waits here to be written."""


class Logger:
    """The error log of one process. Any thread may call it; lines of several processes do not mix.

    `errorlog` is a path, or `-` for the standard error stream; raises `ConfigError` if the file cannot be opened.
    """

    def __init__(self, errorlog: str, level: str) -> None:
        self.error_log = logging.getLogger("greenhorn.error")
        self.error_log.propagate = False
        self.error_log.setLevel(LEVELS[level])
        handler: logging.StreamHandler[Any]
        if errorlog == "-":
            handler = logging.StreamHandler(sys.stderr)
        else:
            try:
                handler = logging.FileHandler(errorlog, encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise ConfigError(f"errorlog: cannot open {errorlog!r}: {error.strerror}") from error
        handler.setFormatter(logging.Formatter(LINE, TIME))
        for old in list(self.error_log.handlers):
            self.error_log.removeHandler(old)
            old.close()
        self.error_log.addHandler(handler)
        self._handler = handler
        self.stream = ErrorStream(handler)

    def fileno(self) -> int:
        """The descriptor that is written to; raises `OSError` or `ValueError` where there is none."""
        stream: Any = self._handler.stream
        if stream is None:
            raise ValueError("the log is closed")
        descriptor: int = stream.fileno()
        return descriptor

    @property
    def path(self) -> str:
        """The file that is written to; empty for the standard error stream."""
        return self._handler.baseFilename if isinstance(self._handler, logging.FileHandler) else ""

    def reopen_files(self) -> None:
        """Write to the file that has the name now, after the one that had it was renamed; raises `OSError`.

        Threads may log meanwhile: the descriptor stays the same.
        """
        handler: Any = self._handler
        if self.path:
            handler.acquire()
            try:
                if handler.stream is not None:
                    handler.flush()
                    with open(self.path, "ab") as new:  # noqa: PTH123 - text in
                        os.dup2(new.fileno(), handler.stream.fileno(), inheritable=False)
            finally:
                handler.release()

    def stay(self) -> None:
        """Undo what an application does to loggers that it does not know when it configures logging."""
        self.error_log.disabled = False

    def critical(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log what ends the server."""
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log what failed."""
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log what somebody should look at."""
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log what happens in the normal life of the server."""
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log what helps to find a fault."""
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log a failure with the traceback of the exception that is being handled."""
        self.error_log.exception(msg, *args, **kwargs)
