"""What a new connection is given: its first turn, and what its requests will have in common."""

from collections.abc import Callable, Sequence
from socket import socket

from greenhorn.http.names import FieldNames
from greenhorn.http.peer import Networks
from greenhorn.net.connection import Connection
from greenhorn.net.listener import Listener
from greenhorn.net.pace import Buffers
from greenhorn.tls.entrance import Entrance
from greenhorn.workers.handshake import shake_hands
from greenhorn.workers.redirect import redirect
from greenhorn.workers.serve import Turn, read_proxy, serve
from greenhorn.wsgi.environ import Environ, connection_template


class Reception:
    """Makes connections of what was accepted. Poller's thread.

    `entrances` says what is spoken at each of the `listeners`, `names` which field names a peer may use, by whether it
    is in `trusted`. With `proxied` a header of the PROXY protocol comes first; the turn behind it `first_turn` chooses.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        entrances: Sequence[Entrance],
        *,
        template: Callable[[Listener], Environ],
        buffers: Buffers,
        trusted: Networks,
        names: dict[bool, FieldNames],
        proxied: bool,
        first_turn: Callable[[Entrance], Turn],
    ) -> None:
        self._entrances = {listener.fd: one for listener, one in zip(listeners, entrances, strict=True)}
        self._templates = {listener.fd: template(listener) for listener in listeners}
        self._buffers = buffers
        self._trusted = trusted
        self._names = names
        self._proxied = proxied
        self._first_turn = first_turn

    def welcome(self, listener: Listener, sock: socket, peer: tuple[str, str] | None) -> Connection:
        """The connection of `peer`, which came in at `listener`."""
        connection = Connection(sock, peer, self._first_turn(self._entrances[listener.fd]), self._buffers)
        if self._proxied:
            connection.turn = read_proxy
        connection.entrance = self._entrances[listener.fd]
        connection.template = connection_template(
            self._templates[listener.fd], peer, sock, connection.client_disconnected
        )
        connection.trusted = peer is None or peer[0] in self._trusted
        connection.names = self._names[connection.trusted]
        return connection


def first_turn(entrance: Entrance) -> Turn:
    """The turn of a new connection where nothing comes before what is spoken at an address."""
    if entrance.credentials is not None:
        return shake_hands
    return redirect if entrance.redirect else serve
