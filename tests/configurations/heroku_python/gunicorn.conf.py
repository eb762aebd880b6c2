"""Platform as a service: the router in front ends TLS, the number of processes comes from the dyno."""

import os

# Each dyno says how many processes fit into its memory (WEB_CONCURRENCY); threads share the rest.
threads = int(os.environ.get("PYTHON_MAX_THREADS", 5))

# The router cuts requests off after 30 s: the worker is told a little earlier.
timeout = 25
graceful_timeout = 20

# Everything comes through the router.
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}

# The disk is slow, memory is not.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

keepalive = 95
max_requests = 1200
max_requests_jitter = 120

accesslog = "-"
access_log_format = (
    'time=%(t)s method=%(m)s path="%(U)s" query="%(q)s" status=%(s)s bytes=%(B)s duration=%(D)sus '
    'request_id=%({x-request-id}i)s fwd="%({x-forwarded-for}i)s" scheme=%({wsgi.url_scheme}e)s'
)

if os.environ.get("ENVIRONMENT") == "development":
    reload = True
    loglevel = "debug"
