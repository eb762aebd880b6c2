#!/bin/sh
exec gunicorn --certfile=server.crt --keyfile=server.key --ca-certs=ca.crt --cert-reqs=2 --ciphers=ECDHE+AESGCM --bind 127.0.0.1:${PORT:-8443} test:app
