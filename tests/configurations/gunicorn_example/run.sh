#!/bin/sh
exec gunicorn -c example_config.py test:app
