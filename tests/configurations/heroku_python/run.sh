#!/bin/sh
exec gunicorn --config gunicorn.conf.py gettingstarted.wsgi --log-file -
