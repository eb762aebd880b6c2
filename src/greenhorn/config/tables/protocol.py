"""What is spoken besides HTTP/1."""

from dataclasses import dataclass

from greenhorn.config.parsers import networks, one_of, size
from greenhorn.config.protocols import cleartext_http2, frame_size, http_protocols, streams, window_size
from greenhorn.config.setting import Pending, setting

_HTTP2 = Pending("HTTP/2")
_UWSGI = Pending("uwsgi protocol")


@dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    """HTTP/2, and the uwsgi protocol."""

    http_protocols: tuple[str, ...] = setting(
        ("--http-protocols",),
        default=("h1",),
        parse=http_protocols,
        meta="PROTOCOLS",
        doc="""Versions of HTTP to offer over TLS (ALPN), the preferred one first: h1, h2, or both separated by a
            comma. A file may hold a list.""",
        pending=_HTTP2,
        differs="""text only.""",
    )
    http2_cleartext: str = setting(
        ("--http2-cleartext",),
        default="off",
        parse=cleartext_http2,
        meta="MODE",
        doc="""HTTP/2 without TLS, from the peers in forwarded_allow_ips: off, prior-knowledge, upgrade or both. In a
            file True means prior-knowledge.""",
        pending=_HTTP2,
    )
    http2_max_concurrent_streams: int = setting(
        ("--http2-max-concurrent-streams",),
        default=100,
        parse=streams,
        meta="NUMBER",
        doc="""Most requests at once on one HTTP/2 connection.""",
        pending=_HTTP2,
    )
    http2_initial_window_size: int = setting(
        ("--http2-initial-window-size",),
        default=65535,
        parse=window_size,
        meta="SIZE",
        doc="""Bytes of a request body that an HTTP/2 client may send before it has to wait.""",
        pending=_HTTP2,
    )
    http2_max_frame_size: int = setting(
        ("--http2-max-frame-size",),
        default=16384,
        parse=frame_size,
        meta="SIZE",
        doc="""Largest HTTP/2 frame that is accepted, from 16384 to 16777215 bytes.""",
        pending=_HTTP2,
    )
    http2_max_header_list_size: int = setting(
        ("--http2-max-header-list-size",),
        default=65536,
        parse=size,
        meta="SIZE",
        doc="""Most bytes of an HTTP/2 header list once it is unpacked; 0 = no limit.""",
        pending=_HTTP2,
    )
    protocol: str = setting(
        ("--protocol",),
        default="http",
        parse=one_of("http", "uwsgi"),
        meta="PROTOCOL",
        doc="""What all listeners speak: http, or uwsgi for the binary protocol of nginx's uwsgi_pass.""",
        pending=Pending("uwsgi protocol", "the proxy would be answered in HTTP; have it use HTTP too (proxy_pass)"),
        differs="""the same, but takes every other word for http.""",
    )
    uwsgi_allow_ips: tuple[str, ...] = setting(
        ("--uwsgi-allow-from",),
        default=("127.0.0.1", "::1"),
        parse=networks,
        meta="NETWORKS",
        doc="""Peers that may speak the uwsgi protocol: addresses and networks separated by commas, * for everybody.
            Peers of a unix socket always may.""",
        pending=_UWSGI,
        differs="""accepts networks, which then match nobody.""",
    )
    http_parser: str = setting(
        ("--http-parser",),
        default="auto",
        parse=one_of("auto", "fast", "python"),
        meta="PARSER",
        doc="""Accepted for configurations of gunicorn, without effect. There is one parser, in Python.""",
        moot="there is one parser, in Python",
        differs="""can be told to use a parser in C.""",
    )
