"""Metrics of several processes: a worker that is gone takes its gauges along."""

import os
from pathlib import Path

bind = "127.0.0.1:8080"
workers = 2
threads = 4
worker_class = "gthread"
control_socket_disable = True
_folder = Path(os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", "metrics"))


def on_starting(server):
    _folder.mkdir(exist_ok=True)
    for path in _folder.glob("*.db"):
        path.unlink()


def post_fork(server, worker):
    (_folder / f"gauge_live_{worker.pid}.db").touch()


def child_exit(server, worker):
    (_folder / f"gauge_live_{worker.pid}.db").unlink(missing_ok=True)


def on_exit(server):
    server.log.info("left behind: %s", sorted(path.name for path in _folder.glob("*.db")))
