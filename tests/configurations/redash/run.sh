#!/bin/sh
exec gunicorn -b 127.0.0.1:${PORT:-5000} --name redash -w ${REDASH_WEB_WORKERS:-4} redash.wsgi:app --max-requests ${MAX_REQUESTS:-1000} --max-requests-jitter ${MAX_REQUESTS_JITTER:-100} --timeout ${REDASH_GUNICORN_TIMEOUT:-60}
