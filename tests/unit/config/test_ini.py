"""What an ini file of Paste Deployment says about the server."""

from pathlib import Path

import pytest

from greenhorn.config.ini import server_settings
from unit.config.loading import exit_of, load, refusal, settings, write

pytestmark = pytest.mark.usefixtures("start_directory")

APPLICATION = "[app:main]\nuse = call:shelf:main\n"
SERVER = APPLICATION + "[server:main]\nuse = egg:greenhorn#main\n"


def ini(folder: Path, text: str) -> str:
    return str(write(folder, text, "shop.ini"))


@pytest.mark.parametrize("flag", ["--paste", "--paster"])
@pytest.mark.parametrize("section", ["", "#admin"])
def test_the_file_is_absolute_and_keeps_its_section(tmp_path: Path, flag: str, section: str):
    path = ini(tmp_path, APPLICATION)
    assert settings(flag, f"shop.ini{section}").paste == path + section


def test_processes_are_called_by_the_file(tmp_path: Path):
    path = ini(tmp_path, APPLICATION)
    assert settings("--paste", "shop.ini#admin").default_proc_name == path


@pytest.mark.parametrize("use", ["egg:greenhorn#main", "egg:gunicorn#main", "egg:greenhorn", "egg: gunicorn"])
def test_the_keys_of_a_server_that_is_greenhorn_or_gunicorn_are_settings(tmp_path: Path, use: str):
    path = ini(tmp_path, f"{APPLICATION}[server:main]\nuse = {use}\nhost = 0.0.0.0\nport = 6543\nworkers = 3\n")
    found = load("--paste", "shop.ini")
    assert (found.settings.bind, found.settings.workers) == (("0.0.0.0:6543",), 3)
    assert found.origins["bind"] == found.origins["workers"] == f"{path} [server:main]"


def test_the_keys_of_another_server_are_not(tmp_path: Path):
    ini(tmp_path, f"{APPLICATION}[server:main]\nuse = egg:waitress#main\nlisten = localhost:6543\nthreads = 9\n")
    found = load("--paste", "shop.ini")
    assert found.origins["bind"] == found.origins["threads"] == "default"


def test_a_file_a_variable_and_the_command_line_come_before_the_section(tmp_path: Path):
    ini(tmp_path, SERVER + "workers = 2\nthreads = 2\nkeepalive = 2\nbacklog = 2\n")
    write(tmp_path, "threads = 3\nkeepalive = 3\nbacklog = 3\n")
    found = settings("--paste", "shop.ini", "--backlog", "5", GREENHORN_CMD_ARGS="--keep-alive 4 --backlog 4")
    assert (found.workers, found.threads, found.keepalive, found.backlog) == (2, 3, 4, 5)


def test_the_section_comes_before_variables_that_are_defaults(tmp_path: Path):
    ini(tmp_path, SERVER + "workers = 2\n")
    assert settings("--paste", "shop.ini", WEB_CONCURRENCY="7").workers == 2


def test_the_section_may_name_a_configuration_file(tmp_path: Path):
    ini(tmp_path, SERVER + "config = other.py\nthreads = 2\n")
    write(tmp_path, "threads = 3\n", "other.py")
    write(tmp_path, "threads = 4\n", "another.py")
    assert settings("--paste", "shop.ini").threads == 3
    assert settings("--paste", "shop.ini", "-c", "another.py").threads == 4


def test_a_variable_with_flags_may_name_the_file(tmp_path: Path):
    path = ini(tmp_path, SERVER + "workers = 2\n")
    found = settings(GUNICORN_CMD_ARGS="--paste shop.ini")
    assert (found.paste, found.workers) == (path, 2)


def test_values_may_refer_to_the_place_to_defaults_and_to_variables(tmp_path: Path):
    text = "[DEFAULT]\ncolour = red\n" + SERVER
    keys = "pidfile = %(here)s/%(colour)s.pid\nproc_name = %(__file__)s\nraw_env = A=%(depth)s\nget user = who\n"
    ini(tmp_path, text + keys)
    found = settings("--paste", "shop.ini", "--paste-global", "depth=3%", "--paste-global", "who=0")
    assert found.pidfile == f"{tmp_path}/red.pid"
    assert found.proc_name == f"{tmp_path}/shop.ini"
    assert (found.raw_env, found.user) == (("A=3%",), 0)


def test_defaults_and_what_is_set_for_others_are_no_settings(tmp_path: Path):
    ini(tmp_path, "[DEFAULT]\nworkers = 9\ncolour = red\n" + SERVER + "set colour = blue\n")
    assert load("--paste", "shop.ini").origins["workers"] == "default"


def test_a_section_loggers_makes_the_file_the_configuration_of_logging(tmp_path: Path):
    path = ini(tmp_path, APPLICATION)
    assert settings("--paste", "shop.ini").logconfig is None
    ini(tmp_path, APPLICATION + "[loggers]\nkeys = root\n")
    assert settings("--paste", "shop.ini").logconfig == path
    assert settings("--paste", "shop.ini", "--log-config", "").logconfig is None


def test_an_application_that_is_named_beside_the_file_is_told(tmp_path: Path):
    path = ini(tmp_path, APPLICATION)
    assert load("--paste", "shop.ini", "hello:app").warnings == (
        f"command line: wsgi_app = 'hello:app': ignored, since paste = '{path}' describes the application",
    )


@pytest.mark.parametrize(
    ("options", "bind"),
    [
        ({"host": "127.0.0.1", "port": "80"}, "127.0.0.1:80"),
        ({"host": "::1", "port": "80"}, "[::1]:80"),
        ({"host": "[::1]", "port": "80"}, "[::1]:80"),
        ({"host": "a:1,b:2", "port": ""}, "a:1,b:2"),
        ({"port": "80"}, "127.0.0.1:80"),
        ({"host": "unix:/run/shop"}, "unix:/run/shop"),
        ({"HOST": "here", "PORT": "80"}, "here:80"),
        ({"bind": "there:1", "host": "here", "port": "80"}, "here:80"),
        ({"bind": "there:1"}, "there:1"),
    ],
)
def test_host_and_port_are_an_address(options: dict[str, str], bind: str):
    assert server_settings(options) == {"bind": bind}


# What is wrong.


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("worker = 2\n", "worker is not a setting: did you mean workers"),
        ("workers = many\n", "workers = 'many': must be a whole number"),
        ("workers = %(many)s\n", "'workers'"),
        ("get workers = many\n", "get workers = many: [DEFAULT] has no many"),
        ("workers = 2\nworkers = 3\n", "option 'workers'"),
        ("workers\n", "'workers\\n'"),
    ],
)
def test_a_fault_of_the_section_is_one_line_with_its_place(tmp_path: Path, section: str, told: str):
    path = ini(tmp_path, SERVER + section)
    message = refusal("--paste", "shop.ini")
    assert path in message
    assert told in message
    assert "\n" not in message


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path):
    path = tmp_path / "shop.ini"
    path.write_bytes(b"[app:main]\ncolour = \xff\n")
    assert f"{path} cannot be read: 'utf-8' codec" in refusal("--paste", "shop.ini")


def test_a_missing_file_is_an_error_wherever_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    told = f"must be an ini file that exists, as FILE or FILE#SECTION ({tmp_path}/shop.ini is none)"
    code, text = exit_of(capsys, "--paste", "shop.ini#admin")
    assert code == 2
    assert told in " ".join(text.split())
    write(tmp_path, "paste = 'shop.ini'\n")
    assert refusal() == f"{tmp_path}/gunicorn.conf.py: paste = 'shop.ini': {told}"
