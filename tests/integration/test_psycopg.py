"""A driver in C waits cooperatively where a hook tells it to, as docs/workers.md says."""

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.green import EACH_LIBRARY, ask_all, read_all
from integration.running import StartServer

pytest.importorskip("psycopg2")
pytest.importorskip("psycogreen")
pytestmark = EACH_LIBRARY

APPLICATIONS = Path(__file__).with_name("applications")
QUERY_TAKES = 0.3
HOOK = """
def post_fork(server, worker):
    from psycogreen.{library} import patch_psycopg
    patch_psycopg()
"""


def message(kind: bytes, body: bytes) -> bytes:
    """A message of PostgreSQL's protocol, version 3."""
    return kind + struct.pack("!I", len(body) + 4) + body


READY = message(b"Z", b"I")
GREETING = (
    message(b"R", struct.pack("!I", 0))
    + b"".join(
        message(b"S", pair)
        for pair in (b"client_encoding\0UTF8\0", b"server_version\00015.0\0", b"DateStyle\0ISO, MDY\0")
    )
    + message(b"K", struct.pack("!II", 1, 1))
    + READY
)
ROW = (
    message(b"T", struct.pack("!H", 1) + b"told\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0))
    + message(b"D", struct.pack("!HI", 1, 4) + b"slow")
    + message(b"C", b"SELECT 1\0")
    + READY
)


class Session(socketserver.StreamRequestHandler):
    """Lets anybody in, and takes its time for each query."""

    def handle(self):
        (length,) = struct.unpack("!I", self.rfile.read(4))
        self.rfile.read(length - 4)
        self.wfile.write(GREETING)
        while self.rfile.read(1) == b"Q":
            (length,) = struct.unpack("!I", self.rfile.read(4))
            if b"pg_sleep" in self.rfile.read(length - 4):
                time.sleep(QUERY_TAKES)
            self.wfile.write(ROW)


class Database(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


@pytest.fixture
def database() -> Iterator[str]:
    """What a driver is told to connect to a PostgreSQL that does nothing but wait."""
    with Database(("127.0.0.1", 0), Session) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"host=127.0.0.1 port={listening.server_address[1]} dbname=x user=x sslmode=disable gssencmode=disable"
        listening.shutdown()


def test_queries_of_psycopg2_wait_beside_each_other_with_the_documented_hook(
    server: StartServer, library: str, database: str
):
    site = server(
        "querying",
        "-k",
        library,
        config=HOOK.format(library=library),
        env={"DATABASE": database},
        pythonpath=(APPLICATIONS,),
    )
    began = time.monotonic()
    assert read_all(ask_all(site, 20, "/")) == {"slow"}
    assert QUERY_TAKES <= time.monotonic() - began < 20 * QUERY_TAKES / 2
