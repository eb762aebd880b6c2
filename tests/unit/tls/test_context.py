"""From options to a context: what it speaks, and what is said of files and words that are wrong."""

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from greenhorn.errors import ConfigError
from greenhorn.tls import context as module
from greenhorn.tls.context import make_context
from greenhorn.tls.credentials import Credentials
from greenhorn.tls.options import Pair
from unit.tls.making import DAY, NOW, SERVER, Made, authority, make, options, rsa_key, write_crl
from unit.tls.talking import Talk, client_context

PASSWORD = "zq81 by heart"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder with a certificate, a.pem and a.key, and much that is wrong."""
    monkeypatch.chdir(tmp_path)
    one, other = make(SERVER), make("other.example")
    one.write(tmp_path, "a")
    other.write(tmp_path, "b")
    make(SERVER, key=rsa_key()).write(tmp_path, "rsa")
    (tmp_path / "rsa2.key").write_bytes(make(key=rsa_key(1)).key_pem())
    one.write(tmp_path, "locked", PASSWORD)
    (tmp_path / "old.key").write_bytes(_old_locked(one))
    files = {
        "both.pem": one.pem + one.key_pem(),
        "empty": b"",
        "text": b"hello",
        "binary": bytes(range(256)),
        "der": one.der,
        "cut.pem": one.pem[:200],
        "bad.pem": armoured("CERTIFICATE"),
        "chain.pem": one.pem + armoured("CERTIFICATE"),
        "request.pem": armoured("CERTIFICATE REQUEST"),
        "bad.key": armoured("PRIVATE KEY"),
        "cut.key": one.key_pem()[:100],
        "password": PASSWORD.encode() + b"\r\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    return tmp_path


def armoured(label: str) -> bytes:
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()


def _old_locked(made: Made) -> bytes:
    """An encrypted key in the form that OpenSSL wrote before PKCS 8."""
    return bytes(
        made.key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(PASSWORD.encode())
        )
    )


def refusal(pair: Pair | None = None, **others: Any) -> str:
    pair = pair or Pair("a.pem", "a.key")
    with pytest.raises(ConfigError) as caught:
        make_context(options(pair, **others), pair)
    return str(caught.value)


# Certificates and keys.


@pytest.mark.parametrize(
    ("certfile", "told"),
    [
        ("nowhere", "certfile: cannot read nowhere: No such file or directory"),
        ("folder", "certfile: cannot read folder: Is a directory"),
        ("empty", "certfile: empty is no certificate in PEM form: there is no certificate in it"),
        ("text", "certfile: text is no certificate in PEM form: there is no certificate in it"),
        ("binary", "certfile: binary is no certificate in PEM form: there is no certificate in it"),
        ("der", "certfile: der is no certificate in PEM form: there is no certificate in it"),
        ("cut.pem", "certfile: cut.pem is no certificate in PEM form: there is no certificate in it"),
        ("bad.pem", "certfile: bad.pem is no certificate in PEM form: the certificate cannot be read"),
        ("chain.pem", "certfile: chain.pem is no certificate in PEM form: one of its chain cannot be read"),
        ("request.pem", "certfile: request.pem is no certificate in PEM form: there is no certificate in it"),
        ("a.key", "certfile: a.key is no certificate in PEM form: there is no certificate in it"),
    ],
)
def test_a_certificate_that_is_none_is_told(certfile: str, told: str):
    assert refusal(Pair(certfile, "a.key")) == told


NO_KEY = "there is no private key in PEM form"
DAMAGED = "cannot be read: it is no private key that OpenSSL knows, or damaged"


@pytest.mark.parametrize(
    ("keyfile", "told"),
    [
        ("nowhere", "keyfile: cannot read nowhere: No such file or directory"),
        ("folder", "keyfile: cannot read folder: Is a directory"),
        ("empty", f"keyfile: empty: {NO_KEY}"),
        ("text", f"keyfile: text: {NO_KEY}"),
        ("binary", f"keyfile: binary: {NO_KEY}"),
        ("a.pem", f"keyfile: a.pem: {NO_KEY}"),
        ("bad.key", f"keyfile: bad.key {DAMAGED}"),
        ("cut.key", f"keyfile: cut.key {DAMAGED}"),
    ],
)
def test_a_key_that_is_none_is_told(keyfile: str, told: str):
    assert refusal(Pair("a.pem", keyfile)) == told


@pytest.mark.parametrize(("cert", "key"), [("a.pem", "b.key"), ("a.pem", "rsa.key"), ("rsa.pem", "rsa2.key")])
def test_the_key_of_another_certificate_is_told(cert: str, key: str):
    told = f"keyfile: {key} does not belong to the certificate in {cert}; name the key that it was made with"
    assert refusal(Pair(cert, key)) == told


def test_without_a_keyfile_the_key_has_to_stand_beside_the_certificate():
    pair = Pair("both.pem")
    make_context(options(pair), pair)
    assert refusal(Pair("a.pem")) == f"certfile: the key in a.pem: {NO_KEY}; name its file in keyfile"


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user who may not read everything."""
    before = os.geteuid()
    if not before:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(("setting", "file"), [("certfile", "a.pem"), ("keyfile", "a.key")])
def test_files_that_may_not_be_read_are_told(folder: Path, setting: str, file: str):
    folder.chmod(0o755)
    (folder / file).chmod(0)
    with as_nobody():
        assert refusal() == f"{setting}: cannot read {file}: Permission denied"


def test_a_certificate_that_is_too_weak_is_told(folder: Path):
    pair = make(SERVER, key=rsa.generate_private_key(65537, 1024)).write(folder, "weak")
    assert refusal(pair) == f"certfile: {pair.certfile} is too weak for OpenSSL (ee key too small); have a new one made"


# Passwords.


@pytest.mark.parametrize("key", ["locked.key", "old.key"])
@pytest.mark.parametrize("password", [PASSWORD, "file:password", "command:cat password", f"command:echo '{PASSWORD}'"])
def test_a_password_is_a_text_or_in_a_file_or_printed_by_a_command(key: str, password: str):
    pair = Pair("locked.pem", key)
    assert Talk(Credentials(options(pair, key_password=password))).client.version() == "TLSv1.3"


LOCKED = "keyfile: locked.key cannot be opened: key_password is wrong, or the key is damaged"
COMMAND = "key_password: the command "


@pytest.mark.parametrize(
    ("password", "told"),
    [
        (None, "keyfile: locked.key is encrypted; set key_password"),
        ("wrong", LOCKED),
        ("", LOCKED),
        ("é\0", LOCKED),
        ("file:empty", LOCKED),
        ("command:true", LOCKED),
        ("file:nowhere", "key_password: cannot read nowhere: No such file or directory"),
        ("file:folder", "key_password: cannot read folder: Is a directory"),
        ("command:", "key_password: behind command: stands what prints the password"),
        ("command:nowhere --now", COMMAND + "'nowhere --now' cannot be run: No such file or directory"),
        ("command:false", COMMAND + "'false' fails with exit code 1"),
        ("command:echo 'x", COMMAND + '"echo \'x" cannot be split into words: No closing quotation'),
        ("x" * 1025, "key_password: password cannot be longer than 1024 bytes"),
    ],
)
def test_a_key_that_cannot_be_opened_is_told(password: str | None, told: str):
    assert refusal(Pair("locked.pem", "locked.key"), key_password=password) == told


def test_a_command_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "COMMAND_TIME", 0.1)
    told = refusal(Pair("locked.pem", "locked.key"), key_password="command:sleep 60")
    assert told == "key_password: the command 'sleep 60' tells nothing within 0.1 seconds"


def test_a_command_reads_nothing_of_the_server():
    assert refusal(Pair("locked.pem", "locked.key"), key_password="command:cat") == LOCKED


def test_a_password_that_nothing_needs_harms_nobody():
    make_context(options(Pair("a.pem", "a.key"), key_password="needless"), Pair("a.pem", "a.key"))


# Clients and their certificates.


@pytest.mark.parametrize(
    ("setting", "file", "told"),
    [
        ("ca_certs", "nowhere", "cannot read nowhere: No such file or directory"),
        ("ca_certs", "folder", "cannot read folder: Is a directory"),
        ("ca_certs", "empty", "there is no certificate in PEM form in empty, or one that cannot be read"),
        ("ca_certs", "text", "there is no certificate in PEM form in text, or one that cannot be read"),
        ("ca_certs", "bad.pem", "there is no certificate in PEM form in bad.pem, or one that cannot be read"),
        ("ca_certs", "chain.pem", "there is no certificate in PEM form in chain.pem, or one that cannot be read"),
        ("ca_certs", "crl.pem", "there is no certificate in PEM form in crl.pem"),
        ("crl_file", "nowhere", "cannot read nowhere: No such file or directory"),
        ("crl_file", "text", "there is no revocation list in PEM form in text"),
        ("crl_file", "ca.pem", "there is no revocation list in PEM form in ca.pem"),
        ("crl_file", "bad.crl", "there is no revocation list in PEM form in bad.crl, or one that cannot be read"),
    ],
)
def test_authorities_and_lists_that_are_none_are_told(folder: Path, setting: str, file: str, told: str):
    believed = authority()
    (folder / "ca.pem").write_bytes(believed.pem)
    (folder / "bad.crl").write_bytes(armoured("X509 CRL"))
    write_crl(folder / "crl.pem", believed)
    others = {"ca_certs": "ca.pem", "cert_reqs": ssl.CERT_REQUIRED, setting: file}
    assert refusal(**others) == f"{setting}: {told}"


@pytest.mark.parametrize("asked", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_client_certificates_of_nobody_are_not_asked_for(asked: ssl.VerifyMode):
    told = "cert_reqs: nobody's client certificates are believed; name their issuers in ca_certs"
    assert refusal(cert_reqs=asked) == told


class Club:
    """A server that lets in whom an authority has given a certificate."""

    def __init__(self, folder: Path, issuer: Made, **others: Any) -> None:
        self._folder = folder
        (folder / "ca.pem").write_bytes(issuer.pem)
        asked = {"ca_certs": "ca.pem", "cert_reqs": ssl.CERT_REQUIRED, "maximum": ssl.TLSVersion.TLSv1_2}
        self._credentials = Credentials(options(Pair("a.pem", "a.key"), **asked, **others))

    def lets_in(self, made: Made | None) -> bool:
        """Whether the handshake succeeds; with TLS 1.2, where the client learns it in time."""
        shows = made.write(self._folder, "client") if made else None
        try:
            Talk(self._credentials, client_context(shows=shows))
        except ssl.SSLError:
            return False
        return True


def test_only_certificates_of_those_in_ca_certs_are_believed(folder: Path):
    issuer = authority()
    club = Club(folder, issuer)
    member = make("member.example", issuer=issuer)
    assert club.lets_in(member)
    assert not club.lets_in(None)
    assert not club.lets_in(make("stranger.example", issuer=authority("zq authority")))
    assert not club.lets_in(make("stranger.example"))
    assert not club.lets_in(make("late.example", issuer=issuer, ends=NOW - DAY / 2))
    assert not club.lets_in(make("early.example", issuer=issuer, begins=NOW + DAY))
    assert club.lets_in(member)


def test_what_is_revoked_is_refused_and_so_is_everybody_where_the_list_is_too_old(folder: Path):
    issuer = authority()
    good, bad = (make(f"{name}.example", issuer=issuer) for name in ("good", "bad"))
    for next_update, expected in ((NOW + DAY, (True, False)), (NOW - DAY, (False, False))):
        path = write_crl(folder / "crl.pem", issuer, bad, next_update=next_update)
        club = Club(folder, issuer, crl_file=path)
        assert (club.lets_in(good), club.lets_in(bad)) == expected


def test_verify_flags_are_set_beside_those_of_the_library():
    pair = Pair("a.pem", "a.key")
    made = make_context(options(pair, verify_flags=ssl.VerifyFlags.VERIFY_X509_STRICT), pair)
    plain = make_context(options(pair), pair)
    assert made.verify_flags == plain.verify_flags | ssl.VerifyFlags.VERIFY_X509_STRICT


# What is spoken.


@pytest.mark.parametrize("names", ["NOPE", "no such", "é", "x\0y", "TLS_AES_128_GCM_SHA256"])
def test_ciphers_that_there_are_not_are_told(names: str):
    assert refusal(ciphers=names) == (
        f"ciphers: OpenSSL knows none of {names!r}; `openssl ciphers` lists those that it knows"
    )


def test_suites_are_chosen_where_python_can_and_else_it_is_told(monkeypatch: pytest.MonkeyPatch):
    if not hasattr(ssl.SSLContext, "set_ciphersuites"):
        assert refusal(ciphersuites="TLS_AES_128_GCM_SHA256") == (
            "tls_ciphersuites: this Python cannot choose the suites of TLS 1.3; Python 3.15 can"
        )
        monkeypatch.setattr(ssl.SSLContext, "set_ciphersuites", _choose, raising=False)
    assert refusal(ciphersuites="NOPE") == "tls_ciphersuites: OpenSSL does not know all of 'NOPE'"
    pair = Pair("a.pem", "a.key")
    make_context(options(pair, ciphersuites="TLS_AES_128_GCM_SHA256"), pair)


def _choose(_context: ssl.SSLContext, names: str) -> None:
    """What newer Pythons have."""
    if names != "TLS_AES_128_GCM_SHA256":
        raise ssl.SSLError(1, "no cipher match")


def test_by_default_only_forward_secret_and_authenticated_ciphers_are_spoken():
    pair = Pair("a.pem", "a.key")
    made = make_context(options(pair), pair)
    for cipher in made.get_ciphers():
        assert cipher["aead"], cipher
        assert cipher["kea"] in ("kx-ecdhe", "kx-any"), cipher
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert made.options & ssl.OP_NO_COMPRESSION
    assert made.options & ssl.OP_NO_RENEGOTIATION


def spoken(change: Callable[[ssl.SSLContext], None], **others: Any) -> Talk:
    context = client_context()
    change(context)
    return Talk(Credentials(options(Pair("a.pem", "a.key"), **others)), context)


def at_most(newest: ssl.TLSVersion) -> Callable[[ssl.SSLContext], None]:
    def change(context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.maximum_version = newest

    return change


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_before_the_oldest_are_refused():
    assert spoken(at_most(ssl.TLSVersion.TLSv1_2)).server.version() == "TLSv1.2"
    assert spoken(at_most(ssl.TLSVersion.TLSv1_3), minimum=ssl.TLSVersion.TLSv1_3).server.version() == "TLSv1.3"
    for newest, oldest in ((ssl.TLSVersion.TLSv1_1, None), (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
        with pytest.raises(ssl.SSLError):
            spoken(at_most(newest), minimum=oldest or ssl.TLSVersion.TLSv1_2)


def test_only_the_ciphers_that_are_named_are_spoken():
    def only(names: str) -> Callable[[ssl.SSLContext], None]:
        def change(context: ssl.SSLContext) -> None:
            at_most(ssl.TLSVersion.TLSv1_2)(context)
            context.set_ciphers(names)

        return change

    chosen = "ECDHE-ECDSA-AES256-GCM-SHA384"
    found = spoken(only("ALL"), ciphers=chosen).server.cipher()
    assert found is not None
    assert found[0] == chosen
    with pytest.raises(ssl.SSLError):
        spoken(only("ECDHE-ECDSA-AES128-GCM-SHA256"), ciphers=chosen)
    with pytest.raises(ssl.SSLError):
        spoken(only("ECDHE-ECDSA-AES128-SHA"))


def test_http_1_is_offered_to_those_who_ask_and_others_are_served_without():
    def asking(*names: str) -> Callable[[ssl.SSLContext], None]:
        return lambda context: context.set_alpn_protocols(names)

    assert spoken(asking("h2", "http/1.1")).server.selected_alpn_protocol() == "http/1.1"
    assert spoken(asking()).server.selected_alpn_protocol() is None


def test_a_client_that_knows_none_of_the_protocols_is_not_turned_away():
    talk = spoken(lambda context: context.set_alpn_protocols(["h2", "spdy/3"]))
    assert talk.server.selected_alpn_protocol() is None
