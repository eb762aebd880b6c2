"""The access log through Python's logging, for a logger class, a logging configuration or syslog that wants it so."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from time import monotonic
from typing import Any

from greenhorn.observe.access import Excluded, Refusal, Unread
from greenhorn.observe.formats import Format
from greenhorn.observe.lines import Answered, Timed


class RoutedLog:
    """An `AccessLog` that calls the logger's `access`, as gunicorn does.

    `make_request(head, environ)` makes what gunicorn calls a request.
    """

    tells_durations = True

    def __init__(
        self,
        log: Any,
        form: Format,
        make_request: Callable[[Any, Mapping[str, Any]], Any],
        excluded: Excluded | None = None,
    ) -> None:
        self.tells_id = form.tells_id
        self._log = log
        self._make_request = make_request
        self._excluded = excluded or None

    def flush(self) -> None:
        """Nothing waits here."""

    def answered(self, times: Timed, environ: Mapping[str, Any], head: Any, answer: Answered) -> None:
        """Hand an answer of the application to the logger."""
        if self._excluded is None or head.path not in self._excluded:
            self._hand_over(times, environ, head, answer)

    def refused(self, times: Timed, environ: Mapping[str, Any], head: Any, refusal: Refusal) -> None:
        """Hand an answer of the server to the logger, with an environ that has at least what every request has."""
        method, target, version = head.method, head.target, head.version
        if isinstance(head, Unread):
            # As much as there is, under the names where gunicorn's atoms look for it.
            method, _, rest = head.request_line.partition(" ")
            target, _, version = rest.partition(" ")
        known = {
            "REQUEST_METHOD": method or "-",
            "RAW_URI": target or "-",
            "PATH_INFO": head.path,
            "QUERY_STRING": head.query,
            "SERVER_PROTOCOL": version or "-",
        }
        self._hand_over(times, {**head.fields, **known, **environ}, head, refusal)

    def _hand_over(self, times: Timed, environ: Mapping[str, Any], head: Any, answer: Any) -> None:
        now = monotonic()
        try:
            request = self._make_request(head, environ)
            request.queue_time = max(0.0, times.taken_at - times.queued_at) if times.taken_at else 0.0
            request.application_time = now - times.taken_at if times.taken_at else 0.0
            total = timedelta(seconds=now - times.read_at if times.read_at else 0.0)
            self._log.access(answer, request, environ, total)
        except Exception:  # noqa: BLE001 - it is logged, by whatever the logger is
            self._log.exception("The logger's access failed")
