"""reload while somebody works on an application, and spew."""

import re
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from integration.descriptors import descriptors
from integration.load import load
from integration.reloading import FRESH, SERVES, ready_workers
from integration.running import READY, Server, StartServer, wait_until
from integration.staging import GET, ask

SOURCE = """
import os, greeting

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    with open(os.path.join(os.path.dirname(__file__), "page.html")) as page:
        return [f"{greeting.TEXT} {page.read()} {os.getpid()}".encode()]
"""
NEEDS_WATCHFILES = pytest.mark.skipif(find_spec("watchfiles") is None, reason="the package watchfiles is not installed")
ENGINES = pytest.mark.parametrize("engine", ["poll", pytest.param("inotify", marks=NEEDS_WATCHFILES), "auto"])


class Workshop:
    """The files of an application that is worked on, and a server that watches them."""

    def __init__(self, server: StartServer, folder: Path, *arguments: str, workers: int = 1) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.write("shop.py", SOURCE)
        self.write("greeting.py", "TEXT = 'hello'")
        self.write("page.html", "first")
        self.site: Server = server(
            "shop:application",
            "--reload",
            *arguments,
            env=FRESH,
            workers=workers,
            pythonpath=(self.folder,),
            allow_traceback=True,
        )

    def write(self, name: str, text: str) -> None:
        """Save a file as an editor does: another one takes its place."""
        draft = self.folder / f".{name}.draft"
        draft.write_text(text)
        draft.rename(self.folder / name)

    def text(self) -> str:
        """Return the answer without the pid."""
        return self.site.request(GET).text.rpartition(" ")[0]

    def exchanged(self, times: int) -> None:
        """Return when the workers were exchanged so often, and the old ones have left."""
        count = self.site.launch.workers

        def done() -> bool:
            pids = self.site.worker_pids()
            return self.site.log().count(SERVES) == times and len(pids) == count and pids == ready_workers(self.site)

        try:
            wait_until(done, what=f"{times} exchanges")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.site.log()}") from None


@ENGINES
def test_an_edit_a_fault_and_its_mending_are_seen_at_once(server: StartServer, tmp_path: Path, engine: str):
    workshop = Workshop(server, tmp_path, "--reload-engine", engine)
    assert workshop.text() == "hello first"
    workshop.write("greeting.py", "TEXT = 'good day'")
    workshop.exchanged(1)
    assert re.search(r"greeting\.py has changed", workshop.site.log())
    assert workshop.text() == "good day first"
    workshop.write("greeting.py", "TEXT = 'zq81")
    workshop.exchanged(2)
    page = workshop.site.request(ask("/", fields="Accept: text/html\r\n"))
    assert (page.status, page.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert "SyntaxError: unterminated string literal" in page.text
    assert "greeting.py" in page.text
    plain = workshop.site.request(ask("/", fields="Accept: text/plain\r\n"))
    assert (plain.status, plain.headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
    workshop.write("greeting.py", "TEXT = 'mended'")
    workshop.exchanged(3)
    assert workshop.text() == "mended first"
    assert workshop.site.log().count("SyntaxError") == 1


@NEEDS_WATCHFILES
def test_other_faults_than_of_syntax_are_shown_and_mended_as_well(server: StartServer, tmp_path: Path):
    workshop = Workshop(server, tmp_path)
    faults = ["import zq81", "raise RuntimeError('zq81')", "TEXT = zq81", ""]
    for number, fault in enumerate(faults, 1):
        workshop.write("greeting.py", fault)
        workshop.exchanged(number)
        page = workshop.site.request(GET)
        assert page.status == 500
        assert "zq81" in page.text or not fault
    workshop.write("greeting.py", "TEXT = 'mended'")
    workshop.exchanged(len(faults) + 1)
    assert workshop.text() == "mended first"
    workshop.write("shop.py", "application = None")
    workshop.exchanged(len(faults) + 2)
    assert "a WSGI application is needed" in workshop.site.request(GET).text


def test_a_server_that_is_started_with_a_fault_shows_it_until_it_is_mended(server: StartServer, tmp_path: Path):
    (tmp_path / "broken.py").write_text("def application(:")
    arguments = ("--reload", "--reload-engine", "poll")
    site = server("broken", *arguments, env=FRESH, pythonpath=(tmp_path,), allow_traceback=True)
    assert "SyntaxError" in site.request(GET).text
    (tmp_path / "broken.py").write_text(
        SOURCE.replace("import os, greeting", "import os").replace("greeting.TEXT", "'hi'")
    )
    (tmp_path / "page.html").write_text("mended")
    wait_until(lambda: site.request(GET).text.startswith("hi mended"), what="the mended application")


@ENGINES
def test_a_new_file_that_a_pattern_names_is_a_change(server: StartServer, tmp_path: Path, engine: str):
    (tmp_path / "watched").mkdir()
    flags = ("--reload-engine", engine, "--reload-extra-file", str(tmp_path / "watched" / "*.html"))
    workshop = Workshop(server, tmp_path, *flags)
    (tmp_path / "watched" / "notes.txt").write_text("nothing to it")
    (tmp_path / "watched" / "new.html").write_text("new")
    workshop.exchanged(1)
    assert re.search(r"new\.html has changed", workshop.site.log())
    (tmp_path / "watched" / "new.html").unlink()
    workshop.exchanged(2)
    assert "notes.txt has" not in workshop.site.log()


@NEEDS_WATCHFILES
def test_no_request_fails_while_several_workers_are_exchanged_and_changes_are_taken_once(
    server: StartServer, tmp_path: Path
):
    workshop = Workshop(server, tmp_path, workers=3)
    old = workshop.site.worker_pids()
    with load(workshop.site) as clients:
        clients.more(50)
        for number in range(1, 4):
            workshop.write("greeting.py", f"TEXT = 'version{number}'")
            workshop.exchanged(number)
            clients.more(50)
    assert not set(old) & set(workshop.site.worker_pids())
    assert workshop.text() == "version3 first"
    assert workshop.site.log().count("has changed") == 3
    assert len(READY.findall(workshop.site.log())) == 3 * 4


@NEEDS_WATCHFILES
def test_hup_works_beside_it(server: StartServer, tmp_path: Path):
    workshop = Workshop(server, tmp_path)
    workshop.site.signal(signal.SIGHUP)
    workshop.exchanged(1)
    workshop.write("greeting.py", "TEXT = 'after'")
    workshop.exchanged(2)
    assert workshop.text() == "after first"
    assert len(workshop.site.worker_pids()) == 1


def test_without_it_nothing_is_watched(server: StartServer):
    site = server(app_source="def application(e, s):\n    s('200 OK', [])\n    return [b'one']\n", env=FRESH)
    threads = Path(f"/proc/{site.worker_pid()}/task")
    names = {(task / "comm").read_text().strip() for task in threads.iterdir()}
    assert not any("reload" in name for name in names)
    assert not any("inotify" in target for target in descriptors(site.worker_pid()).values())


def test_an_engine_that_is_not_installed_ends_the_start_and_auto_polls(server: StartServer, tmp_path: Path):
    (tmp_path / "watchfiles.py").write_text("raise ImportError('zq81')")
    (tmp_path / "there.py").write_text("def application(e, s):\n    s('200 OK', [])\n    return [b'there']\n")
    env = {"PYTHONPATH": str(tmp_path), **FRESH}
    refused = server("there", "--reload", "--reload-engine", "inotify", env=env, ready=False)
    assert refused.wait() == 1
    assert "pip install 'greenhorn[reload]'" in refused.log()
    site = server("there", "--reload", env=env)
    (tmp_path / "there.py").write_text("def application(e, s):\n    s('200 OK', [])\n    return [b'changed']\n")
    wait_until(lambda: site.request(GET).text == "changed", what="the changed application")


def test_spew_prints_each_line_of_the_application_that_is_run_and_none_of_the_server(server: StartServer):
    source = (
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'spewed']  # here\n"
    )
    site = server(None, "--spew", app_source=source)
    assert site.request(GET).text == "spewed"
    wait_until(lambda: "written:3: " in site.stdout(), what="the lines")
    lines = [line for line in site.stdout().splitlines() if line.startswith("written:")]
    own = [line for line in site.stdout().splitlines() if line.startswith("greenhorn")]
    assert lines[-2:] == ["written:2:     start_response('200 OK', [])", "written:3:     return [b'spewed']  # here"]
    assert own == []
