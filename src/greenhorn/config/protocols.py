"""What the values of settings for TLS and HTTP/2 may look like, one function per type.

Each takes the text of a flag or a Python value of a configuration file. Each raises ValueError whose message says what
would be valid.
"""

import functools
import operator
import ssl
from collections.abc import Sequence

from greenhorn.config.parsers import items_between_commas, path, positive, size, whole

SMALLEST_FRAME = 1 << 14
LARGEST_FRAME = (1 << 24) - 1
LARGEST_WINDOW = (1 << 31) - 1
LARGEST_STREAMS = (1 << 32) - 1

_REQUESTS = {"none": 0, "optional": 1, "required": 2, "cert_none": 0, "cert_optional": 1, "cert_required": 2}
_METHODS = {int(method): name.removeprefix("PROTOCOL_") for name, method in ssl._SSLMethod.__members__.items()}  # noqa: SLF001 - the type of the constants, which has no other name
_LEGACY_VALID = "must be a member of ssl._SSLMethod such as ssl.PROTOCOL_TLS, its name, or left out"
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


def ssl_version(value: object) -> str | None:
    """Return the version that a member of ssl._SSLMethod stands for, or its name: 1.2, or None for any.

    Versions that are never spoken come back as they are called: 3.0, 1.0 and 1.1.
    """
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise ValueError(_LEGACY_VALID)  # noqa: TRY004 - one kind of error
    if value is None or not str(value).strip():
        return None
    name = _METHODS.get(int(value), "") if isinstance(value, int) else value.strip().removeprefix("PROTOCOL_")
    if name in ("TLS", "SSLv23", "TLS_SERVER", "TLS_CLIENT"):
        return None
    version = name.removeprefix("TLS").removeprefix("SSL").removeprefix("v").replace("_", ".")
    if version not in ("1", "1.1", "1.2", "1.3", "2", "3"):
        raise ValueError(_LEGACY_VALID)
    return version if "." in version else f"{version}.0"


def tls_version(value: object) -> str:
    """Return 1.2 or 1.3, from such a text or number, TLSv1.2, TLSv1_2, or a member of ssl.TLSVersion."""
    name = str(getattr(value, "name", value)).strip()
    found = name.removeprefix("TLS").removeprefix("v").replace("_", ".")
    if found in ("1", "1.0", "1.1"):
        raise ValueError("must be 1.2 or 1.3: the versions before are broken (RFC 8996)")
    if found not in ("1.2", "1.3"):
        raise ValueError("must be 1.2 or 1.3")
    return found


def verify_flags(value: object) -> tuple[str, ...]:
    """Return names of ssl.VerifyFlags, with or without VERIFY_ in front, from a list or between commas."""
    known = [name.removeprefix("VERIFY_") for name in ssl.VerifyFlags.__members__ if name != "VERIFY_DEFAULT"]
    valid = f"must be names separated by commas, of: {', '.join(known).lower()}"
    if isinstance(value, int) and not isinstance(value, bool):
        held = {name: flag for name, flag in ssl.VerifyFlags.__members__.items() if flag and value & flag == flag}
        if functools.reduce(operator.or_, held.values(), 0) != value:
            raise ValueError(valid)
        value = list(held)
    found = tuple(item.upper().removeprefix("VERIFY_") for item in items_between_commas(value, valid))
    if not set(found) <= set(known):
        raise ValueError(valid)
    return found


def certificates(value: object) -> tuple[str, ...]:
    """Return certificates, each as CERTFILE or CERTFILE,KEYFILE, from such texts or from pairs of paths."""
    valid = "must be CERTFILE, or CERTFILE,KEYFILE, or a list of those"
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence):
        raise ValueError(valid)  # noqa: TRY004 - one kind of error
    found = []
    for item in items:
        parts = item.split(",") if isinstance(item, str) else item
        if not isinstance(parts, Sequence) or not 1 <= len(parts) <= 2:  # noqa: PLR2004 - a pair
            raise ValueError(valid)
        try:
            found.append(",".join(path(part) for part in parts))
        except ValueError:
            raise ValueError(valid) from None
    return tuple(found)


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
