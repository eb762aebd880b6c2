"""Every signal that is no stop: to the master, how many workers there are and where the logs are; and to a worker."""

import os
import re
import signal
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import AND_ASGI_ONCE, BUSY, ONE_REQUEST, USUAL_KIND, differs
from integration.load import load
from integration.reloading import (
    descriptors,
    hang_up,
    ready_workers,
    settled,
    signal_and_wait,
    source,
    start_reloadable,
    version,
    wait_for_others,
    waited_for,
    write_app,
    write_config,
)
from integration.resources import NEEDS_PROC
from integration.running import Server, StartServer, wait_until
from integration.staging import GET, Theatre
from integration.wire import connect, ends_in_order

pytestmark = AND_ASGI_ONCE


def count(site: Server, number: signal.Signals, expected: int) -> list[int]:
    """Send TTIN or TTOU, and return the workers when there are as many as expected, all ready."""
    signal_and_wait(site, number, f"Handling signal: {number.name.lower().removeprefix('sig')}")
    return settled(site, expected)


@USUAL_KIND
def test_ttin_and_ttou_change_the_number_of_workers_and_the_oldest_leaves(server: StartServer):
    site = start_reloadable(server, source("one"))
    [first] = site.worker_pids()
    two = count(site, signal.SIGTTIN, 2)
    assert first in two
    three = count(site, signal.SIGTTIN, 3)
    assert set(two) < set(three)
    left = count(site, signal.SIGTTOU, 2)
    assert set(left) == set(three) - {first}
    count(site, signal.SIGTTOU, 1)
    [last] = count(site, signal.SIGTTOU, 1)
    assert last in left, "the last one stays"
    assert site.request(GET).text == f"one {last} -"
    site.wait_for_log("exited with code 0")


@USUAL_KIND
def test_a_number_that_was_set_by_signals_survives_hup_until_the_file_says_another_one(server: StartServer):
    site = start_reloadable(server, source("one"), config="workers = 2", workers=None)
    settled(site, 2)
    count(site, signal.SIGTTIN, 3)
    write_app(site, source("two"))
    hang_up(site, 3)
    assert version(site) == "two"
    write_config(site, "workers = 4")
    hang_up(site, 4)
    count(site, signal.SIGTTOU, 3)
    hang_up(site, 3)
    write_config(site, "workers = 1")
    hang_up(site, 1)


def test_no_request_fails_during_a_storm_of_ttin_and_ttou(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2)
    with load(site) as clients:
        clients.more(50)
        for _ in range(8):
            for number in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTOU):
                site.signal(number)
            clients.more(5)
        for number in (signal.SIGTTIN, signal.SIGTTOU) * 4:
            signal_and_wait(site, number, "Handling signal: tt")
            clients.more(10)

        def told() -> int:
            expected = 2
            for name in re.findall(r"Handling signal: (ttin|ttou)", site.log()):
                expected = max(1, expected + (1 if name == "ttin" else -1))
            return expected  # the kernel makes one of several that wait

        wait_until(lambda: len(site.worker_pids()) == told() == len(ready_workers(site)), what="the number of workers")
        clients.more(50)
    assert "ERROR" not in site.log()


@USUAL_KIND
def test_ttin_while_a_generation_is_tried_counts_for_it(server: StartServer, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site = start_reloadable(server, source("one"))
    [old] = site.worker_pids()
    write_app(site, source("two", f"open({str(gate)!r}).read()"))
    signal_and_wait(site, signal.SIGHUP, "Booting worker")
    signal_and_wait(site, signal.SIGTTIN, "Handling signal: ttin")
    assert old in site.worker_pids()
    with waited_for(gate):
        write_app(site, source("two"))  # which the one that waits does not read any more
    wait_for_others(site, [old], 2)
    assert {version(site) for _ in range(6)} == {"two"}


@USUAL_KIND
def test_ttin_while_a_generation_is_tried_and_given_up_counts_for_the_one_before(server: StartServer, gate: Path):
    site = start_reloadable(server, source("one"), config="workers = 2", workers=None, allow_traceback=True)
    settled(site, 2)
    write_app(site, source("stuck", f"open({str(gate)!r}).read()\nraise RuntimeError('zq81')"))
    write_config(site, "workers = 4")
    signal_and_wait(site, signal.SIGHUP, "Booting worker")
    signal_and_wait(site, signal.SIGTTIN, "Handling signal: ttin")
    with waited_for(gate):
        write_app(site, source("two"))
    site.wait_for_log("The reload is given up")
    settled(site, 3)
    count(site, signal.SIGTTOU, 2)


LOGGING = """
import os
def application(environ, start_response):
    environ["wsgi.errors"].write(f"told by {os.getpid()}\\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


def test_usr1_lets_all_processes_write_to_new_files_and_loses_no_line(server: StartServer, tmp_path: Path):
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    site = server(
        None, "--log-file", str(error), "--access-logfile", str(access), app_source=LOGGING, workers=2, ready=False
    )
    wait_until(lambda: error.exists() and error.read_text().count("Worker ready") == 2, what="two workers")
    workers = {str(pid) for pid in site.worker_pids()}
    port = int(re.findall(r"Listening at: http://127\.0\.0\.1:(\d+)", error.read_text())[0])
    rotated = []
    with load(site, 6, port) as clients:
        for turn in range(3):
            clients.more(60)
            rotated += [path.rename(path.with_suffix(f".{turn}")) for path in (error, access)]
            site.signal(signal.SIGUSR1)
            wait_until(lambda: error.exists() and access.exists(), what="new files")
            wait_until(lambda: set(re.findall(r"told by (\d+)", error.read_text())) == workers, what="all workers")
            sizes = [path.stat().st_size for path in rotated]
            clients.more(30)
            assert [path.stat().st_size for path in rotated] == sizes, "nobody writes to what was renamed"

    def written(text: str) -> int:
        return sum(path.read_text().count(text) for path in [*rotated, error, access])

    assert written("told by ") == len(clients.answers)
    wait_until(lambda: written('"GET / HTTP/1.1" 200') == len(clients.answers), what="a line for each answer")
    site.signal(signal.SIGTTIN)
    wait_until(lambda: "Handling signal: ttin" in error.read_text(), what="the master's line")
    wait_until(lambda: "Worker ready" in error.read_text(), what="the new worker's line")


@NEEDS_PROC
def test_usr1_leaves_no_descriptor_of_an_old_file_behind(server: StartServer, tmp_path: Path):
    error = tmp_path / "error.log"
    site = server(None, "--log-file", str(error), app_source=LOGGING, ready=False)
    wait_until(lambda: error.exists() and "Worker ready" in error.read_text(), what="the worker")
    worker = site.worker_pid()
    counts = []
    for turn in range(4):
        old = error.rename(tmp_path / f"error.{turn}")
        os.kill(worker, signal.SIGUSR1)
        wait_until(error.exists, what="the new file")
        site.signal(signal.SIGUSR1)
        wait_until(lambda path=old: str(path) not in open_files(site.pid), what="the master's new file")
        wait_until(lambda path=old: str(path) not in open_files(worker), timeout=5, what="the worker's new file")
        counts.append((descriptors(site.pid), descriptors(worker)))
    assert len(set(counts)) == 1


def open_files(pid: int) -> set[str]:
    """Return the paths of what the process has open."""
    return {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}


def test_usr1_without_a_folder_to_write_to_is_told_and_harms_nobody(server: StartServer, tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    site = server(None, "--access-logfile", str(folder / "access"), app_source=LOGGING)
    folder.rename(tmp_path / "away")
    log = signal_and_wait(site, signal.SIGUSR1, "Cannot open a log file anew")
    assert str(folder / "access") in log
    assert site.request(GET).status == 200
    wait_until(lambda: '"GET / ' in (tmp_path / "away" / "access").read_text(), what="the line in the old file")


@USUAL_KIND
def test_winch_to_a_master_in_the_foreground_does_nothing(server: StartServer):
    site = start_reloadable(server, source("one"), "--log-level", "debug", workers=2)
    pids = site.worker_pids()
    assert "WINCH does nothing" in signal_and_wait(site, signal.SIGWINCH, "WINCH does nothing")
    signal_and_wait(site, signal.SIGUSR1, "Handling signal: usr1")
    assert site.worker_pids() == pids
    assert version(site) == "one"


def replaced(site: Server, pid: int) -> int:
    """Return the worker that took the place of the only one."""
    [other] = wait_for_others(site, [pid])
    return other


@differs("sync", row=BUSY)
def test_a_worker_that_gets_term_finishes_its_request_and_is_replaced(stage: Theatre):
    site = stage.start()
    connection, held = stage.hold(site)
    with connect(site) as silent:
        assert site.request(GET).status == 200  # so that it has the silent one
        os.kill(held.pid, signal.SIGTERM)
        assert ends_in_order(silent)
    held.release()
    answer = AnswerReader(connection).read()
    assert (int(answer.text), answer.headers["Connection"]) == (held.pid, "close")
    assert replaced(site, held.pid) == int(site.request(GET).text)
    site.wait_for_log(rf"INFO\] Worker \(pid:{held.pid}\) exited with code 0$")
    assert "ERROR" not in site.log()


@differs("sync", row=BUSY)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_worker_that_gets_int_or_quit_leaves_at_once_and_is_replaced(stage: Theatre, number: signal.Signals):
    config = "def worker_int(worker):\n    worker.log.info('told of it: %s', worker.pid)\n"
    site = stage.start(config=config)
    connection, held = stage.hold(site)
    os.kill(held.pid, number)
    other = replaced(site, held.pid)
    assert f"told of it: {held.pid}\n" in site.log()
    with pytest.raises(ConnectionError):
        AnswerReader(connection).read()
    assert int(site.request(GET).text) == other


def test_a_worker_that_gets_abrt_shows_its_stacks_and_is_replaced(stage: Theatre):
    config = "def worker_abort(worker):\n    worker.log.info('told of it: %s', worker.pid)\n"
    site = stage.start(config=config)
    _, held = stage.hold(site)
    os.kill(held.pid, signal.SIGABRT)
    other = replaced(site, held.pid)
    log = site.log()
    assert log.count(f"told of it: {held.pid}\n") == 1
    assert re.search(r'staged\.py", line \d+,? in wait_on_stage', log)
    site.wait_for_log(rf"ERROR\] Worker \(pid:{held.pid}\) (exited with code 1|was ended by SIGABRT)")
    assert int(site.request(GET).text) == other


def test_signals_that_are_the_masters_do_nothing_to_a_worker(stage: Theatre):
    site = stage.start()
    [worker] = site.worker_pids()
    connection, held = stage.hold(site)
    for name in ("HUP", "WINCH", "TTIN", "TTOU", "CHLD"):
        os.kill(worker, signal.Signals[f"SIG{name}"])
    held.release()
    assert int(AnswerReader(connection).read().text) == worker
    assert site.request(GET).status == 200
    assert site.worker_pids() == [worker]
    assert "Handling signal" not in site.log()


def test_an_application_that_gives_signals_back_to_the_system_does_not_end_by_them(server: StartServer):
    names = ("HUP", "TTIN", "TTOU", "USR1", "USR2", "WINCH")
    first = "import signal\n" + "".join(f"signal.signal(signal.SIG{name}, signal.SIG_DFL)\n" for name in names)
    site = start_reloadable(server, source("one", first))
    [worker] = site.worker_pids()
    for name in names:
        os.kill(worker, signal.Signals[f"SIG{name}"])
    assert site.request(GET).text.startswith(f"one {worker} ")
    assert site.worker_pids() == [worker]


def test_usr1_to_a_worker_alone_lets_it_write_to_a_new_file(server: StartServer, tmp_path: Path):
    access = tmp_path / "access"
    site = server(None, "--access-logfile", str(access), app_source=LOGGING)
    assert site.request(GET).status == 200
    access.rename(tmp_path / "away")
    os.kill(site.worker_pid(), signal.SIGUSR1)
    wait_until(access.exists, what="the new file")
    wait_until(
        lambda: site.request(GET).status == 200 and '"GET / ' in access.read_text(), what="a line in the new file"
    )


@differs("sync", row=ONE_REQUEST)
def test_a_kept_connection_of_a_worker_that_ttou_ends_is_told(server: StartServer):
    site = start_reloadable(server, source("one"))
    [first] = site.worker_pids()
    with connect(site) as connection:
        reader = AnswerReader(connection)
        connection.sendall(GET)
        assert f" {first} " in reader.read().text
        count_up = count(site, signal.SIGTTIN, 2)
        assert first in count_up
        signal_and_wait(site, signal.SIGTTOU, "Handling signal: ttou")

        def told() -> bool:
            connection.sendall(GET)
            return reader.read().headers["Connection"] == "close"

        wait_until(told, what="a word of the end")
        assert ends_in_order(connection)
    settled(site, 1)
