"""What is seen of a server from outside: its workers' memory, threads and descriptors, and who is connected."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 512
_ESTABLISHED, _CLOSE_WAIT = "01", "08"
_WAITING_TO_BE_ACCEPTED = (_ESTABLISHED, _CLOSE_WAIT)


@dataclass(frozen=True, slots=True)
class Facts:
    """Of all workers together; memory in bytes. `anonymous` is what of `resident` is no file's."""

    resident: int = 0
    anonymous: int = 0
    threads: int = 0
    descriptors: int = 0


def descendants(root: int) -> list[int]:
    """Return the processes below `root`, which is not among them."""
    found = _children(root)
    for pid in found:  # grows while it is walked
        found.extend(_children(pid))
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def facts(root: int) -> Facts:
    """Return the sums over the descendants of a server's master; those that end meanwhile count as nothing."""
    resident = anonymous = threads = descriptors = 0
    for pid in descendants(root):
        with contextlib.suppress(OSError, KeyError):
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            resident += _kibibytes(fields["VmRSS"])
            anonymous += _kibibytes(fields["RssAnon"])
            threads += int(fields["Threads"])
            descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Facts(resident, anonymous, threads, descriptors)


def _kibibytes(field: str) -> int:
    return int(field.split(maxsplit=1)[0]) * 1024


def connections(port: int, client: str) -> int:
    """Return how many connections from the address `client` a server has at `port`, or is offered.

    Those count that a process holds, in whatever state, and those that wait to be accepted. Those that the
    server has closed, and that the kernel still brings to their end, do not.
    """
    local, remote = f":{port:04X}", _hexadecimal(client) + ":"
    found = set()  # the kernel may list one twice while others come and go
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        counts = fields[9] != "0" or fields[3] in _WAITING_TO_BE_ACCEPTED
        if counts and fields[1].endswith(local) and fields[2].startswith(remote):
            found.add(fields[2])
    return len(found)


def _hexadecimal(address: str) -> str:
    """Return an IPv4 address as /proc/net/tcp has it: as a number in the order of this machine."""
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}"


def disk_bytes(root: int, folder: Path) -> int:
    """Return what files take in `folder`: named ones, and those without a name that a descendant has open."""
    taken = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            taken[status.st_ino] = status.st_blocks * BLOCK_BYTES
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(fd.readlink()).startswith(f"{folder}/"):
                        status = fd.stat()
                        taken[status.st_ino] = status.st_blocks * BLOCK_BYTES
    return sum(taken.values())
