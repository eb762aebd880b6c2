"""`self.cfg` of an application that starts the server itself: settings that can still be set."""

import dataclasses
import difflib
from types import MappingProxyType
from typing import Any

from greenhorn.config import Configuration, Settings, load_configuration
from greenhorn.config.entries import Entries
from greenhorn.config.load import DEFAULT
from greenhorn.config.setting import Row, parsed
from greenhorn.config.tables import ROWS
from greenhorn.config.tables.gunicorn import FOREIGN
from greenhorn.errors import ConfigError

KNOWN: dict[str, Row | None] = {**ROWS, **{foreign.name: None for foreign in FOREIGN}}
NAMES: tuple[str, ...] = tuple(KNOWN)
"""What can be set: the settings, and those of gunicorn that are known and without effect."""


class Config:
    """Settings by their names, as attributes: `cfg.workers`. Only `set` changes them. Main thread of the master.

    `configuration` is what holds unless something else is set; `origin` is how messages call whoever sets it.
    """

    def __init__(self, configuration: Configuration, origin: str) -> None:
        vars(self).update(_base=configuration, _origin=origin, _given={}, _parsed={})

    @property
    def settings(self) -> Entries:
        """Every setting by its name."""
        return Entries(self, KNOWN)

    @property
    def given(self) -> dict[str, object]:
        """What was set since the last reading, as it was given."""
        return dict(vars(self)["_given"])

    def set(self, name: str, value: object) -> None:
        """Set a setting. Raises `ConfigError` for a name that is none, with the nearest ones, and for a wrong value."""
        own = vars(self)
        if name not in NAMES:
            raise ConfigError(f"{own['_origin']}: {_no_setting(name)}")
        if name in ROWS:
            own["_parsed"][name] = parsed(ROWS[name], value, own["_origin"])
        own["_given"][name] = value

    def start_from(self, configuration: Configuration) -> None:
        """Go by `configuration` from now on, instead of everything before."""
        vars(self).update(_base=configuration, _given={}, _parsed={})

    def take(self, configuration: Configuration) -> None:
        """Set what in `configuration` is no default."""
        own = vars(self)
        base: Configuration = own["_base"]
        names = [name for name, origin in configuration.origins.items() if origin != DEFAULT]
        for name in names:
            own["_given"].pop(name, None)
            own["_parsed"].pop(name, None)
        own["_base"] = Configuration(
            dataclasses.replace(base.settings, **{name: getattr(configuration.settings, name) for name in names}),
            MappingProxyType({**base.origins, **{name: configuration.origins[name] for name in names}}),
            base.warnings + configuration.warnings,
        )

    def whole(self) -> Configuration:
        """What all this amounts to. Raises `ConfigError` for settings that do not go together."""
        own = vars(self)
        base: Configuration = own["_base"]
        given: dict[str, object] = own["_given"]
        if not given:
            return base
        told = load_configuration(embedded=True, framework=given, framework_origin=own["_origin"])
        # Not as it was parsed: what holds may follow from several settings.
        names = [name for name, origin in told.origins.items() if origin == own["_origin"]]
        return Configuration(
            dataclasses.replace(base.settings, **{name: getattr(told.settings, name) for name in names}),
            MappingProxyType({**base.origins, **dict.fromkeys(names, own["_origin"])}),
            base.warnings + told.warnings,
        )

    def validate(self) -> None:
        """Find out whether all this goes together. Raises `ConfigError`."""
        self.whole()

    def __getattr__(self, name: str) -> Any:
        own = vars(self)
        if name in own["_parsed"]:
            return own["_parsed"][name]
        if name not in ROWS and name in NAMES:
            return own["_given"].get(name)
        settings = own["_base"].settings
        try:
            # What follows from settings follows from those that were set, too.
            return getattr(settings if name in ROWS else dataclasses.replace(settings, **own["_parsed"]), name)
        except AttributeError:
            raise AttributeError(f"{own['_origin']}: {_no_setting(name)}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{vars(self)['_origin']}: a setting is set by cfg.set({name!r}, {value!r})")

    def __str__(self) -> str:
        return "\n".join(f"{name} = {getattr(self, name)!r}" for name in sorted(ROWS))


def config_of(settings: Settings, origin: str) -> Config:
    """Return the `Config` of settings that hold already."""
    return Config(Configuration(settings, MappingProxyType({}), ()), origin)


def _no_setting(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, n=3)
    return f"{name} is not a setting" + (
        f": did you mean {' or '.join(near)}?" if near else "; `name in cfg.settings` tells those that are"
    )
