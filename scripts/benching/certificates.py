"""Certificates for one run: made by openssl, believed by nobody, gone afterwards."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benching.machine import BenchError

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "127.0.0.1"
# What openssl calls the kinds of keys. Its keys are in PKCS#8, which is all that granian takes.
KINDS = {"rsa": ("rsa:2048",), "ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The paths of a certificate and of its key."""

    certfile: Path
    keyfile: Path


def make(kind: str, folder: Path) -> Certificate:
    """Make a certificate of a kind of key, which signs itself, for the address that the servers listen at.

    Raises BenchError.
    """
    made = Certificate(folder / f"{kind}.pem", folder / f"{kind}.key")
    names = f"subjectAltName=DNS:localhost,IP:{ADDRESS}"
    arguments = ["openssl", "req", "-x509", "-nodes", "-days", "60", "-subj", "/CN=localhost", "-addext", names]
    arguments += ["-newkey", *KINDS[kind], "-keyout", str(made.keyfile), "-out", str(made.certfile)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl makes no certificate: {done.stderr.strip()[-300:]}")
    return made
