"""Reading a configuration in a test: arguments, environment and files of its own."""

from pathlib import Path

import pytest

from greenhorn.config import Configuration, Settings, load_configuration
from greenhorn.errors import ConfigError


def load(*arguments: str, **environ: str) -> Configuration:
    return load_configuration(arguments, environ)


def settings(*arguments: str, **environ: str) -> Settings:
    return load(*arguments, **environ).settings


def refusal(*arguments: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **environ)
    return str(caught.value)


def exit_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        load(*arguments)
    captured = capsys.readouterr()
    return caught.value.code, captured.out + captured.err


def write(folder: Path, text: str, name: str = "gunicorn.conf.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path
