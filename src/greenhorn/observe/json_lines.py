"""The error log as JSON: one object per record."""

import json
import logging
import time


class JSONFormatter(logging.Formatter):
    """Makes of a record one line that is a JSON object: time, level, pid, logger, message, and a traceback if any.

    What a caller gives as `extra` is not in it: its names are anybody's.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        known = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            known["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            known["traceback"] = record.exc_text
        if record.stack_info:
            known["stack"] = self.formatStack(record.stack_info)
        return json.dumps(known)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the local time of the record with its milliseconds and zone (ISO 8601)."""
        local = time.localtime(record.created)
        if datefmt:
            return time.strftime(datefmt, local)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(record.msecs):03d}{time.strftime('%z', local)}"
