"""What the rooms below a worker are made of, built from the settings: here settings become small records."""

import math
import os
import sys
from collections.abc import Callable, Sequence, Sized
from typing import Any

import greenhorn
from greenhorn.config import Settings
from greenhorn.http.forwarded import Forwarding
from greenhorn.http.head import Leniency, Limits
from greenhorn.http.names import FieldNames
from greenhorn.http.peer import Networks
from greenhorn.http.response import server_fields
from greenhorn.net.listener import Listener
from greenhorn.net.pace import Allotment, Buffers, Pace
from greenhorn.net.state import State
from greenhorn.observe.access import AccessFile, AccessLog, DirectLog, Excluded
from greenhorn.observe.formats import format_in_use
from greenhorn.observe.logger import Logger
from greenhorn.observe.metered import metered
from greenhorn.observe.request_id import RequestIds
from greenhorn.observe.routed import RoutedLog
from greenhorn.tls.entrance import Entrance
from greenhorn.workers.hooked import stand_in
from greenhorn.workers.reception import Reception, first_turn
from greenhorn.workers.serve import Turn
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import Environ, environ_template

SERVER = "greenhorn"
NAMES_TOLD = 100
"""How many dropped field names are told to the log: strangers choose them."""


def build_service(settings: Settings, app: Callable[..., Any], log: Logger) -> Service:
    """The tray of one worker."""
    return Service(
        app=app,
        log=log,
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
        secure_schemes=secure_schemes(settings),
        forwarding=forwarding(settings),
        proxy_versions=settings.proxy_protocol,
        proxies=Networks(settings.proxy_allow_ips),
        fields=server_fields(SERVER),
    )


def access_log(settings: Settings, log: Logger, file: AccessFile | None, waiting: Sized) -> AccessLog | None:
    """What writes the access log: into `file` past Python's logging, unless somebody wants to see it there.

    Lines may wait for those of what is `waiting`.
    """
    form = format_in_use(settings.access_log_format, settings.log_format)
    excluded = Excluded(settings.access_log_exclude)
    if log.routes_access:
        return RoutedLog(log, form, stand_in, excluded)
    if file is None:
        return None
    return DirectLog(file, form, excluded, waiting=waiting, strict=settings.pre_request is not None)


def attach_access_log(service: Service, settings: Settings, file: AccessFile | None, waiting: Sized = ()) -> None:
    """Let the turns tell the access log of each answer, and do what it needs for that."""
    service.access = access = metered(service.log, access_log(settings, service.log, file, waiting))
    service.clocked = access is not None and access.tells_durations
    service.identify = None
    if access is not None and access.tells_id and settings.request_id_header:
        service.identify = RequestIds(settings.request_id_header).identify


def flush_access_log(service: Service) -> None:
    """Write what waits to be written."""
    if service.access is not None:
        service.access.flush()


def paces(settings: Settings) -> dict[State, Pace]:
    """How long a client may keep the server waiting in each state."""
    return {
        State.NEW: Pace.of(settings.first_byte_timeout),
        State.HANDSHAKE: Pace.of(settings.handshake_timeout),
        State.HEAD: Pace.of(settings.header_timeout),
        State.BODY: Pace.of(settings.body_timeout, settings.body_min_rate),
        State.IDLE: Pace.of(settings.keepalive),
        State.FLUSH: Pace.of(settings.write_timeout, settings.write_min_rate),
        State.LINGER: Pace(settings.linger_timeout),
    }


def buffers(settings: Settings, allotment: Allotment) -> Buffers:
    """How much of an answer is kept for a slow client."""
    return Buffers(
        memory=settings.response_buffer_size,
        # The only thread goes on to fill files for as long as it can, so that others get their turn.
        most=settings.response_buffer_max if settings.threads > 1 else sys.maxsize,
        pace=paces(settings)[State.FLUSH],
        folder=settings.tmp_upload_dir,
        sendfile=settings.sendfile,
        allotment=allotment,
        waiters=max(1, settings.threads // 2),
    )


def secure_schemes(settings: Settings) -> dict[str, str]:
    """The environ keys of the fields that tell the scheme, each with the value that means https."""
    return {"HTTP_" + name.upper().replace("-", "_"): value for name, value in settings.secure_scheme_headers.items()}


def forwarding(settings: Settings) -> Forwarding | None:
    """How proxies in front tell of clients; None if they are not asked."""
    if not settings.forwarded_hops:
        return None
    return Forwarding(
        settings.forwarded_hops,
        trusted=Networks(settings.forwarded_allow_ips),
        standard=settings.forwarded_header == "forwarded",
        extras=settings.forwarded_fields,
    )


def field_names(settings: Settings, on_dropped: Callable[[str], None], *, trusted: bool) -> FieldNames:
    """The field names that a peer may use: a trusted one may spell some with underscores."""
    told = forwarding(settings)
    return FieldNames(
        header_map=settings.header_map,
        allowed=settings.forwarder_headers if trusted else (),
        strip_spaces=settings.strip_header_spaces,
        telling=(*(secure_schemes(settings) if trusted else ()), *(told.keys if told else ())),
        on_dropped=on_dropped,
    )


def template(settings: Settings, listener: Listener, log: Logger, is_ready: Callable[[], bool]) -> Environ:
    """What the environs of all requests through `listener` have in common."""
    return environ_template(
        server=listener.name,
        scheme="http",
        software=f"{SERVER}/{greenhorn.__version__}",
        errors=log.stream,
        script_name=os.environ.get("SCRIPT_NAME", ""),
        multithread=settings.threads > 1,
        multiprocess=settings.workers > 1,
        is_ready=is_ready,
    )


def reception(
    settings: Settings,
    listeners: Sequence[Listener],
    spoken: Sequence[Entrance],
    kept: Buffers,
    log: Logger,
    is_ready: Callable[[], bool],
    choose: Callable[[Entrance], Turn] = first_turn,
) -> Reception:
    """What makes a connection of what is accepted; `choose` says what its first turn is."""
    dropped = DroppedNames(log)
    return Reception(
        listeners,
        spoken,
        template=lambda listener: template(settings, listener, log, is_ready),
        buffers=kept,
        trusted=Networks(settings.forwarded_allow_ips),
        names={trusted: field_names(settings, dropped, trusted=trusted) for trusted in (False, True)},
        proxied=settings.proxy_protocol != "off",
        first_turn=choose,
    )


class DroppedNames:
    """Tells the log of field names that are not passed on, each once."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._told: set[str] = set()

    def __call__(self, name: str) -> None:
        """Note that a field of this name was left out."""
        if name not in self._told and len(self._told) < NAMES_TOLD:
            self._told.add(name)
            self._log.warning(
                "A request's field %r is not passed on, nor will be later ones of this name; header_map and "
                "forwarder_headers say what is done with names that have an underscore",
                name[:64],
            )
