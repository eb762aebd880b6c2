"""The WSGI application under exchange: it naps as if it asked a database, and keeps a journal that survives kill -9.

Environment variables: FLEET_FOLDER, where the journals are; FLEET_IMPORT_SECONDS, how long the import takes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleeting.journal import BEGUN, ENDED, IMPORTS, NAP_SECONDS, REQUESTS, SLOW_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

SLOW_SECONDS = 2.0
GREETING = b"Hello, World!\n"

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_FOLDER = Path(os.environ["FLEET_FOLDER"])
_requests = os.open(_FOLDER / REQUESTS, _APPEND)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer after a nap; the query string is the number of the request, which the journal has at its begin and end."""
    number = environ["QUERY_STRING"]
    _note(BEGUN, number)
    time.sleep(SLOW_SECONDS if environ["PATH_INFO"] == SLOW_PATH else NAP_SECONDS)
    _note(ENDED, number)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(GREETING)))])
    return [GREETING]


def _note(what: str, number: str) -> None:
    # One write at the end of the file: whole, however many processes write.
    os.write(_requests, f"{what} {number} {os.getpid()}\n".encode())


time.sleep(float(os.environ.get("FLEET_IMPORT_SECONDS", "0")))
with (_FOLDER / IMPORTS).open("a") as _imports:
    _imports.write(f"{os.getpid()}\n")
