"""Watches the files of an application while somebody works on it, and tells of changes: the setting reload."""

import contextlib
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from greenhorn.errors import ConfigError
from greenhorn.observe.logger import Logger
from greenhorn.workers.watched import WatchedFiles

INTERVAL = 1.0
"""Seconds between two looks at all files by the engine poll."""
LONGEST_INTERVAL = 5.0
"""The same, where a look takes long; and where the kernel reports changes, which it does not for network shares."""
EASE = 200
"""An interval is at least this many times the processor time of a look: watching takes 0.5 % of a core at most."""
SETTLED = 0.1
"""Seconds without another change that end a batch."""
LONGEST_BATCH = 3.0
"""Seconds after which a batch ends although changes go on."""
STEP = 50
"""Milliseconds in which watchfiles notices an event or the end."""


def check_engine(engine: str) -> None:
    """Raise `ConfigError` if what the setting reload_engine asks for is not installed. The master, at start."""
    if engine == "inotify" and _find_watchfiles() is None:
        raise ConfigError(
            "reload_engine: inotify needs the package watchfiles, which cannot be imported: "
            "pip install 'greenhorn[reload]', or choose poll or auto"
        )


class Reloader:
    """Watches files from a daemon thread of a worker and calls `tell(path)` there, once for each batch of changes.

    `path` is one of the files of the batch. A batch ends when nothing has changed for 0.1 s. What counts is how the
    files are then, compared with how they were after the last batch, so that a temporary file, or a change that is
    taken back at once, is none. `engine` is auto, poll or inotify; where watchfiles cannot be had, all mean poll.

    Watched are the files of all loaded modules, those of `extra` (absolute paths, directories for the files in them,
    and globs, all expanded anew at each look), and, beside the modules of the project, in the working directory and
    along sys.path outside the installed packages, Python sources and templates that no module was loaded from, and new
    packages. Files of greenhorn itself are not: a new worker has those of the master. Bytecode stands for its source.

    A change is a file that is modified, deleted, created, or replaced by another with the same name, and a symbolic
    link that points elsewhere or whose target did any of this; mode and owner are none. A file that is new in a place
    that was watched before is a change whatever its age. Of the others only those are, when they are met first, that
    were modified since the time to which they are held: `since`, the wall-clock seconds when the worker began, so that
    an edit during the import of the application is not lost; for modules loaded later, the look before. A time in the
    future says nothing, since it would always be later. An application that writes one of its own modules at each
    start is therefore reloaded without end: let it write only what differs.

    Poll looks at everything once a second, which takes 0.4 % of a core for 1,000 modules; more files are looked at less
    often, at least every 5 s. Inotify looks when the kernel reports something, and every 5 s all the same.
    """

    def __init__(
        self, tell: Callable[[str], None], *, engine: str, extra: Sequence[str], since: float, log: Logger
    ) -> None:
        self._tell = tell
        self._engine = engine
        self._log = log
        self._files = WatchedFiles(extra, since, self._warn_once)
        self._stop = threading.Event()
        self._starter = 0
        self._warned: set[str] = set()
        self.looks = 0
        """How many times all files were looked at and compared."""

    def start(self) -> None:
        """Begin to watch. Called once, by the thread that serves the worker's loop, after the application is loaded."""
        self._starter = threading.get_native_id()
        threading.Thread(target=self._run, name="greenhorn reloader", daemon=True).start()

    def stop(self) -> None:
        """End the thread soon, without waiting for it. Any thread; twice is no harm."""
        self._stop.set()

    def watch(self, paths: Iterable[str]) -> None:
        """Watch these files as well, such as the one whose syntax error keeps its module from being loaded. Any thread.

        Names of no file, such as `<string>`, are left out; files that are not there are watched for their creation.
        """
        for path in paths:
            if not path.startswith("<"):
                self._files.added.put(os.path.abspath(path))  # noqa: PTH100 - without "..", text in, text out

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
                watch = None if self._engine == "poll" or self._shares_thread() else _find_watchfiles()
                if watch is None:
                    self._poll()
                else:
                    self._follow(watch)
            except Exception as error:  # noqa: BLE001 - the top of a thread
                if self._is_new(repr(error)):
                    self._log.exception("Watching files failed; it goes on")
                self._stop.wait(INTERVAL)

    def _shares_thread(self) -> bool:
        """Whether threads are greenlets here: a wait outside Python would then stop the whole worker."""
        return threading.get_native_id() == self._starter

    def _poll(self) -> None:
        pause = INTERVAL
        while not self._stop.wait(pause):
            began = time.thread_time()
            self._look()
            pause = min(max(INTERVAL, EASE * (time.thread_time() - began)), LONGEST_INTERVAL)

    def _follow(self, watch: Callable[..., Any]) -> None:
        while not self._stop.is_set():
            folders = self._files.folders()
            batches = watch(
                *folders,
                watch_filter=None,
                debounce=5 * STEP,
                step=STEP,
                rust_timeout=int(INTERVAL * 1000),
                yield_on_timeout=True,
                stop_event=self._stop,
                recursive=False,
                ignore_permission_denied=True,
            )
            try:
                with contextlib.closing(batches):
                    self._look_when_told(batches, folders)
            except FileNotFoundError:
                self._stop.wait(SETTLED)  # one of the folders has just gone: the next round has others
            except OSError as error:
                self._warn_once(f"The kernel does not watch the files ({error}): they are polled instead")
                self._poll()

    def _look_when_told(self, batches: Iterable[Collection[tuple[Any, str]]], folders: frozenset[str]) -> None:
        """Look at each event, when modules were imported, and now and then, until `folders` are not right any more.

        They are not, too, when one of them was itself deleted or renamed: the kernel watches what it was.
        """
        modules, due = 0, 0.0
        for events in batches:
            more = modules != len(sys.modules) or not self._files.added.empty()
            if events or more or time.monotonic() >= due:
                modules = len(sys.modules)
                self._look()
                if any(path in folders for _, path in events) or self._files.folders() != folders:
                    return
                due = time.monotonic() + LONGEST_INTERVAL

    def _look(self) -> None:
        """Look at all files; if some have changed, wait until no more do, and tell."""
        files = self._files
        seen = files.look()
        if files.changes(seen):
            ends = time.monotonic() + LONGEST_BATCH
            while not self._stop.wait(SETTLED) and time.monotonic() < ends:
                before, seen = seen, files.look()
                if seen == before:
                    break
        changed = files.changes(seen)
        files.accept(seen)
        self.looks += 1
        if changed and not self._stop.is_set():
            self._tell(changed[0])

    def _warn_once(self, message: str) -> None:
        if self._is_new(message):
            self._log.warning("%s", message)

    def _is_new(self, message: str) -> bool:
        new = message not in self._warned
        self._warned.add(message)
        return new


def _find_watchfiles() -> Callable[..., Any] | None:
    try:
        watchfiles = importlib.import_module("watchfiles")
    except ImportError:
        return None
    # It logs each event: an application whose log is beside its modules would never come to rest.
    logging.getLogger(watchfiles.__name__).setLevel(logging.WARNING)
    watch: Callable[..., Any] = watchfiles.watch
    return watch
