"""A process that plays many hostile clients of one kind: `python -m attacking.swarm KIND PORT COUNT PACE`.

It answers each line of its standard input with a line of JSON, the `Tally` so far. The line `go` lets it begin.
The line `rest` ends what is renewed (new connections, floods), but not what goes on by itself: who drips goes on
dripping. The end of the input ends the process.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from attacking.attacks import ATTACKS, IDLE
from attacking.companion import Orders
from attacking.encrypted import ENCRYPTED

if TYPE_CHECKING:
    from attacking.attacks import Attack

SERVER_HOST = "127.0.0.1"
# An address of their own, by which the kernel's table of connections tells them from the healthy.
HOSTILE_HOST = "127.0.0.2"
DRIP_SECONDS = 1.0
FLOOD_BYTES_PER_SECOND = 4 * 1_048_576
FLEETING_PER_SECOND = 2000
TICK_SECONDS = 0.005
RECEIVE_BYTES = 65_536
# After a pause of this process, how much of what is overdue is made up for.
BURST_SECONDS = 0.05
# Ports are picked when the connection is made: then it is the pair of addresses that has to be free.
IP_BIND_ADDRESS_NO_PORT = 24
# Instead of an orderly end, a reset.
NO_LINGER = struct.pack("ii", 1, 0)

_EVERYTHING = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_BROKEN = select.EPOLLERR | select.EPOLLHUP


@dataclass(slots=True)
class Tally:
    """What became of the hostile clients so far.

    Of those that `opened` a connection, `failed` got none, `arrived` have done all that they do at once, `refused`
    were ended by the server before that, and `there` are connected now. `sent` and `received` are bytes.
    """

    opened: int = 0
    arrived: int = 0
    refused: int = 0
    failed: int = 0
    there: int = 0
    sent: int = 0
    received: int = 0


class Client:
    """One hostile client: its socket, what it still has to send, and how far it got."""

    __slots__ = ("answered", "arrived", "connected", "ended", "pending", "sock", "spelled")

    def __init__(self, sock: socket.socket, opening: bytes) -> None:
        self.sock = sock
        self.pending = opening
        self.spelled = 0
        self.connected = False
        self.answered = False
        self.arrived = False
        self.ended = False


class Budget:
    """So much a second, without a debt: what is not spent in time is lost."""

    def __init__(self, per_second: float, least: float) -> None:
        self.per_second = per_second
        self.most = max(per_second * BURST_SECONDS, least)
        self.left = 0.0
        self._since = time.monotonic()

    def renew(self, now: float) -> None:
        """Add what has come since the last call."""
        self.left = min(self.left + (now - self._since) * self.per_second, self.most)
        self._since = now


class Swarm:
    """`count` clients of one kind, opened at `pace` a second; one thread and one epoll object."""

    def __init__(self, attack: Attack, port: int, count: int, pace: float) -> None:
        self.attack = attack
        self.port = port
        self.count = count
        self.tally = Tally()
        self.clients: dict[int, Client] = {}
        self._gone: list[Client] = []
        """Whom the server has parted from, and who do not close: why should they?"""
        self._epoll = select.epoll()
        self._opens = Budget(attack.per_second or (FLEETING_PER_SECOND if attack.fleeting else pace), 1)
        self._flood = Budget(FLOOD_BYTES_PER_SECOND if attack.flood else 0, len(attack.flood))
        self._drips: deque[tuple[float, Client]] = deque()
        self._flooders: deque[Client] = deque()
        self._active = False

    def run(self, orders: Orders) -> None:
        """Attack until there are no more orders."""
        self._epoll.register(orders.fileno(), select.EPOLLIN)
        while True:
            now = time.monotonic()
            self._open(now)
            self._drip(now)
            self._pour(now)
            for fd, events in self._epoll.poll(TICK_SECONDS):
                client = self.clients.get(fd)
                if client is not None:
                    self._attend(client, events)
                elif fd == orders.fileno() and not self._obey(orders):
                    return

    def _obey(self, orders: Orders) -> bool:
        for order in orders.read():
            if order is None:
                return False
            if order in ("go", "rest"):
                self._active = order == "go"
            self.tally.there = len(self.clients)
            orders.reply(asdict(self.tally))
        return True

    def _open(self, now: float) -> None:
        self._opens.renew(now)
        while self._opens.left >= 1 and self._active and self._wanted():
            self._opens.left -= 1
            if len(self.clients) >= self.count:
                self._leave(next(iter(self.clients.values())))
            self._connect()

    def _wanted(self) -> bool:
        if self.attack.fleeting:
            return True
        return (len(self.clients) if self.attack.renewed else self.tally.opened) < self.count

    def _connect(self) -> None:
        self.tally.opened += 1
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        if self.attack.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.attack.receive_buffer)
        try:
            sock.bind((HOSTILE_HOST, 0))
            sock.connect((SERVER_HOST, self.port))
        except BlockingIOError:
            pass
        except OSError:
            self.tally.failed += 1
            sock.close()
            return
        client = self.clients[sock.fileno()] = Client(sock, self.attack.opening)
        self._epoll.register(sock.fileno(), _EVERYTHING)
        if self.attack.drip or self.attack.spelled:
            self._drips.append((time.monotonic() + DRIP_SECONDS, client))
        if self.attack.flood:
            self._flooders.append(client)

    def _attend(self, client: Client, events: int) -> None:
        if events & _BROKEN:
            self._lose(client)
            return
        if events & select.EPOLLOUT:
            client.connected = True
            self._send(client)
        if events & select.EPOLLIN:
            self._receive(client)
        if events & select.EPOLLRDHUP and not client.ended:
            self._lose(client)

    def _send(self, client: Client) -> None:
        try:
            while client.pending:
                sent = client.sock.send(client.pending)
                self.tally.sent += sent
                client.pending = client.pending[sent:]
        except BlockingIOError:
            return
        except OSError:
            self._lose(client)
            return
        self._note_arrival(client)

    def _receive(self, client: Client) -> None:
        client.answered = True
        self._note_arrival(client)
        if not self.attack.reads:
            return
        try:
            while data := client.sock.recv(RECEIVE_BYTES):
                self.tally.received += len(data)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._lose(client)

    def _note_arrival(self, client: Client) -> None:
        done = client.answered if self.attack.until_answered else not client.pending
        if done and client.connected and not client.arrived:
            client.arrived = True
            self.tally.arrived += 1

    def _drip(self, now: float) -> None:
        while self._drips and self._drips[0][0] <= now:
            when, client = self._drips.popleft()
            if client.ended:
                continue
            if client.connected and not client.pending:
                client.pending = self.attack.drip or self.attack.spelled[client.spelled : client.spelled + 1]
                client.spelled += 1
                self._send(client)
            self._drips.append((when + DRIP_SECONDS, client))

    def _pour(self, now: float) -> None:
        self._flood.renew(now)
        if not self._active:
            return
        for _ in range(len(self._flooders)):
            if self._flood.left < len(self.attack.flood):
                break
            client = self._flooders.popleft()
            if client.ended:
                continue
            self._flooders.append(client)
            if client.connected and not client.pending:
                client.pending = self.attack.flood
                self._flood.left -= len(self.attack.flood)
                self._send(client)

    def _lose(self, client: Client) -> None:
        """Note that the server has parted from a client."""
        if client.ended:
            return
        if not client.connected:
            self.tally.failed += 1
        elif not client.arrived:
            self.tally.refused += 1
        self._forget(client)
        if self.attack.renewed:
            client.sock.close()
        else:
            self._gone.append(client)

    def _leave(self, client: Client) -> None:
        """Close a client's connection: every other one by a reset."""
        self._forget(client)
        if self.tally.opened % 2:
            with contextlib.suppress(OSError):
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        client.sock.close()

    def _forget(self, client: Client) -> None:
        client.ended = True
        del self.clients[client.sock.fileno()]
        self._epoll.unregister(client.sock.fileno())


def main() -> None:
    """Play the kind of client that the command line names."""
    kind, port, count, pace = sys.argv[1:]
    attack = {IDLE.name: IDLE, **ATTACKS, **ENCRYPTED}[kind]
    Swarm(attack, int(port), int(count), float(pace)).run(Orders())


if __name__ == "__main__":
    main()
