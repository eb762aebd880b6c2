"""Who a request's client is, which may be another one for each request of a proxy's connection."""

from greenhorn.errors import HTTPError
from greenhorn.http.forwarded import NOTHING, Forwarding
from greenhorn.http.head import RequestHead
from greenhorn.http.peer import scheme_from_proxy
from greenhorn.net.connection import Connection
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import Environ, forwarded_template


def told_template(connection: Connection, head: RequestHead, service: Service) -> Environ:
    """The template of one request with what proxies tell of its client; raises `HTTPError` 400. Its pool thread.

    Only needed where `connection.names.told`. The connection's peer is believed as far as settings say so.
    """
    template: Environ = connection.template
    forwarding = believed(connection, service)
    told = NOTHING if forwarding is None else forwarding.read(head.fields)
    scheme = told.scheme
    if scheme is None and connection.trusted:
        scheme = scheme_from_proxy(head.fields, service.secure_schemes)
    if told == NOTHING and scheme is None:
        return template
    return forwarded_template(template, head, told, connection.peer, scheme)


def believed(connection: Connection, service: Service) -> Forwarding | None:
    """How the connection's peer tells of clients; None if it is not believed.

    With the PROXY protocol the peer is who its header named: behind a balancer of TCP the fields are theirs.
    """
    forwarding = service.forwarding
    if forwarding is None or (connection.peer[0] if connection.peer else "") not in forwarding.trusted:
        return None
    return forwarding


def client_of(connection: Connection, service: Service) -> tuple[str, str] | None:
    """Address and port of whose request the connection has, for logs; None for a unix socket. Any thread.

    Never raises: a client that cannot be told is the peer, and so is that of a head that was not understood.
    """
    head = connection.head
    forwarding = believed(connection, service)
    if head is None or forwarding is None:
        return connection.peer
    try:
        return forwarding.client(head.fields) or connection.peer
    except HTTPError:
        return connection.peer
