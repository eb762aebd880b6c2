#!/bin/sh
exec gunicorn wsgi.app:application --config wsgi/config.py
