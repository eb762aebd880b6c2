"""Answers as the clients of the attack read them: status, whether the connection stays, and nothing kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nConnection: *close", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nRetry-After: *\d+", re.IGNORECASE)


class BadAnswer(Exception):  # noqa: N818 - a finding about a server
    """What the server sent is no answer, or less than one; the message says how."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its status, whether the connection `stays`, and whether Retry-After stands in it."""

    status: int
    stays: bool
    retry_after: bool


class AnswerParser:
    """Takes the bytes of one connection as they come, one answer at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: Answer | None = None
        self._missing: int | None = None
        """Bytes of the body that have not come yet; None for those of a body that the end of the stream ends."""

    def feed(self, data: bytes) -> Answer | None:
        """Take bytes, b"" for the end of the stream; return the answer when it is whole. Raises BadAnswer."""
        if not data:
            answer, self._answer = self._answer, None
            if answer is None or self._missing is not None:
                raise BadAnswer("the connection ended without a whole answer")
            return answer
        if self._answer is None:
            self._received += data
            head, blank, data = self._received.partition(b"\r\n\r\n")
            if not blank:
                return None
            self._answer = self._begin(head)
            self._received = b""
        if self._missing is None:
            return None
        self._missing -= len(data)
        if self._missing < 0:
            raise BadAnswer("more bytes than Content-Length says")
        if self._missing:
            return None
        answer, self._answer = self._answer, None
        return answer

    def _begin(self, head: bytes) -> Answer:
        if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            raise BadAnswer(f"not an answer: {head[:40]!r}")
        length = _LENGTH.search(head)
        self._missing = int(length[1]) if length else None
        stays = length is not None and not _CLOSE.search(head)
        return Answer(int(head[9:12]), stays, _RETRY.search(head) is not None)
