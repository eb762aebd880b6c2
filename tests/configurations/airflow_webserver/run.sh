#!/bin/sh
exec gunicorn \
    --workers 4 \
    --worker-class ${WORKER_CLASS:-sync} \
    --timeout 120 \
    --bind 127.0.0.1:${PORT:-8080} \
    --name airflow-webserver \
    --pid airflow-webserver.pid \
    --config python:airflow_www.gunicorn_config \
    --access-logfile - \
    --error-logfile - \
    --preload \
    'airflow_www.app:cached_app()'
