"""Requests that could be read in two ways, which is how they are smuggled past whoever stands in between."""

from greenhorn.errors import HTTPError
from greenhorn.http.head import bad_version, check_chunked, check_host
from greenhorn.workers.asgi.kind import Scope

TELLTALE = {
    b"host": "HTTP_HOST",
    b"content-length": "CONTENT_LENGTH",
    b"transfer-encoding": "HTTP_TRANSFER_ENCODING",
}
"""The fields by which a request could be read in two ways, and their keys in an environ."""
HOST = b"host"


def check_unambiguous(scope: Scope) -> None:
    """Raise `HTTPError` for a request that another server may read differently, where uvicorn's parsers let it pass.

    Such have two lengths, a length and chunks, or a Host that is missing, malformed, or there twice (RFC 9112 3.2 and
    6.3).
    """
    version = f"HTTP/{scope['http_version']}"
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise bad_version(version)
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = TELLTALE.get(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key not in fields:
            fields[key] = text
        elif name == b"transfer-encoding":
            fields[key] += "," + text
        else:
            raise HTTPError(400, "Host or Content-Length is there twice")
    check_host(fields.get("HTTP_HOST"), version, set())
    if "HTTP_TRANSFER_ENCODING" in fields:
        check_chunked(version, fields)
