"""The access log: one line per answer, in gunicorn's default format, that no request can forge."""

import base64
import binascii
import os
import time

from greenhorn.errors import ConfigError, HTTPError
from greenhorn.http.head import RequestHead


def is_harmless(value: str) -> bool:
    """Whether `value` can stand in double quotes as it is."""
    return value.isascii() and value.isprintable() and '"' not in value and "\\" not in value


def escape(value: str) -> str:
    r"""`value` as it can stand in double quotes: quotes, backslashes, control and non-ASCII characters as `\xNN`."""
    if is_harmless(value):
        return value
    return "".join(
        character if " " <= character <= "~" and character not in '"\\' else f"\\x{ord(character):02x}"
        for character in value
    )


class AccessLog:
    r"""Writes a line per answer: `host - user [time] "request line" status bytes "referer" "agent"`.

    A request that the server refused has the reason behind it, in quotes. Pool threads call it; each line is one
    write, so that lines of several threads and processes do not mix.
    """

    def __init__(self, target: str) -> None:
        """Open `target`: a path, or `-` for the standard output. Raises `ConfigError`."""
        self.path = "" if target == "-" else target
        try:
            self._fd = self._open() if self.path else 1
        except OSError as error:
            raise ConfigError(f"accesslog: cannot open {target!r}: {error.strerror}") from error
        self._second = -1
        self._time = ""

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def reopen(self) -> None:
        """Write to the file that has the name now, after the one that had it was renamed; raises `OSError`.

        Threads may write meanwhile: the descriptor stays the same.
        """
        if self.path:
            fd = self._open()
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)

    def close(self) -> None:
        """Give the file back."""
        if self.path:
            os.close(self._fd)

    def answered(self, peer: tuple[str, str] | None, head: RequestHead, status: int | None, sent: int) -> None:
        """Write the line of a request that the application answered with `sent` bytes of body."""
        fields = head.fields
        request, referer, agent = head.request_line, fields.get("HTTP_REFERER", "-"), fields.get("HTTP_USER_AGENT", "-")
        if not is_harmless(request + referer + agent):
            request, referer, agent = escape(request), escape(referer), escape(agent)
        user = _user(fields["HTTP_AUTHORIZATION"]) if "HTTP_AUTHORIZATION" in fields else "-"
        host = peer[0] if peer else "-"
        self._write(f'{host} - {user} {self._now()} "{request}" {status or "-"} {sent} "{referer}" "{agent}"\n')

    def refused(self, peer: tuple[str, str] | None, request_line: str, error: HTTPError, size: int) -> None:
        """Write the line of a request that the server answered itself, with `size` bytes, and its reason."""
        self._write(
            f'{peer[0] if peer else "-"} - - {self._now()} "{escape(request_line or "-")}" '
            f'{error.status} {size} "-" "-" "{escape(error.detail)}"\n'
        )

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._time = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(now))
            self._second = second
        return self._time

    def _write(self, line: str) -> None:
        try:  # noqa: SIM105 - a context manager is too dear on the hot path
            os.write(self._fd, line.encode("ascii", "backslashreplace"))
        except OSError:
            pass  # a full disk must not cost answers


def _user(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return "-"
    return escape(decoded.partition(":")[0]).replace(" ", "\\x20") or "-"
