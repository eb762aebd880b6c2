"""sslyze: which versions, suites and curves a server takes, known attacks, and a profile of Mozilla's."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benching.machine import BenchError
from benching.servers import HOST
from scanning.findings import TEST_CERTIFICATE, Scan

if TYPE_CHECKING:
    from benching.virtualenv import Virtualenv

PACKAGE = "sslyze"
SCAN_SECONDS = 120
STRONGER = "stronger than the groups that the profile names; Python before 3.15 cannot choose among groups"
# What the profile complains about, and why it says nothing about the server.
EXCUSES = {"certificate_path_validation": TEST_CERTIFICATE}
STRONG_GROUPS = {"X448", "secp521r1"}
SCANS = ("certinfo", "compression", "early_data", "elliptic_curves", "ems", "fallback", "heartbleed", "openssl_ccs")
MORE_SCANS = ("reneg", "resum", "robot", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3")
# Result -> (the name in its report, the value that is good).
CHECKS = {
    "tls_compression": ("supports_compression", False),
    "tls_1_3_early_data": ("supports_early_data", False),
    "openssl_ccs_injection": ("is_vulnerable_to_ccs_injection", False),
    "heartbleed": ("is_vulnerable_to_heartbleed", False),
    "session_renegotiation": ("is_vulnerable_to_client_renegotiation_dos", False),
    "tls_extended_master_secret": ("supports_ems_extension", True),
    "tls_fallback_scsv": ("supports_fallback_scsv", True),
}
ONLY_BEFORE_1_3 = ("tls_extended_master_secret", "tls_fallback_scsv")
"""What a server that speaks nothing but TLS 1.3 has no use for."""
OLD_VERSIONS = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")


def scan(venv: Virtualenv, port: int, profile: str, folder: Path) -> Scan:
    """Scan the server at `port`, and hold it against a profile. Raises BenchError where sslyze does not do its work."""
    path = folder / "sslyze.json"
    command = [venv.program("sslyze"), f"--mozilla_config={profile}", f"--json_out={path}"]
    command += [f"--{name}" for name in (*SCANS, *MORE_SCANS)]
    done = subprocess.run(
        [*command, f"{HOST}:{port}"], capture_output=True, text=True, check=False, timeout=SCAN_SECONDS
    )
    try:
        [found] = json.loads(path.read_text())["server_scan_results"]
        results = {name: one["result"] for name, one in found["scan_result"].items() if one["status"] == "COMPLETED"}
        errors = [name for name, one in found["scan_result"].items() if one["status"] == "ERROR"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"sslyze has not scanned: {(done.stdout + done.stderr).strip()[-300:]}") from error
    _, compliance, words = done.stdout.partition("COMPLIANCE AGAINST")
    if not compliance or errors:
        raise BenchError(f"sslyze has not scanned all: {', '.join(errors)} {done.stdout.strip()[-300:]}")
    report = Scan(f"sslyze {venv.version(PACKAGE)}, Mozilla's profile {profile}")
    _tell(report, results)
    _check(report, results)
    for name, complaint in re.findall(r"^ +\* (\w+): (.+)$", words, re.MULTILINE):
        if name == "tls_curves" and set(re.findall(r"'(\w+)'", complaint)) <= STRONG_GROUPS:
            report.complain(name, complaint, {name: STRONGER})
        else:
            report.complain(name, complaint, EXCUSES)
    return report


def _tell(report: Scan, results: dict[str, Any]) -> None:
    """Note what is spoken."""
    for name, result in results.items():
        if name.endswith("_cipher_suites"):
            accepted = [one["cipher_suite"]["name"].removeprefix("TLS_") for one in result["accepted_cipher_suites"]]
            version = name.removesuffix("_cipher_suites")
            report.facts[version] = ", ".join(accepted) or "not spoken"
            if accepted and version in OLD_VERSIONS:
                report.complain(name, f"{version} is spoken", {})
    report.facts["groups"] = ", ".join(one["name"] for one in results["elliptic_curves"]["supported_curves"])
    resumption = results["session_resumption"]
    report.facts["sessions resumed"] = (
        f"by ticket: {resumption['tls_ticket_resumption_result'].lower()}; "
        f"by number: {resumption['session_id_resumption_result'].lower()}"
    )


def _check(report: Scan, results: dict[str, Any]) -> None:
    """Note which known attacks would do."""
    is_modern = not results["tls_1_2_cipher_suites"]["is_tls_version_supported"]
    for name, (question, good) in CHECKS.items():
        if is_modern and name in ONLY_BEFORE_1_3:
            continue
        answer = results[name][question]
        report.facts[name] = f"{question}: {'yes' if answer else 'no'}"
        if answer is not good:
            report.complain(name, f"{question} is {answer}", {})
    robot = results["robot"]["robot_result"]
    report.facts["robot"] = robot.lower()
    if not robot.startswith("NOT_VULNERABLE"):
        report.complain("robot", robot, {})
