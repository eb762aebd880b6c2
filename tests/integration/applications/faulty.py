"""Fails in every way and at every moment that an application can."""

import errno
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

TEXT = [("Content-Type", "text/plain")]
Start = Callable[..., Callable[[bytes], None]]


class OwnError(BaseException):
    """What nobody catches by accident."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "Exception": lambda: ValueError("zq81"),
    "OSError": lambda: OSError(errno.EPIPE, "zq81"),
    "ConnectionResetError": lambda: ConnectionResetError(errno.ECONNRESET, "zq81"),
    "BlockingIOError": lambda: BlockingIOError(errno.EAGAIN, "zq81"),
    "TimeoutError": lambda: TimeoutError("zq81"),
    "StopIteration": lambda: StopIteration("zq81"),
    "SystemExit": lambda: SystemExit(81),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("zq81"),
    "GeneratorExit": lambda: GeneratorExit("zq81"),
    "BaseException": lambda: OwnError("zq81"),
    "MemoryError": lambda: MemoryError("zq81"),
    "RecursionError": lambda: RecursionError("zq81"),
    "UnprintableError": lambda: Unprintable(),  # noqa: PLW0108 - defined below
}


class Unprintable(Exception):  # noqa: N818 - it is what it is
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("zq81")

    __repr__ = __str__


def fail(name: str) -> NoReturn:
    error = ERRORS[name]()
    raise error


class Pieces:
    """An iterable that fails at the moment it is told to."""

    def __init__(self, environ: dict[str, Any], moment: str, error: Callable[[], BaseException]) -> None:
        self._errors = environ["wsgi.errors"]
        self._moment = moment
        self._error = error
        self._left = [b"one ", b"two ", b"three"]

    def __iter__(self) -> Iterator[bytes]:
        if self._moment == "iter":
            raise self._error()
        return self

    def __next__(self) -> bytes:
        if self._moment == "first" or (self._moment == "second" and len(self._left) < 3):
            raise self._error()
        if not self._left:
            raise StopIteration
        return self._left.pop(0)

    def close(self) -> None:
        self._errors.write("closed\n")
        if self._moment == "close":
            raise self._error()


def application(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Fail with ERROR at MOMENT for /MOMENT/ERROR, else do as the function says that is named by the path."""
    _, moment, name = environ["PATH_INFO"].split("/")
    if moment == "do":
        return globals()[name.replace("-", "_")](environ, start_response)
    if moment == "call":
        fail(name)
    write = start_response("200 OK", TEXT)
    if moment == "started":
        fail(name)
    if moment == "written":
        write(b"one ")
        fail(name)
    return Pieces(environ, moment, ERRORS[name])


def good(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"good"]


def replaced(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Change one's mind, as an application does that catches its own error in time."""
    start_response("200 OK", [("Content-Type", "text/html"), ("X-First", "zq81"), ("Content-Length", "3")])
    try:
        fail("Exception")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    return [b"come back later"]


def replaced_bodiless(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Change one's mind about whether there is a body at all."""
    start_response("304 Not Modified", [])
    try:
        fail("Exception")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    return [b"come back later"]


def replaced_closing(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Change one's mind before anything has left, in a generator."""
    start_response("200 OK", TEXT)
    yield b""
    try:
        fail("Exception")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    yield b"come back later"


def replaced_too_late(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b"one "
    try:
        fail("Exception")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    yield b"come back later"


def started_twice(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"never"]


def never_started(_: dict[str, Any], _start_response: Start) -> Iterable[bytes]:
    return [b"never"]


def never_started_empty(_: dict[str, Any], _start_response: Start) -> Iterable[bytes]:
    return []


def never_started_generator(_: dict[str, Any], _start_response: Start) -> Iterable[bytes]:
    yield b"never"


def returned_none(_: dict[str, Any], start_response: Start) -> Any:
    start_response("200 OK", TEXT)


def returned_text(_: dict[str, Any], start_response: Start) -> Any:
    start_response("200 OK", TEXT)
    return ["text"]


def yielded_text(_: dict[str, Any], start_response: Start) -> Any:
    start_response("200 OK", TEXT)
    yield "text"


def yielded_none(_: dict[str, Any], start_response: Start) -> Any:
    start_response("200 OK", TEXT)
    yield None


def wrote_text(_: dict[str, Any], start_response: Start) -> Any:
    start_response("200 OK", TEXT)("text")
    return []


def endless(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Go on until somebody closes it."""
    start_response("200 OK", TEXT)
    try:
        while True:
            yield b"x" * 65536
    finally:
        environ["wsgi.errors"].write("endless: closed\n")


def endless_write(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Go on until write() says that nobody is there."""
    write = start_response("200 OK", TEXT)
    try:
        while True:
            write(b"x" * 65536)
    except ConnectionError:
        environ["wsgi.errors"].write("endless-write: told\n")
        raise


def declared(environ: dict[str, Any], start_response: Start, form: str) -> Iterable[bytes]:
    """Declare the length of the query and send four bytes in `form`."""
    length = environ["QUERY_STRING"]
    write = start_response("200 OK", [*TEXT, ("Content-Length", length)])
    if form == "write":
        write(b"da")
        write(b"ta")
        return []
    if form == "generator":
        return (bytes([byte]) for byte in b"data")
    return [b"data"] if form == "list" else [b"da", b"ta"]


def declared_list(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    return declared(environ, start_response, "list")


def declared_parts(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    return declared(environ, start_response, "parts")


def declared_generator(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    return declared(environ, start_response, "generator")


def declared_write(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    return declared(environ, start_response, "write")
