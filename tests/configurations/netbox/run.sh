#!/bin/sh
exec gunicorn --pid netbox.pid --pythonpath . --config gunicorn.py netbox.wsgi
