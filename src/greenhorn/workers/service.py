"""What every turn of a connection needs."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from greenhorn.http.forwarded import Forwarding
from greenhorn.http.head import Leniency, Limits
from greenhorn.http.peer import Networks
from greenhorn.net.pace import Allotment, Pace
from greenhorn.observe.access import AccessLog
from greenhorn.observe.counters import Counters
from greenhorn.observe.logger import Logger
from greenhorn.wsgi.environ import build_environ

HEAD_READ = 65536
"""Bytes read at once while a head is awaited: small bodies come along."""


class Service:
    """A tray that is filled at boot and has no methods.

    Frozen but for what the poller's thread changes: `fields` once a second, `head_read` and `body_memory` with the
    number of connections, and `draining` and `keep_alive` once.
    """

    __slots__ = (
        "access",
        "allotment",
        "app",
        "body_folder",
        "body_memory",
        "body_pace",
        "clocked",
        "counters",
        "draining",
        "fields",
        "forwarding",
        "head_read",
        "identify",
        "keep_alive",
        "leniency",
        "limits",
        "log",
        "make_environ",
        "most_requests",
        "pid",
        "proxies",
        "proxy_versions",
        "queue_timeout",
        "secure_schemes",
        "streaming",
        "timed",
    )

    def __init__(
        self,
        *,
        app: Callable[..., Any],
        log: Logger,
        limits: Limits,
        leniency: Leniency,
        keep_alive: bool,
        body_memory: int,
        body_folder: str | None,
        secure_schemes: Mapping[str, str],
        proxy_versions: str,
        proxies: Networks,
        fields: str,
        body_pace: Pace = Pace(float("inf")),  # noqa: B008 - a value
        allotment: Allotment | None = None,
        streaming: bool = False,
        most_requests: int = sys.maxsize,
        queue_timeout: float = float("inf"),
        timed: bool = False,
        forwarding: Forwarding | None = None,
        access: AccessLog | None = None,
    ) -> None:
        self.app = app
        self.make_environ = build_environ
        """Makes the environ of a request; hooks take part in it."""
        self.log = log
        self.access = access
        self.clocked = access is not None and access.tells_durations
        """Whether the times of a request are measured, for the access log."""
        self.identify: Callable[..., None] | None = None
        """Gives a request an id, if the access log has them."""
        self.limits = limits
        self.leniency = leniency
        self.keep_alive = keep_alive
        self.body_memory = body_memory
        self.body_folder = body_folder
        self.body_pace = body_pace
        self.allotment = allotment or Allotment(0)
        self.streaming = streaming
        """Whether bodies are passed on while they come."""
        self.most_requests = most_requests
        """How many requests one connection may carry."""
        self.queue_timeout = queue_timeout
        """Seconds that a whole request may wait for a thread."""
        self.timed = timed
        """Whether the application's time for a request is limited."""
        self.secure_schemes = secure_schemes
        self.forwarding = forwarding
        """How proxies in front tell of clients, if they are believed."""
        self.proxy_versions = proxy_versions
        self.proxies = proxies
        self.counters = Counters()
        self.head_read = HEAD_READ
        self.pid = os.getpid()
        self.fields = fields
        """The field lines Server and Date."""
        self.draining = False
        """Whether the worker is about to leave."""
