"""The environ of a request: what all requests of a listener share, and what one request adds (PEP 3333)."""

from collections.abc import Callable
from typing import Any, BinaryIO

from greenhorn.errors import HTTPError
from greenhorn.http.forwarded import Told
from greenhorn.http.head import RequestHead
from greenhorn.wsgi.exchange import FileWrapper, Response

Environ = dict[str, Any]

PEER_ADDR = "greenhorn.peer_addr"
"""Who is at the other end of the socket, where that is not the client: (address, port), or None for a unix socket."""
CLIENT_DISCONNECTED = ("greenhorn.client_disconnected", "waitress.client_disconnected")
"""The keys of what tells whether the client waits no more."""
PREFIX = "greenhorn.forwarded_prefix"
"""What of SCRIPT_NAME a proxy has cut off the path already."""


def environ_template(
    *,
    server: tuple[str, str],
    scheme: str,
    software: str,
    errors: Any,
    script_name: str,
    multithread: bool,
    multiprocess: bool,
    is_ready: Callable[[], bool] = lambda: True,
) -> Environ:
    """Everything that the requests through one listener have in common; nobody changes it afterwards.

    `server` is the listener's name and port, as they go into SERVER_NAME and SERVER_PORT. An application can call
    `is_ready` to tell a load balancer whether it should send more requests here.
    """
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": errors,
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "SERVER_SOFTWARE": software,
        "SERVER_NAME": server[0],
        "SERVER_PORT": server[1],
        "SCRIPT_NAME": script_name,
        "REMOTE_ADDR": "",  # filled in for each connection
        "gunicorn.socket": None,
        "greenhorn.client_disconnected": None,
        "greenhorn.ready": is_ready,
        "waitress.client_disconnected": None,
        # Filled in for each request; a dict is copied faster than it grows.
        "REQUEST_METHOD": "",
        "REQUEST_URI": "",
        "RAW_URI": "",
        "PATH_INFO": "",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "",
        "wsgi.input": None,
        "wsgi.early_hints": None,
    }


def connection_template(
    template: Environ, peer: tuple[str, str] | None, sock: Any, client_disconnected: Callable[[], bool]
) -> Environ:
    """Everything that the requests of one connection have in common.

    `peer` is the client's address and port, None for a unix socket. An application can call `client_disconnected` to
    learn that nobody waits for its answer any more; waitress has a name for that as well.
    """
    own: Environ = {
        "gunicorn.socket": sock,
        **dict.fromkeys(CLIENT_DISCONNECTED, client_disconnected),
    }
    if peer is not None:
        own["REMOTE_ADDR"], own["REMOTE_PORT"] = peer
    return template | own


def forwarded_template(
    template: Environ, head: RequestHead, told: Told, peer: tuple[str, str] | None, scheme: str | None
) -> Environ:
    """The template of one request of a connection, with what was `told` of its client; the host goes into `head`.

    `peer` is who is at the other end of the connection. A REMOTE_PORT that was not told is not there, since the peer's
    would be another one's.
    """
    own = dict(template)
    if told.host is not None:
        head.fields["HTTP_HOST"] = told.host
    if scheme is not None:
        own["wsgi.url_scheme"] = scheme
    if told.client is not None:
        own.setdefault(PEER_ADDR, peer)
        own["REMOTE_ADDR"], port = told.client
        own.pop("REMOTE_PORT", None)
        if port:
            own["REMOTE_PORT"] = port
    if told.prefix and "SCRIPT_NAME" not in head.fields:
        own[PREFIX] = told.prefix
        own["SCRIPT_NAME"] = told.prefix + own["SCRIPT_NAME"]
    if told.port is not None:
        if not own["SERVER_PORT"] and head.fields.get("HTTP_HOST"):
            own["SERVER_NAME"], _ = _split_host(head.fields["HTTP_HOST"])
        own["SERVER_PORT"] = told.port
    return own


def build_environ(template: Environ, head: RequestHead, body: BinaryIO, response: Response) -> Environ:
    """The environ of one request, a new dict that the application may change; `template` is its connection's.

    `body` becomes wsgi.input. Raises `HTTPError` 500 when a trusted proxy's SCRIPT_NAME is no prefix of the path.
    """
    environ = template | head.fields
    environ["REQUEST_METHOD"] = head.method
    environ["REQUEST_URI"] = environ["RAW_URI"] = head.target
    environ["PATH_INFO"] = head.path
    environ["QUERY_STRING"] = head.query
    environ["SERVER_PROTOCOL"] = head.version
    environ["wsgi.input"] = body
    environ["wsgi.early_hints"] = response.early_hints
    if environ["SCRIPT_NAME"]:
        environ["SCRIPT_NAME"] = environ["SCRIPT_NAME"].rstrip("/")  # as PATH_INFO begins with it (PEP 3333)
        environ["PATH_INFO"] = _path_below(environ["SCRIPT_NAME"].removeprefix(environ.get(PREFIX, "")), head.path)
    if not environ["SERVER_PORT"]:
        _name_server_by_host(environ)
    return environ


def _path_below(script_name: str, path: str) -> str:
    if not script_name:
        return path
    below = path[len(script_name) :]
    if not path.startswith(script_name) or below[:1] not in ("", "/"):
        raise HTTPError(500, "the path is not below the SCRIPT_NAME that was told")
    return below


def _name_server_by_host(environ: Environ) -> None:
    """A unix socket has no name of the network; the client knows by which one it came."""
    host: str = environ.get("HTTP_HOST", "")
    if host:
        environ["SERVER_NAME"], port = _split_host(host)
        environ["SERVER_PORT"] = port or ("443" if environ["wsgi.url_scheme"] == "https" else "80")


def _split_host(host: str) -> tuple[str, str]:
    if host.endswith("]") or ":" not in host:
        return host, ""
    name, _, port = host.rpartition(":")
    return name, port
