"""The descriptors of a process, as /proc shows them."""

from contextlib import suppress
from pathlib import Path


def descriptors(pid: int) -> dict[int, str]:
    """Return what each descriptor of a process leads to: a path, or `socket:[INODE]` and the like."""
    found = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            found[int(fd.name)] = str(fd.readlink())
    return found


def listening_sockets(pid: int, port: int) -> set[str]:
    """Return the sockets of a process that listen at a TCP port of IPv4."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    return inodes & set(descriptors(pid).values())
