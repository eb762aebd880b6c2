"""Health checks stay out of the access log, by a logger class of the project's own."""

import logging
import multiprocessing

from gunicorn import glogging


class HealthCheckFilter(logging.Filter):
    def filter(self, record):
        return "/healthz" not in record.getMessage()


class CustomGunicornLogger(glogging.Logger):
    def setup(self, cfg):
        super().setup(cfg)
        logging.getLogger("gunicorn.access").addFilter(HealthCheckFilter())


accesslog = "-"
logger_class = CustomGunicornLogger
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s %(L)s'
workers = multiprocessing.cpu_count() * 2 + 1
threads = 2
worker_class = "gunicorn.workers.gthread.ThreadWorker"
capture_output = True
