"""Deadlines and least rates: who is cut, when and how, and who is not; all these clients run at once."""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.resources import NEEDS_PROC, memory, open_sockets, temporary_files
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.slow_clients import (
    BURST,
    ENOUGH,
    MOST,
    STEP,
    Course,
    ask,
    drip,
    go_on_behind_a_refusal,
    is_reset_within,
    read_slowly,
    send_in_bursts,
)
from integration.wire import connect, is_readable, receive_to_end

MIB = 1024 * 1024
LARGE = 16 * MIB
LATEST = 4.5
"""Seconds after which a second is over for certain: the server looks once a second, and machines are busy."""
GET = b"GET /unread/x HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENT = ("--body-timeout", "2", "--write-timeout", "2")
SITES: dict[str, tuple[str, ...]] = {
    "hasty": (
        *("--body-timeout", "1", "--body-min-rate", "1000", "--write-timeout", "1", "--write-min-rate", "1000"),
        *("--first-byte-timeout", "2", "--header-timeout", "2", "--keep-alive", "2", "--linger-timeout", "1"),
        *("--limit-request-body", "1000000"),
    ),
    "patient": (*PATIENT, "--body-min-rate", "1000", "--write-min-rate", "100000"),
    "undemanding": (*PATIENT, "--body-min-rate", "0", "--write-min-rate", "0"),
    "local": (*PATIENT, "--write-min-rate", "1000"),
    "small": (*PATIENT, "--write-min-rate", "1000", "--response-buffer-max", str(MIB), "--threads", "4"),
    "streaming": ("--stream-request-body", "--body-timeout", "1", "--body-min-rate", "1000"),
    "busy": ("--threads", "1", "--body-timeout", "1"),
    "proxied": ("--proxy-protocol=v1", "--handshake-timeout", "1"),
}


Client = Callable[[Server], Course]
Courses = dict[str, Future[Course]]
CLIENTS: dict[str, tuple[str, Client]] = {}


def client(site: str) -> Callable[[Client], Client]:
    """Let the function run, once, as a client of this site; its course is known by its name."""

    def register(run: Client) -> Client:
        CLIENTS[run.__name__] = (site, run)
        return run

    return register


@pytest.fixture(scope="module")
def sites(
    module_server: StartServer, applications: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Server]:
    binds = {"local": f"unix:{tmp_path_factory.mktemp('local')}/socket"}
    return {
        name: module_server("uploads", *flags, bind=binds.get(name, "127.0.0.1:0"), pythonpath=(applications,))
        for name, flags in SITES.items()
    }


@pytest.fixture(scope="module")
def courses(sites: dict[str, Server]) -> Courses:
    """Run all clients at once."""
    with ThreadPoolExecutor(len(CLIENTS)) as threads:
        return {name: threads.submit(run, sites[site]) for name, (site, run) in CLIENTS.items()}


# Bodies.


@client("hasty")
def drips_a_body(site: Server) -> Course:
    return drip(site, b"Content-Length: 5000\r\n\r\n", b"x")


@client("hasty")
def drips_chunks(site: Server) -> Course:
    return drip(site, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")


@client("streaming")
def drips_into_the_application(site: Server) -> Course:
    return drip(site, b"Content-Length: 5000\r\n\r\n", b"x")


@client("streaming")
def drips_chunks_into_the_application(site: Server) -> Course:
    return drip(site, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")


@client("busy")
def waits_for_a_thread(site: Server) -> Course:
    with connect(site) as busy, connect(site) as connection:
        busy.sendall(b"GET /nap/nap HTTP/1.1\r\nHost: x\r\n\r\n")
        site.wait_for_log("<nap began>")
        course = Course()
        connection.sendall(b"POST /whole/x HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nfirst")
        assert not is_readable(connection, 0.3)
        connection.sendall(b" later")
        course.received = AnswerReader(connection).read("POST").body
    return course.end()


@client("patient")
def sends_a_quarter_of_the_rate(site: Server) -> Course:
    return drip(site, b"Content-Length: 50000\r\n\r\n", bytes(int(250 * STEP)))


@client("patient")
def sends_bursts_of_twice_the_rate(site: Server) -> Course:
    return send_in_bursts(site, int(2000 * BURST), BURST)


@client("undemanding")
def sends_a_byte_now_and_then(site: Server) -> Course:
    return send_in_bursts(site, 1, BURST)


# Answers.


@client("hasty")
def reads_nothing(site: Server) -> Course:
    return read_slowly(ask(site, "/generated/x"), 0, STEP, MOST)


@client("hasty")
def reads_drop_by_drop(site: Server) -> Course:
    return read_slowly(ask(site, "/large/x"), 1, STEP, MOST)


@client("patient")
def reads_a_quarter_of_the_rate(site: Server) -> Course:
    return read_slowly(ask(site, "/large/x"), 5000, 0.2, MOST)


@client("patient")
def reads_bursts_of_twice_the_rate(site: Server) -> Course:
    return read_slowly(ask(site, "/large/x"), int(200_000 * BURST), BURST, ENOUGH)


@client("undemanding")
def reads_a_little_now_and_then(site: Server) -> Course:
    return read_slowly(ask(site, "/large/x"), 5000, BURST, ENOUGH)


@client("undemanding")
def reads_what_the_kernel_has(site: Server) -> Course:
    return read_slowly(ask(site, "/large/x", 65536), 20_000, 0.1, ENOUGH)


@client("local")
def reads_over_a_unix_socket(site: Server) -> Course:
    return read_slowly(ask(site, "/large/x"), 20_000, 0.1, ENOUGH)


@client("local")
def reads_nothing_over_a_unix_socket(site: Server) -> Course:
    return read_slowly(ask(site, "/generated/x"), 0, STEP, MOST)


@client("small")
def reads_nothing_while_a_thread_waits_for_it(site: Server) -> Course:
    return read_slowly(ask(site, "/generated/x"), 0, STEP, MOST)


@client("small")
def reads_while_a_thread_waits_for_it(site: Server) -> Course:
    return read_slowly(ask(site, "/generated/x", 65536), 20_000, 0.1, ENOUGH)


@client("small")
def reads_while_the_application_goes_on(site: Server) -> Course:
    return read_slowly(ask(site, "/gradual/x", 65536), 20_000, 0.1, ENOUGH)


# Before, between and behind requests.


@client("proxied")
def sends_half_a_proxy_header(site: Server) -> Course:
    connection = connect(site)
    course = Course()
    connection.sendall(b"PROXY TCP4 192.0.2.1 19")
    return course.ended_after(connection)


@client("proxied")
def drips_a_proxy_header(site: Server) -> Course:
    connection = connect(site)
    course = Course()
    connection.sendall(b"PROXY TCP4 192.0.2.")
    while not is_readable(connection, STEP):
        connection.sendall(b"1")
    return course.ended_after(connection)


@client("proxied")
def sends_a_proxy_header_in_two_parts(site: Server) -> Course:
    connection = connect(site)
    course = Course()
    connection.sendall(b"PROXY TCP4 192.0.2.1 19")
    assert not is_readable(connection, 0.2)
    connection.sendall(b"2.0.2.2 4242 80\r\n" + GET)
    course.received = AnswerReader(connection).read().body
    return course.end()


@client("hasty")
def is_silent(site: Server) -> Course:
    return Course().ended_after(connect(site))


@client("hasty")
def is_silent_at_first(site: Server) -> Course:
    connection = connect(site)
    course = Course()
    assert not is_readable(connection, 1.2)
    connection.sendall(GET[:10])
    assert not is_readable(connection, 1.2)
    connection.sendall(GET[10:])
    course.received = AnswerReader(connection).read().body
    return course.end()


@client("hasty")
def asks_again_and_again(site: Server) -> Course:
    connection = connect(site)
    course = Course()
    for _ in range(2):
        connection.sendall(GET)
        course.received = AnswerReader(connection).read().body
        assert not is_readable(connection, 1.3)
    course.began = time.monotonic()
    connection.sendall(GET)
    course.received = AnswerReader(connection).read().body
    assert connection.recv(1) == b""
    return course.end()


@client("hasty")
def lingers(site: Server) -> Course:
    return go_on_behind_a_refusal(site, b"x")


@client("hasty")
def lingers_and_sends_much(site: Server) -> Course:
    return go_on_behind_a_refusal(site, bytes(100_000))


# What became of them.


@pytest.mark.parametrize(
    ("name", "earliest"),
    [
        ("drips_a_body", 1),
        ("drips_chunks", 1),
        ("drips_into_the_application", 1),
        ("drips_chunks_into_the_application", 1),
        ("sends_a_quarter_of_the_rate", 2),
    ],
)
def test_a_body_that_never_pauses_but_comes_too_slowly_is_408(courses: Courses, name: str, earliest: float):
    course = courses[name].result()
    assert course.received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nConnection: close\r\n" in course.received
    assert earliest <= course.seconds < LATEST + earliest


@pytest.mark.parametrize("name", ["sends_bursts_of_twice_the_rate", "sends_a_byte_now_and_then"])
def test_a_body_that_keeps_the_rate_is_taken_whatever_its_pauses(courses: Courses, name: str):
    course = courses[name].result()
    digest, _, size = course.received.decode().partition(" ")
    assert digest == hashlib.sha256(bytes(int(size))).hexdigest()
    assert course.seconds >= ENOUGH - 2 * BURST


@pytest.mark.parametrize(
    ("name", "earliest"),
    [
        ("reads_nothing", 1),
        ("reads_drop_by_drop", 1),
        ("reads_nothing_over_a_unix_socket", 2),
        ("reads_nothing_while_a_thread_waits_for_it", 2),
    ],
)
def test_who_reads_nothing_or_next_to_nothing_is_reset(courses: Courses, name: str, earliest: float):
    course = courses[name].result()
    assert course.reset
    assert earliest <= course.seconds < LATEST + 2 * earliest  # a window that a client opened has earned it something


def test_who_reads_a_quarter_of_the_rate_is_reset(courses: Courses):
    course = courses["reads_a_quarter_of_the_rate"].result()
    assert course.reset
    assert 2.0 <= course.seconds < MOST


READERS = [
    "reads_bursts_of_twice_the_rate",
    "reads_a_little_now_and_then",
    "reads_what_the_kernel_has",
    "reads_over_a_unix_socket",
    "reads_while_a_thread_waits_for_it",
    "reads_while_the_application_goes_on",
]


@pytest.mark.parametrize("name", READERS)
def test_who_goes_on_reading_fast_enough_gets_all(courses: Courses, name: str):
    course = courses[name].result()
    assert not course.reset
    assert course.seconds >= ENOUGH - 2 * BURST
    assert course.size > LARGE


@pytest.mark.parametrize("name", ["sends_half_a_proxy_header", "drips_a_proxy_header"])
def test_half_a_proxy_header_is_closed_in_time_without_a_word(courses: Courses, name: str):
    course = courses[name].result()
    assert course.received == b""
    assert 1.0 <= course.seconds < LATEST


def test_a_proxy_header_may_come_in_two_parts(courses: Courses):
    assert courses["sends_a_proxy_header_in_two_parts"].result().received == b"nothing of x"


def test_a_connection_that_stays_silent_is_closed_without_a_word(courses: Courses):
    course = courses["is_silent"].result()
    assert course.received == b""
    assert 2.0 <= course.seconds < LATEST + 1


def test_the_first_byte_begins_the_time_of_the_head(courses: Courses):
    course = courses["is_silent_at_first"].result()
    assert course.received == b"nothing of x"
    assert course.seconds > 2.0


def test_each_answer_renews_the_time_of_an_idle_connection(courses: Courses):
    course = courses["asks_again_and_again"].result()
    assert course.received == b"nothing of x"
    assert 2.0 <= course.seconds < LATEST + 1


@pytest.mark.parametrize("name", ["lingers", "lingers_and_sends_much"])
def test_a_connection_that_was_parted_from_is_closed_in_time_whatever_it_sends(courses: Courses, name: str):
    course = courses[name].result()
    assert course.received.startswith(b"HTTP/1.1 413 ")
    assert 1.0 <= course.seconds < LATEST


# What is given back, and whose time it is.


@NEEDS_PROC
def test_memory_and_files_of_clients_that_do_not_read_are_given_back(server: StartServer, applications: Path):
    site = server("uploads", "--write-timeout", "1", pythonpath=(applications,))
    worker = site.worker_pid()
    sockets = open_sockets(worker)
    with ask(site, "/generated/x", 65536) as connection:
        assert len(receive_to_end(connection)) > LARGE
    wait_until(lambda: open_sockets(worker) == sockets, what="the end of the first connection")
    before = memory(worker)
    unread = [ask(site, "/generated/x") for _ in range(4)]
    wait_until(lambda: temporary_files(worker) >= 4, what="the temporary files")
    wait_until(lambda: open_sockets(worker) == sockets, what="the end of the connections")
    assert temporary_files(worker) == 0
    assert memory(worker) - before < 4 * MIB
    for connection in unread:
        assert is_reset_within(connection, DEADLINE)
        connection.close()


def test_the_time_of_a_body_does_not_run_while_it_waits_for_a_thread(courses: Courses):
    course = courses["waits_for_a_thread"].result()
    assert course.received == b"first later"
    assert course.seconds > 2.5
