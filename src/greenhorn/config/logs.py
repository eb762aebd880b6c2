"""What the values of settings for logs and metrics may look like, one function per type.

Each takes the text of a flag or a Python value of a configuration file. Each raises ValueError whose message says what
would be valid.
"""

import logging.handlers
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from greenhorn.config.parsers import path, text

OWN_LOGGER = "greenhorn.glogging.Logger"
STATSD_PORT = 8125
MOST_PORT = 65535

_OTHER_NAMES = {
    "gunicorn.glogging.Logger",
    "gunicorn.glogging:Logger",
    "greenhorn.glogging:Logger",
    "greenhorn.observe.logger.Logger",
    "greenhorn.observe.logger:Logger",
    "gunicorn.instrument.statsd.Statsd",
    "gunicorn.instrument.statsd:Statsd",
    "simple",
    "egg:gunicorn#simple",
    "egg:greenhorn#simple",
}
"""What else the one logger is called; metrics are no matter of the logger here."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/#\s]+)(?::([0-9]{1,5}))?")
_CLASS_NAME = re.compile(r"egg:\S+#\S+|(?:[^\W\d]\w*[.:])*[^\W\d][\w-]*")
"""A dotted path, or the name under which a package offers a logger."""


def field_name(value: object) -> str:
    """Return the name of a header field (RFC 9110 5.1), as written."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value.strip()):
        raise ValueError("must be the name of a header field, such as X-Request-ID")
    return value.strip()


def any_text(value: object) -> str:
    """Return text; None is the empty one."""
    if value is not None and not isinstance(value, str):
        raise ValueError("must be a text")
    return (value or "").strip()


def json_path(value: object) -> str:
    """Return the path of a JSON file; whether it is there is not asked."""
    if isinstance(value, Mapping):
        raise ValueError("must be the path of a JSON file; a dict goes into logconfig_dict")  # noqa: TRY004 - as all
    return path(value)


def logger_class(value: object) -> str | Callable[..., Any]:
    """Return a class or callable as it is, or the text that names one; gunicorn's own loggers are greenhorn's.

    The text is not imported here. None is greenhorn's own as well.
    """
    if value is None or value == "":
        return OWN_LOGGER
    if isinstance(value, str):
        name = value.strip()
        if name in _OTHER_NAMES:
            return OWN_LOGGER
        if _CLASS_NAME.fullmatch(name):
            return name
    elif callable(value):
        if f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}" in _OTHER_NAMES:
            return OWN_LOGGER
        return value
    raise ValueError(f"must be a class, or its name as MODULE.NAME or MODULE:NAME, such as {OWN_LOGGER}")


def logging_dict(value: object) -> Mapping[str, object]:
    """Return a read-only mapping for logging.config.dictConfig; None is an empty one."""
    if value is not None and (not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value)):
        raise ValueError("must be a dict for logging.config.dictConfig, such as {'version': 1, 'loggers': {...}}")
    return MappingProxyType(dict(value or {}))


def syslog_address(value: object) -> str:
    """Return udp://HOST:PORT, tcp://HOST:PORT, or unix://PATH with #dgram or #stream behind it if that was said.

    An IPv6 host is in brackets.
    """
    valid = "must be udp://HOST:PORT, tcp://HOST:PORT or unix:PATH, such as udp://localhost:514 or unix:/dev/log"
    address = value.strip() if isinstance(value, str) else ""
    scheme, _, rest = address.partition(":")
    if scheme == "unix":
        name, mark, kind = rest.removeprefix("//").partition("#")
        if not name or "\0" in name or (mark and kind not in ("dgram", "stream")):
            raise ValueError(f"{valid}; a unix path may end in #dgram or #stream")
        return f"unix://{name}{mark}{kind}"
    if scheme not in ("udp", "tcp") or not rest.startswith("//"):
        raise ValueError(valid)
    return f"{scheme}://{_host_port(rest.removeprefix('//'), logging.handlers.SYSLOG_UDP_PORT, valid)}"


def syslog_facility(value: object) -> str:
    """Return the name of a syslog facility, in lower case."""
    known = logging.handlers.SysLogHandler.facility_names
    name = value.strip().lower() if isinstance(value, str) else ""
    if name not in known:
        raise ValueError(f"must be one of {', '.join(sorted(known))}")
    return name


def statsd_address(value: object) -> str:
    """Return HOST:PORT or unix://PATH. An IPv6 host is in brackets."""
    valid = "must be HOST:PORT or unix://PATH, such as localhost:8125"
    address = text(value)
    if address.startswith("unix://"):
        if address == "unix://" or "\0" in address:
            raise ValueError(valid)
        return address
    return _host_port(address, STATSD_PORT, valid)


def _host_port(address: str, port: int, valid: str) -> str:
    match = _HOST_PORT.fullmatch(address)
    if match is None or not 0 < int(match[2] or port) <= MOST_PORT:
        raise ValueError(valid)
    return f"{match[1]}:{int(match[2] or port)}"


def statsd_tags(value: object) -> str:
    """Return tags separated by commas, without blanks around them."""
    tags = any_text(value)
    if "|" in tags or "\n" in tags:
        raise ValueError("must be tags separated by commas, such as env:prod,shop, without | and line breaks")
    return ",".join(tag.strip() for tag in tags.split(",") if tag.strip())
