#!/bin/sh
exec gunicorn -w 4 -b 127.0.0.1:${PORT:-8000} 'hello:create_app()'
