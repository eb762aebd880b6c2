"""Requests and records do not have the same bounds: many in one, one over many, and each a byte at a time."""

import json
import ssl
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import EVERY_KIND, HALF_CLOSE, ONE_REQUEST, differs
from integration.running import Server, StartServer
from integration.wire import Send, send_byte_by_byte, send_whole
from tls.clients import GET, LAST_GET, Steps, ask, only

pytestmark = [EVERY_KIND, differs("sync", row=ONE_REQUEST)]

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
POST = b"POST /%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nbody%d"
CHUNKED = b"POST /%d HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n2\r\ny%d\r\n0\r\n\r\n"
LARGEST_RECORD = 16384


@pytest.fixture(scope="module")
def site(module_secure: StartServer, applications: Path) -> Server:
    return module_secure("mirror", pythonpath=(applications,))


@pytest.fixture
def steps(site: Server, trusting: ssl.SSLContext) -> Steps:
    """A client whose handshake is complete."""
    return Steps(site.dial(), trusting).shake_hands()


def bodies(received: bytes) -> list[str]:
    """The bodies that the application has seen, in the order of the answers."""
    return [json.loads(b"{" + part.partition(b"{")[2])["body"] for part in received.split(b"HTTP/1.1 200 OK")[1:]]


def paths(received: bytes) -> list[str]:
    """The paths that the application has seen, in the order of the answers."""
    parts = received.split(b"HTTP/1.1 200 OK")[1:]
    return [json.loads(b"{" + part.partition(b"{")[2])["environ"]["PATH_INFO"] for part in parts]


@VERSIONS
def test_a_connection_is_kept_for_many_requests(site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion):
    with site.secure(site.dial(), only(trusting, version)) as connection:
        for number in range(50):
            assert json.loads(ask(connection, f"/{number}").text)["environ"]["PATH_INFO"] == f"/{number}"


def test_many_requests_in_one_record_are_answered_in_order(steps: Steps):
    requests = b"".join(GET.replace(b"/ ", b"/%d " % number) for number in range(250)) + LAST_GET
    assert len(requests) < LARGEST_RECORD
    steps.connection.sendall(steps.records(requests))
    assert paths(steps.read_to_end()) == [*(f"/{number}" for number in range(250)), "/"]


@pytest.mark.parametrize("request_bytes", [POST, CHUNKED], ids=["length", "chunked"])
def test_many_requests_with_bodies_in_one_record_are_answered_in_order(steps: Steps, request_bytes: bytes):
    requests = b"".join(request_bytes % (number, number) for number in range(9)) + LAST_GET
    steps.connection.sendall(steps.records(requests))
    assert bodies(steps.read_to_end()) == [*(f"body{number}" for number in range(9)), ""]


@pytest.mark.parametrize("request_bytes", [POST, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("send", [send_whole, send_byte_by_byte], ids=["whole", "byte by byte"])
def test_requests_of_which_each_byte_has_a_record_of_its_own(steps: Steps, request_bytes: bytes, send: Send):
    requests = request_bytes % (7, 7) + LAST_GET
    send(steps.connection, steps.records(*(requests[at : at + 1] for at in range(len(requests)))))
    assert bodies(steps.read_to_end()) == ["body7", ""]


@VERSIONS
def test_a_handshake_and_requests_of_which_each_byte_comes_on_its_own(
    site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion
):
    steps = Steps(site.dial(), only(trusting, version))
    send_byte_by_byte(steps.connection, steps.hello)
    while flight := steps.next_flight():
        send_byte_by_byte(steps.connection, flight)
        if version is ssl.TLSVersion.TLSv1_3:
            break
    send_byte_by_byte(steps.connection, steps.records(POST % (3, 3), LAST_GET))
    assert bodies(steps.read_to_end()) == ["body3", ""]


def test_a_request_may_come_together_with_the_end_of_the_handshake(site: Server, trusting: ssl.SSLContext):
    steps = Steps(site.dial(), only(trusting, ssl.TLSVersion.TLSv1_3))
    steps.connection.sendall(steps.hello)
    last = steps.next_flight()
    steps.connection.sendall(last + steps.records(POST % (1, 1), GET, LAST_GET))
    assert bodies(steps.read_to_end()) == ["body1", "", ""]


def test_a_record_that_is_cut_anywhere_is_waited_for(steps: Steps):
    """Nothing tells the server of what OpenSSL keeps of a record: that is not readable at the socket."""
    for number in range(40):
        record = steps.records(POST % (number % 10, number % 10))
        cut = number * len(record) // 40
        steps.connection.sendall(record[:cut])
        steps.connection.sendall(record[cut:])
        assert b"body%d" % (number % 10) in steps.read_until(b'"}')


def test_the_largest_record_is_read_whole_and_the_next_request_behind_it(steps: Steps):
    """A server that forgets what OpenSSL has decrypted already would wait for bytes that are there."""
    body = bytes(range(32, 127)) * 1000
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    wire = head + body + GET + LAST_GET
    steps.connection.sendall(
        steps.records(*(wire[at : at + LARGEST_RECORD] for at in range(0, len(wire), LARGEST_RECORD)))
    )
    assert bodies(steps.read_to_end()) == [body.decode(), "", ""]


@differs("tornado", row=HALF_CLOSE)
def test_who_says_goodbye_with_the_last_request_gets_all_answers(steps: Steps):
    wire = steps.records(GET, POST % (1, 1), GET) + steps.goodbye()
    steps.connection.sendall(wire)
    assert bodies(steps.read_to_end()) == ["", "body1", ""]


def test_answers_are_whole_for_a_client_of_the_standard_library(site: Server, trusting: ssl.SSLContext):
    with site.secure(site.dial(), trusting) as connection:
        connection.sendall(b"".join(POST % (number, number) for number in range(5)))
        reader = AnswerReader(connection)
        assert [json.loads(reader.read("POST").text)["body"] for _ in range(5)] == [f"body{n}" for n in range(5)]
