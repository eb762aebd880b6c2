"""Least rates with uvicorn's protocols: who drips a body or an answer is ended, and who keeps the rate is not."""

import hashlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import ASGI, EVERY_KIND
from integration.running import Server, StartServer
from integration.slow_clients import (
    BURST,
    ENOUGH,
    MOST,
    STEP,
    Course,
    ask,
    drip,
    read_slowly,
    send_in_bursts,
)
from integration.wire import connect

pytestmark = EVERY_KIND(*ASGI)

LARGE = 16 * 1024 * 1024
LATEST = 5.0
"""Seconds that may pass beyond those that are meant: the server looks once a second, and machines are busy."""
PATIENT = ("--body-timeout", "2", "--write-timeout", "2")
SITES = {
    "hasty": (
        *("--body-timeout", "1", "--body-min-rate", "1000"),
        *("--write-timeout", "1", "--write-min-rate", "1000"),
    ),
    "patient": (*PATIENT, "--body-min-rate", "1000", "--write-min-rate", "100000"),
    "undemanding": (*PATIENT, "--body-min-rate", "0", "--write-min-rate", "0"),
}
Courses = dict[str, Future[Course]]


def wait_to_go_on(site: Server) -> Course:
    """Pause before a body that the server has not asked for yet, since the application is busy with something else."""
    course = Course()
    with connect(site) as connection:
        first = b"GET /nap/x HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(first + b"POST /whole/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo")
        reader = AnswerReader(connection)
        reader.read()
        connection.sendall(b"dy")
        course.received = reader.read("POST").body
    return course.end()


@pytest.fixture(scope="module")
def courses(module_server: StartServer, applications: Path, tmp_path_factory: pytest.TempPathFactory) -> Courses:
    """Run all clients at once."""
    sites = {name: module_server("uploads", *flags, pythonpath=(applications,)) for name, flags in SITES.items()}
    path = tmp_path_factory.mktemp("local") / "socket"
    local = module_server("uploads", *SITES["patient"], bind=f"unix:{path}", pythonpath=(applications,))
    hasty, patient, undemanding = sites.values()
    length = b"Content-Length: 50000\r\n\r\n"
    clients = {
        "drips a body": lambda: drip(hasty, length, b"x"),
        "drips chunks": lambda: drip(hasty, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        "sends a quarter": lambda: drip(patient, length, bytes(int(250 * STEP))),
        "waits to go on": lambda: wait_to_go_on(hasty),
        "sends bursts": lambda: send_in_bursts(patient, int(2000 * BURST), BURST),
        "sends a byte now and then": lambda: send_in_bursts(undemanding, 1, BURST),
        "reads nothing": lambda: read_slowly(ask(hasty, "/generated/x"), 0, STEP, MOST),
        "reads nothing of a whole": lambda: read_slowly(ask(hasty, "/large/x"), 0, STEP, MOST),
        "reads drop by drop": lambda: read_slowly(ask(hasty, "/large/x"), 1, STEP, MOST),
        "reads a quarter": lambda: read_slowly(ask(patient, "/large/x"), 5000, 0.2, MOST),
        "reads nothing locally": lambda: read_slowly(ask(local, "/large/x"), 0, STEP, MOST),
        "reads bursts": lambda: read_slowly(ask(patient, "/large/x"), int(200_000 * BURST), BURST, ENOUGH),
        "reads bursts locally": lambda: read_slowly(ask(local, "/large/x"), int(200_000 * BURST), BURST, ENOUGH),
        "reads a little now and then": lambda: read_slowly(ask(undemanding, "/large/x"), 5000, BURST, ENOUGH),
    }
    with ThreadPoolExecutor(len(clients)) as threads:
        return {name: threads.submit(client) for name, client in clients.items()}


@pytest.mark.parametrize(("name", "earliest"), [("drips a body", 1), ("drips chunks", 1), ("sends a quarter", 2)])
def test_a_body_that_never_pauses_but_comes_too_slowly_is_408(courses: Courses, name: str, earliest: int):
    course = courses[name].result()
    assert course.received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert earliest <= course.seconds < earliest + LATEST


@pytest.mark.parametrize("name", ["sends bursts", "sends a byte now and then"])
def test_a_body_that_keeps_the_rate_is_taken_whatever_its_pauses(courses: Courses, name: str):
    digest, _, size = courses[name].result().received.decode().partition(" ")
    assert digest == hashlib.sha256(bytes(int(size))).hexdigest()


def test_the_time_of_a_body_does_not_run_while_it_waits_behind_another_request(courses: Courses):
    course = courses["waits to go on"].result()
    assert course.received == b"body"
    assert course.seconds > 2.5


@pytest.mark.parametrize(
    ("name", "earliest"),
    [
        ("reads nothing", 1),
        ("reads nothing of a whole", 1),
        ("reads drop by drop", 1),
        ("reads a quarter", 2),
        ("reads nothing locally", 2),
    ],
)
def test_who_reads_too_slowly_is_reset(courses: Courses, name: str, earliest: int):
    course = courses[name].result()
    assert course.reset
    assert earliest <= course.seconds < MOST


@pytest.mark.parametrize("name", ["reads bursts", "reads bursts locally", "reads a little now and then"])
def test_who_goes_on_reading_fast_enough_gets_all(courses: Courses, name: str):
    course = courses[name].result()
    assert not course.reset
    assert course.seconds >= ENOUGH - 2 * BURST
    assert course.size > LARGE


def test_what_an_application_adds_does_not_hide_that_a_client_reads(server: StartServer, applications: Path):
    site = server("uploads", "--write-timeout", "1", "--write-min-rate", "1000", pythonpath=(applications,))
    began = time.monotonic()
    with ask(site, "/gradual/x", 65536) as connection:
        size = 0
        while data := connection.recv(20_000):
            size += len(data)
            if time.monotonic() < began + ENOUGH:
                time.sleep(0.1)
    assert size > LARGE
