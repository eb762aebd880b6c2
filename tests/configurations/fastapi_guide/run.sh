#!/bin/sh
exec gunicorn main:app --workers 4 --worker-class uvicorn.workers.UvicornWorker --bind ${HOST:-0.0.0.0}:${PORT:-80}
