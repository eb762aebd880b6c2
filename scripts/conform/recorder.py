"""The WSGI application under the server: it reads the whole body and records what it saw.

A record is written before the body is read and completed after, as lines of JSON in the file that the
environment variable CONFORM_RECORDS names; the answer carries the record's id in X-Conform-Id. So requests
are known even if nobody saw their answers. Targets below /_t/ ask for a behaviour: `/_t/noread` leaves the
body alone, and `/_t/hdr/value_crlf` (name, value or status; crlf, cr, lf or nul) tries to send a header line
of its own making.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

RECORDS = os.open(os.environ["CONFORM_RECORDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
READ_BYTES = 65536
KEPT_BODY_BYTES = 65536
CONTROLS = {"crlf": "\r\n", "cr": "\r", "lf": "\n", "nul": "\0"}
INJECTED = "X-Injected: yes"


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 200 to a request whose body came whole, and 500 to one that was cut short."""
    number = uuid.uuid4().hex
    write({"id": number, "called": describe(environ)})
    path = str(environ.get("PATH_INFO", ""))
    data = b"" if path == "/_t/noread" else read_body(environ)
    declared = str(environ.get("CONTENT_LENGTH") or "0")
    whole = path == "/_t/noread" or not declared.isdecimal() or len(data) >= int(declared)
    write({"id": number, "read": describe_body(data, whole=whole)})
    body = f"record {number}\n".encode()
    headers = [
        ("Content-Type", "text/plain"),
        ("Content-Length", str(len(body))),
        ("X-Conform-Id", number),
    ]
    if path.startswith("/_t/hdr/"):
        inject(path.removeprefix("/_t/hdr/"), headers, start_response)
    else:
        start_response("200 OK" if whole else "500 Body cut short", headers)
    return [body]


def read_body(environ: WSGIEnvironment) -> bytes:
    """Read to the end of the body, as an application does that does not trust CONTENT_LENGTH."""
    stream = environ["wsgi.input"]
    chunks = []
    while chunk := stream.read(READ_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)


def inject(what: str, headers: list[tuple[str, str]], start_response: StartResponse) -> None:
    """Try to smuggle a header line out; answer 500 if the server raises."""
    where, _, control = what.partition("_")
    extra = CONTROLS.get(control, "\r\n") + INJECTED
    status = "200 OK" + (extra if where == "status" else "")
    name = "X-Test" + (extra if where == "name" else "")
    value = "a" + (extra if where == "value" else "")
    try:
        start_response(status, [(name, value), *headers])
    except Exception:  # noqa: BLE001 - every server raises an exception of its own
        start_response("500 Refused by the server", headers, sys.exc_info())


def describe(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return what the server said of the request."""
    return {
        "pid": os.getpid(),
        "port": str(environ.get("REMOTE_PORT", "")),
        "method": environ.get("REQUEST_METHOD"),
        "raw_uri": environ.get("RAW_URI", environ.get("REQUEST_URI")),
        "path_info": environ.get("PATH_INFO"),
        "query": environ.get("QUERY_STRING", ""),
        "protocol": environ.get("SERVER_PROTOCOL"),
        "headers": {key: value for key, value in environ.items() if key.isupper() and isinstance(value, str)},
    }


def describe_body(data: bytes, *, whole: bool) -> dict[str, Any]:
    """Return what the application read."""
    return {
        "whole": whole,
        "body_len": len(data),
        "body_sha": hashlib.sha256(data).hexdigest(),
        "body": data.decode("latin-1") if len(data) <= KEPT_BODY_BYTES else None,
    }


def write(entry: dict[str, Any]) -> None:
    """Append one line; O_APPEND keeps lines of several threads and workers apart."""
    os.write(RECORDS, json.dumps(entry).encode() + b"\n")
