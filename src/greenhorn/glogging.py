"""The logger under gunicorn's name of its module: what a `logger_class` is derived from."""

from greenhorn.observe.atoms import SafeAtoms
from greenhorn.observe.logconfig import CONFIG_DEFAULTS
from greenhorn.observe.logger import Logger
from greenhorn.observe.syslog import FACILITIES as SYSLOG_FACILITIES
from greenhorn.observe.syslog import parse_syslog_address

__all__ = ["CONFIG_DEFAULTS", "SYSLOG_FACILITIES", "Logger", "SafeAtoms", "parse_syslog_address"]
