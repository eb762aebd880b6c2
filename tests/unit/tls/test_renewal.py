"""Certificates that are exchanged while the server runs: what is new, what stays, and what is refused."""

import gc
import os
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from greenhorn.errors import ConfigError
from greenhorn.tls.credentials import Credentials
from greenhorn.tls.options import Pair
from unit.tls.making import SERVER, Made, authority, make, options, put, rsa_key, write_crl
from unit.tls.talking import Talk, client_context, only, resumes


def test_files_that_are_the_same_are_not_loaded_again(tmp_path: Path, credentials: Credentials, first: Made):
    assert not credentials.renew()
    first.write(tmp_path)  # other files, with the same in them
    assert not credentials.renew()
    assert Talk(credentials).shown == first.der


def test_a_new_certificate_is_shown_to_those_who_come_from_now_on(
    tmp_path: Path, credentials: Credentials, first: Made
):
    there = Talk(credentials)
    second = make(SERVER, "new.example")
    second.write(tmp_path)
    assert credentials.renew()
    assert not credentials.renew()
    assert Talk(credentials).shown == second.der
    there.server.write(b"still here")
    assert (there.client.read(20), there.shown) == (b"still here", first.der)


def test_a_client_in_the_middle_of_its_handshake_gets_one_certificate_or_the_other(
    tmp_path: Path, credentials: Credentials
):
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(down, up, server_hostname=SERVER)
    server = credentials.wrap(up, down)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    second = make(SERVER)
    second.write(tmp_path)
    assert credentials.renew()
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    client.do_handshake()
    server.do_handshake()
    server.write(b"hello")
    assert client.read(5) == b"hello"


def test_names_that_are_new_are_known_and_those_that_are_gone_are_not(tmp_path: Path, pair: Pair, first: Made):
    credentials = Credentials(options(pair, make("before.example").write(tmp_path, "other")))
    second = make("after.example")
    second.write(tmp_path, "other")
    assert credentials.renew()
    assert Talk(credentials, name="after.example").shown == second.der
    assert Talk(credentials, name="before.example").shown == first.der


def test_another_kind_of_key_replaces_the_one_before_instead_of_standing_beside_it(
    tmp_path: Path, credentials: Credentials
):
    second = make(SERVER, kind="rsa")
    second.write(tmp_path)
    assert credentials.renew()
    assert Talk(credentials, only("rsa")).shown == second.der
    with pytest.raises(ssl.SSLError):
        Talk(credentials, only("ec"))


def test_a_pair_of_two_kinds_stays_one_when_either_is_renewed(tmp_path: Path):
    made = {kind: make(SERVER, kind=kind) for kind in ("rsa", "ec")}
    credentials = Credentials(options(*(one.write(tmp_path, kind) for kind, one in made.items())))
    for kind in list(made):
        made[kind] = make(SERVER, key=rsa_key(1)) if kind == "rsa" else make(SERVER)
        made[kind].write(tmp_path, kind)
        assert credentials.renew()
        for each, one in made.items():
            assert Talk(credentials, only(each)).shown == one.der


def test_others_who_are_believed_count_at_once_and_no_session_outlives_them(tmp_path: Path, pair: Pair):
    issuers = [authority(), authority("another authority")]
    path = tmp_path / "ca.pem"
    path.write_bytes(issuers[0].pem)
    credentials = Credentials(options(pair, ca_certs=str(path), cert_reqs=ssl.CERT_REQUIRED))
    contexts = []
    for number, issuer in enumerate(issuers):
        shows = make("member.example", issuer=issuer).write(tmp_path, f"client{number}")
        contexts.append(client_context(shows=shows, newest=ssl.TLSVersion.TLSv1_2))
    before = Talk(credentials, contexts[0])
    assert Talk(credentials, contexts[0], session=before.client.session).server.session_reused
    put(path, issuers[1].pem)
    assert credentials.renew()
    with pytest.raises(ssl.SSLError):
        Talk(credentials, contexts[0], session=before.client.session)
    assert not Talk(credentials, contexts[1]).server.session_reused


def test_a_new_revocation_list_ends_the_sessions_of_those_who_are_revoked(tmp_path: Path, pair: Pair):
    issuer = authority()
    (tmp_path / "ca.pem").write_bytes(issuer.pem)
    member = make("member.example", issuer=issuer)
    crl = write_crl(tmp_path / "crl.pem", issuer)
    credentials = Credentials(
        options(pair, ca_certs=str(tmp_path / "ca.pem"), cert_reqs=ssl.CERT_REQUIRED, crl_file=crl)
    )
    context = client_context(shows=member.write(tmp_path, "client"), newest=ssl.TLSVersion.TLSv1_2)
    before = Talk(credentials, context)
    write_crl(tmp_path / "crl.pem", issuer, member)
    assert credentials.renew()
    with pytest.raises(ssl.SSLError):
        Talk(credentials, context, session=before.client.session)


# What cannot be used.


@pytest.mark.parametrize("wrong", ["gone", "empty", "garbage", "half", "of another"])
def test_a_certificate_that_cannot_be_used_is_refused_and_the_old_one_stays(
    tmp_path: Path, credentials: Credentials, first: Made, wrong: str
):
    context = client_context()
    before = Talk(credentials, context)
    path = tmp_path / "server.pem"
    if wrong == "gone":
        path.unlink()
    else:
        found = {"empty": b"", "garbage": b"x" * 9, "half": first.pem[:300], "of another": make(SERVER).pem}[wrong]
        put(path, found)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^(certfile|keyfile): "):
            credentials.renew()
    assert Talk(credentials, context).shown == first.der
    assert resumes(credentials, context, before)
    second = make(SERVER)
    second.write(tmp_path)
    assert credentials.renew()
    assert Talk(credentials, context).shown == second.der


def test_one_of_several_that_cannot_be_used_leaves_all_as_they_are(tmp_path: Path, first: Made, pair: Pair):
    other = make("other.example")
    credentials = Credentials(options(pair, other.write(tmp_path, "other")))
    make(SERVER).write(tmp_path)
    put(tmp_path / "other.pem", b"")
    with pytest.raises(ConfigError):
        credentials.renew()
    assert Talk(credentials).shown == first.der
    assert Talk(credentials, name="other.example").shown == other.der


def test_a_certificate_that_cannot_be_used_is_no_beginning(tmp_path: Path, pair: Pair):
    put(tmp_path / "server.pem", b"")
    with pytest.raises(ConfigError, match=r"^certfile: "):
        Credentials(options(pair))


# Looking at the files.


def touch(path: Path) -> None:
    """Let a file look as if it was written to."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def test_files_that_nobody_touches_do_not_change(credentials: Credentials):
    assert [credentials.has_changed() for _ in range(3)] == [False, False, False]


def test_a_change_counts_once_it_has_settled(tmp_path: Path, credentials: Credentials):
    second = make(SERVER)
    put(tmp_path / "server.key", second.key_pem())
    assert not credentials.has_changed()
    put(tmp_path / "server.pem", second.pem)
    assert not credentials.has_changed()
    assert credentials.has_changed()
    assert credentials.renew()
    assert not credentials.has_changed()
    assert Talk(credentials).shown == second.der


def test_what_was_tried_and_refused_is_not_tried_again_until_it_changes(tmp_path: Path, credentials: Credentials):
    second = make(SERVER)
    put(tmp_path / "server.key", second.key_pem())
    assert [credentials.has_changed() for _ in range(2)] == [False, True]
    with pytest.raises(ConfigError):
        credentials.renew()
    assert [credentials.has_changed() for _ in range(3)] == [False, False, False]
    put(tmp_path / "server.pem", second.pem)
    assert [credentials.has_changed() for _ in range(2)] == [False, True]
    assert credentials.renew()


def test_a_file_that_is_gone_and_comes_back_as_it_was_is_no_news(tmp_path: Path, credentials: Credentials, first: Made):
    path = tmp_path / "server.pem"
    away = path.rename(tmp_path / "away.pem")
    assert [credentials.has_changed() for _ in range(2)] == [False, True]
    away.rename(path)
    assert [credentials.has_changed() for _ in range(2)] == [False, False]
    touch(path)
    assert [credentials.has_changed() for _ in range(2)] == [False, True]
    assert not credentials.renew()
    assert Talk(credentials).shown == first.der


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path):
    """Certbot and Kubernetes exchange certificates in this way."""
    made = [make(SERVER), make(SERVER)]
    for number, one in enumerate(made):
        (tmp_path / str(number)).mkdir()
        one.write(tmp_path / str(number))
    live = tmp_path / "live"
    live.symlink_to("0")
    credentials = Credentials(options(Pair(str(live / "server.pem"), str(live / "server.key"))))
    fresh = tmp_path / "fresh"
    fresh.symlink_to("1")
    fresh.replace(live)
    assert [credentials.has_changed() for _ in range(2)] == [False, True]
    assert credentials.renew()
    assert Talk(credentials).shown == made[1].der


# Threads.


def test_handshakes_and_renewals_at_the_same_time_disturb_each_other_nowhere(tmp_path: Path, pair: Pair):
    pairs = [pair, make("other.example").write(tmp_path, "other")]
    credentials = Credentials(options(*pairs))
    ended = threading.Event()
    failures: list[BaseException] = []

    def talk(name: str) -> None:
        context = client_context()
        session: Any = None
        try:
            while not ended.is_set():
                session = Talk(credentials, context, name, session).client.session
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            failures.append(error)

    threads = [threading.Thread(target=talk, args=(name,)) for name in (SERVER, "other.example") for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            make(SERVER).write(tmp_path)
            assert credentials.renew()
            make("other.example").write(tmp_path, "other")
            assert credentials.renew()
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
    assert failures == []
    gc.collect()
