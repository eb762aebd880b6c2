#!/bin/sh
set -o errexit
set -o nounset
exec gunicorn config.wsgi --bind ${HOST:-0.0.0.0}:${PORT:-5000} --chdir=.
