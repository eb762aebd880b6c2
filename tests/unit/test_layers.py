import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "scripts" / "layers"


def layers(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, os.fspath(SCRIPT), *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def src(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "greenhorn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "1"\n')
    (package / "errors.py").write_text("class HTTPError(Exception): ...\n")
    for room in ("http", "wsgi", "net", "config", "observe", "workers", "master"):
        (package / room).mkdir()
        (package / room / "__init__.py").touch()
    (package / "net" / "listener.py").touch()
    (package / "workers" / "base.py").touch()
    (package / "workers" / "gthread.py").touch()
    return tmp_path / "src"


def write(src: Path, name: str, text: str) -> None:
    (src / "greenhorn" / name).write_text(text)


def test_the_real_tree_keeps_the_table() -> None:
    result = layers()
    assert result.stdout == ""
    assert result.stderr == ""
    assert result.returncode == 0


def test_a_tree_that_keeps_the_table_passes_silently(src: Path) -> None:
    write(
        src,
        "http/head.py",
        "import re\nfrom greenhorn import __version__\nfrom greenhorn.errors import HTTPError\n",
    )
    write(src, "http/body.py", "from . import head\nfrom .head import re\n")
    write(src, "wsgi/environ.py", "from greenhorn.http.head import HTTPError\n")
    write(
        src,
        "net/connection.py",
        "import socket, select, threading, time\nfrom greenhorn.errors import HTTPError\n",
    )
    write(src, "observe/access.py", "import logging\nfrom greenhorn.http import head\n")
    write(src, "hooks.py", "import greenhorn.http.head\n")
    write(src, "workers/base.py", "from greenhorn.config import load\nfrom greenhorn.wsgi import environ\n")
    write(src, "master/arbiter.py", "from greenhorn.workers import base\nfrom greenhorn.workers.base import x\n")
    write(src, "cli.py", "from greenhorn.master import arbiter\nfrom greenhorn import workers, http\n")
    write(src, "__main__.py", "from greenhorn.cli import main\n")
    result = layers(src)
    assert result.stdout == ""
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "violation"),
    [
        ("http/head.py", "import socket\n", "1: http may not import socket"),
        ("http/head.py", "import re\nfrom os import path\n", "2: http may not import os"),
        ("http/head.py", "import os.path\n", "1: http may not import os.path"),
        (
            "http/head.py",
            "from greenhorn.net import listener\n",
            "1: http may not import greenhorn.net.listener",
        ),
        (
            "http/head.py",
            "from greenhorn.config import Settings\n",
            "1: http may not import greenhorn.config",
        ),
        ("wsgi/exchange.py", "from time import monotonic\n", "1: wsgi may not import time"),
        (
            "wsgi/exchange.py",
            "import greenhorn.net.listener\n",
            "1: wsgi may not import greenhorn.net.listener",
        ),
        ("net/listener.py", "import logging\n", "1: net may not import logging"),
        ("net/listener.py", "from greenhorn.http import head\n", "1: net may not import greenhorn.http"),
        ("errors.py", "from greenhorn import config\n", "1: errors may not import greenhorn.config"),
        ("config/load.py", "from greenhorn.http import head\n", "1: config may not import greenhorn.http"),
        (
            "observe/logger.py",
            "from greenhorn.workers import base\n",
            "may not import greenhorn.workers.base",
        ),
        ("hooks.py", "from greenhorn import master\n", "1: hooks may not import greenhorn.master"),
        ("app.py", "from greenhorn.http import head\n", "1: app may not import greenhorn.http"),
        (
            "workers/gthread.py",
            "from greenhorn.master import arbiter\n",
            "1: workers may not import greenhorn.master",
        ),
        (
            "workers/gthread.py",
            "from greenhorn.config import Settings\n",
            "workers may not import greenhorn.config",
        ),
        ("workers/base.py", "from greenhorn import cli\n", "1: workers may not import greenhorn.cli"),
        ("master/arbiter.py", "from greenhorn.workers import gthread\n", "import greenhorn.workers.gthread"),
        (
            "master/arbiter.py",
            "from greenhorn import workers\n",
            "1: master may not import greenhorn.workers",
        ),
        ("master/arbiter.py", "from greenhorn.http import head\n", "1: master may not import greenhorn.http"),
        ("__init__.py", "from greenhorn.cli import main\n", "1: __init__ may not import greenhorn.cli"),
        (
            "util.py",
            "import re\n",
            "1: util is not a room: add it to ALLOWED with the rooms that it may import",
        ),
    ],
)
def test_an_import_against_the_table_is_named_with_its_place(src: Path, name: str, text: str, violation: str) -> None:
    write(src, name, text)
    result = layers(src)
    assert result.returncode == 1
    assert result.stdout.startswith(f"src/greenhorn/{name}:")
    assert result.stdout.endswith(f"{violation}\n")
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def parse():\n    import socket\n", 2),
        ("class Head:\n    def parse(self):\n        if True:\n            from socket import socket\n", 4),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket\n", 3),
        ("try:\n    pass\nexcept ImportError:\n    import socket as _\n", 4),
        ("from importlib import import_module\nsock = import_module('socket')\n", 2),
        ("sock = __import__('socket')\n", 1),
    ],
)
def test_no_place_hides_an_import(src: Path, text: str, line: int) -> None:
    write(src, "http/head.py", text)
    result = layers(src)
    assert result.returncode == 1
    assert result.stdout == f"src/greenhorn/http/head.py:{line}: http may not import socket\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("http/head.py", "from ..net import listener\n"),
        ("http/head.py", "from ..net.listener import bind\n"),
        ("http/__init__.py", "from ..net import listener\n"),
        ("hooks.py", "from .net import listener\n"),
    ],
)
def test_a_relative_import_is_resolved(src: Path, name: str, text: str) -> None:
    write(src, name, text)
    result = layers(src)
    assert result.returncode == 1
    assert result.stdout.endswith(" may not import greenhorn.net.listener\n")


def test_every_violation_is_listed_in_order(src: Path) -> None:
    write(src, "http/head.py", "import re, time\nimport os\n")
    write(src, "app.py", "from greenhorn import net, errors\n")
    result = layers(src)
    assert result.stdout.splitlines() == [
        "src/greenhorn/app.py:1: app may not import greenhorn.net",
        "src/greenhorn/http/head.py:1: http may not import time",
        "src/greenhorn/http/head.py:2: http may not import os",
    ]


def test_a_file_may_have_400_lines_and_no_more(src: Path) -> None:
    write(src, "http/head.py", "x = 1\n" * 400)
    assert layers(src).returncode == 0
    write(src, "http/head.py", "x = 1\n" * 401)
    result = layers(src)
    assert result.returncode == 1
    assert result.stdout == "src/greenhorn/http/head.py:401: the file has 401 lines, 400 are allowed\n"


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_function_may_have_60_lines_and_no_more(src: Path, keyword: str) -> None:
    write(src, "http/head.py", f"{keyword} parse():\n" + "    x = 1\n" * 59)
    assert layers(src).returncode == 0
    write(src, "http/head.py", f"{keyword} parse():\n" + "    x = 1\n" * 60)
    result = layers(src)
    assert result.returncode == 1
    assert result.stdout == "src/greenhorn/http/head.py:1: parse() has 61 lines, 60 are allowed\n"


def test_a_file_that_does_not_parse_is_a_violation(src: Path) -> None:
    write(src, "http/head.py", "x = 1\ndef\n")
    result = layers(src)
    assert result.returncode == 1
    assert result.stdout.startswith("src/greenhorn/http/head.py:2: cannot be parsed: ")


def test_a_folder_without_the_package_is_refused_with_advice(tmp_path: Path) -> None:
    result = layers(tmp_path)
    assert result.returncode == 2
    assert "holds no folder greenhorn" in result.stderr
    assert "name the folder above the package" in result.stderr
