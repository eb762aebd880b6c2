"""The proof before the measurement: that the server answers the workload's own bytes as it should."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from typing import TYPE_CHECKING

from benching.servers import HOST, NotServing

if TYPE_CHECKING:
    from benching.servers import Running
    from benching.workloads import Workload

BOOT_SECONDS = 15.0
ANSWER_SECONDS = 5.0
POLL_SECONDS = 0.05


def check(running: Running, workload: Workload, requests: list[bytes]) -> None:
    """Wait until the server listens, then send it some of the requests and compare each answer.

    Over TLS it has to show the certificate that it was given. Both requests go over one connection when
    connections are kept, else each over its own, which the server has to close. Raises NotServing.
    """
    _wait(running)
    connection: socket.socket | None = None
    try:
        # The last of a ring as well as the first: its numbers are longer.
        for request in (requests[0], requests[-1]):
            if connection is None:
                connection = _connect(running)
            _exchange(connection, request, workload)
            if not workload.kept:
                connection.close()
                connection = None
    except (OSError, http.client.HTTPException) as error:
        raise NotServing(f"{type(error).__name__}: {error}{running.complaint()}") from error
    finally:
        if connection is not None:
            connection.close()


def _wait(running: Running) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        try:
            socket.create_connection((HOST, running.port), ANSWER_SECONDS).close()
        except OSError:
            status = running.process.poll()
            if status is not None:
                raise NotServing(f"ended with exit code {status} at its start{running.complaint()}") from None
            if time.monotonic() > deadline:
                raise NotServing(f"does not listen after {BOOT_SECONDS:.0f} s{running.complaint()}") from None
            time.sleep(POLL_SECONDS)
        else:
            return


def _connect(running: Running) -> socket.socket:
    connection = socket.create_connection((HOST, running.port), ANSWER_SECONDS)
    if running.certificate is None:
        return connection
    context = ssl.create_default_context(cafile=str(running.certificate.certfile))
    return context.wrap_socket(connection, server_hostname=HOST)


def _exchange(connection: socket.socket, request: bytes, workload: Workload) -> None:
    connection.sendall(request)
    response = http.client.HTTPResponse(connection, method=workload.method)
    try:
        response.begin()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise NotServing(f"answers {response.status} {response.reason} instead of 200")
        if body != workload.answer:
            raise NotServing(f"answers {len(body)} bytes {body[:20]!r} instead of {workload.answer[:20]!r}...")
        if workload.kept and response.will_close:
            raise NotServing("closes connections that the client wants to keep")
    finally:
        response.close()
    if not workload.kept and connection.recv(1):
        raise NotServing("sends more than its answer to a client that asked for Connection: close")
