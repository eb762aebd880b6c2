"""The settings of gunicorn 27 that greenhorn does not have yet, so that none is ignored in silence."""

from typing import NamedTuple


class Foreign(NamedTuple):
    """A setting of gunicorn that greenhorn knows by name only."""

    name: str
    flags: tuple[str, ...] = ()
    neutral: object = None
    """The value that asks for nothing greenhorn does not do: with it there is nothing to tell. A bool marks a
    flag that takes no value."""
    refused: str = ""
    """Why the start ends when it is set to anything else; empty where a warning is enough."""


_TLS = "connections would not be encrypted; terminate TLS in a proxy for now"
_WEAK_TLS = "clients would not have to show a certificate; check them in a proxy for now"

FOREIGN: tuple[Foreign, ...] = (
    # What must not be ignored: the start ends.
    Foreign("keyfile", ("--keyfile",), refused=_TLS),
    Foreign("certfile", ("--certfile",), refused=_TLS),
    Foreign("ca_certs", ("--ca-certs",), refused=_WEAK_TLS),
    Foreign("cert_reqs", ("--cert-reqs",), 0, _WEAK_TLS),
    Foreign("protocol", ("--protocol",), "http", "greenhorn speaks HTTP only; let the proxy do so too"),
    # What can be ignored, with a warning.
    Foreign("root_path", ("--root-path",), ""),
    Foreign("uwsgi_allow_ips", ("--uwsgi-allow-from",), "127.0.0.1,::1"),
    Foreign("http_parser", ("--http-parser",), "auto"),
    Foreign("asgi_loop", ("--asgi-loop",), "auto"),
    Foreign("asgi_lifespan", ("--asgi-lifespan",), "auto"),
    Foreign("asgi_disconnect_grace_period", ("--asgi-disconnect-grace-period",), 3),
    Foreign("websocket_max_message_size", ("--websocket-max-message-size",), 16777216),
    Foreign("ssl_version", ("--ssl-version",)),
    Foreign("ciphers", ("--ciphers",)),
    Foreign("suppress_ragged_eofs", ("--suppress-ragged-eofs",), neutral=True),
    Foreign("do_handshake_on_connect", ("--do-handshake-on-connect",), neutral=False),
    Foreign("http_protocols", ("--http-protocols",), "h1"),
    Foreign("http2_cleartext", ("--http2-cleartext",), "off"),
    Foreign("http2_max_concurrent_streams", ("--http2-max-concurrent-streams",), 100),
    Foreign("http2_initial_window_size", ("--http2-initial-window-size",), 65535),
    Foreign("http2_max_frame_size", ("--http2-max-frame-size",), 16384),
    Foreign("http2_max_header_list_size", ("--http2-max-header-list-size",), 65536),
    Foreign("control_socket", ("--control-socket",)),
    Foreign("control_socket_mode", ("--control-socket-mode",), 0o600),
    Foreign("control_socket_disable", ("--no-control-socket",), neutral=True),
    Foreign("dirty_apps", ("--dirty-app",), []),
    Foreign("dirty_workers", ("--dirty-workers",), 0),
    Foreign("dirty_timeout", ("--dirty-timeout",), 300),
    Foreign("dirty_threads", ("--dirty-threads",), 1),
    Foreign("dirty_graceful_timeout", ("--dirty-graceful-timeout",), 30),
    # Hooks that a configuration file defines as functions.
    Foreign("on_dirty_starting"),
    Foreign("dirty_post_fork"),
    Foreign("dirty_worker_init"),
    Foreign("dirty_worker_exit"),
)
