"""The master: one thread, one selector over signals and the children's channels."""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable
from pathlib import Path

import greenhorn
from greenhorn.app import load_named
from greenhorn.config import Configuration
from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.master.child import HURRY
from greenhorn.master.fleet import TICK, Fleet, call_hook
from greenhorn.master.generation import Generation
from greenhorn.master.handover import Handover
from greenhorn.master.pidfile import Pidfile
from greenhorn.master.process import Launch, become, set_title
from greenhorn.master.reload import Reload
from greenhorn.master.renewal import Renewal
from greenhorn.master.server import Server
from greenhorn.master.signals import DUMP, Signals
from greenhorn.master.surroundings import Surroundings
from greenhorn.master.systemd import Notifier, activated_sockets
from greenhorn.net.listener import Address, adopt
from greenhorn.observe.access import reopen_logs
from greenhorn.observe.logger_class import make_logger
from greenhorn.workers.base import BOOT_FAILED, Worker

CRASHED = 255
"""gunicorn's exit code of a master that fails itself."""

ON_THEIR_WAY = 0.02
"""Seconds that handshakes under way have to be completed before the workers accept for the last time."""
SAME_TERM = 1.0


class Arbiter(Server):
    """The master process: binds, keeps the workers, obeys signals, stops. It accepts nothing itself.

    `read` reads the configuration anew; `surroundings` are entered already; `launch` is told how the start went;
    `generation` is what was made of the configuration, if that was done. Raises `ConfigError` for settings that cannot
    be followed, and `AppLoadError` with preload_app. Main thread only.
    """

    def __init__(
        self,
        configuration: Configuration,
        read: Callable[[], Configuration],
        surroundings: Surroundings,
        handover: Handover,
        launch: Launch | None = None,
        generation: Generation | None = None,
    ) -> None:
        super().__init__()
        # First of all: a number that systemd did not pass must not be one that is opened here.
        self._activated = activated_sockets(surroundings.environ, self.pid)
        self.cfg = configuration.settings
        self.log = make_logger(self.cfg)
        self.handover = handover
        self.generation = generation or Generation.of(self.cfg, load_named)
        self._launch = launch or Launch()
        self._notifier = Notifier(surroundings.environ, self.pid)
        self._signals = Signals()
        self._selector = selectors.DefaultSelector()
        self.fleet = Fleet(self, self._selector)
        self._reload = Reload(self, read, surroundings, self._take_over)
        self._renewal = Renewal(self)
        self._pidfile: Pidfile | None = None
        self._pidfile_path = ""
        self._stop_at: float | None = None
        """When TERM takes effect that was delayed."""
        self._in_background = self.cfg.daemon
        self._told_ready = False
        self._exit_code: int | None = None

    # Its life.

    def run(self) -> int:
        """Serve until told to stop; returns the exit code. In a worker's process it never returns."""
        try:
            self._start()
            while self._exit_code is None:
                self._turn()
        except (ConfigError, AppLoadError, KeyboardInterrupt):
            self._reload.close_sockets()
            if self._pidfile is not None:
                self._pidfile.release()
            raise
        except Exception:
            self.log.exception("The master fails")
            self._stop(signal.SIGTERM, self.cfg.graceful_timeout, CRASHED)
        self.log.info("Shutting down: %s", self.master_name)
        self.call_safely("on_exit")
        if self._pidfile is not None:
            self._pidfile.release()
        return self._exit_code or 0

    def _start(self) -> None:
        self.log.info("Starting greenhorn %s", greenhorn.__version__)
        self.num_workers = self.cfg.workers
        self._signals.install(interrupting=True)
        self._take_pidfile()
        self.call("on_starting")
        self._selector.register(self._signals.receiver, selectors.EVENT_READ)
        self._listen()
        self._set_title()
        for warning in self.generation.warnings():
            self.log.warning("%s", warning)
        self.generation.judge(self.log)
        for listener in self.LISTENERS:
            self.log.info("Listening at: %s (%d)", self.generation.url(listener), self.pid)
        self.log.info("Using worker: %s", self.cfg.worker_class_str)
        if not self.cfg.workers:
            self.log.warning("workers is 0: nobody serves")
        self.generation.preload(None, self.log)
        self._signals.install()  # the application may have used signals as well
        self.call("when_ready")
        self.fleet.current = self.generation

    def _listen(self) -> None:
        self._reload.activated = [adopt(fd, Address(fd=fd, name=name)) for fd, name in self._activated]
        inherited = self.handover.inherited()
        self.generation.open(inherited, self._reload.activated)
        self._reload.keep(self.generation, inherited)
        self.generation.hand_files_over(self.log)

    def _turn(self) -> None:
        self.fleet.turn()
        self._wait(self._nap())
        for name in self._signals.read():
            self._obey(name)
        if self._exit_code is not None:
            return
        self._reap()
        self._reload.begin_with_changed_files()
        self._renewal.look(time.monotonic())
        self._tell_outside()
        if self.handover.promoted():
            self._promote()
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self._stop(signal.SIGTERM, self.cfg.graceful_timeout)

    def _nap(self) -> float:
        until = TICK if self._stop_at is None else max(0.0, self._stop_at - time.monotonic())
        return min(self.fleet.nap(), self._notifier.watchdog, until)

    def _wait(self, timeout: float) -> None:
        """Sleep until a signal or a child's line comes, and read the lines."""
        for key, _ in self._selector.select(timeout):
            if key.data is not None:
                self.fleet.heard(key.data)

    def _reap(self) -> None:
        for pid in self.fleet.reap():
            if pid == self.handover.successor:
                self.handover.successor = 0
                self.log.warning("The second master (pid:%d) has ended; this one goes on", pid)
                self._remove_second_pidfile(pid)
                self.safely(self._reload.bring_back)

    def _tell_outside(self) -> None:
        """Tell whoever started this process, and systemd, what there is to tell."""
        if (self.fleet.was_ready or not self.num_workers) and not self._told_ready:
            self._told_ready = True
            self._launch.succeeded()
            self._ready_again()
        elif self._speaks and self._told_ready and self._stop_at is None:
            self._notifier.status(self._status())
        self._notifier.beat(time.monotonic())
        self.tell_gauges()

    def _status(self) -> str:
        # While workers are exchanged, more serve than there are to be.
        return f"{min(self.fleet.serving(), self.num_workers)} of {self.num_workers} workers serve"

    def _obey(self, name: str) -> None:
        if name == "CHLD" or self._exit_code is not None:
            return  # the loop reaps at each turn
        self.log.info("Handling signal: %s", name.lower())
        self.safely(self._follow, name)

    def _follow(self, name: str) -> None:
        if name == "TERM":
            self._terminate()
        elif name in ("INT", "QUIT"):
            self._stop(signal.SIGQUIT, HURRY)
        elif name == "HUP":
            self._hang_up()
        elif name in ("TTIN", "TTOU"):
            self._count(1 if name == "TTIN" else -1)
        elif name == "USR1":
            self._reopen_logs()
        elif name == "USR2":
            self._upgrade()
        elif name == "WINCH":
            self._withdraw()
        elif name == DUMP:
            self.fleet.tell_ready(signal.SIGUSR2)

    def _count(self, more: int) -> None:
        if self.num_workers + more >= 1:
            self.num_workers += more

    def _reopen_logs(self) -> None:
        try:
            reopen_logs(self.log, self.generation.access)
            self.generation.hand_files_over(self.log)
        finally:  # a file that cannot be given away must not keep the workers at the old ones
            self.fleet.tell_ready(signal.SIGUSR1)

    def _set_title(self) -> None:
        set_title("master", self.proc_name + (".2" if self.handover.predecessor else ""))

    def _take_pidfile(self) -> None:
        if self.cfg.pidfile is not None:
            self._pidfile_path = str(Path(self.cfg.pidfile).absolute())
            pidfile = Pidfile(self._pidfile_path + (".2" if self.handover.predecessor else ""))
            told = pidfile.acquire()
            self._pidfile = pidfile
            if told:
                self.log.info("%s", told)

    def _remove_second_pidfile(self, pid: int) -> None:
        """Remove what a second master has left that was killed."""
        second = Path(self._pidfile_path + ".2")
        with contextlib.suppress(OSError, ValueError):
            if self._pidfile is not None and int(second.read_text(encoding="ascii")) == pid:
                second.unlink()

    # Reload.

    def _hang_up(self) -> None:
        if self._stop_at is None:
            if self._speaks and self._told_ready:
                self._notifier.reloading()
            self._reload.begin()
            self._signals.install()  # what the configuration file runs may have used signals as well
            if self.fleet.candidate is None:
                self._ready_again()

    @property
    def _speaks(self) -> bool:
        """Whether systemd hears of this master: there is no first one whose word counts."""
        return not self.handover.predecessor

    def _ready_again(self) -> None:
        if self._speaks and self._told_ready:
            self._notifier.ready(self._status())

    def _take_over(self, generation: Generation) -> None:
        """Let the master itself go by another generation from now on. Raises `ConfigError`."""
        settings = generation.settings
        try:
            self.log = make_logger(settings)
        except ConfigError:
            self.log = make_logger(self.cfg)  # what was changed already is changed back
            raise
        if settings.pidfile != self.cfg.pidfile:
            self.log.warning("pidfile: another one is for the next start")
        self.generation, self.cfg = generation, settings
        generation.hand_files_over(self.log)
        if self._pidfile is not None:
            self._pidfile.rewrite()
        self._set_title()

    def accepted(self, generation: Generation, before: Generation) -> None:
        """Let go of the generation before, since the new one serves. The fleet calls it."""
        self._reload.accepted(generation, before)
        for listener in generation.listeners:
            if listener not in before.listeners:
                self.log.info("Listening at: %s (%d)", generation.url(listener), self.pid)
        self.log.info("The new generation serves, and the old workers leave")
        self._ready_again()

    def given_up(self, generation: Generation, why: str) -> None:
        """Go back to the generation before. The fleet calls it."""
        self._reload.go_back(generation, why)
        self._ready_again()

    # An upgrade.

    def _upgrade(self) -> None:
        if self.handover.shared:
            self.log.warning("USR2 does nothing while there is a second master")
            return
        try:
            # All that systemd has opened go over: they are counted, and another configuration may name others.
            sockets = list(dict.fromkeys([*self.LISTENERS, *self._reload.activated]))
            self.handover.start(sockets, lambda: self.call("pre_exec"), self.log)
        except OSError as error:
            self.log.error("The second master cannot be started: %s", error)  # noqa: TRY400 - said
        else:
            self.log.info("The second master is started (pid:%d)", self.handover.successor)

    def _withdraw(self) -> None:
        """WINCH: leave the work to a second master. A terminal sends it as well, whenever its size changes."""
        if self._in_background or self.handover.successor:
            self.log.info("The workers leave; HUP brings them back")
            self._reload.withdraw()
        else:
            self.log.debug("WINCH does nothing but in the background or beside a second master")

    def _promote(self) -> None:
        """Be the only master from now on: the first one has left."""
        self.log.info("The first master has left; this one takes its place")
        if self._pidfile is not None:
            self.safely(self._pidfile.rename, self._pidfile_path)
        self._set_title()
        self._notifier.hand_over(self.pid)
        self._ready_again()

    # The end.

    def cannot_start(self, why: str, code: int) -> None:
        """End, since the first worker could not boot. The fleet calls it."""
        self.log.error("Cannot start: %s", why)
        self._launch.failed(f"greenhorn: error: {why}", code)
        self._stop(signal.SIGTERM, self.cfg.graceful_timeout, code)

    def _terminate(self) -> None:
        delay = self.cfg.shutdown_delay
        if not delay or self._stop_at is not None:
            self._stop(signal.SIGTERM, self.cfg.graceful_timeout)
            return
        self._stop_at = time.monotonic() + delay
        if not self.handover.shared:
            self._notifier.stopping(delay + self.cfg.graceful_timeout + HURRY)
        self.fleet.announce_stop()
        self.log.info("Stopping in %d s (shutdown_delay); until then requests are served", delay)

    def _stop(self, number: int, patience: float, exit_code: int = 0) -> None:
        """Stop all workers within `patience` seconds, and end the loop with `exit_code`."""
        self._exit_code = exit_code
        if self.handover.successor:
            self._notifier.hand_over(self.handover.successor)
        elif self._speaks:
            self._notifier.stopping(patience + HURRY)
        fleet = self.fleet
        if self._reload.seal_sockets():
            time.sleep(ON_THEIR_WAY)
        fleet.stop(number, others_serve=self.handover.shared)
        # The workers have the listening sockets as well, and serve what already waits in them.
        self._reload.close_sockets()
        began = time.monotonic()
        deadline = began + patience
        while fleet.children and time.monotonic() < deadline:
            self._wait(min(TICK, max(0.0, deadline - time.monotonic())))
            self._reap()
            self._notifier.beat(time.monotonic())
            signals = set(self._signals.read())
            # A TERM that follows at once is the same one: a wrapper passes on what the whole group gets.
            if signals & {"INT", "QUIT"} or ("TERM" in signals and time.monotonic() > began + SAME_TERM):
                deadline = min(deadline, time.monotonic() + (HURRY if number != signal.SIGQUIT else 0))
                number = signal.SIGQUIT
                fleet.tell_all(number)
        for child in fleet.children.values():
            self.log.warning("Worker (pid:%d) did not stop in time and is killed", child.pid)
            child.kill(signal.SIGKILL)
        while fleet.children:
            self._wait(0.1)
            self._reap()

    # Workers, in their own processes.

    def become(self, worker: Worker, generation: Generation) -> int:
        """Be the worker from here on, and return the exit code. Only in the child; the fleet calls it."""
        code = BOOT_FAILED
        settings = generation.settings

        def settle_in() -> None:
            call_hook(settings.post_fork, "post_fork", self, worker)
            become(generation.identity)

        worker.at_abort = lambda: self.call_safely("worker_exit", worker)
        try:
            # Let go of what is the master's.
            signal.set_wakeup_fd(-1)
            self._selector.close()
            self._signals.close()
            self._launch.forget()
            self._reload.leave_to_others(generation)
            if self._pidfile is not None:
                self._pidfile.forget()
            self.generation, self.cfg = generation, settings
            set_title("worker", self.proc_name)
            worker.pid = os.getpid()
            self.log.info("Booting worker with pid: %d", worker.pid)
            code = worker.boot(settle_in)
        except Exception:
            self.log.exception("Exception in worker process")  # it must not reach the master's code above
        finally:
            self.call_safely("worker_exit", worker)
            worker.depart(code)
        return code
