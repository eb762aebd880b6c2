"""nginx and HAProxy in front of a server under test, if they are installed."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.running import DEADLINE, wait_until

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} reuseport; {text} }}
}}
"""
HAPROXY = """
defaults
  mode {mode}
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
{text}
  default_backend back
backend back
{back}
  server app {upstream}
"""


@contextmanager
def nginx(folder: Path, text: str) -> Iterator[int]:
    """Run nginx with `text` in its server block; the value is its port."""
    with _running("nginx", NGINX, folder, ["-c", "{config}", "-e", "stderr", "-p", str(folder)], text=text) as port:
        yield port


@contextmanager
def haproxy(folder: Path, upstream: str, text: str = "", *, mode: str = "http", back: str = "") -> Iterator[int]:
    """Run HAProxy before a server at `upstream`, which may have options behind it.

    `text` are lines of its frontend, `back` of its backend.
    """
    values = {"mode": mode, "text": text, "back": back, "upstream": upstream}
    with _running("haproxy", HAPROXY, folder, ["-db", "-q", "-f", "{config}"], **values) as port:
        yield port


@contextmanager
def _running(name: str, template: str, folder: Path, arguments: list[str], **values: str) -> Iterator[int]:
    command = shutil.which(name)
    if command is None:
        pytest.skip(f"{name} is not installed")
    folder.mkdir()
    with socket.socket() as place:  # keeps the port for a proxy that shares it
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place.bind(("127.0.0.1", 0))
        port: int = place.getsockname()[1]
        config = folder / "config"
        config.write_text(template.format(folder=folder, port=port, **values))
        said = folder / "said"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [command, *(argument.format(config=config) for argument in arguments)], stdout=output, stderr=output
            )
        try:
            wait_until(lambda: process.poll() is not None or _answers(port), what=f"{name} at its port")
            assert process.poll() is None, said.read_text()
            yield port
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), DEADLINE).close()
    except ConnectionRefusedError:
        return False
    return True
