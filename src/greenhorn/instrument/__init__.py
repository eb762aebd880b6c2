"""Under gunicorn's name: what a logger that sends metrics is derived from."""
