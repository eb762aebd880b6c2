"""What the server asks of a logger beside gunicorn's names, over the two loggers of Python that it writes to."""

import logging
import sys
from collections.abc import Iterable, Iterator
from logging.handlers import MemoryHandler, QueueListener
from typing import Any

from greenhorn.observe.statsd import StatsD
from greenhorn.observe.wsgi_errors import ErrorStream, stream_handler

NAMES = {"greenhorn": "gunicorn", "greenhorn.error": "gunicorn.error", "greenhorn.access": "gunicorn.access"}
"""Python's loggers, and the names by which applications that were written for gunicorn ask for them; the one above
them first."""


def share_loggers() -> None:
    """Let Python's loggers be the same objects under gunicorn's names. One that is there already is taken."""
    known = logging.root.manager.loggerDict
    for name, other in NAMES.items():
        found = known.get(other)
        if isinstance(found, logging.Logger):
            known[name] = found
        else:
            known[other] = logging.getLogger(name)


class Outlets:
    """Where the logs of a process go. Without state of its own, so that it can be added to any logger class."""

    error_log: logging.Logger
    access_log: logging.Logger
    statsd: StatsD | None = None
    """Where the metrics of this process go."""

    @property
    def stream(self) -> ErrorStream:
        """`wsgi.errors`."""
        return ErrorStream(self.error_log)

    def fileno(self) -> int:
        """The descriptor that the error log writes to; raises `OSError` or `ValueError` where there is none."""
        handler = stream_handler(self.error_log)
        stream: Any = handler.stream if handler is not None else sys.stderr
        if stream is None:
            raise ValueError("the log is closed")
        descriptor: int = stream.fileno()
        return descriptor

    @property
    def paths(self) -> list[str]:
        """The files that are written to, by these and all other loggers: those that `reopen_files` opens anew."""
        handlers = [*_files([*self.error_log.handlers, *self.access_log.handlers], set()), *file_handlers()]
        return list(dict.fromkeys(each.baseFilename for each in handlers))

    def stay(self) -> None:
        """Undo what an application does to loggers that it does not know when it configures logging."""
        self.error_log.disabled = self.access_log.disabled = False

    @property
    def routes_access(self) -> bool:
        """Whether access lines have to go through the logger's `access`."""
        return True


def file_handlers() -> Iterator[logging.FileHandler]:
    """Yield every handler of this process that writes to a file, whoever has made it.

    Also what is behind a handler that hands records on: the target of a MemoryHandler, the listener of a QueueHandler
    (Python 3.12).
    """
    seen: set[int] = set()
    for log in [logging.root, *list(logging.root.manager.loggerDict.values())]:
        yield from _files(getattr(log, "handlers", ()), seen)


def _files(handlers: Iterable[Any], seen: set[int]) -> Iterator[logging.FileHandler]:
    for handler in handlers:
        if id(handler) in seen:
            continue
        seen.add(id(handler))
        if isinstance(handler, logging.FileHandler):
            yield handler
        if isinstance(handler, MemoryHandler) and handler.target is not None:
            yield from _files([handler.target], seen)
        listener = getattr(handler, "listener", None)
        if isinstance(listener, QueueListener):
            yield from _files(listener.handlers, seen)
