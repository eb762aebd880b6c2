"""Log files that are made by trying settings, and that nobody needs if the settings are not kept."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def missing_files(settings: Any) -> set[Path]:
    """The files that `errorlog` and `accesslog` name and that are not there yet; relative ones count from here."""
    named = [Path(name).absolute() for name in (settings.errorlog, settings.accesslog) if name and name != "-"]
    return {path for path in named if not path.exists()}


def remove_empty(paths: Iterable[Path]) -> None:
    """Remove the files that are there by now and empty. One that cannot be removed stays."""
    for path in paths:
        try:
            if path.is_file() and not path.stat().st_size:
                path.unlink()
        except OSError:
            continue
