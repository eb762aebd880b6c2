"""Certificates that are replaced while the server runs: by HUP, or by themselves when their files change."""

import os
import signal
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from integration.kinds import EVERY_KIND, ONE_REQUEST, differs
from integration.load import load
from integration.reloading import GIVEN_UP, hang_up, signal_and_wait, wait_for_others
from integration.running import Server, StartServer, servers, wait_until
from tls.certificates import Issued, issue, write_crl
from tls.clients import ask, shown_certificate, visit

REFUSED = "The new certificate is refused, and the old one stays"
RENEWED = "There is a new certificate"
SOURCE = """
import os

def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> tuple[Issued, Issued]:
    """The certificate that a server has, and another one to take its place."""
    return issue(authority, tmp_path / "old"), issue(authority, tmp_path / "new")


@pytest.fixture
def renewing(server: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext) -> StartServer:
    """Start servers that look at the files of their certificate."""

    def start(*arguments: str, **options: object) -> Server:
        flags = (*pair[0].flags, "--reload-certificates", *arguments)
        return server(None, *flags, app_source=SOURCE, **{"trust": trusting, **options})

    return start


def wait_for_certificate(site: Server, trusting: ssl.SSLContext, wanted: Issued) -> None:
    """Return when some connections in a row are shown the certificate."""

    def shown() -> bool:
        return all(visit(site, trusting).certificate == wanted.certificate for _ in range(6))

    wait_until(shown, what="the new certificate")


def refusals(site: Server) -> int:
    return site.log().count(REFUSED)


@EVERY_KIND
def test_hup_takes_a_new_certificate_under_load_and_no_request_fails(
    server: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext
):
    old, new = pair
    site = server(None, *old.flags, app_source=SOURCE, trust=trusting, workers=2)
    with load(site, 6) as clients:
        clients.more(60)
        old.replace_by(new)
        hang_up(site)
        clients.more(60)
        assert visit(site, trusting).certificate == new.certificate


def test_new_files_are_taken_under_load_without_another_worker_and_no_request_fails(
    renewing: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext
):
    old, new = pair
    site = renewing(workers=2)
    workers = site.worker_pids()
    with load(site, 6) as clients:
        clients.more(60)
        old.replace_by(new)
        wait_for_certificate(site, trusting, new)
        clients.more(60)
    assert site.worker_pids() == workers
    assert site.log().count(RENEWED) == 1
    assert REFUSED not in site.log()


@EVERY_KIND
@differs("sync", row=ONE_REQUEST)
def test_connections_keep_their_certificate_and_go_on(
    renewing: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext
):
    old, new = pair
    site = renewing()
    with site.connect() as connection:
        assert ask(connection).status == 200
        old.replace_by(new)
        wait_for_certificate(site, trusting, new)
        assert ask(connection).status == 200
        assert isinstance(connection, ssl.SSLSocket)
        assert shown_certificate(connection) == old.certificate


def test_new_files_are_left_alone_unless_that_is_asked_for(
    server: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext
):
    old, new = pair
    site = server(None, *old.flags, app_source=SOURCE, trust=trusting)
    before = site.worker_pid()
    old.replace_by(new)
    os.kill(before, signal.SIGKILL)  # whoever comes next has what the master has
    wait_for_others(site, [before])
    assert visit(site, trusting).certificate == old.certificate


BROKEN = {
    "no certificate": lambda old, _: old.certfile.write_text("zq81"),
    "empty": lambda old, _: old.certfile.write_text(""),
    "cut short": lambda old, _: old.certfile.write_text(old.certfile.read_text()[:200]),
    "another key": lambda old, new: old.keyfile.write_bytes(new.keyfile.read_bytes()),
    "gone": lambda old, _: old.certfile.unlink(),
}


def test_files_that_cannot_be_used_are_refused_once_each_and_good_ones_behind_them_are_taken(
    renewing: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext
):
    old, new = pair
    site = renewing()
    for number, what in enumerate(("cut short", "another key"), 1):
        BROKEN[what](old, new)
        wait_until(lambda number=number: refusals(site) >= number, what="the refusal")
        assert visit(site, trusting).certificate == old.certificate
    old.replace_by(new)
    wait_for_certificate(site, trusting, new)
    assert refusals(site) == 2


@pytest.mark.parametrize("what", BROKEN)
def test_a_reload_with_files_that_cannot_be_used_is_given_up(
    server: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext, what: str
):
    old, new = pair
    site = server(None, *old.flags, app_source=SOURCE, trust=trusting)
    worker = site.worker_pid()
    BROKEN[what](old, new)
    said = signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
    assert "certfile: " in said or "keyfile: " in said
    assert visit(site, trusting).certificate == old.certificate
    assert site.worker_pid() == worker
    old.replace_by(new)
    hang_up(site)
    assert visit(site, trusting).certificate == new.certificate


def test_a_reload_may_name_other_files(server: StartServer, pair: tuple[Issued, Issued], trusting: ssl.SSLContext):
    old, new = pair
    text = "certfile = '{0.certfile}'\nkeyfile = '{0.keyfile}'\n"
    site = server(None, app_source=SOURCE, config=text.format(old), trust=trusting)
    assert visit(site, trusting).certificate == old.certificate
    (site.folder / "config.py").write_text(text.format(new))
    hang_up(site)
    assert visit(site, trusting).certificate == new.certificate


@EVERY_KIND
def test_every_certificate_by_name_and_every_revocation_list_is_looked_at(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, ca_file: Path, tmp_path: Path
):
    main, named, renewed = (issue(authority, tmp_path / name, *hosts) for name, hosts in NAMED.items())
    client = issue(authority, tmp_path / "client", "client.example")
    crl = write_crl(authority, tmp_path / "crl.pem")
    flags = (*main.flags, "--certificate", f"{named.certfile},{named.keyfile}", "--ca-certs", str(ca_file))
    more = ("--cert-reqs", "2", "--crl-file", str(crl), "--reload-certificates")
    trusting.load_cert_chain(client.certfile, client.keyfile)
    site = server(None, *flags, *more, app_source=SOURCE, trust=trusting)
    assert visit(site, trusting, server_hostname="named.example").certificate == named.certificate
    named.replace_by(renewed)
    site.wait_for_log(RENEWED)
    wait_until(
        lambda: visit(site, trusting, server_hostname="named.example").certificate == renewed.certificate,
        what="the certificate of the name",
    )
    assert visit(site, trusting).certificate == main.certificate
    write_crl(authority, tmp_path / "fresh.pem", client).replace(crl)

    def is_refused() -> bool:
        try:
            return visit(site, trusting).answer.status != 200
        except ssl.SSLError:
            return True

    wait_until(is_refused, what="the revocation")
    site.wait_for_log(
        "The client certificate from 127.0.0.1 is refused: certificate verify failed: certificate revoked"
    )


NAMED = {"main": (), "named": ("named.example",), "renewed": ("named.example",)}


@pytest.fixture
def public(authority: trustme.CA) -> Iterator[tuple[StartServer, Issued, Issued]]:
    """What starts servers where every user may read, and certificates whose keys only root can read."""
    with tempfile.TemporaryDirectory(prefix="greenhorn-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        old, new = issue(authority, folder / "old"), issue(authority, folder / "new")
        for one in (old, new):
            one.certfile.parent.chmod(0o700)
        with servers(folder) as start:
            yield start, old, new


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_that_may_not_read_the_key_are_exchanged_for_others_that_have_it(
    public: tuple[StartServer, Issued, Issued],
    trusting: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    start, old, new = public
    flags = (*old.flags, "--reload-certificates", "--user", "nobody")
    site = start(None, *flags, app_source=SOURCE, trust=trusting, workers=2)
    workers = site.worker_pids()
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in workers} != {0}
    with load(site, 4) as clients:
        clients.more(40)
        old.replace_by(new)
        wait_for_others(site, workers)
        wait_for_certificate(site, trusting, new)
        clients.more(40)
    assert site.log().count("the new certificates cannot be loaded here") == 2
