"""Promises: what was found, what was promised, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, in words; `kept` is None where nothing is promised."""

    what: str
    found: str
    promise: str = ""
    kept: bool | None = None


@dataclass(slots=True)
class Outcome:
    """What one scenario has found of one server; `failure` says why it could not be played to its end."""

    scenario: str
    server: str
    findings: list[Finding] = field(default_factory=list)
    failure: str = ""

    def note(self, what: str, found: str, promise: str = "", *, kept: bool | None = None) -> None:
        """Add a finding."""
        self.findings.append(Finding(what, found, promise, kept))

    @property
    def complaints(self) -> list[str]:
        """What does not hold."""
        found = [f"{finding.what}: {finding.found}" for finding in self.findings if finding.kept is False]
        return [*found, *([self.failure] if self.failure else [])]

    def find(self, what: str) -> Finding | None:
        """Return the finding of that name."""
        return next((finding for finding in self.findings if finding.what == what), None)
