#!/bin/sh
export GUNICORN_CMD_ARGS="--bind 127.0.0.1:${PORT:-9000} --workers 3 --threads 4 --worker-class gthread --access-logfile - --forwarded-allow-ips='*'"
exec gunicorn sentry.wsgi:application
