#!/bin/sh
exec gunicorn -c gunicorn.conf.py paperless.asgi:application
