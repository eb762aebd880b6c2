#!/bin/sh
exec gunicorn -c gunicorn_conf.py app:app
