"""Where values come from, which source wins, and what a wrong one says."""

import dataclasses
import sys
from pathlib import Path

import pytest

from greenhorn.config.cpus import available_cpus
from greenhorn.config.setting import Pending
from greenhorn.config.tables import ROWS
from unit.config.loading import exit_of, load, refusal, settings, write

pytestmark = pytest.mark.usefixtures("start_directory")


@pytest.fixture
def without_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gunicorn not be installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "gunicorn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gunicorn", None)


def test_without_anything_all_values_are_defaults(tmp_path: Path):
    configuration = load()
    assert configuration.warnings == ()
    assert set(configuration.origins.values()) == {"default"}
    assert set(configuration.origins) == set(ROWS)
    assert configuration.settings.chdir == str(tmp_path)
    assert configuration.settings.worker_class == "gthread"
    assert configuration.settings.config is None


def test_each_source_beats_the_one_before(tmp_path: Path):
    flags = {"GREENHORN_CMD_ARGS": "-w 4"}
    assert settings(WEB_CONCURRENCY="2").workers == 2
    path = write(tmp_path, "workers = 3")
    assert settings(WEB_CONCURRENCY="2").workers == 3
    assert settings(**flags, WEB_CONCURRENCY="2").workers == 4
    assert settings("-w5", **flags, WEB_CONCURRENCY="2").workers == 5
    assert load(WEB_CONCURRENCY="2").origins["workers"] == str(path)
    assert load(**flags).origins["workers"] == "GREENHORN_CMD_ARGS"
    assert load("-w", "5", **flags).origins["workers"] == "command line"


@pytest.mark.parametrize(
    ("name", "variable", "text", "value"),
    [
        ("bind", "PORT", "9000", ("0.0.0.0:9000",)),
        ("bind", "PORT", "", ("127.0.0.1:8000",)),
        ("workers", "WEB_CONCURRENCY", "3", 3),
        ("workers", "WEB_CONCURRENCY", " ", 1),
        ("workers", "WEB_CONCURRENCY", "auto", available_cpus()),
        ("forwarded_allow_ips", "FORWARDED_ALLOW_IPS", "10.0.0.0/8", ("10.0.0.0/8",)),
        ("forwarded_allow_ips", "FORWARDED_ALLOW_IPS", "", ()),
        ("sendfile", "SENDFILE", "no", False),
        ("sendfile", "SENDFILE", "y", True),
    ],
)
def test_some_defaults_come_from_the_environment(name: str, variable: str, text: str, value: object):
    configuration = load(**{variable: text})
    assert getattr(configuration.settings, name) == value
    told = f"environment variable {variable}" if text.strip() or value == () else "default"
    assert configuration.origins[name] == told


def test_a_wrong_variable_is_named_with_what_is_valid():
    message = refusal(WEB_CONCURRENCY="many")
    assert message.startswith(
        "environment variable WEB_CONCURRENCY: workers = 'many': must be a whole number, 0 or more"
    )


def test_a_wrong_value_in_a_file_is_named_with_the_file(tmp_path: Path):
    path = write(tmp_path, "loglevel = 'loud'")
    message = refusal()
    assert message.startswith(f"{path}: loglevel = 'loud': must be one of debug, info, warning, error, critical")


def test_gunicorn_cmd_args_count_where_greenhorn_cmd_args_are_missing():
    both = {"GUNICORN_CMD_ARGS": "--threads 7 --backlog 3", "GREENHORN_CMD_ARGS": "--threads 8"}
    assert settings(GUNICORN_CMD_ARGS="--threads 7").threads == 7
    assert settings(**both).threads == 8
    assert settings(**both).backlog == 2048


def test_a_variable_with_flags_is_split_as_a_shell_does():
    assert settings(GREENHORN_CMD_ARGS="-e 'A=x y' -e B=2").raw_env == ("A=x y", "B=2")
    assert "cannot be split into words" in refusal(GREENHORN_CMD_ARGS="-e 'A")


@pytest.mark.parametrize("flags", ["--nonsense", "-w many", "--help", "--version", "-w"])
def test_wrong_flags_in_a_variable_are_an_error_of_the_configuration(flags: list[str] | None):
    assert refusal(GUNICORN_CMD_ARGS=flags).startswith("GUNICORN_CMD_ARGS: ")


def test_an_app_module_in_a_variable_is_ignored_with_a_warning():
    configuration = load(GREENHORN_CMD_ARGS="other:app -w 2")
    assert configuration.settings.wsgi_app is None
    assert configuration.settings.workers == 2
    assert [text for text in configuration.warnings if "APP_MODULE is ignored" in text]


def test_the_app_module_of_the_command_line_beats_the_file(tmp_path: Path):
    write(tmp_path, "wsgi_app = 'filed:app'")
    assert settings().wsgi_app == "filed:app"
    assert settings("given:app", "-w", "2").wsgi_app == "given:app"


def test_the_file_of_greenhorn_comes_before_that_of_gunicorn(tmp_path: Path):
    write(tmp_path, "threads = 5")
    configuration = load()
    assert (configuration.settings.threads, configuration.settings.config) == (5, "./gunicorn.conf.py")
    assert configuration.origins["config"] == "found in the start directory"
    write(tmp_path, "threads = 6", "greenhorn.conf.py")
    assert (settings().threads, settings().config) == (6, "./greenhorn.conf.py")


def test_default_files_are_looked_for_in_the_start_directory_only(tmp_path: Path):
    (tmp_path / "app").mkdir()
    write(tmp_path / "app", "threads = 5")
    configuration = settings("--chdir", "app")
    assert (configuration.threads, configuration.chdir) == (4, str(tmp_path / "app"))


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_a_file_may_be_named_with_any_name(tmp_path: Path, prefix: str):
    path = write(tmp_path, "threads = 5", "server.settings")
    configuration = load("-c", f"{prefix}server.settings")
    assert configuration.settings.threads == 5
    assert configuration.origins["threads"] == str(path)


def test_the_file_of_the_command_line_beats_that_of_the_variable(tmp_path: Path):
    write(tmp_path, "threads = 5", "one.py")
    write(tmp_path, "threads = 6", "two.py")
    assert settings(GREENHORN_CMD_ARGS="-c one.py").threads == 5
    assert settings("-c", "two.py", GREENHORN_CMD_ARGS="-c one.py").threads == 6
    assert settings("-c", "", GREENHORN_CMD_ARGS="-c one.py").threads == 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.py", "No such file"), (".", "Is a directory"), ("python:missing", "No module named")],
)
def test_a_named_file_must_be_there(name: str, reason: str):
    assert reason in refusal("-c", name)


def test_a_module_may_be_the_file_and_is_read_anew_each_time(tmp_path: Path):
    path = write(tmp_path, "threads = 5", "deploy_settings.py")
    configuration = load("-c", "python:deploy_settings")
    assert configuration.settings.threads == 5
    assert configuration.origins["threads"] == "python:deploy_settings"
    path.write_text("threads = 50")
    assert settings("-c", "python:deploy_settings").threads == 50


def test_a_file_knows_its_name_and_imports_from_the_start_directory(tmp_path: Path):
    write(tmp_path, "count = 9", "shared_numbers.py")
    write(
        tmp_path,
        "import sys, os\nfrom shared_numbers import count\nthreads = count\n"
        "raw_env = ['NAME=' + __name__, 'FILE=' + __file__, 'THERE=%s' % (__name__ in sys.modules)]\n",
    )
    found = settings()
    assert found.threads == 9
    assert found.raw_env == ("NAME=__config__", f"FILE={tmp_path / 'gunicorn.conf.py'}", "THERE=True")


def test_values_of_a_file_may_be_python_objects(tmp_path: Path):
    write(
        tmp_path,
        "from pathlib import Path\nchdir = Path('.')\nbind = ['a:1', 'unix:/x']\ntimeout = '2m'\n"
        "sendfile = True\n"
        "secure_scheme_headers = {'X-Scheme': 'https'}\naccesslog = None\nworkers = 0x2\n",
    )
    found = settings()
    assert found.bind == ("a:1", "unix:/x")
    assert (found.timeout, found.sendfile, found.accesslog, found.workers) == (120, True, None, 2)
    assert found.secure_scheme_headers == {"X-SCHEME": "https"}


def test_the_flags_of_a_list_replace_the_list_of_the_file(tmp_path: Path):
    write(tmp_path, "bind = ['a:1', 'b:2']")
    assert settings().bind == ("a:1", "b:2")
    assert settings("-b", "c:3", "--bind", "d:4").bind == ("c:3", "d:4")


def test_config_in_a_file_means_nothing(tmp_path: Path):
    write(tmp_path, "config = {'its': 'own'}\nthreads = 3")
    assert settings().threads == 3


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("keep_alive = 75", "keepalive"),
        ("worker = 9", "workers"),
        ("thread = 3", "threads"),
        ("tiemout = 3", "timeout"),
        ("limit_request_filed_size = 3", "limit_request_field_size"),
        ("max_request = 3", "max_requests"),
        ("cert_file = 'x.pem'", "certfile"),
        ("binds = ['a:1']", "bind"),
        ("reload_extra_file = []", "reload_extra_files"),
        ("max_worker_memmory = '1G'", "max_worker_memory"),
        ("post_frok = 'deploy_hooks.forked'", "post_fork"),
    ],
)
def test_a_misspelled_setting_is_an_error_with_the_nearest_name(tmp_path: Path, line: str, meant: str):
    path = write(tmp_path, line)
    name = line.partition(" ")[0]
    assert refusal().startswith(f"{path}: {name} is not a setting: did you mean {meant}")


def test_names_of_the_files_own_are_its_business(tmp_path: Path):
    write(
        tmp_path,
        "import json, os, multiprocessing\nhost = 'h'\nport = '80'\nuse_bind = 'h:80'\n"
        "timeout_str = '9'\n"
        "graceful_timeout_str = '9'\nkeepalive_str = '5'\nworkers_per_core = 1\nweb_concurrency = 2\n"
        "log_level = 'debug'\nloglevel = log_level\naccess_log = '-'\naccesslog = access_log\n_worker = 3\n"
        "WORKER = 3\nlog_data = {}\ncores = multiprocessing.cpu_count()\ndef worker(): pass\n"
        "timeout = timeout_str\n",
    )
    assert (settings().loglevel, settings().accesslog, settings().timeout) == ("debug", "-", 9)


@pytest.mark.parametrize(
    ("line", "meant"),
    [("Workers = 5", "workers"), ("maxRequests = 5", "max_requests"), ("Keep_Alive = 5", "keepalive")],
)
def test_another_case_is_a_misspelling_unless_the_file_reads_the_name(tmp_path: Path, line: str, meant: str):
    path = write(tmp_path, line)
    name = line.partition(" ")[0]
    assert refusal().startswith(f"{path}: {name} is not a setting: did you mean {meant}?")
    write(tmp_path, f"{line}\nthreads = {name}")
    assert load().warnings == ()
    assert settings().threads == 5


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("keepalive_timeout = 5", "keepalive"),
        ("worker_timeout: int = 5", "timeout"),
        ("bind_address = 'h:80'", "bind"),
        ("workers_per_core = 1", "workers"),
        ("graceful_timeout_s = 9", "graceful_timeout"),
        ("WORKERS = 5", "workers"),
        ("def post_fork_all(server, worker): pass", "post_fork"),
    ],
)
def test_a_name_that_may_stand_for_a_setting_and_that_nothing_reads_is_told(tmp_path: Path, line: str, meant: str):
    path = write(tmp_path, line)
    name = line.removeprefix("def ").partition(" ")[0].partition(":")[0].partition("(")[0]
    told = (
        f"{path}: {name} is not a setting, and nothing in the file reads it: did you mean {meant}? "
        "(Begin the name of a variable of your own with an underscore.)"
    )
    assert load().warnings == (told,)
    module = write(tmp_path, line, "deploy_names.py")
    assert load("-c", "python:deploy_names").warnings == (told.replace(str(path), f"python:{module.stem}"),)
    for use in (f"print({name})", f"def when_ready(server): return {name}", f"_ = {{'x': f'{{{name}}}'}}", "globals()"):
        write(tmp_path, f"{line}\n{use}")
        assert load().warnings == ()


def test_names_that_a_file_does_not_make_itself_are_not_told(tmp_path: Path):
    write(tmp_path, "bind_address = 'h:80'\nworkers_max = 3\n", "shared_names.py")
    write(tmp_path, "from shared_names import *\ntimeout_unit = 's'\ntimeout = 9\n_bind_host = 'h'\n")
    assert load().warnings == ()


def test_an_exception_in_a_file_is_told_with_its_line(tmp_path: Path):
    path = write(tmp_path, "import os\n\nworkers = 1 / 0\n")
    assert refusal() == f"{path}, line 3: ZeroDivisionError: division by zero\n    workers = 1 / 0"


def test_a_syntax_error_in_a_file_is_told_with_its_line(tmp_path: Path):
    path = write(tmp_path, "threads = 2\nworkers = = 3\n")
    message = refusal()
    assert message.startswith(f"{path}, line 2: SyntaxError: ")
    assert "workers = = 3" in message


def test_an_exception_in_what_a_file_imports_is_told_with_both_places(tmp_path: Path):
    other = write(tmp_path, "def cores():\n    raise OSError('no cpu')\n", "cpu_cores.py")
    path = write(tmp_path, "from cpu_cores import cores\nworkers = cores()\n")
    message = refusal()
    assert message.startswith(f"{path}, line 2: OSError: no cpu\n    workers = cores()")
    assert message.endswith(f"raised in {other}, line 2")


@pytest.mark.parametrize(
    "code",
    [
        "from gunicorn import glogging",
        "import gunicorn.glogging as theirs",
        "import gunicorn",
        "from gunicorn.workers.ggevent import GeventWorker",
    ],
)
@pytest.mark.usefixtures("without_gunicorn")
def test_an_import_of_gunicorn_where_it_is_not_installed_is_told_with_what_to_write(tmp_path: Path, code: str):
    path = write(tmp_path, f"import os\n{code}\n")
    message = refusal()
    assert message.startswith(f"{path}, line 2: ModuleNotFoundError: ")
    assert "write greenhorn.glogging for gunicorn.glogging" in message
    assert message.endswith(f"\n    {code}")
    write(tmp_path, f"{code}\ndef said(server): pass\n", "their_hooks.py")
    write(tmp_path, "on_starting = 'their_hooks.said'\n")
    assert "write greenhorn.glogging for gunicorn.glogging" in refusal()


@pytest.mark.usefixtures("without_gunicorn")
def test_an_import_of_something_else_is_told_without_it(tmp_path: Path):
    write(tmp_path, "import gunicorn_of_another_kind")
    assert "greenhorn.glogging" not in refusal()


@pytest.mark.parametrize("code", ["import sys; sys.exit(7)", "raise GeneratorExit"])
def test_a_file_cannot_end_the_program(tmp_path: Path, code: str):
    path = write(tmp_path, code)
    assert refusal().startswith(f"{path}, line 1: ")


def test_an_interrupt_while_a_file_runs_is_an_interrupt(tmp_path: Path):
    write(tmp_path, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load()


def test_an_exception_in_a_module_as_file_is_told_with_its_line(tmp_path: Path):
    path = write(tmp_path, "workers = nothing\n", "deploy_broken.py")
    message = refusal("-c", "python:deploy_broken")
    assert message.startswith(f"python:deploy_broken: {path}, line 1: NameError")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path):
    (tmp_path / "gunicorn.conf.py").write_bytes(b"\0\1")
    assert refusal().startswith(f"{tmp_path / 'gunicorn.conf.py'}")


def test_a_feature_that_is_not_there_yet_is_left_out_with_one_warning(tmp_path: Path):
    path = write(tmp_path, "http2_cleartext = True\ncontrol_socket_mode = 0o660\nworker_tmp_dir = '.'\n")
    configuration = load("--http2-cleartext", "both", "app:app")
    assert configuration.warnings == (
        f"{path}: worker_tmp_dir = {str(tmp_path)!r}: without effect: {ROWS['worker_tmp_dir'].moot}",
        "command line: http2_cleartext = 'both': ignored: greenhorn 0.1.0 has no HTTP/2 yet",
        f"{path}: control_socket_mode = 432: ignored: greenhorn 0.1.0 has no control socket yet",
    )
    assert configuration.settings.wsgi_app == "app:app"


def test_settings_of_dirty_arbiters_are_left_out_with_a_warning_that_names_what_to_use(tmp_path: Path):
    path = write(tmp_path, "dirty_apps = ['shop.tasks:Sums']\ndef on_dirty_starting(arbiter): pass\n")
    warnings = load("--dirty-workers", "2", "--dirty_timeout", "300", "app:app").warnings
    assert [text.partition(": ignored: it belongs to gunicorn's dirty arbiters")[0] for text in warnings] == [
        f"{path}: dirty_apps",
        "command line: dirty_workers",
        f"{path}: on_dirty_starting",
    ]
    assert all("task queue" in text for text in warnings)


def test_a_setting_whose_feature_is_not_there_is_not_mentioned_where_it_asks_for_nothing(tmp_path: Path):
    write(
        tmp_path,
        "paste = None\ncertfile = None\nkeyfile = ''\ndirty_workers = 0\nsyslog = False\n"
        "import ssl\ncert_reqs = ssl.CERT_NONE\nasgi_loop = 'Auto'\ndirty_apps = []\nhttp_protocols = 'h1'\n"
        "uwsgi_allow_ips = '127.0.0.1,::1'\nsuppress_ragged_eofs = True\nssl_version = None\nhttp2_cleartext = False\n",
    )
    assert load("--no-control-socket").warnings == ()


@pytest.mark.parametrize(
    ("name", "value", "flags", "feature"),
    [
        ("protocol", "'uwsgi'", ["--protocol", "uwsgi"], "uwsgi protocol"),
    ],
)
def test_a_setting_that_is_unsafe_to_ignore_ends_the_start(
    tmp_path: Path, name: str, value: str, flags: list[str], feature: str
):
    told = f"{name} = {value}: greenhorn 0.1.0 has no {feature} yet: "
    assert refusal("app:app", *flags).startswith(f"command line: {told}")
    path = write(tmp_path, f"{name} = {value}")
    assert refusal("app:app").startswith(f"{path}: {told}")


def test_all_refused_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch):
    unsafe = dataclasses.replace(ROWS["asgi_loop"], pending=Pending("event loops", "nobody would wait"))
    monkeypatch.setitem(ROWS, "asgi_loop", unsafe)
    second, first = refusal("--asgi-loop", "asyncio", "--protocol", "uwsgi").splitlines()
    assert first == "command line: asgi_loop = 'asyncio': greenhorn 0.1.0 has no event loops yet: nobody would wait"
    assert second.startswith("command line: protocol = 'uwsgi': ")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "worker_class = 'gevnt'",
            "worker_class = 'gevnt': is no worker class of greenhorn (did you mean gevent?): use",
        ),
        ("worker_class = 'egg:gunicorn#meinheld'", "worker_class = 'meinheld': is no worker class of greenhorn: use"),
        ("worker_class = 'Sync'", "worker_class = 'Sync': is no worker class of greenhorn (did you mean sync?): use"),
    ],
)
def test_a_worker_class_that_is_not_there_is_an_error_unless_another_source_says_otherwise(
    tmp_path: Path, line: str, told: str
):
    path = write(tmp_path, line)
    assert refusal().startswith(f"{path}: {told}")
    assert settings("-k", "gthread").worker_class == "gthread"


@pytest.mark.parametrize("extra", ["threads = 4", "import os\nthreads = len(os.listdir('.')) + 1"])
def test_sync_with_several_threads_is_gthread(tmp_path: Path, extra: str):
    write(tmp_path, f"worker_class = 'sync'\n{extra}\n")
    assert settings().worker_class == "gthread"
    assert settings("--threads", "1", "-k", "gthread").threads == 1
    assert settings("--threads", "1").worker_class == "sync"


def test_sync_alone_has_one_thread(tmp_path: Path):
    write(tmp_path, "worker_class = 'sync'\n")
    found = settings()
    assert (found.worker_class, found.threads) == ("sync", 1)


@pytest.mark.parametrize("kind", ["shop.workers:Own", "shop.workers.Own", "gevent", "uvicorn_worker.UvicornWorker"])
def test_what_has_to_be_imported_is_judged_by_whoever_imports_it(kind: str):
    assert settings("-k", kind).worker_class in {kind, "asgi"}


def test_a_class_in_the_file_is_the_worker_class_itself(tmp_path: Path):
    write(tmp_path, "class Own: pass\nworker_class = Own\n")
    found = settings().worker_class
    assert isinstance(found, type)
    assert found.__qualname__ == "Own"


@pytest.mark.parametrize(
    "flag", ["--limit-request-field_size", "--limit-request-field-size", "--limit_request_field_size"]
)
def test_long_flags_may_be_written_either_way(flag: str):
    assert settings(flag, "100").limit_request_field_size == 100
    assert settings(f"{flag}=0").limit_request_field_size == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--worker", "3"], "unknown option --worker (did you mean --workers?)"),
        (["--keepalive=3"], "unknown option --keepalive=3 (did you mean --keep-alive?)"),
        (["--work", "3"], "unknown option --work"),
        (["-Z"], "unknown option -Z"),
        (["a:app", "b:app"], "more than one APP_MODULE: a:app b:app"),
        (["-w", "many"], "argument -w/--workers: 'many': must be a whole number"),
        (["-w", "-1"], "argument -w/--workers: '-1': must be a whole number"),
        (["-w"], "expected one argument"),
        (["-e", "A"], "'A': must be KEY=VALUE"),
        (["--forwarded-allow-ips", "10.0.0.1/8"], "write 10.0.0.0/8 or 10.0.0.1"),
        (["--proxy-protocol", "hello:app"], "'hello:app': must be one of off, v1, v2, auto"),
    ],
)
def test_faults_of_the_command_line_exit_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str):
    code, output = exit_of(capsys, *arguments)
    assert code == 2
    assert output.startswith("usage: greenhorn [OPTIONS] [APP_MODULE]")
    assert told in output


def test_version_is_printed(capsys: pytest.CaptureFixture[str]):
    assert exit_of(capsys, "-v") == (0, "greenhorn (version 0.1.0)\n")


def test_help_fits_80_columns_and_names_every_flag(capsys: pytest.CaptureFixture[str]):
    code, output = exit_of(capsys, "--help")
    assert code == 0
    assert max(map(len, output.splitlines())) <= 80
    for row in ROWS.values():
        assert all(flag in output for flag in row.flags)
        assert not row.flags or f"\n{row.section}:\n" in output
    assert "--dirty" not in output
