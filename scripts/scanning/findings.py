"""What a scanner says of a server, and what of it is a weakness of that server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One complaint of a scanner: its name for it, and its words; `excuse` says why it does not count, if so."""

    name: str
    words: str
    excuse: str = ""


@dataclass(slots=True)
class Scan:
    """What one scanner has found of one server: facts by name, and complaints. `scanner` has its version."""

    scanner: str
    facts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def complain(self, name: str, words: str, excuses: dict[str, str]) -> None:
        """Add a complaint; `excuses` has reasons by the beginnings of names."""
        excuse = next((reason for begin, reason in excuses.items() if name.startswith(begin)), "")
        self.findings.append(Finding(name, words, excuse))

    @property
    def weaknesses(self) -> list[Finding]:
        """Those complaints that count."""
        return [finding for finding in self.findings if not finding.excuse]


TEST_CERTIFICATE = "the certificate was made for this scan, and nobody's authority has signed it"
APPLICATION = "a field that the application sets, or not"
"""Why headers of answers are no affair of the server's."""
