"""The control groups of this process, of version 1 or 2, also from within a container."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEMBERSHIP = Path("/proc/self/cgroup")
"""The file that names the groups."""
HIERARCHY = Path("/sys/fs/cgroup")
"""The folder where they are mounted."""


def group_folders(controller: str, membership: Path, hierarchy: Path) -> Iterator[tuple[int, Path]]:
    """Yield version and folder of each group that `controller` may have for this process, the nearest first.

    Ancestors follow, since their limits count as well. Of a group that cannot be seen from within a container it is the
    folder of the mount alone; some folders may not exist.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
    except (OSError, UnicodeError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _lineage(hierarchy, group):
                yield 2, folder
        elif controller in controllers.split(","):
            # Systems differ in whether the folder is called by the one controller or by all that share it.
            for mount in dict.fromkeys((hierarchy / controller, hierarchy / controllers)):
                for folder in _lineage(mount, group):
                    yield 1, folder


def _lineage(mount: Path, group: str) -> Iterator[Path]:
    """Yield the folders of `group` and its ancestors; of a group outside of the namespace (/../x) the mount only."""
    path = PurePosixPath(group.lstrip("/"))
    if ".." not in path.parts:
        for part in (path, *path.parents):
            if part.parts:
                yield mount / part
    yield mount
