"""A configuration file that notes every call of a server hook, and what a test reads of its notes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.running import Server, StartServer, wait_until

RECORDER = """
import json
import os

READER = os.getpid()  # the process that reads this file is the master

def note(hook, **facts):
    role = "master" if os.getpid() == READER else "child"
    line = json.dumps({"hook": hook, "role": role, "pid": os.getpid(), **facts})
    fd = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode() + b"\\n")
    os.close(fd)

def seen(server):
    return {
        "pid": server.pid,
        "num_workers": server.num_workers,
        "workers": {pid: worker.age for pid, worker in server.WORKERS.items()},
        "listeners": [str(listener) for listener in server.LISTENERS],
        "cfg": server.cfg.workers,
        "logs": callable(server.log.info) and callable(server.log.exception),
        "proc_name": server.proc_name,
        "timeout": server.timeout,
    }

def known(worker):
    return {
        "pid": worker.pid,
        "age": worker.age,
        "nr": worker.nr,
        "cfg": worker.cfg.timeout,
        "logs": callable(worker.log.info),
        "alive": worker.alive,
        "booted": worker.booted,
        "ppid": worker.ppid,
        "sockets": len(worker.sockets),
    }

def on_starting(server): note("on_starting", server=seen(server))
def on_reload(server): note("on_reload", server=seen(server))
def when_ready(server): note("when_ready", server=seen(server))
def pre_fork(server, worker): note("pre_fork", server=seen(server), worker=known(worker))
def post_fork(server, worker): note("post_fork", server=seen(server), worker=known(worker))
def post_worker_init(worker): note("post_worker_init", worker=known(worker))
def worker_int(worker): note("worker_int", worker=known(worker))
def worker_abort(worker): note("worker_abort", worker=known(worker))
def pre_exec(server): note("pre_exec", server=seen(server))
def child_exit(server, worker): note("child_exit", server=seen(server), worker=known(worker))
def worker_exit(server, worker): note("worker_exit", server=seen(server), worker=known(worker))
def nworkers_changed(server, new_value, old_value): note("nworkers_changed", old=old_value, new=new_value)
def on_exit(server): note("on_exit", server=seen(server))

def pre_request(worker, req):
    names = ("method", "path", "uri", "query", "headers", "version")
    note("pre_request", worker=known(worker), req={name: getattr(req, name) for name in names})

def post_request(worker, req, environ, resp):
    names = ("status", "status_code", "headers", "sent")
    facts = {name: getattr(resp, name) for name in names}
    note("post_request", worker=known(worker), path=req.path, environ=environ["PATH_INFO"], resp=facts)
"""
"""Uses what gunicorn gives to hooks only, so that `gunicorn -c` runs it as well."""

BIRTH = [("pre_fork", "master"), ("post_fork", "child"), ("post_worker_init", "child")]
DEATH = [("child_exit", "master")]
LEAVING = [("worker_exit", "child"), *DEATH]
REQUEST = [("pre_request", "child"), ("post_request", "child")]
START = [("nworkers_changed", "master"), ("on_starting", "master"), ("when_ready", "master"), *BIRTH]


@dataclass(frozen=True)
class Note:
    """One call of a hook: its name, the role and pid of the process, and what was seen of its arguments."""

    hook: str
    role: str
    pid: int
    facts: Mapping[str, Any]

    @property
    def call(self) -> tuple[str, str]:
        """The hook and the role of the process."""
        return self.hook, self.role


@dataclass
class Recorder:
    """A server whose hooks are noted."""

    site: Server
    path: Path
    _read: int = field(default=0)

    def notes(self) -> list[Note]:
        """Return every note so far."""
        if not self.path.exists():
            return []
        rows = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [Note(row.pop("hook"), row.pop("role"), row.pop("pid"), row) for row in rows]

    def expect(self, *calls: tuple[str, str]) -> list[Note]:
        """Return the notes since the last call of this, which must be exactly these, in this order."""
        new = self.next(len(calls))
        told = [note.call for note in new]
        assert told == list(calls), f"{told}, not {calls}"
        return new

    def next(self, count: int) -> list[Note]:
        """Return the notes since the last call of this when there are so many at least."""
        try:
            wait_until(lambda: len(self.notes()) >= self._read + count, what=f"{count} notes")
        except AssertionError as error:
            raise AssertionError(f"{error}, there are {self.notes()[self._read :]}") from None
        new = self.notes()[self._read :]
        self._read += len(new)
        return new


def start_recorded(server: StartServer, folder: Path, *arguments: str, more: str = "", **options: Any) -> Recorder:
    """Start the application `wsgi_app` with hooks that are noted; `more` is appended to the configuration file."""
    notes = folder / "notes"
    env = {"NOTES": str(notes), **options.pop("env", {})}
    app = None if "app_source" in options else "wsgi_app"
    return Recorder(server(app, *arguments, config=RECORDER + more, env=env, **options), notes)
