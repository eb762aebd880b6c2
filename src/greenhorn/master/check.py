"""What --check-config looks at, beside the settings themselves: what a start would fail for, without starting."""

import logging
import os
from pathlib import Path

from greenhorn.errors import ConfigError
from greenhorn.master.generation import Generation
from greenhorn.net.check import check_address
from greenhorn.observe.logger_class import check_logging


def check(generation: Generation) -> list[str]:
    """Check addresses, the pidfile's directory and the logs, and load the application; what a start would warn of.

    Nothing is listened at; certificates were loaded with the generation. A server that runs already with the same
    settings makes no difference. Raises `ConfigError` that begins with the setting's name, and `AppLoadError`. Main
    thread, in the directory that chdir names.
    """
    settings = generation.settings
    for bind, _ in generation.entrances.all:
        check_address(bind.address)
    if settings.pidfile is not None:
        _check_directory("pidfile", Path(settings.pidfile).absolute().parent)
    generation.judge(logging.getLogger("greenhorn.error"))
    generation.load_judged()
    check_logging(settings)
    return generation.warnings()


def _check_directory(setting: str, folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(f"{setting}: there is no directory {folder}: make it, or name another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{setting}: the directory {folder} may not be written to: let it, or name another")
