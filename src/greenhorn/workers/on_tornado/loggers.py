"""What Tornado and the loop log goes to the error log, once."""

import logging

from tornado.iostream import StreamClosedError

from greenhorn.observe.logger import Logger

NAMES = ("tornado", "asyncio")
ACCESS = "tornado.access"
"""Lines that the access log has already."""
WEATHER = ("SSL Error", "Cannot send error response after headers written")
"""How lines begin that clients can cause."""


class ToErrorLog(logging.Handler):
    """Passes records on to the error log. Any thread."""

    def __init__(self, log: Logger) -> None:
        super().__init__()
        self._log = log.error_log

    def emit(self, record: logging.LogRecord) -> None:
        """Let the error log handle the record, if it is of a level that this has."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, StreamClosedError) or (isinstance(record.msg, str) and record.msg.startswith(WEATHER)):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        if self._log.isEnabledFor(record.levelno):
            self._log.handle(record)


def adopt_loggers(log: Logger) -> None:
    """Let Tornado's records go to the error log, unless the application's configuration says where they go.

    Access lines of Tornado's own are left out then.
    """
    for name in NAMES:
        logger = logging.getLogger(name)
        if not logger.hasHandlers():
            logger.addHandler(ToErrorLog(log))
            logger.propagate = False
            if logger.level == logging.NOTSET:
                logger.setLevel(log.error_log.getEffectiveLevel())
    access = logging.getLogger(ACCESS)
    if not access.handlers and any(isinstance(one, ToErrorLog) for one in logging.getLogger(NAMES[0]).handlers):
        access.addHandler(logging.NullHandler())
        access.propagate = False
