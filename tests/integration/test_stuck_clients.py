"""What request_timeout does where the application has already spoken to its client, or waits for it."""

import time

import pytest

from integration.answers import AnswerReader
from integration.running import Server, wait_until
from integration.staging import GET, Theatre, ask
from integration.wire import connect, receive_head, receive_to_end

LIMIT = 1
"""Seconds that the application has for a request."""


def wait_for_half_the_time() -> None:
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > LIMIT / 2, what="half the time of a request")


def start(stage: Theatre, *flags: str) -> Server:
    return stage.start("--threads", "2", "--request-timeout", str(LIMIT), *flags)


@pytest.mark.parametrize("path", ["/held", "/begun", "/measured", "/sent"])
def test_a_request_that_ends_after_its_time_is_told_to_the_log(stage: Theatre, path: str):
    site = start(stage)
    connection, held = stage.hold(site, path)
    receive_to_end(connection)
    held.release()
    site.wait_for_log(rf"GET {path} came to its end after all", 3.0)


def test_an_answer_that_is_cut_off_has_its_line_in_the_access_log(stage: Theatre):
    site = start(stage)
    connection, held = stage.hold(site, "/begun")
    receive_to_end(connection)
    held.release()
    wait_until(lambda: "GET /begun HTTP/1.1" in site.stdout(), 3.0, "the line")
    assert site.stdout().count("/begun") == 1


def test_an_interim_answer_does_not_stand_in_the_way_of_a_504(stage: Theatre):
    site = start(stage)
    connection, _ = stage.hold(site, "/hinted")
    assert receive_head(connection).startswith(b"HTTP/1.1 103 ")
    assert receive_to_end(connection).startswith(b"HTTP/1.1 504 ")


def test_the_time_in_which_the_application_reads_a_body_that_comes_slowly_does_not_count(stage: Theatre):
    site = start(stage, "--stream-request-body")
    with connect(site) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\na")
        for letter in (b"b", b"c", b"d"):
            wait_for_half_the_time()
            connection.sendall(letter)
        answer = AnswerReader(connection).read("POST")
        assert (answer.status, answer.body) == (200, b"abcd")


def test_the_time_in_which_a_thread_waits_for_a_client_to_read_does_not_count(stage: Theatre):
    site = start(stage, "--response-buffer-max", "65536")
    with connect(site) as connection:
        connection.sendall(ask("/stream"))
        reader = AnswerReader(connection)
        answer = reader.begin()
        received = len(answer.read(65536))
        for _ in range(3):
            wait_for_half_the_time()
            received += len(answer.read(65536))
        received += len(answer.read())
        assert received == 5 * 1024 * 1024
        connection.sendall(GET)
        assert reader.read().status == 200
