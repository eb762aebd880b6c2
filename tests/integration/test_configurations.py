"""Configurations as well-known guides and projects have them, run as they are but for the name of the command."""

import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trustme

from integration.running import DEADLINE, STEERING, Launch, Server

PROJECTS = Path(__file__).parents[1] / "configurations"
ANSWER = """
def {name}(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered by {module}"]
"""
ASGI = """
async def {name}(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}})
    await send({{"type": "http.response.body", "body": b"answered by {module}"}})
"""
FACTORY = """
def {name}(*arguments, **options):
    from types import FunctionType
    def answer(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"answered by {module}"]
    return answer
"""
VALUE = re.compile(r"^(\w+) += (.+?)  # ", re.MULTILINE)
SHIM = '#!/bin/sh\nexec {command} "$@" $EXTRA\n'


class Project(NamedTuple):
    """What a folder of configurations/ needs and is meant to become."""

    app: str
    """MODULE:NAME of the application, which the test writes; NAME() is a function that returns it."""
    settings: Mapping[str, object]
    """Some of what its configuration amounts to."""
    refused: str = ""
    """What is said of it where its kind of worker is not installed; it is started with `-k gthread` then."""
    said: str = ""
    """A line of the log that only its hooks and settings can have brought about."""
    environ: Mapping[str, str] = {}
    asgi: bool = False
    """Whether the application is one of ASGI."""
    encrypted: bool = False
    """Whether it needs certificates, its clients as well."""
    binds: bool = True
    """Whether its command line says where to listen, by PORT; else the test adds an address."""


DJANGO = {"worker_class": "gthread", "workers": 1, "bind": ("127.0.0.1:8000",)}
TABLE = {
    "django_guide": Project("myproject.wsgi:application", {**DJANGO, "wsgi_app": "myproject.wsgi"}, binds=False),
    "flask_guide": Project("hello:create_app()", {"workers": 4, "wsgi_app": "hello:create_app()"}),
    "fastapi_guide": Project("main:app", {"workers": 4, "worker_class": "asgi"}, asgi=True),
    "pyramid_guide": Project("myproject:main()", {"workers": 2, "threads": 3, "proc_name": "myproject"}, binds=False),
    "systemd_socket_guide": Project("myproject.wsgi:application", {"umask": 7, "bind": ("unix:app.sock",)}),
    "cookiecutter_django": Project("config.wsgi:application", {"bind": ("127.0.0.1:0",)}),
    "heroku_python": Project(
        "gettingstarted.wsgi:application",
        {
            "threads": 5,
            "timeout": 25,
            "keepalive": 95,
            "forwarded_allow_ips": ("*",),
            "secure_scheme_headers": {"X-FORWARDED-PROTO": "https"},
            "max_requests_jitter": 120,
        },
        said='status=200 bytes=[0-9]+ duration=[0-9]+us request_id=- fwd="-" scheme=http',
        binds=False,
    ),
    "fastapi_docker_image": Project(
        "app.main:app",
        {"timeout": 120, "graceful_timeout": 120, "workers": 2, "worker_class": "asgi"},
        asgi=True,
        environ={"WEB_CONCURRENCY": "2"},
    ),
    "superset": Project(
        "superset.app:create_app()",
        {"threads": 20, "worker_class": "gthread", "limit_request_line": 0, "limit_request_field_size": 0},
    ),
    "airflow_webserver": Project(
        "airflow_www.app:cached_app()",
        {"preload_app": True, "proc_name": "airflow-webserver", "timeout": 120},
        said="the web server starts with 4 workers",
    ),
    "netbox": Project("netbox.wsgi:application", {"workers": 5, "threads": 3, "max_requests": 5000}, binds=False),
    "paperless": Project(
        "paperless.asgi:application",
        {"preload_app": True, "timeout": 120},
        refused="worker_class = 'paperless.workers.ConfigurableWorker': paperless.workers",
        said="Server is ready. Spawning workers",
        binds=False,
    ),
    "bedrock": Project(
        "wsgi.app:application",
        {"statsd_host": "127.0.0.1:8125", "statsd_prefix": "bedrock", "max_requests": 1024},
        refused="worker_class = 'meinheld.gmeinheld.MeinheldWorker': meinheld.gmeinheld",
    ),
    "kinto": Project(
        "app:application",
        {
            "bind": ("127.0.0.1:0", "unix:kinto.sock"),
            "raw_env": ("KINTO_INI=config/kinto.ini", "TZ=UTC"),
            "forwarder_headers": ("SCRIPT_NAME", "PATH_INFO", "REMOTE_USER"),
            "limit_request_fields": 200,
        },
        said=r"^[-0-9]+ [0-9:,]+ INFO +\[(greenhorn|gunicorn)\.error\] Listening at: ",
    ),
    "prometheus_multiprocess": Project("app:app", {"workers": 2}, said=r"left behind: \[\]", binds=False),
    "custom_logger": Project(
        "shop.wsgi:application",
        {"capture_output": True, "threads": 2},
        said='"GET / HTTP/1.1" 200 [0-9]+ 0[.][0-9]+$',
        binds=False,
    ),
    "gunicorn_example": Project(
        "test:app", {"raw_env": ("DJANGO_SECRET_KEY=something", "SPAM=eggs")}, said="Worker spawned", binds=False
    ),
    "redash": Project("redash.wsgi:app", {"proc_name": "redash", "workers": 4, "max_requests_jitter": 100}),
    "mlflow": Project("mlflow.server:app", {"statsd_prefix": "mlflow", "timeout": 60}),
    "wagtail_image": Project("mysite.wsgi:application", DJANGO, binds=False),
    "sentry": Project("sentry.wsgi:application", {"workers": 3, "forwarded_allow_ips": ("*",), "accesslog": "-"}),
    "opentelemetry": Project(
        "app:application",
        {"worker_class": "gthread", "threads": 2, "worker_connections": 1000},
        said="traced GET / 200 OK",
        binds=False,
    ),
    "encrypted": Project(
        "test:app",
        {"certfile": "server.crt", "keyfile": "server.key", "ca_certs": "ca.crt", "cert_reqs": 2},
        said="Listening at: https://127[.]0[.]0[.]1:",
        encrypted=True,
    ),
    "dirty_tasks": Project(
        "shop:app",
        {"http2_max_concurrent_streams": 200, "control_socket": "shop.ctl", "control_socket_mode": 0o660},
        said="dirty_apps: ignored: it belongs to gunicorn's dirty arbiters",
        binds=False,
    ),
}


@dataclass(frozen=True)
class Script(Launch):
    """The project's own script, which finds the server under gunicorn's name."""

    workers: int | None = None
    environ: Mapping[str, str] = field(default_factory=dict)

    def command(self, folder: Path) -> list[str]:
        return ["sh", str(folder / "run.sh")]


def stage(folder: Path, name: str, command: str) -> dict[str, str]:
    """Put the project and its application into `folder`, and return the environment it runs in.

    Words of EXTRA go behind those that the project gives to `gunicorn`, which `command` is run for.
    """
    shutil.copytree(PROJECTS / name, folder, dirs_exist_ok=True)
    module, _, attribute = TABLE[name].app.partition(":")
    path = folder / (module.replace(".", "/") + ".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    source = FACTORY if attribute.endswith("()") else ASGI if TABLE[name].asgi else ANSWER
    path.write_text(source.format(name=attribute.removesuffix("()"), module=module))
    (folder / "bin").mkdir()
    shim = folder / "bin" / "gunicorn"
    shim.write_text(SHIM.format(command=command))
    shim.chmod(0o755)
    if TABLE[name].encrypted:
        issue_certificates(folder)
    kept = {name: value for name, value in os.environ.items() if name not in STEERING}
    here = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOST": "127.0.0.1"}
    port = {"PORT": "0"} if TABLE[name].binds else {}
    return {**kept, **here, **port, **TABLE[name].environ, "EXTRA": ""}


def issue_certificates(folder: Path) -> None:
    """Make certificates of a server and a client, and of the authority that both believe, under the names in use."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    made = authority.issue_cert("localhost", "127.0.0.1")
    made.cert_chain_pems[0].write_to_path(folder / "server.crt")
    made.private_key_pem.write_to_path(folder / "server.key")
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")


def trust(folder: Path) -> ssl.SSLContext:
    """The context of a client that shows its certificate."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "client.pem")
    return context


def run(folder: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "run.sh"], cwd=folder, env=dict(environ), capture_output=True, text=True, timeout=DEADLINE, check=False
    )


@pytest.fixture
def greenhorn(tmp_path: Path, name: str) -> dict[str, str]:
    return stage(tmp_path, name, f"{sys.executable} -m greenhorn")


def test_each_folder_stands_in_the_table():
    assert {path.name for path in PROJECTS.iterdir() if path.is_dir()} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_the_files_are_such_as_gunicorn_takes(tmp_path: Path, name: str):
    command = Path(sys.executable).with_name("gunicorn")
    if not command.exists():
        pytest.skip("the dev group has gunicorn")
    environ = stage(tmp_path, name, str(command))
    finished = run(tmp_path, {**environ, "EXTRA": "--check-config"})
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("name", TABLE)
def test_the_configuration_is_read_as_it_is(tmp_path: Path, greenhorn: dict[str, str], name: str):
    project = TABLE[name]
    extra = "--print-config"
    if project.refused:
        refused = run(tmp_path, {**greenhorn, "EXTRA": extra})
        assert refused.returncode == 1
        assert project.refused in refused.stderr
        extra += " -k gthread"
    finished = run(tmp_path, {**greenhorn, "EXTRA": extra})
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = {key: eval(value) for key, value in VALUE.findall(finished.stdout)}
    assert {key: found[key] for key in project.settings} == project.settings


@pytest.fixture
def started(tmp_path: Path, name: str) -> Iterator[Server]:
    """The project's server, ready; it has to stop and to leave nothing behind, as those of `server` have to."""
    folder = tmp_path / "server"
    project = TABLE[name]
    environ = stage(folder, name, f"{sys.executable} -m greenhorn")
    environ["EXTRA"] = " ".join(
        [*(["--bind 127.0.0.1:0"] if not project.binds else []), *(["-k gthread"] if project.refused else [])]
    )
    server = Server(Script(env=environ, trust=trust(folder) if project.encrypted else None), folder)
    server.wait_until_ready()
    yield server
    problems = server.finish()
    assert not problems, f"{problems}\n{server.log()}"


def get(server: Server) -> httpx.Response:
    address = server.addresses[0]
    if not address.startswith("unix:"):
        return server.client().get("/")
    transport = httpx.HTTPTransport(uds=str(server.folder / address.removeprefix("unix:")))
    with httpx.Client(transport=transport, base_url="http://localhost", trust_env=False) as client:
        return client.get("/")


@pytest.mark.parametrize("name", TABLE)
def test_the_application_is_served(started: Server, name: str):
    answer = get(started)
    assert (answer.status_code, answer.text) == (200, f"answered by {TABLE[name].app.partition(':')[0]}")
    assert answer.headers["Server"] == "greenhorn"
    assert started.stop() == 0
    log = started.log() + started.stdout()
    assert re.search(TABLE[name].said, log, re.MULTILINE), log
