"""Which files of an application are watched, and which of them have changed."""
# ruff: noqa: PTH100, PTH110, PTH112, PTH114, PTH116, PTH118, PTH120, PTH207 - text in, text out, thousands a second

import contextlib
import glob
import os
import queue
import stat
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.util import source_from_cache

SOURCES = tuple(SOURCE_SUFFIXES + EXTENSION_SUFFIXES)
BYTECODES = tuple(BYTECODE_SUFFIXES)
TEMPLATES = (".html", ".htm", ".jinja", ".jinja2", ".j2", ".mako", ".mustache", ".tmpl", ".tpl", ".pt")
PASSING = (".", "flycheck_")
"""How the names of files begin that editors leave for a moment."""

_Stamp = tuple[int, ...] | None
"""Time of modification in ns, inode and size; of a symbolic link these and its target's; None for no such file."""
_OUTDATED: _Stamp = ()
"""Differs from every stamp."""

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_INSTALLED = tuple(
    path.rstrip(os.sep) + os.sep
    for path in map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib", "scripts"))
)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class WatchedFiles:
    """Which files are watched, and how each was when it last counted as unchanged. One thread, but for `added`.

    `extra` and `since` are those of the Reloader; `warn` is told what cannot be read.
    """

    def __init__(self, extra: Sequence[str], since: float, warn: Callable[[str], None]) -> None:
        self._extra = [os.path.abspath(path) for path in extra]
        self._since = int(since * 1e9)
        self._looked: int | None = None
        """When the last look began whose result was accepted; wall-clock ns, as the times of files."""
        self._began = 0
        self._warn = warn
        self.added: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Absolute paths to watch from the next look on."""
        self._known: dict[str, _Stamp] = {}
        self._modules: set[str] = set()
        """Each `__file__` that was met."""
        self._own: dict[str, bool] = {}
        """The directories of the project, and whether their files are known."""
        for folder in (os.curdir, *sys.path):
            with contextlib.suppress(FileNotFoundError):  # the working directory can be deleted
                self._own_if_project(os.path.abspath(folder))

    def look(self) -> dict[str, _Stamp]:
        """The stamps of all files. Those that are met for the first time, and are no news, become known."""
        self._began = time.time_ns()
        first = self._looked is None
        reference = self._looked or self._since
        met = dict.fromkeys(self._loaded(), reference)
        news: list[str] = []
        with contextlib.suppress(queue.Empty):
            while True:
                met.setdefault(self.added.get_nowait(), self._since)
        for path in self._expanded():
            if first:
                met.setdefault(path, reference)
            else:
                news.append(path)
        for folder, known in list(self._own.items()):
            sources = self._sources(folder)
            if known:
                news += sources
            else:
                self._own[folder] = True
                for path in sources:
                    met.setdefault(path, reference)
        seen = {path: self._stamp(path) for path in {**self._known, **met, **dict.fromkeys(news)}}
        now = time.time_ns()
        for path, least in met.items():
            if path not in self._known:
                self._known[path] = _OUTDATED if _is_recent(seen[path], least, now) else seen[path]
        return seen

    def changes(self, seen: dict[str, _Stamp]) -> list[str]:
        """The files that differ from what is known."""
        return [path for path, stamp in seen.items() if self._known.get(path) != stamp]

    def accept(self, seen: dict[str, _Stamp]) -> None:
        """Let the last look be what is known."""
        self._known |= seen
        self._looked = self._began

    def folders(self) -> frozenset[str]:
        """The directories, all existing, in which something happens when a watched file changes."""
        wanted = {os.path.dirname(path) for path in self._known}.union(self._own)
        for pattern in self._extra:
            wanted |= _folders_of_glob(pattern)
        # A link's stamp is twice as long.
        links = [path for path, stamp in self._known.items() if stamp and len(stamp) > 3]  # noqa: PLR2004
        wanted.update(os.path.dirname(os.path.realpath(path)) for path in links)
        standing = {_standing(folder) for folder in wanted}
        found = set(standing)
        for folder in standing:
            real = os.path.realpath(folder)
            if real != folder:
                found.add(real)
                found |= _holders_of_links(folder)
        return frozenset(filter(os.path.isdir, found))

    def _stamp(self, path: str) -> _Stamp:
        try:
            return _stamp(path)
        except OSError as error:
            self._warn(f"Not watched until it can be read: {os.path.dirname(path)} ({error.strerror})")
            return self._known.get(path)

    def _loaded(self) -> Iterator[str]:
        """The files of modules that were not there before. Other threads import at the same time."""
        for module in sys.modules.copy().values():
            try:
                # Not by getattr: modules that load themselves at need would.
                file = object.__getattribute__(module, "__dict__").get("__file__")
            except (AttributeError, TypeError):
                continue
            if not isinstance(file, str) or file in self._modules:
                continue
            self._modules.add(file)
            path = _source_of(os.path.abspath(file))
            if not path.startswith(_PACKAGE):
                self._own_if_project(os.path.dirname(path))
                yield path

    def _own_if_project(self, folder: str) -> None:
        path = folder + os.sep
        if not path.startswith(_INSTALLED) and not any(name in path for name in _PACKAGES):
            self._own.setdefault(folder, False)

    def _expanded(self) -> Iterator[str]:
        for path in self._extra:
            if os.path.isdir(path):
                found = glob.iglob(os.path.join(glob.escape(path), "*"))
            elif glob.has_magic(path) and not os.path.exists(path):
                found = glob.iglob(path, recursive=True)
            else:
                found = iter((path,))
            for match in found:
                if not match.endswith(BYTECODES):
                    yield match

    def _sources(self, folder: str) -> list[str]:
        """What a directory of the project holds that could be loaded, and what would make packages of those in it."""
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(PASSING):
                        continue
                    if name.endswith(SOURCES + TEMPLATES):
                        found.append(entry.path)
                    elif name.isidentifier() and name != "__pycache__" and entry.is_dir():
                        found.append(os.path.join(entry.path, "__init__.py"))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self._warn(f"Not watched for new files: {folder} ({error.strerror})")
        return found


def _is_recent(stamp: _Stamp, least: int, now: int) -> bool:
    return any(least < modified <= now for modified in (stamp or ())[::3])


def _source_of(path: str) -> str:
    if path.endswith(BYTECODES):
        source = path[:-1]
        with contextlib.suppress(ValueError):
            source = source_from_cache(path)
        if os.path.exists(source):
            return source
    return path


def _stamp(path: str) -> _Stamp:
    """Raises OSError where the file system does not say whether there is a file."""
    try:
        link = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if stat.S_ISDIR(link.st_mode):
        return None
    own = link.st_mtime_ns, link.st_ino, link.st_size
    if not stat.S_ISLNK(link.st_mode):
        return own
    try:
        target = os.stat(path)
    except OSError:
        return *own, 0, 0, 0
    if stat.S_ISDIR(target.st_mode):
        return None
    return *own, target.st_mtime_ns, target.st_ino, target.st_size


def _standing(folder: str) -> str:
    """The directory, or the nearest above it that exists."""
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder


def _holders_of_links(folder: str) -> set[str]:
    """The directories that hold the symbolic links on the way to `folder`."""
    found = set()
    while folder != os.path.dirname(folder):
        if os.path.islink(folder):
            found.add(os.path.dirname(folder))
        folder = os.path.dirname(folder)
    return found


def _folders_of_glob(pattern: str) -> set[str]:
    """The directories in which a match of the glob could appear; what is no glob stands for itself."""
    found = {pattern} if os.path.isdir(pattern) else set()
    while glob.has_magic(pattern):
        folder, name = os.path.split(pattern)
        every = pattern if name == "**" else folder
        found.update(match.rstrip(os.sep) for match in glob.iglob(os.path.join(every, ""), recursive=True))
        pattern = folder
    return found | {pattern if os.path.isdir(pattern) else os.path.dirname(pattern)}
