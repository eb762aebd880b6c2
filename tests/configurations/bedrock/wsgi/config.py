"""A large static site: gevent or meinheld by choice, metrics to a local agent."""

import os
from pathlib import Path


def setting(name, default="", parser=str):
    return parser(os.environ.get(name, default))


port = setting("PORT", default="8000")
bind = f"127.0.0.1:{port}"
workers = setting("WEB_CONCURRENCY", default="2", parser=int)
accesslog = "-"
errorlog = "-"
loglevel = setting("LOGLEVEL", default="info")
worker_class = setting("GUNICORN_WORKER_CLASS", default="meinheld.gmeinheld.MeinheldWorker")
worker_connections = setting("APP_GUNICORN_WORKER_CONNECTIONS", default="1000", parser=int)
# A worker that has no memory file system must not look dead because a disk is busy.
worker_tmp_dir = str(Path("/dev/shm")) if Path("/dev/shm").is_dir() else None
keepalive = setting("WSGI_KEEP_ALIVE", default="2", parser=int)
max_requests = 1024
max_requests_jitter = 128
statsd_host = setting("STATSD_HOST", default="127.0.0.1:8125")
statsd_prefix = "bedrock"
_newrelic = setting("NEW_RELIC_LICENSE_KEY")


def post_fork(server, worker):
    if _newrelic:
        server.log.info("the agent would start here")
