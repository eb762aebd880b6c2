"""The machine under the measurement: its processor, the cores to pin to, its limits, and its tools."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# 1,000 connections need as many descriptors in the server and in wrk; the usual soft limit is 1,024.
DESCRIPTORS = 8192


class BenchError(Exception):
    """The bench cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the server and that of the client."""

    server: int
    client: int

    @property
    def shared(self) -> bool:
        """Both have to share one."""
        return self.server == self.client


def choose_cores() -> Cores:
    """Return two of the cores that this process may use, or one twice."""
    allowed = sorted(os.sched_getaffinity(0))
    # Most interrupts and daemons run on the first core of a machine. That noise does less harm to the client,
    # which has time to spare.
    return Cores(server=allowed[-1], client=allowed[0])


def describe() -> str:
    """Return processor, number of usable cores, kernel, and the load average of the last minute."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
    count = len(os.sched_getaffinity(0))
    cores = f"{count} core{'s' * (count > 1)}"
    load = os.getloadavg()[0]
    return f"{model}, {cores}, Linux {platform.release()}, load average {load:.2f} at the start"


def raise_descriptor_limit(wanted: int = DESCRIPTORS) -> int:
    """Allow this process and those it starts so many file descriptors, or as many as may be, and return the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def require_linux() -> None:
    """Raise BenchError where processes cannot be observed or pinned."""
    if sys.platform != "linux":
        raise BenchError("CPU time and memory are read from /proc and cores are chosen by taskset: run this on Linux")
    if not shutil.which("taskset"):
        raise BenchError("taskset is missing: install util-linux")


def require_tools() -> None:
    """Install wrk and openssl when they are missing. Raises BenchError where something cannot be had."""
    require_linux()
    if not shutil.which("openssl") and not (apt_install("openssl") and shutil.which("openssl")):
        raise BenchError("openssl is missing and apt-get could not install it: certificates are made by it")
    if not shutil.which("wrk") and not (apt_install("wrk") and shutil.which("wrk")):
        raise BenchError("wrk is missing and apt-get could not install it: install it from https://github.com/wg/wrk")


def apt_install(*packages: str) -> bool:
    """Install Debian packages if this machine and this user can; say whether it worked."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    note(f"installing {' '.join(packages)}")
    for arguments in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            note(f"apt-get {arguments[0]}: {done.stderr.strip()[-300:]}")
    return done.returncode == 0


def wrk_version() -> str:
    """Return the name and version that wrk gives itself, such as "wrk 4.2.0"."""
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)  # it exits 1 in any case
    words = (done.stdout + done.stderr).split()
    return " ".join(words[:2])


def note(text: str) -> None:
    """Tell the person who waits what happens; stdout is for the report alone."""
    print(text, file=sys.stderr, flush=True)
