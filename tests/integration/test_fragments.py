"""However a client cuts its bytes, and whatever it sends while a request runs, each request has its own answer.

A lost wake-up would leave a connection waiting although its request is there: the deadline of each exchange shows it.
"""

import asyncio
import hashlib
import random
import re

import pytest

from integration.conftest import StartServer

CONNECTIONS = 24
EXCHANGES = 15
PATIENCE = 10.0
SIZES = (0, 1, 10, 1000, 65536 - 80, 65536, 131072, 200_000)
"""Around what the server reads at once, and around what it keeps in memory."""


def as_chunks(chance: random.Random, body: bytes) -> bytes:
    sizes = (1, 7, 1000) if len(body) < 3000 else (1000, 65536, 70_000)
    encoded, at = bytearray(), 0
    while at < len(body):
        piece = body[at : at + chance.choice(sizes)]
        at += len(piece)
        encoded += b"%x\r\n%b\r\n" % (len(piece), piece)
    return bytes(encoded) + b"0\r\n\r\n"


def request_for(chance: random.Random, body: bytes) -> bytes:
    head = b"POST /sha256 HTTP/1.1\r\nHost: x\r\n"
    if body and chance.random() < 0.3:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + as_chunks(chance, body)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def send_cut(chance: random.Random, writer: asyncio.StreamWriter, data: bytes, *, last: bool) -> None:
    sizes = (1, 2, 3, 50, 1000, 65536) if len(data) < 5000 else (997, 65535, 65536, 300_000)
    at = 0
    while at < len(data):
        size = chance.choice(sizes)
        writer.write(data[at : at + size])
        at += size
        if chance.random() < 0.5:
            await writer.drain()
            await asyncio.sleep(0)
    if last and chance.random() < 0.5:
        writer.write_eof()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    assert length
    return await reader.readexactly(int(length[1]))


async def exchange(chance: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, last: bool):
    bodies = [
        chance.randbytes(max(0, chance.choice(SIZES) + chance.randint(-3, 3)))
        for _ in range(chance.choice((1, 1, 2, 5)))
    ]
    data = b"".join(request_for(chance, body) for body in bodies)
    sending = asyncio.create_task(send_cut(chance, writer, data, last=last))
    for body in bodies:
        assert hashlib.sha256(body).hexdigest().encode() in await asyncio.wait_for(read_answer(reader), PATIENCE)
    await sending


async def client(port: int, seed: int) -> None:
    chance = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    for number in range(EXCHANGES):
        await exchange(chance, reader, writer, last=number == EXCHANGES - 1)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("threads", ["1", "4"])
def test_each_request_is_answered_however_its_bytes_arrive(server: StartServer, threads: str):
    site = server("wsgi_app", "--threads", threads)

    async def all_clients() -> None:
        await asyncio.gather(*(client(site.port, seed) for seed in range(CONNECTIONS)))

    asyncio.run(all_clients())
