"""The command as a user runs it, up to the point where the master would take over."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HELLO = """
import os, sys

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]

def tell():
    print(os.getcwd(), os.environ.get("COLOUR"), os.environ["SERVER_SOFTWARE"], sys.path[:3], sep="\\n")
    return app
"""


@pytest.fixture(autouse=True)
def hello(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)


def greenhorn(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "HOME")}
    return subprocess.run(
        [sys.executable, "-m", "greenhorn", *arguments],
        cwd=folder,
        env=kept | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def outcome(folder: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    finished = greenhorn(folder, *arguments, **environ)
    return finished.returncode, finished.stdout, finished.stderr


def test_a_check_that_passes_is_silent(tmp_path: Path):
    assert outcome(tmp_path, "--check-config", "hello:app") == (0, "", "")


def test_the_application_may_stand_in_the_file(tmp_path: Path):
    (tmp_path / "gunicorn.conf.py").write_text("wsgi_app = 'hello:app'\ncheck_config = True\n")
    assert outcome(tmp_path) == (0, "", "")


def test_without_an_application_there_is_one_clear_line(tmp_path: Path):
    code, out, err = outcome(tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("greenhorn: error: no application is named: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("missing:app", "no module named missing"),
        ("hello", "did you mean hello:app?"),
        ("hello.py", "did you mean hello:app?"),
    ],
)
def test_a_check_fails_with_1_for_an_application_that_cannot_be_loaded(tmp_path: Path, spec: str, told: str):
    code, out, err = outcome(tmp_path, "--check-config", spec)
    assert (code, out) == (1, "")
    assert err.startswith("greenhorn: error: ")
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [["-b", "127.0.0.1:many"], ["-b", "127.0.0.1:1", "-b", "::1"], ["-k", "no_such_class"]]
)
def test_a_check_fails_with_1_for_what_the_master_would_refuse(tmp_path: Path, arguments: list[str]):
    code, _, err = outcome(tmp_path, "--check-config", *arguments, "hello:app")
    assert code == 1
    assert arguments[-1] in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bind = '192.0.2.1:80'", "bind: cannot listen at 192.0.2.1:80: this machine does not have the address"),
        ("bind = ['127.0.0.1:0', 'unix:/no-such-directory/s']", "bind: cannot listen at unix:/no-such-directory/s: "),
        ("bind = 'ftp://x'", "bind: 'ftp://x' has an unknown scheme; tcp://, unix: and fd:// are known"),
        ("pidfile = '/no-such-directory/pid'", "pidfile: there is no directory /no-such-directory: make it, or name"),
        ("initgroups = True\nuser = 4294967290", "initgroups: user id 4294967290 has no name on this system"),
    ],
)
def test_a_check_names_the_file_that_says_what_the_master_would_fail_for(tmp_path: Path, line: str, told: str):
    (tmp_path / "gunicorn.conf.py").write_text(line)
    code, out, err = outcome(tmp_path, "--check-config", "hello:app")
    assert (code, out) == (1, "")
    assert err.startswith(f"greenhorn: error: {tmp_path / 'gunicorn.conf.py'}: {told}")
    assert len(err.splitlines()) == 1


def test_a_check_beside_a_server_at_the_same_address_passes(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert outcome(tmp_path, "--check-config", "-b", address, "hello:app") == (0, "", "")


def test_a_wrong_setting_ends_with_1_and_a_wrong_flag_with_2(tmp_path: Path):
    code, _, err = outcome(tmp_path, "--check-config", "hello:app", WEB_CONCURRENCY="many")
    assert code == 1
    assert err.startswith("greenhorn: error: environment variable WEB_CONCURRENCY: workers = 'many': ")
    code, _, err = outcome(tmp_path, "--check-config", "hello:app", "-w", "many")
    assert code == 2
    assert "greenhorn: error: argument -w/--workers: 'many': " in err


def test_warnings_go_to_standard_error(tmp_path: Path):
    code, out, err = outcome(tmp_path, "--check-config", "--http2-cleartext", "both", "hello:app")
    assert (code, out) == (0, "")
    assert err == (
        "greenhorn: warning: command line: http2_cleartext = 'both': ignored: greenhorn 0.1.0 has no HTTP/2 yet\n"
    )


def test_tls_is_never_left_out_in_silence(tmp_path: Path):
    code, _, err = outcome(tmp_path, "--certfile", "cert.pem", "hello:app")
    assert code == 1
    assert err == "greenhorn: error: command line: certfile: cannot read cert.pem: No such file or directory\n"


def test_directory_path_and_environment_are_in_force_for_a_check(tmp_path: Path):
    for name in ("inner", "first", "second"):
        (tmp_path / name).mkdir()
    arguments = ["--check-config", "--chdir", "inner", "--pythonpath", f"{tmp_path}/first,../second"]
    (tmp_path / "first" / "found.py").write_text(HELLO)
    code, out, err = outcome(tmp_path, *arguments, "-e", "COLOUR=green=blue", "found:tell()")
    assert (code, err) == (0, "")
    where, colour, software, path = out.splitlines()
    assert Path(where) == tmp_path / "inner"
    assert colour == "green=blue"
    assert software == "greenhorn/0.1.0"
    assert path == str([str(tmp_path / name) for name in ("first", "second", "inner")])


def test_print_config_prints_a_file_that_gives_the_same_values(tmp_path: Path):
    arguments = ["-b", "unix:/x", "--pythonpath", "a,b", "-e", "A=it's", "--keep-alive", "1m", "hello:app"]
    code, out, err = outcome(tmp_path, "--print-config", *arguments, PORT="7")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == sorted(line.partition(" ")[0] for line in lines)
    assert len({line.index(" = ") for line in lines}) == 1
    values: dict[str, object] = {}
    exec(out, values)
    assert values["bind"] == ("unix:/x",)
    assert values["keepalive"] == 60
    origins = {line.partition(" ")[0]: line.rpartition("  # ")[2] for line in lines}
    assert (origins["bind"], origins["workers"]) == ("command line", "default")
    (tmp_path / "again.py").write_text(out)
    again = greenhorn(tmp_path, "-c", "again.py")
    same = [line.partition("  # ")[0].rstrip() for line in again.stdout.splitlines()]
    wanted = [line.partition("  # ")[0].rstrip() for line in lines]
    assert [line for line in same if not line.startswith("config ")] == [
        line for line in wanted if not line.startswith("config ")
    ]


def test_print_config_fails_as_a_check_does(tmp_path: Path):
    code, out, err = outcome(tmp_path, "--print-config", "missing:app")
    assert code == 1
    assert "workers " in out
    assert "no module named missing" in err


def test_version(tmp_path: Path):
    assert outcome(tmp_path, "--version") == (0, "greenhorn (version 0.1.0)\n", "")


def test_a_check_binds_nothing(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert outcome(tmp_path, "--check-config", "-b", address, "hello:app") == (0, "", "")
