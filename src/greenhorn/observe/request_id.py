"""The id of a request: the one that a trusted peer has sent, or one of our own."""

import itertools
import os
import re
from collections.abc import Mapping
from typing import Any

from greenhorn.observe.lines import REQUEST_ID, field_key

_is_harmless = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}").fullmatch


class RequestIds:
    """Gives each request its id, as `environ["greenhorn.request_id"]` and as the field that carries ids.

    Made in each worker: ids begin with a random number of the process and end with a counter. Pool threads.
    """

    def __init__(self, header: str) -> None:
        self._key = field_key(header)
        self._begin = os.urandom(8).hex()
        self._numbers = itertools.count(1)

    def identify(self, environ: dict[str, Any], fields: Mapping[str, str], *, trusted: bool) -> None:
        """Put the id into `environ`. One that the client sent counts if its peer is trusted and it is harmless."""
        told = fields.get(self._key) if trusted else None
        if told is None or not _is_harmless(told):
            told = f"{self._begin}{next(self._numbers):08x}"
        environ[REQUEST_ID] = environ[self._key] = told
