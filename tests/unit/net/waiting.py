"""How tests wait: for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 10.0
"""Seconds after which what a test waits for counts as never coming: far more than a busy machine needs."""


def wait_until(condition: Callable[[], T | None], what: str = "the condition", timeout: float = DEADLINE) -> T:
    """Return the first true value of `condition`, asked every 2 ms; AssertionError after `timeout` seconds."""
    expires = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < expires, f"waited {timeout:g} s in vain for {what}"
        time.sleep(0.002)
    return value
