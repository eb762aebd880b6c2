#!/bin/sh
exec gunicorn myproject.wsgi
