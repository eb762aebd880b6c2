"""The workloads: which bytes the clients send, over how many connections, and what has to come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benching.applications import GREETING, LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

POST_BYTES = 65_536
# Enough for a cookie and a path that no cache of whole heads would see twice within the time a client waits.
RING_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of load.

    `requests` maps the Host field's value to the requests in wire form: one, or a ring of different ones.
    `application` is a name in `benching.applications`, `answer` the body that it gives. `kept` says that
    connections stay open. `logged` says that the server writes an access log, in its default format, to a file.
    `key` is the kind of key that it shows with TLS; without one nothing is encrypted. Who does not keep connections
    that are encrypted resumes sessions, or not, as `resumed` says. `interface` is wsgi or asgi: the application's.
    `worker_class` is that of gunicorn and greenhorn, if it is not the threaded one.
    """

    name: str
    title: str
    application: str
    requests: Callable[[str], list[bytes]]
    answer: bytes
    method: str = "GET"
    connections: int = 64
    threads: int = 4
    kept: bool = True
    logged: bool = False
    key: str = ""
    resumed: bool = False
    interface: str = "wsgi"
    worker_class: str = ""


def _bare(host: str) -> list[bytes]:
    return [f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]


def _closing(host: str) -> list[bytes]:
    return [f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()]


def _upload(host: str) -> list[bytes]:
    head = (
        f"POST /upload HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {POST_BYTES}\r\n\r\n"
    )
    return [head.encode() + b"x" * POST_BYTES]


def _browser(host: str) -> list[bytes]:
    return [_browser_head(host, number).encode() for number in range(RING_SIZE)]


def _browser_head(host: str, number: int) -> str:
    # Knuth's multiplicative hash: neighbours in the ring look unlike, and every run sends the same.
    session = f"{number * 2_654_435_761 % 2**32:08x}" * 4
    fields = (
        f"Host: {host}",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Connection: keep-alive",
        f"Referer: http://{host}/catalogue/page/{number // 20}?sort=price",
        f"Cookie: sessionid={session}; csrftoken={session[::-1]}; theme=dark",
        "Upgrade-Insecure-Requests: 1",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-User: ?1",
    )
    return f"GET /catalogue/item/{number}?ref={session[:6]} HTTP/1.1\r\n" + "\r\n".join(fields) + "\r\n\r\n"


def _encrypted(name: str, words: str, key: str) -> tuple[Workload, ...]:
    """Return the workloads over TLS with one kind of key."""
    new = f"GET over a new TLS connection each, {words}, 64 clients"
    return (
        Workload(name, f"bare GET, 64 kept TLS connections, {words}", "hello", _bare, GREETING, key=key),
        Workload(f"{name}-new", f"{new}, full handshakes", "hello", _closing, GREETING, kept=False, key=key),
        Workload(
            f"{name}-resumed",
            f"{new}, sessions offered for resumption",
            "hello",
            _closing,
            GREETING,
            kept=False,
            key=key,
            resumed=True,
        ),
    )


_ALL = (
    Workload("get", "bare GET, 64 kept connections", "hello", _bare, GREETING),
    Workload(
        "browser",
        "GET with a browser's head (another path and cookie each time), 64 kept connections",
        "hello",
        _browser,
        GREETING,
    ),
    Workload(
        "logged",
        "the same with an access log in a file",
        "hello",
        _browser,
        GREETING,
        logged=True,
    ),
    Workload("close", "GET with Connection: close, 64 clients", "hello", _closing, GREETING, kept=False),
    Workload(
        "post",
        "POST of 64 KiB, 64 kept connections",
        "count",
        _upload,
        str(POST_BYTES).encode(),
        method="POST",
    ),
    # With 64 the receive buffers outgrow the processor's caches and wrk becomes the bottleneck.
    Workload("large", "response of 1 MiB, 16 kept connections", "large", _bare, LARGE, connections=16),
    Workload(
        "sleep",
        "application that sleeps 5 ms, 128 kept connections, 64 threads",
        "nap",
        _bare,
        GREETING,
        connections=128,
        threads=64,
    ),
    Workload("many", "bare GET, 1,000 kept connections", "hello", _bare, GREETING, connections=1000),
    Workload("asgi", "bare GET by ASGI, 64 kept connections", "greet", _bare, GREETING, interface="asgi"),
    Workload(
        "asgi-browser",
        "the same with a browser's head",
        "greet",
        _browser,
        GREETING,
        interface="asgi",
    ),
    Workload(
        "sync",
        "GET with Connection: close, 64 clients, worker class sync",
        "hello",
        _closing,
        GREETING,
        threads=1,
        kept=False,
        worker_class="sync",
    ),
    Workload(
        "gevent", "bare GET, 64 kept connections, worker class gevent", "hello", _bare, GREETING, worker_class="gevent"
    ),
    Workload(
        "gevent-sleep",
        "application that sleeps 5 ms, 128 kept connections, worker class gevent",
        "nap",
        _bare,
        GREETING,
        connections=128,
        worker_class="gevent",
    ),
    *_encrypted("tls", "RSA 2048", "rsa"),
    *_encrypted("tls-ec", "EC P-256", "ec"),
)
WORKLOADS = {workload.name: workload for workload in _ALL}
