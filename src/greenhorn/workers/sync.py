"""One request at a time, in the main thread, and a connection for each."""

import time

from greenhorn.http.response import server_fields
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.workers.base import OF_THREADS
from greenhorn.workers.composition import SERVER
from greenhorn.workers.gthread import ThreadWorker
from greenhorn.workers.inline import Inline
from greenhorn.workers.pool import Pool
from greenhorn.workers.service import Service

LATE = 0.05
"""Seconds in the queue after which it pays to look whether the client still waits."""


class SyncWorker(ThreadWorker):
    """The worker class `sync`.

    Clients wait in the poller, as with gthread, so that a slow or silent one costs nothing but its connection. What
    is ready is worked on by the poller's thread itself. It does not beat while the application runs: a request that
    takes longer than `timeout` ends the worker.
    """

    without_effect = (*OF_THREADS, "keepalive", "keepalive_requests")

    def init(self) -> None:
        """Make everything as with gthread, but for the threads."""
        super().init()
        self._buffers.peeks = True  # the poller is asleep while the application runs
        self._beat_at = 0.0
        self._exchange_at_once, self._exchange = self._exchange, self._exchange_unless_left
        self.service.keep_alive = False

    def make_pool(self) -> Pool[Connection]:
        """The main thread in place of a pool."""
        return Inline(self.work, self._breathe)

    def start(self) -> None:
        """Watch for signals and orders."""
        self.poller.watch(self.signals.fileno())
        self.poller.watch(self.channel.fileno())

    def _exchange_unless_left(self, connection: Connection, service: Service) -> State:
        """Run the application unless the client has left while others had their turn, which the poller did not see."""
        if time.monotonic() - connection.queued_at > LATE and connection.client_disconnected():
            connection.note_end(broken=True)
        return self._exchange_at_once(connection, service)

    def _breathe(self) -> None:
        """Beat between two requests, which may have come together and take long each."""
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + self._every
            self.service.fields = server_fields(SERVER)
            self.beat()
