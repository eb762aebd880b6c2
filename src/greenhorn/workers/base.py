"""What every worker process is: its boot order, its signals, its channel to the master, and its Service."""

import contextlib
import faulthandler
import math
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import greenhorn
from greenhorn.app import load_app
from greenhorn.config import Settings
from greenhorn.errors import AppLoadError
from greenhorn.http.head import Leniency, Limits
from greenhorn.http.names import FieldNames
from greenhorn.http.peer import Networks
from greenhorn.http.response import server_fields
from greenhorn.net.listener import Listener
from greenhorn.net.pace import Allotment, Buffers, Pace
from greenhorn.net.state import State
from greenhorn.observe.access import AccessLog
from greenhorn.observe.logger import Logger
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import Environ, environ_template

SERVER = "greenhorn"
BOOT_FAILED = 3
"""gunicorn's exit code of a worker that ended with an exception before it was ready."""
CRASHED = 255
"""The same, after it was ready."""
NAMES_TOLD = 100
"""How many dropped field names are told to the log: strangers choose them."""

DESCRIPTORS_BESIDE = 256
"""Descriptors that a worker needs beside those of its connections."""

STOPPING = (signal.SIGQUIT, signal.SIGINT, signal.SIGTERM)
"""Signals that end a worker; blocked from the fork until the child has handlers of its own, so that none is lost."""
SIGNALS = ("ABRT", "HUP", "QUIT", "INT", "TERM", "USR1", "USR2", "WINCH", "CHLD")


class Worker:
    """A worker process. Made by the master before the fork; everything else happens in the child.

    `channel` is the child's end of a socket pair: the worker writes lines (`ready`, `beat`) to it, and its end of
    stream means that the master is gone.
    """

    def __init__(
        self,
        age: int,
        settings: Settings,
        listeners: Sequence[Listener],
        log: Logger,
        access: AccessLog | None,
        channel: socket.socket,
    ) -> None:
        self.age = age
        self.settings = settings
        self.listeners = listeners
        self.log = log
        self.access = access
        self.channel = channel
        self.pid = 0
        self.app: Callable[..., Any]
        self.service: Service
        self._names_told: set[str] = set()

    def boot(self) -> int:
        """Run the whole life of the child and return its exit code. Main thread of the child."""
        self.pid = os.getpid()
        random.seed()
        self.channel.setblocking(False)
        wake_receiver, wake_sender = socket.socketpair()
        for end in (wake_receiver, wake_sender):
            end.setblocking(False)
        self.signals = wake_receiver
        self._wake_sender = wake_sender
        self._init_signals()
        self._allow_descriptors()
        try:
            self.app = load_app(self.settings.wsgi_app or "")
            self.service = self._build_service()
            self.init()
        except AppLoadError as error:
            self.log.stay()
            self.log.error("%s", error)  # noqa: TRY400 - the message has the traceback that matters
            return error.exit_code
        except Exception:
            self.log.exception("Exception in worker process")
            return BOOT_FAILED
        self.log.stay()
        # Again: an application may have used signals, or an event loop that does, while it was imported.
        self._catch(_noted, *STOPPING, signal.SIGUSR2)
        # ABRT, and what a broken extension raises, log the stacks of all threads. In C: a thread that does not let go
        # of the interpreter lock is one of the reasons.
        with contextlib.suppress(OSError, ValueError):  # a log without a descriptor
            faulthandler.enable(os.dup(self.log.fileno()))
        self.log.info("Worker ready (pid: %d)", self.pid)
        self.tell("ready")
        try:
            self.run()
        except Exception:
            self.log.exception("Exception in worker process")
            return CRASHED
        self.log.info("Worker exiting (pid: %d)", self.pid)
        return 0

    def _init_signals(self) -> None:
        """Until the worker is ready nothing can be lost, so that stopping is immediate."""
        for name in SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)
        self._catch(_leave, *STOPPING)
        # The master acts on these and may send them to the whole process group.
        for name in ("HUP", "USR1", "USR2", "WINCH"):
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
        signal.signal(signal.SIGABRT, _abort)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # the master held them back for the fork

    def _catch(self, handler: Callable[[int, object], None], *numbers: int) -> None:
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, handler)

    def _allow_descriptors(self) -> None:
        """Raise the soft limit on descriptors as far as all connections need it, each with a temporary file."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = 2 * self.settings.worker_connections + DESCRIPTORS_BESIDE
        if resource.RLIM_INFINITY not in (soft, hard):
            needed = min(needed, hard)
        if soft != resource.RLIM_INFINITY and soft < needed:
            with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
                resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
                soft = needed
        most = self.settings.worker_connections
        if soft != resource.RLIM_INFINITY and soft < most + DESCRIPTORS_BESIDE:
            self.log.warning("The limit of %d descriptors does not allow %d worker_connections", soft, most)

    def read_signals(self) -> list[int]:
        """The signals that came since the last call. The worker's loop calls it when `signals` is readable."""
        try:
            return list(self.signals.recv(4096))
        except BlockingIOError:
            return []

    def tell(self, line: str) -> bool:
        """Write a line to the master, and say whether that went; a master that is gone is noticed elsewhere."""
        try:
            return self.channel.send(line.encode() + b"\n") > len(line)
        except OSError as error:
            self.log.debug("cannot tell the master %r: %s", line, error)
            return False

    def master_is_gone(self) -> bool:
        """Whether the master has closed its end. The worker's loop calls it when `channel` is readable."""
        try:
            return not self.channel.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def init(self) -> None:
        """Prepare the loop, before the worker is ready; exceptions end the worker as one that cannot boot."""

    def run(self) -> None:
        """Serve until told to stop."""
        raise NotImplementedError

    def _build_service(self) -> Service:
        settings = self.settings
        return Service(
            app=self.app,
            log=self.log,
            access=self.access,
            limits=Limits(
                request_line=settings.limit_request_line,
                fields=settings.limit_request_fields,
                field_size=settings.limit_request_field_size,
                head=settings.limit_request_head,
                body=settings.limit_request_body,
            ),
            leniency=Leniency(
                obsolete_folding=settings.permit_obsolete_folding,
                casefold_method=settings.casefold_http_method,
            ),
            keep_alive=settings.keepalive > 0,
            body_memory=settings.body_buffer_size,
            body_folder=settings.tmp_upload_dir,
            body_pace=Pace.of(settings.body_timeout, settings.body_min_rate),
            allotment=Allotment(settings.tmp_files_max),
            streaming=settings.stream_request_body,
            most_requests=settings.keepalive_requests or sys.maxsize,
            queue_timeout=settings.queue_timeout or math.inf,
            timed=settings.request_timeout > 0,
            secure_schemes=self._secure_schemes(),
            proxy_versions=settings.proxy_protocol,
            proxies=Networks(settings.proxy_allow_ips),
            fields=server_fields(SERVER),
        )

    def buffers(self) -> Buffers:
        """How much of an answer is kept for a slow client."""
        settings = self.settings
        return Buffers(
            memory=settings.response_buffer_size,
            # The only thread goes on to fill files for as long as it can, so that others get their turn.
            most=settings.response_buffer_max if settings.threads > 1 else sys.maxsize,
            pace=self.paces()[State.FLUSH],
            folder=settings.tmp_upload_dir,
            sendfile=settings.sendfile,
            allotment=self.service.allotment,
            waiters=max(1, settings.threads // 2),
        )

    def paces(self) -> dict[State, Pace]:
        """How long a client may keep the server waiting in each state."""
        settings = self.settings
        return {
            State.NEW: Pace.of(settings.first_byte_timeout),
            State.HANDSHAKE: Pace.of(settings.handshake_timeout),
            State.HEAD: Pace.of(settings.header_timeout),
            State.BODY: self.service.body_pace,
            State.IDLE: Pace.of(settings.keepalive),
            State.FLUSH: Pace.of(settings.write_timeout, settings.write_min_rate),
            State.LINGER: Pace(settings.linger_timeout),
        }

    def field_names(self, *, trusted: bool) -> FieldNames:
        """The field names that a peer may use: a trusted one may spell some with underscores."""
        settings = self.settings
        return FieldNames(
            header_map=settings.header_map,
            allowed=settings.forwarder_headers if trusted else (),
            strip_spaces=settings.strip_header_spaces,
            scheme_keys=self._secure_schemes() if trusted else (),
            on_dropped=self._tell_dropped_name,
        )

    def _secure_schemes(self) -> dict[str, str]:
        """The environ keys of the fields that tell the scheme, each with the value that means https."""
        headers = self.settings.secure_scheme_headers
        return {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}

    def template(self, listener: Listener) -> Environ:
        """What the environs of all requests through `listener` have in common."""
        return environ_template(
            server=listener.name,
            scheme="http",
            software=f"{SERVER}/{greenhorn.__version__}",
            errors=self.log.stream,
            script_name=os.environ.get("SCRIPT_NAME", ""),
            multithread=self.settings.threads > 1,
            multiprocess=self.settings.workers > 1,
        )

    def _tell_dropped_name(self, name: str) -> None:
        if name not in self._names_told and len(self._names_told) < NAMES_TOLD:
            self._names_told.add(name)
            self.log.warning(
                "A request's field %r is not passed on, nor will be later ones of this name; header_map and "
                "forwarder_headers say what is done with names that have an underscore",
                name[:64],
            )


def _leave(_signal: int, _frame: object) -> None:
    """Nothing was accepted yet."""
    os._exit(0)


def _noted(_signal: int, _frame: object) -> None:
    """Do nothing: the wake-up socket has the number."""


def _abort(_signal: int, _frame: object) -> None:
    """The master gave this worker up, because it does not beat any more."""
    sys.stderr.flush()
    os._exit(1)
