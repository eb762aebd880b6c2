"""Loggers of Python's that leave nothing behind."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Let every test begin with loggers without handlers, and leave none behind.

    pytest adds handlers of its own to those that do not propagate when the test begins.
    """
    both = [logging.getLogger(f"greenhorn.{name}") for name in ("error", "access")]
    before = [(log, list(log.handlers)) for log in (*both, logging.root)]
    for log in both:
        for handler in log.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()  # of a logger that another file of tests has made
        log.handlers.clear()
        log.propagate = True
    yield
    for log, handlers in before:
        for handler in [each for each in log.handlers if each not in handlers]:
            log.removeHandler(handler)
            handler.close()
        log.handlers[:] = [] if log in both else handlers
        log.filters.clear()
        log.disabled = False
