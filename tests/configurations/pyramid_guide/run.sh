#!/bin/sh
exec gunicorn --paste production.ini
