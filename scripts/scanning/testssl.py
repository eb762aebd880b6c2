"""testssl.sh: the attacks that have names, what each kind of browser would agree on, and more."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

from benching.machine import BenchError, apt_install
from benching.servers import HOST
from scanning.findings import APPLICATION, TEST_CERTIFICATE, Scan

if TYPE_CHECKING:
    from pathlib import Path

SCAN_SECONDS = 900
PACKAGES = ("testssl.sh", "bsdmainutils", "dnsutils", "procps")
# As Debian calls it, and as its authors do.
NAMES = ("testssl", "testssl.sh")
WEAK = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
# WARN is what it could not find out.
UNKNOWN = ("WARN", "FATAL")
EXCUSES = {
    "cert_": TEST_CERTIFICATE,
    "DNS_CAArecord": "there is no name in the DNS to look at",
    "HSTS": APPLICATION,
    "security_headers": APPLICATION,
    "overall_grade": TEST_CERTIFICATE,
}
NAMED = ("heartbleed", "CCS", "ticketbleed", "ROBOT", "CRIME_TLS", "BREACH", "POODLE_SSL", "SWEET32", "FREAK", "DROWN")
MORE_NAMED = ("LOGJAM", "BEAST", "LUCKY13", "RC4", "secure_renego", "secure_client_renego", "fallback_SCSV")


def program() -> str:
    """Return its program, installed if need be. Raises BenchError."""
    for attempt in range(2):
        for name in NAMES:
            if found := shutil.which(name):
                return found
        if attempt or not apt_install(*PACKAGES):
            break
    raise BenchError("testssl.sh is missing and apt-get could not install it: install it from https://testssl.sh")


def scan(port: int, folder: Path) -> Scan:
    """Scan the server at `port`, which takes some minutes. Raises BenchError where testssl.sh does not do its work."""
    path = folder / "testssl.json"
    command = [program(), "--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--jsonfile", str(path)]
    done = subprocess.run(
        [*command, f"https://{HOST}:{port}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SCAN_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    try:
        lines = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"testssl.sh has not scanned: {(done.stdout + done.stderr).strip()[-300:]}") from error
    found = {line["id"]: line for line in lines}
    missing = [name for name in (*NAMED, *MORE_NAMED) if name not in found]
    if missing:
        raise BenchError(f"testssl.sh has not looked at {', '.join(missing)}")
    report = Scan("testssl.sh")
    for name in (*NAMED, *MORE_NAMED):
        report.facts[name] = found[name]["finding"]
    for line in lines:
        if line["severity"] in WEAK:
            report.complain(line["id"], f"{line['severity'].lower()}: {line['finding']}", EXCUSES)
        elif line["severity"] in UNKNOWN:
            report.facts[f"{line['id']} (could not be found out)"] = line["finding"]
    return report
