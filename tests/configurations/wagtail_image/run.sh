#!/bin/sh
set -xe; exec gunicorn mysite.wsgi:application
