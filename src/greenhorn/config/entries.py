"""Settings one by one, as gunicorn's `cfg.settings` has them."""

from collections.abc import Iterator, Mapping
from typing import Any

from greenhorn.config.setting import Row


class Entries(Mapping[str, "Entry"]):
    """The settings of `cfg` by their names, of which `known` has all there are; None for one without a row."""

    def __init__(self, cfg: Any, known: Mapping[str, Row | None]) -> None:
        self._cfg = cfg
        self._known = known

    def __getitem__(self, name: str) -> "Entry":
        return Entry(self._cfg, name, self._known[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class Entry:
    """One setting of `cfg`."""

    def __init__(self, cfg: Any, name: str, row: Row | None) -> None:
        self._cfg = cfg
        self.name = name
        self.section = row.section if row is not None else ""
        self.default: object = row.default if row is not None else None
        """The value where nothing is set."""

    @property
    def value(self) -> Any:
        """The value."""
        return getattr(self._cfg, self.name)

    def get(self) -> Any:
        """Return the value."""
        return self.value

    def set(self, value: object) -> None:
        """Set it, as `set` of the `cfg` does."""
        self._cfg.set(self.name, value)
