"""Fixtures of the tests that start no server of their own."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def hasty_switches() -> Iterator[None]:
    """Let the interpreter switch threads as often as it can, so that races come to light."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
