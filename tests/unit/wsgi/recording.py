"""One exchange without a socket: a request's head, an application, and an output that keeps what was sent."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from greenhorn.http.head import Limits, RequestHead, parse_head
from greenhorn.http.names import FieldNames
from greenhorn.wsgi.environ import environ_template
from greenhorn.wsgi.exchange import Response, respond

FIELDS = "Server: s\r\nDate: d\r\n"


class Facts(NamedTuple):
    """What an answer says of the server."""

    fields: str = FIELDS
    keep_alive: bool = True


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Region:
    """What a recording output makes of a file that it can send by itself."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.count = len(data)
        self.closed = False

    def read(self) -> bytes:
        return self._data[: self.count]

    def close(self) -> None:
        self.closed = True


@dataclass
class RecordingOutput:
    """Keeps each call's bytes. `measures` says whether it can send files by itself; `fails` is raised by `send`."""

    measures: bool = False
    fails: BaseException | None = None
    sends: list[bytes] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        if self.fails is not None:
            raise self.fails
        self.sends.append(data)

    def send_interim(self, data: bytes) -> None:
        self.send(data)

    def send_all(self, parts: list[bytes]) -> None:
        assert all(type(part) is bytes for part in parts)
        self.send(b"".join(parts))

    def measure(self, file: Any) -> Region | None:
        if not self.measures:
            return None
        at = file.tell()
        self.regions.append(Region(file.read()))
        file.seek(at)
        return self.regions[-1]

    def send_file(self, region: Region) -> None:
        self.send(region.read())
        region.close()


@dataclass
class Exchange:
    """What came of one: the bytes that left, and what the application's call raised."""

    output: RecordingOutput
    response: Response
    error: BaseException | None

    @property
    def sent(self) -> bytes:
        return b"".join(self.output.sends)

    @property
    def status(self) -> str:
        return self.sent.partition(b"\r\n")[0].decode("latin-1")

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The field lines without Server and Date, which are asserted to be there."""
        head = self.sent.partition(b"\r\n\r\n")[0].decode("latin-1")
        lines = [tuple(line.split(": ", 1)) for line in head.split("\r\n")[1:]]
        assert lines[:2] == [("Server", "s"), ("Date", "d")]
        return lines[2:]  # type: ignore[return-value]

    @property
    def framing(self) -> dict[str, str]:
        names = ("content-length", "transfer-encoding", "connection")
        return {name.lower(): value for name, value in self.fields if name.lower() in names}

    @property
    def body(self) -> bytes:
        return self.sent.partition(b"\r\n\r\n")[2]


def make_head(method: str = "GET", version: str = "1.1", *lines: str, target: str = "/") -> RequestHead:
    """The head of a request with a Host and these field lines."""
    text = "\r\n".join((f"{method} {target} HTTP/{version}", "Host: example.com", *lines))
    return parse_head(text.encode("latin-1"), FieldNames(), Limits())


def run(
    app: Application,
    method: str = "GET",
    version: str = "1.1",
    output: RecordingOutput | None = None,
    *,
    keep_alive: bool | None = None,
) -> Exchange:
    """Call the application for a request without a body, and keep what it raises."""
    head = make_head(method, version)
    output = output or RecordingOutput()
    if keep_alive is not None:
        head.keep_alive = keep_alive
    response = Response(head, output, Facts())
    error = None
    try:
        respond(app, {"wsgi.early_hints": response.early_hints}, response)
    except BaseException as raised:  # noqa: BLE001 - what it is is asserted by the test
        error = raised
    return Exchange(output, response, error)


def answering(*parts: Any, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> Application:
    """An application that returns `parts` as a list."""

    def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response(status, list(headers))
        return list(parts)

    return app


def generating(*parts: Any, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> Application:
    """An application that yields `parts`."""

    def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, list(headers))
        yield from parts

    return app


def template(**changes: Any) -> dict[str, Any]:
    """What the requests of a listener have in common."""
    values: dict[str, Any] = {
        "server": ("192.0.2.1", "8000"),
        "scheme": "http",
        "software": "greenhorn/1",
        "errors": "the log",
        "script_name": "",
        "multithread": True,
        "multiprocess": False,
    }
    return environ_template(**{**values, **changes})
