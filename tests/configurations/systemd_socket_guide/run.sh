#!/bin/sh
exec gunicorn \
    --access-logfile - \
    --workers 3 \
    --bind unix:app.sock \
    --umask 007 \
    myproject.wsgi:application
