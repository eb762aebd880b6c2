"""A WSGI server for the open internet: gunicorn's interface over a worker that no client can hold."""

__version__ = "0.1.0"
