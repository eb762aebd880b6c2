"""What the values of settings for TLS and HTTP/2 may look like, one function per type.

Each takes the text of a flag or a Python value of a configuration file. Each raises ValueError whose message says what
would be valid.
"""

from greenhorn.config.parsers import items_between_commas, positive, size, whole

SMALLEST_FRAME = 1 << 14
LARGEST_FRAME = (1 << 24) - 1
LARGEST_WINDOW = (1 << 31) - 1
LARGEST_STREAMS = (1 << 32) - 1

_REQUESTS = {"none": 0, "optional": 1, "required": 2, "cert_none": 0, "cert_optional": 1, "cert_required": 2}
_CLEARTEXT = ("off", "prior-knowledge", "upgrade", "both")


def certificate_request(value: object) -> int:
    """Return 0, 1 or 2, from a number, a member of ssl.VerifyMode, or none, optional, required."""
    valid = "must be 0 (none), 1 (optional) or 2 (required)"
    if isinstance(value, str) and value.strip().lower() in _REQUESTS:
        return _REQUESTS[value.strip().lower()]
    try:
        number = whole(value)
    except ValueError:
        raise ValueError(valid) from None
    if number not in _REQUESTS.values():
        raise ValueError(valid)
    return number


def ssl_version(value: object) -> int | str | None:
    """Return what is written there; since it has no effect, every number and every text will do."""
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise ValueError("must be a member of ssl._SSLMethod, or left out")  # noqa: TRY004 - one kind of error
    return value.strip() or None if isinstance(value, str) else value


def http_protocols(value: object) -> tuple[str, ...]:
    """Return h1 and h2, each at most once, in the written order; nothing is h1."""
    valid = "must be h1, h2, or both separated by a comma"
    found = tuple(item.lower() for item in items_between_commas(value, valid)) or ("h1",)
    if not set(found) <= {"h1", "h2"} or len(set(found)) < len(found):
        raise ValueError(valid)
    return found


def cleartext_http2(value: object) -> str:
    """Return off, prior-knowledge, upgrade or both; True is prior-knowledge, False and None are off."""
    if value is None or isinstance(value, bool):
        return "prior-knowledge" if value else "off"
    chosen = value.strip().lower() if isinstance(value, str) else ""
    if chosen not in _CLEARTEXT:
        raise ValueError(f"must be one of {', '.join(_CLEARTEXT)}")
    return chosen


def streams(value: object) -> int:
    """Return a number of HTTP/2 streams (RFC 9113 6.5.2)."""
    if positive(value) > LARGEST_STREAMS:
        raise ValueError(f"must be a whole number from 1 to {LARGEST_STREAMS}")
    return positive(value)


def window_size(value: object) -> int:
    """Return a size of an HTTP/2 window (RFC 9113 6.9.2)."""
    if size(value) > LARGEST_WINDOW:
        raise ValueError(f"must be bytes from 0 to {LARGEST_WINDOW}")
    return size(value)


def frame_size(value: object) -> int:
    """Return a size of an HTTP/2 frame (RFC 9113 6.5.2)."""
    if not SMALLEST_FRAME <= size(value) <= LARGEST_FRAME:
        raise ValueError(f"must be bytes from {SMALLEST_FRAME} to {LARGEST_FRAME}")
    return size(value)
