"""HUP: the configuration is read anew, and one worker is tried with it; until that serves nothing changes."""

import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from greenhorn.config import Configuration, Settings
from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.master.generation import Generation
from greenhorn.master.server import Server
from greenhorn.master.surroundings import Surroundings
from greenhorn.net.listener import Listener
from greenhorn.observe.logger import Logger
from greenhorn.observe.new_files import missing_files, remove_empty


class Reload:
    """Exchanges the generations of a master. Main thread of the master.

    `take_over` lets the master itself go by a generation; it raises `ConfigError`.
    """

    def __init__(
        self,
        server: Server,
        read: Callable[[], Configuration],
        surroundings: Surroundings,
        take_over: Callable[[Generation], None],
    ) -> None:
        self.sockets: list[Listener] = []
        """Every listening socket of this process, of whichever generation."""
        self.activated: list[Listener] = []
        """Those that a service manager has opened."""
        self._server = server
        self._read = read
        self._surroundings = surroundings
        self._take_over = take_over
        self._withdrawn: int | None = None
        """How many workers there were to be, before all were withdrawn."""
        self._comes_back = False
        """Whether what is tried brings them back."""
        self._new_files: set[Path] = set()
        """The log files that were not there before what is tried."""
        self._target_before = 0
        self._target_wanted = 0

    @property
    def log(self) -> Logger:
        """The master's log."""
        return self._server.log

    def begin(self) -> None:
        """Read the configuration, and try it. What fails is logged, and everything is as it was."""
        server, fleet = self._server, self._server.fleet
        before, abandoned = fleet.current, fleet.candidate
        if abandoned is not None:
            fleet.abandon()
            self._restore(before)
            self.sockets += [listener for listener in abandoned.listeners if listener not in self.sockets]
            if abandoned.access is not None and abandoned.access is not before.access:
                abandoned.access.close()
        generation: Generation | None = None
        configuration: Configuration | None = None
        try:
            self._surroundings.leave()
            configuration = self._read()
            generation = Generation.of(configuration.settings, before.load, before)
            for warning in (*configuration.warnings, *generation.warnings()):
                self.log.warning("%s", warning)
            generation.judge(self.log)
            self._surroundings.enter(generation.settings)
            self._new_files |= missing_files(generation.settings)
            generation.open(self.sockets, self.activated)
            generation.preload(before, self.log)
            self._target_before = self._target_wanted = server.num_workers
            self._take_over(generation)
            self._count_anew(before.settings)
            server.call("on_reload")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the old generation goes on
            known = isinstance(error, (ConfigError, AppLoadError))
            why = str(error) if known else traceback.format_exc().rstrip()
            self.go_back(generation, configuration.sourced(why) if configuration else why)
            return
        self._keep_sockets((before, generation))
        fleet.attempt(generation, self._target_before)

    def begin_with_changed_files(self) -> None:
        """Try the application again, if a worker has told that a file of it has changed."""
        fleet = self._server.fleet
        newest = fleet.candidate or fleet.current
        changed = ""
        for child in fleet.children.values():
            if child.generation is newest:  # the others began before the one that is tried
                changed = child.changed or changed
            child.changed = ""
        if changed:
            self.log.info("%s has changed: the application is loaded again", changed)
            fleet.attempt(dataclasses.replace(newest))

    def withdraw(self) -> None:
        """Let all workers leave; `begin` brings them back."""
        if self._withdrawn is None:
            self._withdrawn = self._server.num_workers
        self._comes_back = False
        self._server.num_workers = 0

    def bring_back(self) -> None:
        """Let as many workers come back as were withdrawn, if they were."""
        if self._withdrawn is not None:
            self._target_before = self._withdrawn  # also if what is tried is given up
            self._server.fleet.want_meanwhile(self._withdrawn)
            self._server.num_workers, self._withdrawn = self._withdrawn, None

    def _count_anew(self, before: Settings) -> None:
        """Let the number of workers be what the settings say, if they say something else than before.

        What TTIN and TTOU made of it stays otherwise.
        """
        server = self._server
        wanted = server.num_workers if self._withdrawn is None else self._withdrawn
        self._target_wanted = server.cfg.workers if server.cfg.workers != before.workers else wanted
        self._comes_back = True
        server.num_workers = self._target_wanted

    def accepted(self, generation: Generation, before: Generation) -> None:
        """Go by a generation that serves, and let go of what only the one before had."""
        self._server.generation = generation
        if self._comes_back:
            self._withdrawn = None
        self._keep_sockets((generation,))
        self._leave_no_empty_files(generation)
        if before.access is not None and before.access is not generation.access:
            before.access.close()

    def go_back(self, generation: Generation | None, why: str) -> None:
        """Be as before `generation`, which cannot serve."""
        before = self._server.fleet.current
        self._restore(before)
        self._keep_sockets((before,), generation.listeners if generation else ())
        if generation is not None and generation.access is not None and generation.access is not before.access:
            generation.access.close()
        self._leave_no_empty_files(before)
        self.log.error("The reload is given up, and the old workers go on: %s", why)

    def _leave_no_empty_files(self, kept: Generation) -> None:
        """Remove the log files that came with what was tried, but for those of the generation that is `kept`."""
        used = {Path(path) for path in (*self.log.paths, kept.access.path if kept.access else "") if path}
        remove_empty(self._new_files - used)
        self._new_files.clear()

    def _restore(self, before: Generation) -> None:
        server = self._server
        with contextlib.suppress(ConfigError):
            self._surroundings.leave()
        with contextlib.suppress(ConfigError):
            self._surroundings.enter(before.settings)
        if server.generation is not before:
            with contextlib.suppress(ConfigError):
                self._take_over(before)
            # What TTIN and TTOU made of it meanwhile stays.
            server.fleet.target = max(0, self._target_before + server.num_workers - self._target_wanted)

    def keep(self, generation: Generation, inherited: Iterable[Listener]) -> None:
        """Close the inherited sockets that the first generation does not listen at."""
        self._keep_sockets((generation,), inherited)

    def _keep_sockets(self, generations: Iterable[Generation], others: Iterable[Listener] = ()) -> None:
        kept = [listener for generation in generations for listener in generation.listeners]
        for listener in {*self.sockets, *others}:
            if listener not in kept and listener not in self.activated:
                listener.close(unlink=not (listener.lent or self._server.handover.shared))
        self.sockets = list(dict.fromkeys(kept))

    def leave_to_others(self, generation: Generation) -> None:
        """Let go of what other generations listen at, write to and live in. In a worker of `generation`."""
        if generation.settings is not self._server.cfg:
            self._surroundings.leave()
            self._surroundings.enter(generation.settings)
        for listener in self.sockets:
            if listener not in generation.listeners:
                listener.close()
        for other in (self._server.fleet.current, self._server.fleet.candidate):
            if other is not None and other.access is not None and other.access is not generation.access:
                other.access.close()

    def seal_sockets(self) -> bool:
        """Let nobody connect any more who has not begun to; whether some may still be on their way."""
        if self._server.handover.shared:
            return False
        return any([listener.seal() for listener in self.sockets])  # noqa: C419 - all of them

    def close_sockets(self) -> None:
        """Listen no more in this process. Paths stay where another master or a service manager has them as well."""
        self._keep_sockets(())
        for listener in self.activated:
            listener.close()
