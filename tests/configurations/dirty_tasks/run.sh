#!/bin/sh
exec gunicorn -c gunicorn.conf.py shop:app
