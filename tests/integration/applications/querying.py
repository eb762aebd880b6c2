"""Asks a database that takes its time, through a driver in C."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import psycopg2


def application(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with what the database says to one slow query."""
    connection = psycopg2.connect(os.environ["DATABASE"])
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.3)")
            (told,) = cursor.fetchone()
    finally:
        connection.close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [told.encode()]
