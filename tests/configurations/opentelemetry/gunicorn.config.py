"""Exporters have threads, which a fork leaves behind: each worker starts its own."""

bind = "127.0.0.1:8000"

# Sample worker processes
workers = 4
worker_class = "sync"
threads = 2
worker_connections = 1000
timeout = 30
keepalive = 2
errorlog = "-"
loglevel = "info"
accesslog = "-"
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
    worker.tracer = {"service.name": "api-service", "service.instance.id": worker.pid}


def pre_request(worker, req):
    worker.log.debug("%s %s", req.method, req.path)


def post_request(worker, req, environ, resp):
    worker.log.info("traced %s %s %s", req.method, req.path, resp.status)
