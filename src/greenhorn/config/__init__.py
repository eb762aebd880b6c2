"""The settings: their table, and how their values are found."""

from greenhorn.config.load import Configuration, load_configuration
from greenhorn.config.tables import Settings

__all__ = ["Configuration", "Settings", "load_configuration"]
