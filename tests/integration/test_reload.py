"""HUP: what is on disk is taken as a whole, by workers that are ready before the old ones leave.

With every worker class, but for what the master alone does with addresses, environment and several HUPs.
"""

import os
import re
import signal
import socket
from pathlib import Path

from integration.answers import AnswerReader
from integration.kinds import AND_ASGI_ONCE, ONE_REQUEST, USUAL_KIND, differs
from integration.load import load, slowest, usual
from integration.reloading import (
    FRESH,
    GIVEN_UP,
    SERVES,
    descriptors,
    hang_up,
    signal_and_wait,
    source,
    start_reloadable,
    version,
    wait_for_others,
    write_app,
    write_config,
)
from integration.resources import NEEDS_PROC
from integration.running import StartServer, accepts, wait_until
from integration.staging import GET
from integration.wire import connect

pytestmark = AND_ASGI_ONCE

GAP = 0.75
"""Seconds that an exchange may cost the slowest request on a busy machine; it would be a second if nobody served."""
BLINK = 0.25
"""The same for 99 of 100 requests."""
NEVER = "import threading; threading.Event().wait(60)"
SLOW_IMPORT = "import threading; threading.Event().wait(1)"


def test_no_request_fails_or_waits_during_reloads_under_load(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2)
    with load(site) as clients:
        before = clients.more(300)
        mark = len(clients.answers)
        for text in (source("two"), source("three", SLOW_IMPORT), source("four")):
            write_app(site, text)
            hang_up(site)
        during = clients.answers[mark:]
        assert {answer.text.split()[0] for answer in clients.more(30)} >= {"four"}
    assert {answer.text.split()[0] for answer in during} >= {"one", "two", "three"}
    assert slowest(during) < slowest(before) + GAP
    assert usual(during) < usual(before) + BLINK
    assert "ERROR" not in site.log()
    assert "WARNING" not in site.log()


def test_hup_takes_new_code_another_number_of_workers_and_another_environment(server: StartServer):
    site = start_reloadable(server, source("one"), config='workers = 2\nraw_env = ["SHOWN=first"]', workers=None)
    assert len(wait_for_others(site, [], 2)) == 2
    assert re.fullmatch(r"one \d+ first", site.request(GET).text)
    write_app(site, source("two"))
    write_config(site, "workers = 3")
    assert len(hang_up(site, 3)) == 3
    assert re.fullmatch(r"two \d+ -", site.request(GET).text), "raw_env of the configuration before is undone"
    write_app(site, source("three"))
    write_config(site, 'workers = 1\nraw_env = ["SHOWN=last"]')
    [worker] = hang_up(site, 1)
    assert site.request(GET).text == f"three {worker} last"


@USUAL_KIND
def test_hup_lets_go_of_what_raw_env_hid(server: StartServer):
    site = server(
        app_source=source("one"), config='raw_env = ["SHOWN=hidden"]', env={"SHOWN": "as started", **FRESH}, workers=1
    )
    assert site.request(GET).text.endswith(" hidden")
    write_config(site, "")
    hang_up(site)
    assert site.request(GET).text.endswith(" as started")


def ask_at(path: Path) -> str:
    """Return the answer at a unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(15)
        connection.connect(str(path))
        connection.sendall(GET)
        return AnswerReader(connection).read().text


def test_hup_listens_at_new_addresses_and_no_more_at_old_ones(server: StartServer, tmp_path: Path):
    old, new, kept = tmp_path / "old", tmp_path / "new", tmp_path / "kept"
    config = 'bind = ["127.0.0.1:0", "unix:{}", "unix:{}"]\n'
    site = start_reloadable(server, source("one"), config=config.format(old, kept), bind=())
    first = site.url
    inode = kept.stat().st_ino
    assert ask_at(old).startswith("one ")
    write_config(site, config.format(new, kept).replace("127.0.0.1", "127.0.0.2"))
    hang_up(site)
    assert ask_at(new).startswith("one ")
    assert ask_at(kept).startswith("one ")
    assert kept.stat().st_ino == inode, "an address that stays is not bound anew"
    assert not old.exists()
    assert not accepts(first)
    site.wait_for_log(r"Listening at: http://127\.0\.0\.2:\d+ ")
    assert sum(map(accepts, (url for url in site.addresses if url.startswith("http")))) == 1


@USUAL_KIND
def test_a_path_that_somebody_has_removed_is_bound_anew(server: StartServer, tmp_path: Path):
    path = tmp_path / "a socket"
    site = start_reloadable(server, source("one"), bind=("127.0.0.1:0", f"unix:{path}"))
    path.unlink()
    hang_up(site)
    assert ask_at(path).startswith("one ")


@USUAL_KIND
def test_an_address_that_stays_refuses_nobody_and_keeps_its_port(server: StartServer):
    site = start_reloadable(server, source("one"), config='bind = "127.0.0.1:0"', bind=())
    port = site.port
    write_config(site, 'bind = ["127.0.0.1:0", "127.0.0.2:0"]')
    hang_up(site)
    assert site.port == port
    assert accepts(site.url)


def test_hup_opens_new_logs(server: StartServer, tmp_path: Path):
    logs = [tmp_path / name for name in ("error1", "access1", "error2", "access2")]
    config = "errorlog = {!r}\naccesslog = {!r}"
    site = start_reloadable(server, source("one"), config=config.format(*map(str, logs[:2])), ready=False)
    error1, access1, error2, access2 = logs

    def has(path: Path, pattern: str, count: int = 1) -> None:
        wait_until(
            lambda: path.exists() and len(re.findall(pattern, path.read_text())) >= count,
            what=f"{pattern} in {path.name}",
        )

    def ask(word: str) -> None:
        port = re.findall(r"http://127\.0\.0\.1:(\d+)", error1.read_text())[0]
        with socket.create_connection(("127.0.0.1", int(port)), 15) as connection:
            connection.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % word.encode())
            assert AnswerReader(connection).read().status == 200

    has(error1, "Worker ready")
    ask("early")
    has(access1, "GET /early ")
    write_config(site, config.format(str(error2), str(access2)))
    site.signal(signal.SIGHUP)
    has(error2, SERVES)
    has(error2, r"Worker \(pid:\d+\) exited with code 0")
    length = error1.stat().st_size
    ask("late")
    has(access2, "GET /late ")
    assert "/late" not in access1.read_text()
    site.signal(signal.SIGUSR1)
    has(error2, "Handling signal: usr1")
    assert error1.stat().st_size == length, "nobody writes to the old log any more"


@USUAL_KIND
def test_a_second_hup_gives_up_what_the_first_one_tried(server: StartServer, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site = start_reloadable(server, source("one"), workers=2)
    old = site.worker_pids()
    write_app(site, source("stuck", f"open({str(gate)!r}).read()"))
    signal_and_wait(site, signal.SIGHUP, "Booting worker")
    wait_until(lambda: len(site.worker_pids()) == 3, what="the worker that is tried")
    [tried] = set(site.worker_pids()) - set(old)
    assert version(site) == "one"
    write_app(site, source("two"))
    new = hang_up(site, 2)
    assert not {tried, *old} & set(new)
    assert {version(site) for _ in range(8)} == {"two"}
    assert f"{tried}) cannot boot" not in site.log()


@USUAL_KIND
def test_the_worker_that_is_tried_gives_the_reload_up_when_it_is_told_to_leave(server: StartServer, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site = start_reloadable(server, source("one"))
    [old] = site.worker_pids()
    write_app(site, source("stuck", f"open({str(gate)!r}).read()"))
    tried = int(
        re.findall(r"Booting worker with pid: (\d+)", signal_and_wait(site, signal.SIGHUP, "Booting worker"))[0]
    )
    os.kill(tried, signal.SIGTERM)
    site.wait_for_log(GIVEN_UP)
    assert site.worker_pids() == [old]
    assert version(site) == "one"
    write_app(site, source("two"))
    hang_up(site)
    assert version(site) == "two"


@USUAL_KIND
def test_a_broken_reload_closes_what_the_one_before_had_opened_and_not_yet_used(server: StartServer, tmp_path: Path):
    path = tmp_path / "new"
    bind = 'bind = ["127.0.0.1:0"{}]\n'
    site = start_reloadable(server, source("one"), config=bind.format(""), bind=())
    old = site.worker_pids()
    write_app(site, source("stuck", NEVER))
    write_config(site, bind.format(f', "unix:{path}"'))
    signal_and_wait(site, signal.SIGHUP, "Booting worker")
    assert path.is_socket()
    write_config(site, "bind = (")
    signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
    wait_until(lambda: site.worker_pids() == old, what="the end of the worker that was tried")
    assert not path.exists(), "the address of a generation that is given up"
    assert version(site) == "one"


@NEEDS_PROC
def test_reloads_leave_no_descriptor_behind(server: StartServer, tmp_path: Path):
    access = f"accesslog = {str(tmp_path / 'access')!r}\n"
    one, two = (f'bind = ["127.0.0.1:0", "unix:{tmp_path / name}"]\n{access}' for name in ("one", "two"))
    site = start_reloadable(server, source("first"), config=one, bind=(), allow_traceback=True)
    assert version(site) == "first"  # so that the worker has opened all it needs
    before = descriptors(site.pid) + descriptors(site.worker_pid())
    for app, config, said in (
        (source("good"), two, SERVES),
        ("raise RuntimeError('zq81')", one, GIVEN_UP),
        (source("stuck", NEVER), one, "Booting worker"),
        (source("good"), "bind = (", GIVEN_UP),
        (source("stuck", NEVER), one, "Booting worker"),
        (source("stuck", NEVER), two, "Booting worker"),
        (source("last"), one, SERVES),
    ):
        write_app(site, app)
        write_config(site, config)
        signal_and_wait(site, signal.SIGHUP, said)
    wait_until(lambda: len(site.worker_pids()) == 1, what="the end of the others")
    assert version(site) == "last"
    assert [path.name for path in sorted(tmp_path.iterdir()) if path.is_socket()] == ["one"]
    wait_until(
        lambda: descriptors(site.pid) + descriptors(site.worker_pid()) <= before, 5, "no more descriptors than before"
    )


@USUAL_KIND
def test_many_hups_at_once_end_with_the_last_version(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2)
    with load(site, 4) as clients:
        for number in range(6):
            write_app(site, source(f"v{number}"))
            signal_and_wait(site, signal.SIGHUP, "Handling signal: hup")
        wait_until(lambda: version(site) == "v5", what="the last version")
        wait_until(lambda: len(site.worker_pids()) == 2, what="two workers")
        assert {answer.text.split()[0] for answer in clients.more(60)[-20:]} == {"v5"}
    assert "ERROR" not in site.log()


def asked_to_close(connection: socket.socket, reader: AnswerReader) -> bool:
    """Tell whether the next answer on a kept connection says that it is the last."""
    connection.sendall(GET)
    return reader.read().headers["Connection"] == "close"


@differs("sync", row=ONE_REQUEST)
def test_a_request_that_runs_at_hup_is_finished_by_its_worker(holding: StartServer, gate: Path):
    site = holding()
    [old] = site.worker_pids()
    with connect(site) as connection, connect(site) as idle:
        for one in (connection, idle):
            one.sendall(GET)
        readers = [AnswerReader(one) for one in (connection, idle)]
        assert [int(reader.read().text) for reader in readers] == [old, old]
        connection.sendall(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = readers[0].begin()
        assert int(answer.readline()) == old
        signal_and_wait(site, signal.SIGHUP, f"Worker (pid:{old}) is exchanged")
        wait_until(lambda: asked_to_close(idle, readers[1]), what="a word of the end")  # before it is closed as idle
        assert readers[1].rest() == b""
        wait_until(lambda: int(site.request(GET).text) != old, what="an answer of the new one")
        gate.write_bytes(b"!")
        assert answer.read() == b"end"
        assert readers[0].rest() == b""
    wait_for_others(site, [old])
