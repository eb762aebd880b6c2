"""Verdicts: what came back, held against what the case expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conform.answers import Answer
    from conform.cases import Case
    from conform.conversation import Exchange
    from conform.records import Record, Records

BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the delivery holds with what it `got`; if not, what is wrong, and whether time may be why."""

    holds: bool
    wrong: str = ""
    got: str = ""
    timely: bool = False


class Judge:
    """Judges one exchange of one case."""

    def __init__(self, case: Case, exchange: Exchange, records: Records) -> None:
        self.case = case
        self.exchange = exchange
        self.records = records
        self.accepted = [answer for answer in exchange.answers if self.accepts(answer)]

    def verdict(self) -> Verdict:
        """Apply every rule; the first that is broken makes the verdict."""
        return replace(self.ruling(), got=self.exchange.shown())

    def ruling(self) -> Verdict:
        """Apply the rules that hold for every case, then those of its expectation."""
        if self.exchange.failure:
            return self.fails(self.exchange.failure, timely=True)
        if evil := self.forbidden_call():
            return self.fails(f"the application was called with {evil}")
        if self.exchange.garbage:
            return self.fails("not an HTTP response")
        if any(answer.field("x-injected") for answer in self.exchange.answers):
            return self.fails("the application could inject a field")
        rule = getattr(self, f"check_{self.case.expect}")
        verdict: Verdict = rule()
        return verdict if not verdict.holds else self.check_connection()

    def accepts(self, answer: Answer) -> bool:
        """Say whether this is the application's answer to a request that it took for whole."""
        record = self.records.find(answer.record) if answer.record else None
        if record is None:
            # The server's own 2xx is an acceptance that the application knows nothing of.
            return answer.success or (self.case.allow_status and answer.status < BAD_REQUEST)
        return answer.success and (record.whole or record.read is None)

    def check_accept(self) -> Verdict:
        """Check for `n` to `n_max` answers 2xx, of an application that saw `env`."""
        if self.case.allow_status and not self.accepted and self.other_status():
            return Verdict(holds=True)
        count = len(self.accepted)
        if count < self.case.n:
            refused = any(not answer.success for answer in self.exchange.answers)
            return self.fails(f"{count} of {self.case.n} accepted", timely=not refused)
        return self.check_seen(self.case.env)

    def other_status(self) -> bool:
        """Say whether any answer has a status that does not call the request malformed."""
        return any(answer.status != BAD_REQUEST for answer in self.exchange.answers)

    def check_either(self) -> Verdict:
        """Check that it is accepted as `if_accept` says, or rejected, or awaited if no word forbids that."""
        if self.accepted:
            return self.check_seen(self.case.if_accept or self.case.env)
        return Verdict(holds=True) if self.case.hang_ok is None else self.check_rejected()

    def check_reject(self) -> Verdict:
        """Check for no more 2xx answers than `ok_before`, and then an error or a close."""
        count = len(self.accepted)
        if count > self.case.ok_before:
            return self.fails(f"accepted {count} times")
        return self.check_rejected()

    def check_rejected(self) -> Verdict:
        """Check for an error answer or a close that came while the client might have sent more."""
        early = self.exchange.answers[: self.exchange.early]
        if self.case.hang_ok or self.exchange.ended or any(not answer.success for answer in early):
            return Verdict(holds=True)
        return self.fails("neither answered nor closed", timely=True)

    def check_wait(self) -> Verdict:
        """Check that nobody took an unfinished request for a whole one; refusing it is fine."""
        if self.accepted:
            return self.fails("an unfinished request was answered as a whole one")
        return Verdict(holds=True)

    def check_seen(self, expected: tuple[dict[str, Any], ...]) -> Verdict:
        """Check the number of acceptances, and what the application saw behind each."""
        count = len(self.accepted)
        if self.case.n_max is not None and count > self.case.n_max:
            return self.fails(f"{count} accepted, at most {self.case.n_max} expected")
        seen = [self.records.find(answer.record) for answer in self.accepted]
        for index, record in enumerate(seen):
            if record is None:
                if self.case.allow_status:
                    continue
                return self.fails("a 2xx that the application did not send")
            if index < len(self.case.methods) and record.method != self.case.methods[index]:
                return self.fails(f"method is {record.method!r}, not {self.case.methods[index]!r}")
            if index < len(expected) and (wrong := mismatch(record, expected[index])):
                return self.fails(f"request {index + 1}: {wrong}")
        return Verdict(holds=True)

    def check_connection(self) -> Verdict:
        """Check the connection afterwards."""
        if self.case.close is None or self.case.close == self.exchange.ended:
            return Verdict(holds=True)
        return self.fails("the connection stays open" if self.case.close else "the connection is closed", timely=True)

    def forbidden_call(self) -> str:
        """Return the call that should never have been, if there was one."""
        for record in self.exchange.claim.records:
            if any(record.reaches(path) for path in self.case.never):
                return record.shown()
        return ""

    def fails(self, wrong: str, *, timely: bool = False) -> Verdict:
        """Make the verdict that it does not hold."""
        return Verdict(holds=False, wrong=wrong, timely=timely)


def mismatch(record: Record, expected: dict[str, Any]) -> str:
    """Return what the application saw otherwise than expected, or an empty text.

    An expected value may be a list of allowed ones. Raises nothing: an unknown key is a mismatch.
    """
    seen: dict[str, Any] = {**record.called, **(record.read or {})}
    headers: dict[str, str] = record.called["headers"]
    for key, value in expected.items():
        if key == "headers":
            for name, content in value.items():
                if not allowed(headers.get(name), content):
                    return f"{name} is {headers.get(name)!r}, not {content!r}"
        elif key == "absent":
            for name in value if isinstance(value, list) else [value]:
                if name in headers:
                    return f"{name} is {headers[name]!r}, not absent"
        elif not allowed(seen.get(key), value):
            return f"{key} is {seen.get(key)!r}, not {value!r}"
    return ""


def allowed(seen: object, expected: object) -> bool:
    """Say whether `seen` is the expected value, or one of a list of them."""
    return seen in expected if isinstance(expected, list) else seen == expected
