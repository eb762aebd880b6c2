"""Certificates and keys that cannot be used: a start and a check say so in one line, and nothing is served plainly."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from greenhorn import cli
from unit.tls.making import DAY, NOW, SERVER, authority, make, rsa_key, write_crl

HELLO = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, start_directory: None, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - a fixture
    """Start where an application, certificates and much that is wrong are."""
    (tmp_path / "hello.py").write_text(HELLO)
    made = make(SERVER)
    made.write(tmp_path, "good")
    make("other.example").write(tmp_path, "other")
    make(SERVER, key=rsa_key()).write(tmp_path, "rsa")
    made.write(tmp_path, "locked", "zq81 by heart")
    issuer = authority()
    (tmp_path / "ca.pem").write_bytes(issuer.pem)
    write_crl(tmp_path / "crl.pem", issuer)
    (tmp_path / "both.pem").write_bytes(made.pem + made.key_pem())
    (tmp_path / "cut.pem").write_bytes(made.pem[:300])
    (tmp_path / "cut.key").write_bytes(made.key_pem()[:100])
    (tmp_path / "empty").touch()
    for name in ("PORT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "GREENHORN_CMD_ARGS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class Wrong(NamedTuple):
    """What was typed, and what has to be told of it."""

    typed: str
    told: str
    remedy: str = ""


GOOD = "--certfile good.pem --keyfile good.key"
TABLE = [
    Wrong("--certfile nope.pem", "certfile: cannot read nope.pem", "No such file or directory"),
    Wrong("--certfile .", "certfile: cannot read .", "Is a directory"),
    Wrong("--certfile empty", "certfile: empty is no certificate in PEM form"),
    Wrong("--certfile cut.pem --keyfile good.key", "certfile: cut.pem is no certificate in PEM form"),
    Wrong("--certfile hello.py", "certfile: hello.py is no certificate in PEM form"),
    Wrong("--certfile good.key", "certfile: good.key is no certificate in PEM form"),
    Wrong("--certfile good.pem", "certfile: the key in good.pem: there is no private key", "name its file in keyfile"),
    Wrong("--certfile good.pem --keyfile nope", "keyfile: cannot read nope", "No such file or directory"),
    Wrong("--certfile good.pem --keyfile good.pem", "keyfile: good.pem: there is no private key in PEM form"),
    Wrong("--certfile good.pem --keyfile cut.key", "keyfile: cut.key cannot be read", "or damaged"),
    Wrong(
        "--certfile good.pem --keyfile other.key", "keyfile: other.key does not belong to", "name the key that it was"
    ),
    Wrong("--certfile good.pem --keyfile rsa.key", "keyfile: rsa.key does not belong to", "name the key that it was"),
    Wrong("--certfile locked.pem --keyfile locked.key", "keyfile: locked.key is encrypted", "set key_password"),
    Wrong(
        "--certfile locked.pem --keyfile locked.key --key-password zq82",
        "keyfile: locked.key cannot be opened",
        "key_password is wrong",
    ),
    Wrong(
        "--certfile locked.pem --keyfile locked.key --key-password file:nope",
        "key_password: cannot read nope",
        "No such file",
    ),
    Wrong(
        "--certfile locked.pem --keyfile locked.key --key-password command:false",
        "key_password: the command 'false'",
        "fails with exit code 1",
    ),
    Wrong("--keyfile good.key", "keyfile: good.key needs a certificate", "name one in certfile"),
    Wrong("--certificate other.pem,other.key", "certificates: those are more", "name the first one in certfile"),
    Wrong(f"{GOOD} --certificate other.pem,good.key", "keyfile: good.key does not belong to the certificate in other"),
    Wrong(f"{GOOD} --certificate nope", "certfile: cannot read nope", "No such file"),
    Wrong("--cert-reqs required", "cert_reqs: clients cannot show a certificate without TLS", "set certfile"),
    Wrong(f"{GOOD} --cert-reqs 2", "cert_reqs: nobody's client certificates", "name their issuers in ca_certs"),
    Wrong(f"{GOOD} --cert-reqs 2 --ca-certs nope", "ca_certs: cannot read nope", "No such file"),
    Wrong(f"{GOOD} --ca-certs hello.py", "ca_certs: there is no certificate in PEM form in hello.py"),
    Wrong(f"{GOOD} --crl-file crl.pem", "crl_file: no client is asked", "set cert_reqs"),
    Wrong(f"{GOOD} --cert-reqs 2 --ca-certs ca.pem --crl-file ca.pem", "crl_file: there is no revocation list"),
    Wrong(f"{GOOD} --ciphers NOPE", "ciphers: OpenSSL knows none of 'NOPE'", "`openssl ciphers` lists"),
    Wrong("-b https://127.0.0.1:0", "bind: https needs a certificate", "name one in certfile"),
    Wrong("-b https://127.0.0.1:0/x", "bind: 'https://127.0.0.1:0/x' is no address", "write https://HOST:PORT"),
    Wrong("-b https://127.0.0.1:0?certfile", "bind: 'https://127.0.0.1:0?certfile'", "NAME=VALUE&NAME=VALUE"),
    Wrong("-b https://127.0.0.1:0?certfile=nope", "bind: 127.0.0.1:0: certfile: cannot read nope", "No such file"),
    Wrong("-b https://127.0.0.1:0?certfile=both.pem&workers=2", "bind: 'workers' is nothing", "keyfile"),
    Wrong("-b http://127.0.0.1:0?certfile=both.pem", "bind: 'certfile' is nothing", "redirect is"),
    Wrong(
        "-b http://127.0.0.1:0?redirect=example.org", "bind: redirect='example.org' at", "such as https://example.org"
    ),
    Wrong("-b 127.0.0.1:0?certfile=both.pem", "bind: '127.0.0.1:0?certfile=both.pem'", "write https://HOST:PORT?"),
    Wrong(
        f"-b 127.0.0.1:0 -b https://127.0.0.1:0?certfile=nope {GOOD}", "bind: 127.0.0.1:0: certfile: cannot read nope"
    ),
]
UNPARSED = [
    Wrong("--tls-min-version 1.1", "argument --tls-min-version: '1.1': must be 1.2 or 1.3", "broken (RFC 8996)"),
    Wrong("--tls-min-version SSLv3", "argument --tls-min-version: 'SSLv3': ", "must be 1.2 or 1.3"),
    Wrong("--cert-reqs 3", "argument --cert-reqs: '3': ", "0 (none), 1 (optional) or 2 (required)"),
    Wrong("--verify-flags strict", "argument --verify-flags: 'strict': ", "x509_strict"),
    Wrong("--certificate a,b,c", "argument --certificate: 'a,b,c': ", "must be CERTFILE, or CERTFILE,KEYFILE"),
    Wrong("--certificates a", "unknown option --certificates ", "did you mean --certificate?"),
]


@pytest.fixture
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whatever would be a server fail the test."""

    def refuse(*_: object) -> None:
        pytest.fail("a server was about to be started")

    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)


def outcome(arguments: list[str]) -> object:
    try:
        return cli.main(arguments)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("check", [[], ["--check-config"]], ids=["start", "check"])
@pytest.mark.parametrize("wrong", [*TABLE, *UNPARSED], ids=lambda wrong: wrong.typed)
@pytest.mark.usefixtures("nothing_is_started")
def test_what_is_wrong_ends_a_start_and_a_check_with_one_line(
    capfd: pytest.CaptureFixture[str], wrong: Wrong, check: list[str]
):
    code = outcome([*check, *wrong.typed.split(), "hello:app"])
    told = capfd.readouterr()
    assert (code, told.out) == (2 if wrong in UNPARSED else 1, "")
    [line] = [line for line in told.err.splitlines() if line.startswith("greenhorn: error: ")]
    said = line.removeprefix("greenhorn: error: ")
    assert said.startswith(wrong.told if wrong in UNPARSED else f"command line: {wrong.told}")
    assert wrong.remedy in said
    assert "zq8" not in told.err
    assert "Traceback" not in told.err


def test_the_source_of_each_setting_is_named(folder: Path, capfd: pytest.CaptureFixture[str]):
    (folder / "gunicorn.conf.py").write_text("certfile = 'good.pem'\nkeyfile = 'other.key'\n")
    assert outcome(["--check-config", "hello:app"]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"greenhorn: error: {folder / 'gunicorn.conf.py'}: keyfile: other.key does not belong")


# The command, as a process of its own.


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "greenhorn", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_server_whose_certificate_is_wrong_serves_nobody():
    finished = run("-b", "127.0.0.1:0", "-b", "http://127.0.0.1:0", "--certfile", "cut.pem", "hello:app")
    assert finished.returncode == 1
    assert "Listening" not in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_a_check_warns_of_certificates_that_are_not_valid_now(folder: Path):
    late = make(SERVER, ends=NOW - DAY / 2).write(folder, "late")
    soon = make("soon.example", ends=NOW + DAY).write(folder, "soon")
    early = make("early.example", begins=NOW + DAY).write(folder, "early")
    more = [f"--certificate={pair}" for pair in (soon, early)]
    arguments = ["--certfile", late.certfile, "--keyfile", str(late.keyfile), *more, "hello:app"]
    for check in ("--check-config", "--print-config"):
        finished = run(check, *arguments)
        assert finished.returncode == 0
        told = re.findall(r"greenhorn: warning: certfile: (\S+) (.+?) [-0-9]{10} [0-9:]{5} UTC\n", finished.stderr)
        assert told == [
            (late.certfile, "has expired at"),
            (soon.certfile, "expires at"),
            (early.certfile, "is not valid before"),
        ]
        assert len(finished.stderr.splitlines()) == 3


def test_a_check_of_a_good_certificate_says_nothing():
    finished = run("--check-config", *GOOD.split(), "-b", "127.0.0.1:0", "hello:app")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_passwords_are_not_printed(folder: Path):
    (folder / "gunicorn.conf.py").write_text("certfile = 'locked.pem'\nkeyfile = 'locked.key'\n")
    url = "https://127.0.0.1:0?certfile=locked.pem&keyfile=locked.key&key_password=zq81%20by%20heart"
    finished = run("--print-config", "--key-password", "zq81 by heart", "-b", url, "hello:app")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "zq81" not in finished.stdout
    assert re.search(r"^key_password += '\.\.\.' +# command line$", finished.stdout, re.MULTILINE)
    assert "keyfile=locked.key&key_password=...'" in finished.stdout
    unset = run("--print-config", *GOOD.split(), "--keyfile", "good.key", "hello:app")
    assert re.search(r"^key_password += None +# default$", unset.stdout, re.MULTILINE)
