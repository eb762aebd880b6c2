"""Servers that are started by another command than the usual one: a wrapper, a service manager, a namespace."""

import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from integration import running
from integration.running import DEADLINE, Server, StartServer

ACTIVATE = """
import fcntl, os, sys

fds, names, command = sys.argv[1].split(","), sys.argv[2], sys.argv[3:]
spare = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 20) for fd in fds]
for index, fd in enumerate(spare):
    os.dup2(fd, 3 + index)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execvp(command[0], command)
"""
"""Passes descriptors to a program as systemd does."""


def start_by(server: StartServer, command: Sequence[str], app: str | None, *arguments: str, **options: Any) -> Server:
    """Start the server with `command` in place of the usual one; `options` are those of `server`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "COMMAND", list(command))
        return server(app, *arguments, **options)


def activated(sockets: Mapping[str, socket.socket], *, named: bool = True) -> dict[str, Any]:
    """Return the command, and the descriptors to pass, that start a server with these sockets as systemd does."""
    fds = [sock.fileno() for sock in sockets.values()]
    names = ":".join(sockets) if named else ""
    command = [sys.executable, "-c", ACTIVATE, ",".join(map(str, fds)), names, *running.COMMAND]
    return {"command": command, "pass_fds": fds}


def ask_at(path: Path, request: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes:
    """Return the whole answer at a unix socket, in the bytes in which it came."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(str(path))
        connection.sendall(request)
        received = bytearray()
        while data := connection.recv(65536):
            received += data
    return bytes(received)
