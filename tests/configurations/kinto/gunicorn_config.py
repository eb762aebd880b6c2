import os

bind = [f"127.0.0.1:{os.environ.get('PORT', 8888)}", "unix:kinto.sock"]
backlog = 4096
worker_class = "gthread"
threads = 8
proc_name = "kinto"
limit_request_line = 8190
limit_request_fields = 200
limit_request_field_size = 0
pythonpath = "."
raw_env = ["KINTO_INI=config/kinto.ini", "TZ=UTC"]
header_map = "drop"
forwarder_headers = "SCRIPT_NAME,PATH_INFO,REMOTE_USER"
forwarded_allow_ips = "10.0.0.0/8,127.0.0.1,::1"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)-5.5s [%(name)s] %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["console"], "propagate": False, "qualname": "gunicorn.error"},
        "gunicorn.access": {"level": "INFO", "handlers": ["console"], "propagate": False, "qualname": "gunicorn.access"},
    },
}
