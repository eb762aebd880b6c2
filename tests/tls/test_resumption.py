"""Sessions that go on without a full handshake: with every worker, behind a reload and a new certificate."""

import os
import signal
import ssl
from pathlib import Path

import pytest
import trustme

from integration.reloading import hang_up, wait_for_others
from integration.running import Server, StartServer, wait_until
from integration.upgrading import upgraded
from tls.certificates import Issued, issue
from tls.clients import Visit, ask, line_of, only, port_of, s_client, visit

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
SOURCE = """
import os

def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getpid()} {environ['SSL_SESSION_RESUMED']}".encode()]
"""


def resumed(made: Visit) -> bool:
    """Whether the session went on, on which both sides agree."""
    told = made.answer.text.split()[1]
    assert told == ("Resumed" if made.resumed else "Initial")
    return made.resumed


@VERSIONS
def test_a_session_goes_on_each_time(secure: StartServer, trusting: ssl.SSLContext, version: ssl.TLSVersion):
    site = secure(app_source=SOURCE)
    made = visit(site, only(trusting, version))
    course = [resumed(made)]
    for _ in range(5):
        made = visit(site, trusting, session=made.session)
        course.append(resumed(made))
    assert course == [False, True, True, True, True, True]
    assert not resumed(visit(site, trusting))


@VERSIONS
def test_a_session_of_one_worker_goes_on_with_another(
    secure: StartServer, trusting: ssl.SSLContext, version: ssl.TLSVersion
):
    site = secure(app_source=SOURCE, workers=2)
    first = visit(site, only(trusting, version))
    seen = {first.answer.text.split()[0]}

    def both() -> bool:
        """Come in groups, so that it is not always the same worker that is awake first."""
        for connection in [site.dial() for _ in range(8)]:
            with site.secure(connection, trusting, session=first.session) as secured:
                assert secured.session_reused
                pid, told = ask(secured).text.split()
                assert told == "Resumed"
                seen.add(pid)
        return seen == set(map(str, site.worker_pids()))

    wait_until(both, what="both workers")


@VERSIONS
def test_sessions_go_on_behind_a_reload_and_with_a_worker_in_place_of_one_that_died(
    secure: StartServer, trusting: ssl.SSLContext, version: ssl.TLSVersion
):
    site = secure(app_source=SOURCE, workers=2)
    made = visit(site, only(trusting, version))
    hang_up(site)
    made = visit(site, trusting, session=made.session)
    assert resumed(made)
    old = site.worker_pids()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_for_others(site, old)
    assert resumed(visit(site, trusting, session=made.session))


@VERSIONS
def test_sessions_go_on_behind_a_new_certificate(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path, version: ssl.TLSVersion
):
    old, new = issue(authority, tmp_path / "old"), issue(authority, tmp_path / "new")
    site = server(None, *old.flags, app_source=SOURCE, trust=trusting)
    made = visit(site, only(trusting, version))
    assert made.certificate == old.certificate
    old.replace_by(new)
    hang_up(site)
    assert resumed(visit(site, trusting, session=made.session))
    fresh = visit(site, trusting)
    assert not resumed(fresh)
    assert fresh.certificate == new.certificate


@VERSIONS
def test_another_master_has_keys_of_its_own_and_begins_anew(
    secure: StartServer, trusting: ssl.SSLContext, version: ssl.TLSVersion
):
    """No key is handed to the program that USR2 starts: its clients need one full handshake, and no more."""
    site = secure(app_source=SOURCE)
    made = visit(site, only(trusting, version))
    with upgraded(site):
        course = [visit(site, trusting, session=made.session) for _ in range(8)]
    for one in course:
        assert one.answer.status == 200
        assert resumed(one) == (one.answer.text.split()[0] == made.answer.text.split()[0])


def test_openssl_counts_sessions_that_go_on(secure: StartServer, tmp_path: Path, ca_file: Path):
    site = secure(app_source=SOURCE)
    session = tmp_path / "session"
    _, said = s_client(site.port, "-CAfile", str(ca_file), "-sess_out", str(session))
    assert "New, TLSv1.3" in said
    _, said = s_client(site.port, "-CAfile", str(ca_file), "-sess_in", str(session))
    assert "Reused, TLSv1.3" in said
    assert line_of(said, "Verify return code") == "0 (ok)"
    _, said = s_client(site.port, "-CAfile", str(ca_file), "-tls1_2", "-reconnect")
    assert said.count("New, TLSv1.2") == 1
    assert said.count("Reused, TLSv1.2") == 5


@VERSIONS
def test_sessions_of_every_name_go_on_with_their_certificates(
    server: StartServer, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path, version: ssl.TLSVersion
):
    one, other = issue(authority, tmp_path / "one"), issue(authority, tmp_path / "other", "other.example")
    flags = (*one.flags, "--certificate", f"{other.certfile},{other.keyfile}")
    site = server(None, *flags, app_source=SOURCE, trust=only(trusting, version))
    for name, shown in (("localhost", one), ("other.example", other)):
        made = visit(site, trusting, server_hostname=name)
        assert not resumed(made)
        again = visit(site, trusting, server_hostname=name, session=made.session)
        assert resumed(again)
        assert made.certificate == again.certificate == shown.certificate


@VERSIONS
def test_a_session_of_an_address_that_wants_no_certificate_opens_none_that_wants_one(
    server: StartServer,
    certificate: Issued,
    trusting: ssl.SSLContext,
    ca_file: Path,
    version: ssl.TLSVersion,
):
    open_to_all = f"https://127.0.0.1:0?{certificate.url}"
    bind = (open_to_all, f"{open_to_all}&ca_certs={ca_file}&cert_reqs=2")
    site: Server = server(app_source=SOURCE, bind=bind, trust=only(trusting, version))
    made = visit(site, trusting)
    with pytest.raises(ssl.SSLError):
        visit(site, trusting, session=made.session, port=port_of(site, "https", 1))
    assert resumed(visit(site, trusting, session=made.session))
