#!/bin/sh
exec gunicorn --config deploy/gunicorn.py shop.wsgi
