"""`self.cfg` of an application that starts the server itself: settings that can still be set."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from greenhorn.config import Configuration, Settings, load_configuration
from greenhorn.config.load import DEFAULT
from greenhorn.config.setting import parsed
from greenhorn.config.tables import ROWS
from greenhorn.config.tables.gunicorn import FOREIGN
from greenhorn.errors import ConfigError

NAMES: tuple[str, ...] = (*ROWS, *(foreign.name for foreign in FOREIGN))
"""What can be set: the settings, and those of gunicorn that are known and without effect."""


class Config:
    """Settings by their names, as attributes: `cfg.workers`. Only `set` changes them. Main thread of the master.

    `configuration` is what holds unless something else is set; `origin` is how messages call whoever sets it.
    """

    def __init__(self, configuration: Configuration, origin: str) -> None:
        vars(self).update(_base=configuration, _origin=origin, _given={}, _parsed={})

    @property
    def settings(self) -> "Entries":
        """Every setting by its name."""
        return Entries(self)

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

    def __getattr__(self, name: str) -> Any:
        own = vars(self)
        if name in own["_parsed"]:
            return own["_parsed"][name]
        if name not in ROWS and name in NAMES:
            return own["_given"].get(name)
        try:
            return getattr(own["_base"].settings, name)
        except AttributeError:
            raise AttributeError(f"{own['_origin']}: {_no_setting(name)}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{vars(self)['_origin']}: a setting is set by cfg.set({name!r}, {value!r})")

    def __str__(self) -> str:
        return "\n".join(f"{name} = {getattr(self, name)!r}" for name in sorted(ROWS))


class Entries(Mapping[str, "Entry"]):
    """The settings of a `Config` by their names."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def __getitem__(self, name: str) -> "Entry":
        if name not in NAMES:
            raise KeyError(name)
        return Entry(self._config, name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


class Entry:
    """One setting of a `Config`."""

    def __init__(self, config: Config, name: str) -> None:
        self._config = config
        self.name = name

    @property
    def default(self) -> object:
        """The value where nothing is set."""
        return ROWS[self.name].default if self.name in ROWS else None

    @property
    def value(self) -> Any:
        """The value."""
        return getattr(self._config, self.name)

    def get(self) -> Any:
        """Return the value."""
        return self.value

    def set(self, value: object) -> None:
        """Set it, as `Config.set` does."""
        self._config.set(self.name, value)


def config_of(settings: Settings, origin: str) -> Config:
    """Return the `Config` of settings that hold already."""
    return Config(Configuration(settings, MappingProxyType({}), ()), origin)


def _no_setting(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, n=3)
    return f"{name} is not a setting" + (
        f": did you mean {' or '.join(near)}?" if near else "; `name in cfg.settings` tells those that are"
    )
