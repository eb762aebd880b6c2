"""Which certificate a client gets, how certificates are exchanged, and how long session tickets are good for."""

import datetime as dt
import gc
import ssl
import sys
from pathlib import Path

import pytest

from greenhorn.tls.context import make_context
from greenhorn.tls.credentials import Credentials, keep_quiet_of_names
from greenhorn.tls.options import Pair, TLSOptions
from unit.tls.making import DAY, NOW, SERVER, authority, make, options
from unit.tls.talking import Talk, client_context, only, resumes

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


# Names.


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (None, "first"),
        ("first.example", "first"),
        ("unknown.example", "first"),
        ("zq.example", "exact"),
        ("ZQ.Example", "exact"),
        ("a.zq.example", "wildcard"),
        ("b.zq.example", "exact"),
        ("A.C.zq.example", "first"),
        ("b.b.zq.example", "inner"),
        ("localhost", "first"),
    ],
)
def test_a_client_gets_the_certificate_of_the_name_that_it_asks_for(tmp_path: Path, asked: str | None, shown: str):
    names = {
        "first": ["first.example"],
        "wildcard": ["*.zq.example"],
        "exact": ["zq.example", "b.zq.example"],
        "inner": ["*.b.zq.example"],
        "second": ["zq.example", "unheard.example"],
    }
    made = {name: make(*hosts) for name, hosts in names.items()}
    credentials = Credentials(options(*(one.write(tmp_path, name) for name, one in made.items())))
    talk = Talk(credentials, name=asked)
    assert talk.shown == made[shown].der
    assert talk.server.server_name == (asked.lower() if asked else None)


def test_the_name_that_was_asked_for_is_known_where_there_is_one_certificate(credentials: Credentials):
    assert Talk(credentials, name="Some.Where.example").server.server_name == "some.where.example"
    assert Talk(credentials, name=None).server.server_name is None


def hello_for(name: bytes) -> bytes:
    """A ClientHello that asks for these ten bytes as a name."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_context().wrap_bio(down, up, server_hostname=SERVER).do_handshake()
    hello = up.read()
    assert hello.count(SERVER.encode()) == 1
    return hello.replace(SERVER.encode(), name)


@pytest.mark.parametrize("name", [b"zq exampl.", b"zq\r\nexam..", b"<a>.examp.", b"zq\x1b.examp.", b'"q.example'])
def test_a_name_that_is_no_host_is_not_passed_on(credentials: Credentials, name: bytes):
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = credentials.wrap(up, down)
    up.write(hello_for(name))
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    assert engine.server_name is None
    assert down.pending


@pytest.mark.parametrize("name", [b"zq.\xffxample", "zürich.ex".encode(), b"zq\0example"])
def test_a_name_that_is_no_text_ends_the_handshake_without_a_word(
    credentials: Credentials, capfd: pytest.CaptureFixture[str], name: bytes
):
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = credentials.wrap(up, down)
    up.write(hello_for(name))
    with pytest.raises(ssl.SSLError):
        engine.do_handshake()
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_other_errors_that_nobody_can_catch_are_told_as_before(monkeypatch: pytest.MonkeyPatch):
    told: list[object] = []
    keep_quiet_of_names.cache_clear()
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_value))
    keep_quiet_of_names()

    class Broken:
        def __del__(self) -> None:
            raise UnicodeDecodeError("ascii", b"\xff", 0, 1, "its own")

    one = Broken()
    del one
    gc.collect()
    assert [str(each) for each in told] == [str(UnicodeDecodeError("ascii", b"\xff", 0, 1, "its own"))]


@pytest.mark.parametrize("kinds", [("rsa", "ec"), ("ec", "rsa")])
def test_certificates_of_the_same_names_with_keys_of_two_kinds_stand_side_by_side(
    tmp_path: Path, kinds: tuple[str, str]
):
    made = {kind: make(SERVER, "b.example", kind=kind) for kind in kinds}
    pairs = [one.write(tmp_path, kind) for kind, one in made.items()]
    other = make("other.example")
    credentials = Credentials(options(*pairs, other.write(tmp_path, "other")))
    for kind in kinds:
        assert Talk(credentials, only(kind)).shown == made[kind].der
        assert Talk(credentials, only(kind), name="unknown.example").shown == made[kind].der
    assert Talk(credentials, only("ec"), name="other.example").shown == other.der
    with pytest.raises(ssl.SSLError):
        Talk(credentials, only("rsa"), name="other.example")


def test_client_certificates_are_asked_for_whatever_the_name_is(tmp_path: Path, pair: Pair):
    issuer = authority()
    (tmp_path / "ca.pem").write_bytes(issuer.pem)
    pairs = [pair, make("other.example").write(tmp_path, "other")]
    credentials = Credentials(options(*pairs, ca_certs=str(tmp_path / "ca.pem"), cert_reqs=ssl.CERT_REQUIRED))
    member, stranger = make("member.example", issuer=issuer), make("stranger.example")
    for name in (SERVER, "other.example"):
        shows = member.write(tmp_path, "client")
        talk = Talk(credentials, client_context(shows=shows, newest=ssl.TLSVersion.TLSv1_2), name)
        assert talk.server.getpeercert(binary_form=True) == member.der
        for shown in (None, stranger.write(tmp_path, "client")):
            with pytest.raises(ssl.SSLError):
                Talk(credentials, client_context(shows=shown, newest=ssl.TLSVersion.TLSv1_2), name)


# Session tickets.


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_comes_back_resumes_its_session(credentials: Credentials, version: ssl.TLSVersion):
    context = client_context(newest=version)
    before = Talk(credentials, context)
    assert not before.server.session_reused
    assert resumes(credentials, context, before)


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_resume_when_a_certificate_was_renewed(
    tmp_path: Path, credentials: Credentials, version: ssl.TLSVersion
):
    context = client_context(newest=version)
    before = Talk(credentials, context)
    second = make(SERVER)
    second.write(tmp_path)
    assert credentials.renew()
    assert resumes(credentials, context, before)
    assert Talk(credentials, context).shown == second.der


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_of_others_do_not_resume(credentials: Credentials, pair: Pair, version: ssl.TLSVersion):
    context = client_context(newest=version)
    before = Talk(credentials, context)
    assert not resumes(Credentials(options(pair)), context, before)


def test_sessions_resume_under_each_of_several_names(tmp_path: Path, pair: Pair):
    credentials = Credentials(options(pair, make("other.example").write(tmp_path, "other")))
    context = client_context()
    for name in (SERVER, "other.example"):
        before = Talk(credentials, context, name)
        assert Talk(credentials, context, name, before.client.session).server.session_reused


# The hook.


def test_who_makes_the_context_makes_it_again_when_it_is_renewed(tmp_path: Path, pair: Pair):
    made: list[ssl.SSLContext] = []

    def by_hand(given: TLSOptions, pair: Pair) -> ssl.SSLContext:
        made.append(make_context(given, pair))
        made[-1].set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        return made[-1]

    credentials = Credentials(options(pair), by_hand)
    assert credentials.is_own
    make(SERVER).write(tmp_path)
    assert credentials.renew()
    assert len(made) == 2
    cipher = Talk(credentials, client_context(newest=ssl.TLSVersion.TLSv1_2)).server.cipher()
    assert cipher is not None
    assert cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_a_context_that_chooses_by_itself_goes_on_to(pair: Pair):
    asked: list[str | None] = []

    def by_hand(given: TLSOptions, pair: Pair) -> ssl.SSLContext:
        context = make_context(given, pair)
        context.sni_callback = lambda _engine, name, _context: asked.append(name)
        return context

    credentials = Credentials(options(pair), by_hand)
    assert Talk(credentials).server.server_name == SERVER
    assert asked == [SERVER]


# What should be known.


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [
        (-1, 90, []),
        (-1, 8, []),
        (-1, 6, ["expires at"]),
        (-9, -1, ["has expired at"]),
        (1, 90, ["is not valid before"]),
    ],
)
def test_certificates_that_are_not_valid_or_not_for_long_are_told(
    tmp_path: Path, begins: int, ends: int, told: list[str]
):
    pair = make(SERVER, begins=NOW + begins * DAY, ends=NOW + ends * DAY).write(tmp_path)
    moment = NOW + (begins if begins > 0 else ends) * DAY
    said = Credentials(options(pair)).warnings(dt.datetime.now(dt.UTC))
    assert said == [f"certfile: {pair.certfile} {text} {moment:%Y-%m-%d %H:%M} UTC" for text in told]


def test_each_certificate_is_told_of_and_renewed_ones_are_not(tmp_path: Path, pair: Pair):
    late = {"ends": NOW - DAY / 2}
    pairs = [make(SERVER, kind="rsa", **late).write(tmp_path, "a"), make("other.example", **late).write(tmp_path, "b")]
    credentials = Credentials(options(pair, *pairs))
    assert [text.split()[1] for text in credentials.warnings(NOW)] == [each.certfile for each in pairs]
    make(SERVER, kind="rsa").write(tmp_path, "a")
    make("other.example").write(tmp_path, "b")
    assert credentials.renew()
    assert credentials.warnings(NOW) == []


def test_a_renewal_asks_for_the_password_once_and_not_while_clients_are_kept_waiting(tmp_path: Path):
    asked = tmp_path / "asked"
    command = f"command:sh -c 'echo >> {asked}; echo zq81'"
    pairs = [make(f"{name}.example").write(tmp_path, name, "zq81") for name in "ab"]
    credentials = Credentials(options(*pairs, key_password=command))
    assert asked.read_text().count("\n") == 1
    for name in "ab":
        make(f"{name}.example").write(tmp_path, name, "zq81")
    assert credentials.renew()
    assert asked.read_text().count("\n") == 2
    assert "zq81" not in repr(credentials.options)


def test_a_hook_makes_the_context_of_each_certificate(tmp_path: Path):
    pairs = [make(f"{name}.example").write(tmp_path, name) for name in "ab"]
    made: list[Pair] = []

    def by_hand(options: TLSOptions, pair: Pair) -> ssl.SSLContext:
        made.append(pair)
        return make_context(options, pair)

    Credentials(options(*pairs), by_hand)
    assert made == pairs


def test_the_file_of_the_password_is_watched_as_well(tmp_path: Path):
    password = tmp_path / "password"
    password.write_text("zq81")
    credentials = Credentials(options(make("a.example").write(tmp_path, "a", "zq81"), key_password=f"file:{password}"))
    assert not credentials.has_changed()
    password.write_text("another one")
    assert not credentials.has_changed(), "it has to be the same for a moment"
    assert credentials.has_changed()
