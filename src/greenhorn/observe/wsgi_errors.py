"""`wsgi.errors`: what an application writes goes into the error log (PEP 3333)."""

import logging
import threading
from typing import Any

from greenhorn.observe.json_lines import JSONFormatter


class ErrorStream:
    """Writes text to where the error log goes, as it is. Any thread.

    A log in JSON, or one without a stream (syslog, a queue), gets a record for each line instead.
    """

    def __init__(self, error_log: logging.Logger) -> None:
        self._log = error_log
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Write `text` at once and return its length; what is no whole line may wait where lines become records."""
        handler = stream_handler(self._log)
        if handler is None or isinstance(handler.formatter, JSONFormatter):
            self._record(text)
            return len(text)
        handler.acquire()
        try:
            stream: Any = handler.stream
            if stream is None and isinstance(handler, logging.FileHandler):
                # The application has configured logging, which closes every handler; this one opens again at need.
                stream = handler.stream = handler._open()  # noqa: SLF001 - as FileHandler.emit does
            stream.write(text)
            handler.flush()
        except OSError:
            pass  # a full disk must not cost answers
        finally:
            handler.release()
        return len(text)

    def _record(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        begun: str = getattr(self._begun, "text", "") + text
        *lines, self._begun.text = begun.split("\n")
        for line in lines:
            self._log.error("%s", line)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what waits of this thread's."""
        if getattr(self._begun, "text", ""):
            self._record("\n")


def stream_handler(log: logging.Logger) -> "logging.StreamHandler[Any] | None":
    """The first handler of `log` that writes to a stream of text; one of the server's before one that was added."""
    found = [handler for handler in log.handlers if isinstance(handler, logging.StreamHandler)]
    return next((handler for handler in found if hasattr(handler, "_gunicorn")), found[0] if found else None)
