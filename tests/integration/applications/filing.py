"""Hands files to the server in every way that wsgi.file_wrapper allows."""

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl


class Told:
    """A file that says when it is closed; without `fileno`, so that it can only be read."""

    def __init__(self, file: BinaryIO, errors: Any) -> None:
        self._file = file
        self._errors = errors

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()
        self._errors.write("the file is closed\n")


class Closing(io.FileIO):
    """A file of the system that says when it is closed."""

    errors: Any = None

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self.errors:
                self.errors.write("the file is closed\n")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Send FILE: ?kind=file|unbuffered|told|bytes, offset, length (declared) and block, all optional but the first."""
    wish = dict(parse_qsl(environ["QUERY_STRING"]))
    path = Path(os.environ["FILE"])
    kind = wish["kind"]
    file: Any
    if kind == "file":
        file = path.open("rb")
    elif kind == "unbuffered":
        file = Closing(path)
        file.errors = environ["wsgi.errors"]
    elif kind == "told":
        file = Told(path.open("rb"), environ["wsgi.errors"])
    else:
        file = io.BytesIO(path.read_bytes())
    if "offset" in wish:
        file.read(int(wish["offset"]))
    headers = [("Content-Type", "application/octet-stream")]
    if "length" in wish:
        headers.append(("Content-Length", wish["length"]))
    start_response(wish.get("status", "200 OK"), headers)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, int(wish.get("block", "8192")))
    return wrapped
