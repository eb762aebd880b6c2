#!/bin/sh
exec gunicorn app -c gunicorn.config.py --reload-extra-file settings.toml
