"""A process that offers requests at a fixed rate, answered or not: `python -m attacking.offering PORT PATH COUNT RATE`.

It makes COUNT connections and sends GETs over those that are free, RATE a second, however many are under way.
The line `go` lets it begin; `stop` ends the sending and is answered, as each line is, with a line of JSON: the
answers since `go`, each as [status, seconds, Retry-After is there], and the numbers of failures by reason.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import Counter, deque

from attacking.answers import AnswerParser, BadAnswer
from attacking.companion import Orders
from attacking.swarm import IP_BIND_ADDRESS_NO_PORT, SERVER_HOST, Budget

PATIENCE_SECONDS = 5.0
TICK_SECONDS = 0.002
RECEIVE_BYTES = 65_536
CONNECTS_PER_TICK = 8
_EVERYTHING = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_BROKEN = select.EPOLLERR | select.EPOLLHUP


class Client:
    """One connection, the request that is under way on it, if any, and since when."""

    __slots__ = ("connected", "ended", "parser", "since", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.parser = AnswerParser()
        self.connected = False
        self.ended = False
        self.since = 0.0


class Offer:
    """The connections and what came back over them; one thread and one epoll object."""

    def __init__(self, port: int, path: str, count: int, rate: float) -> None:
        self.port = port
        self.request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        self.missing = count
        self.answers: list[tuple[int, float, bool]] = []
        self.failures: Counter[str] = Counter()
        self.offered = 0
        self._rate = rate
        self._sends: Budget | None = None
        self._clients: dict[int, Client] = {}
        self._free: deque[Client] = deque()
        self._waiting: deque[tuple[float, Client]] = deque()
        self._epoll = select.epoll()

    def run(self, orders: Orders) -> None:
        """Offer until there are no more orders."""
        self._epoll.register(orders.fileno(), select.EPOLLIN)
        while True:
            now = time.monotonic()
            self._connect()
            self._offer(now)
            self._give_up(now)
            for fd, events in self._epoll.poll(TICK_SECONDS):
                client = self._clients.get(fd)
                if client is not None:
                    self._attend(client, events)
                elif fd == orders.fileno() and not self._obey(orders):
                    return

    def _obey(self, orders: Orders) -> bool:
        for order in orders.read():
            if order is None:
                return False
            if order == "go":
                self._sends = Budget(self._rate, 1)
            elif order == "stop":
                self._sends = None
            under_way = sum(1 for client in self._clients.values() if client.since)
            orders.reply(
                {
                    "free": len(self._free),
                    "offered": self.offered,
                    "under_way": under_way,
                    "failures": self.failures,
                    "answers": self.answers if order == "stop" else [],
                }
            )
        return True

    def _connect(self) -> None:
        for _ in range(min(self.missing, CONNECTS_PER_TICK)):
            self.missing -= 1
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.connect_ex((SERVER_HOST, self.port))
            self._clients[sock.fileno()] = Client(sock)
            self._epoll.register(sock.fileno(), _EVERYTHING)

    def _offer(self, now: float) -> None:
        if self._sends is None:
            return
        self._sends.renew(now)
        while self._sends.left >= 1:
            self._sends.left -= 1
            while self._free and self._free[0].ended:
                self._free.popleft()
            if not self._free:
                continue  # the server has not answered as many as there are: what is not offered shows it
            client = self._free.popleft()
            client.since = now
            self.offered += 1
            self._waiting.append((now, client))
            try:
                client.sock.send(self.request)
            except OSError as error:
                self._lose(client, type(error).__name__)

    def _give_up(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] + PATIENCE_SECONDS <= now:
            since, client = self._waiting.popleft()
            if client.since == since and not client.ended:
                self._lose(client, "timeout")

    def _attend(self, client: Client, events: int) -> None:
        if events & _BROKEN:
            self._lose(client, "reset" if client.connected else "no connection")
            return
        if events & select.EPOLLOUT and not client.connected:
            client.connected = True
            self._free.append(client)
        if events & (select.EPOLLIN | select.EPOLLRDHUP):
            self._receive(client)

    def _receive(self, client: Client) -> None:
        try:
            while True:
                data = client.sock.recv(RECEIVE_BYTES)
                if not data and not client.since:
                    self._lose(client, "")
                    return
                answer = client.parser.feed(data)
                if answer is not None:
                    self.answers.append((answer.status, time.monotonic() - client.since, answer.retry_after))
                    client.since = 0.0
                    if not answer.stays:
                        self._lose(client, "")
                        return
                    self._free.append(client)
        except BlockingIOError:
            return
        except (OSError, BadAnswer) as error:
            self._lose(client, type(error).__name__)

    def _lose(self, client: Client, reason: str) -> None:
        """Make room for a new connection; count a failure if a request was under way."""
        if client.ended:
            return
        if reason and (client.since or not client.connected):
            self.failures[reason] += 1
        client.ended = True
        del self._clients[client.sock.fileno()]
        self._epoll.unregister(client.sock.fileno())
        client.sock.close()
        self.missing += 1


def main() -> None:
    """Offer what the command line describes."""
    port, path, count, rate = sys.argv[1:]
    Offer(int(port), path, int(count), float(rate)).run(Orders())


if __name__ == "__main__":
    main()
