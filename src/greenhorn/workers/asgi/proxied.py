"""What is looked at before anything else reads a connection: its first byte, and headers of the PROXY protocol."""

import asyncio
import contextlib
import socket

from greenhorn.errors import HTTPError
from greenhorn.http.peer import LARGEST_PROXY_V2, V2_HEADER, Networks, ProxyHeader, read_proxy_header

PAUSE = 0.02
"""Seconds after which is looked again where only a part of a header has come."""

Peer = tuple[str, str] | None


async def take_proxy_header(sock: socket.socket, peer: Peer, versions: str, trusted: Networks) -> Peer:
    """Whose connection it is by the header at its beginning: `peer`, if there is none. Loop's thread.

    What follows the header stays in the kernel, for whoever reads the connection. Raises `HTTPError` 400 for a
    malformed header, 403 for one of somebody who is not trusted, and `ConnectionError` if the peer leaves.
    """
    header = await _peek(sock, versions)
    if not header.size:
        return peer
    if peer is not None and peer[0] not in trusted:
        raise HTTPError(403, "PROXY headers are not taken from this address")
    left = header.size
    while left:
        left -= len(sock.recv(left))
    return (header.client[0], str(header.client[1])) if header.client is not None else peer


async def _peek(sock: socket.socket, versions: str) -> ProxyHeader:
    seen = 0
    while True:
        await _readable(sock)
        with contextlib.suppress(BlockingIOError):
            data = sock.recv(LARGEST_PROXY_V2 + V2_HEADER, socket.MSG_PEEK)
            if not data:
                raise ConnectionResetError("the peer left before its first byte")
            header = read_proxy_header(data, versions)
            if header is not None:
                return header
            if len(data) == seen:
                await asyncio.sleep(PAUSE)  # what was looked at only stays readable
            seen = len(data)


async def first_byte(sock: socket.socket) -> bytes:
    """The byte with which a client begins, which stays in the kernel; empty if it leaves instead. Raises `OSError`."""
    while True:
        try:
            return sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(sock)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock.fileno())


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
