"""greenhorn as it was at an earlier revision, measured beside what it is now."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from benching.machine import BenchError
from benching.servers import SERVERS, Server
from benching.virtualenv import GREENHORN

if TYPE_CHECKING:
    from pathlib import Path

    from benching.servers import Launch

NAME = "before"
# The modules of that revision come before those of the checkout, which the virtual environment has.
START = "import sys; sys.path.insert(0, {folder!r}); from greenhorn.cli import main; sys.exit(main(sys.argv[1:]))"


def server_at(root: Path, revision: str) -> Server:
    """Unpack `revision` of the repository in `root` and return it as a server. Raises BenchError."""
    done = subprocess.run(["git", "-C", str(root), "archive", revision, "src"], capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"--before {revision}: {done.stderr.decode().strip()}")
    folder = root / ".bench" / NAME
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=done.stdout, check=True)
    start = START.format(folder=str(folder / "src"))

    def command(launch: Launch) -> list[str]:
        _, *arguments = SERVERS[GREENHORN].command(launch)
        return ["python", "-c", start, *arguments]

    return Server(NAME, command, logs=True, classes=True, remark=f"greenhorn at {revision}")
