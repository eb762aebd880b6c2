#!/bin/sh
exec gunicorn --timeout 60 --statsd-host=127.0.0.1:8125 --statsd-prefix=mlflow -b 127.0.0.1:${PORT:-5000} -w 4 mlflow.server:app
