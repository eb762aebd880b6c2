"""What single settings make of their flags, and of lines of a file."""

import os
import pwd
from pathlib import Path

import pytest

from greenhorn.config.cpus import available_cpus
from greenhorn.config.tables import HOOKS
from unit.config.loading import load, refusal, settings, write

pytestmark = pytest.mark.usefixtures("start_directory")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("def post_frok(server, worker): pass", "post_fork"),
        ("def on_exits(server): pass", "on_exit"),
        ("def worker_aborted(worker): pass", "worker_abort"),
        ("def child_exits(server, worker): pass", "child_exit"),
    ],
)
def test_a_misspelled_hook_is_an_error_with_the_nearest_name(tmp_path: Path, line: str, meant: str):
    path = write(tmp_path, line)
    name = line.partition(" ")[2].partition("(")[0]
    assert refusal().startswith(f"{path}: {name} is not a setting: did you mean {meant}")


def test_functions_of_the_files_own_are_its_business(tmp_path: Path):
    write(tmp_path, "def post_frok(server, worker): pass\n", "deploy_helpers.py")
    write(
        tmp_path,
        "from deploy_helpers import post_frok\ndef thread(): pass\ndef _post_frok(): pass\n"
        "def on_exited(server): pass\non_exit = on_exited\ndef post_fork_again(server, worker): pass\n",
    )
    assert settings().on_exit.__name__ == "on_exited"


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--preload"], "preload_app", True),
        (["-D"], "daemon", True),
        (["--daemon"], "daemon", True),
        (["-p", "run/app.pid"], "pidfile", "run/app.pid"),
        (["--pid", ""], "pidfile", None),
        (["-u", "33"], "user", 33),
        (["--user", pwd.getpwuid(os.getuid()).pw_name], "user", os.getuid()),
        (["-g", "33"], "group", 33),
        (["--group=0"], "group", 0),
        (["-m", "0027"], "umask", 0o27),
        (["--umask", "18"], "umask", 0o22),
        (["--initgroups"], "initgroups", True),
        (["-n", "shop"], "proc_name", "shop"),
        (["--name", "shop"], "proc_name", "shop"),
        (["--reload"], "reload", True),
        (["--reload-engine", "Poll"], "reload_engine", "poll"),
        (["--spew"], "spew", True),
        (["--reuse-port"], "reuse_port", True),
        (["-w", "auto"], "workers", available_cpus()),
        (["--max-requests", "1000"], "max_requests", 1000),
        (["--max-requests-jitter", "50"], "max_requests_jitter", 50),
        (["--max-worker-memory", "1.5G"], "max_worker_memory", 1_610_612_736),
        (["--max-worker-lifetime", "12h"], "max_worker_lifetime", 43200),
        (["--max-worker-lifetime-jitter", "10m"], "max_worker_lifetime_jitter", 600),
        (["--boot-timeout", "0"], "boot_timeout", 0),
        (["--shutdown-delay", "10s"], "shutdown_delay", 10),
        (["--limit-request-body", "5M"], "limit_request_body", 5_242_880),
        (["--tmp-files-max", "8G"], "tmp_files_max", 8_589_934_592),
    ],
)
def test_flags_of_processes_and_workers(flags: list[str], name: str, value: object):
    assert getattr(settings(*flags, "app:app"), name) == value


def test_files_to_watch_are_absolute_and_add_up(tmp_path: Path):
    write(tmp_path, "", "shop.toml")
    found = settings("--reload-extra-file", "shop.toml", "--reload-extra-file", "templates/*.html")
    assert found.reload_extra_files == (str(tmp_path / "shop.toml"), str(tmp_path / "templates/*.html"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "user = 'no-such-one'",
            "user = 'no-such-one': must be a user id or the name of a user: this system has no user",
        ),
        ("group = ''.join(['no-', 'group'])", "group = 'no-group': must be a group id or the name of a group"),
        ("umask = '0999'", "umask = '0999': must be a file mode mask"),
        ("reload_engine = 'watchman'", "reload_engine = 'watchman': must be one of auto, poll, inotify"),
        ("reload_extra_files = ['missing']", "reload_extra_files = ['missing']: must be files that exist"),
        ("max_worker_memory = '512MB'", "max_worker_memory = '512MB': must be bytes"),
        ("def pre_fork(server): pass", "pre_fork = pre_fork: must take (server, worker), but takes (server)"),
        ("on_exit = 'deploy_absent.leave'", "on_exit = 'deploy_absent.leave': module deploy_absent cannot be imported"),
        ("on_exit = print", None),
    ],
)
def test_a_wrong_value_says_what_would_be_valid(tmp_path: Path, line: str, told: str | None):
    path = write(tmp_path, line)
    if told is None:
        assert settings().on_exit is print
    else:
        assert refusal().startswith(f"{path}: {told}")


def test_hooks_are_functions_of_the_file_or_names(tmp_path: Path):
    write(tmp_path, "def forked(server, worker): return 'named'\n", "deploy_named.py")
    write(
        tmp_path,
        "def on_starting(server): return 'written'\npost_fork = 'deploy_named.forked'\nwhen_ready = None\n"
        "def post_request(worker, req): return (worker, req)\non_exit = ''\n",
    )
    found = settings()
    assert found.on_starting(None) == "written"
    assert found.post_fork(None, None) == "named"
    assert found.post_request(1, 2, 3, 4) == (1, 2)
    assert (found.when_ready, found.on_exit, found.pre_fork) == (None, None, None)


@pytest.mark.parametrize("name", HOOKS)
def test_each_hook_is_checked_for_what_it_takes(tmp_path: Path, name: str):
    write(tmp_path, f"def {name}(a, b, c, d, e): pass")
    assert f"{name}: must take (" in refusal()
    write(tmp_path, f"{name} = lambda *arguments: None")
    assert callable(getattr(settings(), name))


def test_processes_are_called_by_the_application_unless_the_file_says_otherwise(tmp_path: Path):
    assert settings().default_proc_name == "greenhorn"
    configuration = load("shop:app")
    assert (configuration.settings.default_proc_name, configuration.settings.proc_name) == ("shop:app", None)
    assert configuration.origins["default_proc_name"] == "command line"
    write(tmp_path, "wsgi_app = 'filed:app'")
    assert settings().default_proc_name == "filed:app"
    write(tmp_path, "default_proc_name = 'till'")
    assert settings("shop:app").default_proc_name == "till"


def test_flags_without_values():
    found = settings("--no-sendfile", "--casefold_http_method", "app:app", "--proxy-protocol")
    assert (found.sendfile, found.casefold_http_method, found.proxy_protocol) == (False, True, "auto")
    assert settings("--proxy-protocol=v1").proxy_protocol == "v1"


def test_a_large_request_line_is_honoured_as_written():
    assert settings("--limit-request-line", "100000").limit_request_line == 100_000
