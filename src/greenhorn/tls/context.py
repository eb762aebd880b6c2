"""From options to an `ssl.SSLContext`; whatever is wrong is said in words that tell what to do."""

import contextlib
import dataclasses
import hashlib
import shlex
import ssl
import subprocess
from pathlib import Path

from greenhorn.errors import ConfigError
from greenhorn.tls.certificate import Certificate
from greenhorn.tls.options import Pair, TLSOptions
from greenhorn.tls.stream import reason_of

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption, as RFC 9325 4.2 recommends; no CBC (Lucky 13)."""
COMMAND_TIME = 10
"""Seconds that a command has to tell a password."""
CRL = "-----BEGIN X509 CRL-----"
ENCRYPTED = "ENCRYPTED"
"""What stands in the first lines of a key that needs a password (RFC 7468 11, RFC 1421 4.6.1.1)."""
OF_ANOTHER = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL complains about where key and certificate do not belong together."""
TOO_WEAK = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class KeyIsEncryptedError(Exception):
    """A key needs a password and there is none."""


def make_context(options: TLSOptions, pair: Pair) -> ssl.SSLContext:
    """The context of one certificate. Raises `ConfigError` that begins with the setting's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = options.minimum
    context.maximum_version = options.maximum
    # Compression leaks (CRIME), renegotiation costs the server more than the client.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.set_ciphers(options.ciphers or CIPHERS)
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            f"ciphers: OpenSSL knows none of {options.ciphers!r}; `openssl ciphers` lists those that it knows"
        ) from None
    if options.ciphersuites is not None:
        _set_ciphersuites(context, options.ciphersuites)
    context.set_alpn_protocols(list(options.protocols))
    load_pair(context, options, pair)
    _believe(context, options)
    return context


def _set_ciphersuites(context: ssl.SSLContext, names: str) -> None:
    choose = getattr(context, "set_ciphersuites", None)
    if choose is None:
        raise ConfigError("tls_ciphersuites: this Python cannot choose the suites of TLS 1.3; Python 3.15 can")
    try:
        choose(names)
    except ssl.SSLError:
        raise ConfigError(f"tls_ciphersuites: OpenSSL does not know all of {names!r}") from None


def _believe(context: ssl.SSLContext, options: TLSOptions) -> None:
    """Set whose client certificates are believed."""
    if options.ca_certs is not None:
        _load(context, "ca_certs", options.ca_certs)
        if not context.cert_store_stats()["x509"]:
            raise ConfigError(f"ca_certs: there is no certificate in PEM form in {options.ca_certs}")
    elif options.cert_reqs:
        raise ConfigError("cert_reqs: nobody's client certificates are believed; name their issuers in ca_certs")
    if options.crl_file is not None:
        if CRL not in _text("crl_file", options.crl_file):
            raise ConfigError(f"crl_file: there is no revocation list in PEM form in {options.crl_file}")
        _load(context, "crl_file", options.crl_file)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    context.verify_flags |= options.verify_flags
    context.verify_mode = options.cert_reqs


def _load(context: ssl.SSLContext, setting: str, path: str) -> None:
    _text(setting, path)
    try:
        context.load_verify_locations(path)
    except OSError:
        what = "revocation list" if setting == "crl_file" else "certificate"
        raise ConfigError(f"{setting}: there is no {what} in PEM form in {path}, or one that cannot be read") from None


def _text(setting: str, path: str) -> str:
    """The text of a file; raises `ConfigError` that says why it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None


def load_pair(context: ssl.SSLContext, options: TLSOptions, pair: Pair) -> None:
    """Load a certificate and its key into `context`. Raises `ConfigError`; the context is then of no use."""
    _text("certfile", pair.certfile)
    if pair.keyfile is not None:
        _text("keyfile", pair.keyfile)
    password = options.password if options.password is not None else _password(options.key_password)

    def tell() -> str:
        if password is None:
            raise KeyIsEncryptedError
        return password

    named = f"keyfile: {pair.keyfile}" if pair.keyfile else f"certfile: the key in {pair.certfile}"
    try:
        context.load_cert_chain(pair.certfile, pair.keyfile, password=tell)
    except KeyIsEncryptedError:
        raise ConfigError(f"{named} is encrypted; set key_password") from None
    except ssl.SSLError as error:
        raise ConfigError(_complaint(error, pair, named)) from None
    except OSError as error:  # it was there just now
        raise ConfigError(f"{named} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"key_password: {error}") from None


def _complaint(error: ssl.SSLError, pair: Pair, named: str) -> str:
    """Why a certificate and its key cannot be loaded, although their files can be read."""
    if error.reason in OF_ANOTHER:
        return f"{named} does not belong to the certificate in {pair.certfile}; name the key that it was made with"
    if error.reason in TOO_WEAK:
        return f"certfile: {pair.certfile} is too weak for OpenSSL ({reason_of(error)}); have a new one made"
    try:
        Certificate.read(pair.certfile)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(pair.certfile)
    except (ValueError, OSError) as wrong:
        why = "one of its chain cannot be read" if isinstance(wrong, ssl.SSLError) else wrong
        return f"certfile: {pair.certfile} is no certificate in PEM form: {why}"
    key = _text("keyfile", pair.keyfile or pair.certfile)
    if "PRIVATE KEY-----" not in key:
        remedy = "" if pair.keyfile else "; name its file in keyfile"
        return f"{named}: there is no private key in PEM form{remedy}"
    if ENCRYPTED in key:
        return f"{named} cannot be opened: key_password is wrong, or the key is damaged"
    return f"{named} cannot be read: it is no private key that OpenSSL knows, or damaged"


def with_password(options: TLSOptions) -> TLSOptions:
    """The options with the password that `key_password` tells, so that nobody has to ask again."""
    return dataclasses.replace(options, password=_password(options.key_password))


def _password(text: str | None) -> str | None:
    """What `key_password` says: a text, what a file holds, or what a command prints. Raises `ConfigError`."""
    kind, _, rest = (text or "").partition(":")
    if kind == "file":
        return _text("key_password", rest).rstrip("\r\n")
    if kind != "command":
        return text
    return _ask(rest)


def _ask(command: str) -> str:
    """What a command prints. Raises `ConfigError`."""
    wrong = f"key_password: the command {command!r}"
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"{wrong} cannot be split into words: {error}") from None
    if not words:
        raise ConfigError("key_password: behind command: stands what prints the password")
    try:
        told = subprocess.run(  # noqa: S603 - the administrator's own command
            words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=COMMAND_TIME, check=False
        )
    except OSError as error:
        raise ConfigError(f"{wrong} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{wrong} tells nothing within {COMMAND_TIME} seconds") from None
    if told.returncode:
        raise ConfigError(f"{wrong} fails with exit code {told.returncode}")
    return told.stdout.decode(errors="replace").rstrip("\r\n")


def fingerprint(options: TLSOptions) -> tuple[bytes, ...]:
    """Digests of what the files hold; one that cannot be read is empty."""
    digests = []
    for path in options.files:
        digest = b""
        with contextlib.suppress(OSError):
            digest = hashlib.sha256(Path(path).read_bytes()).digest()
        digests.append(digest)
    return tuple(digests)


def signature(options: TLSOptions) -> tuple[tuple[int, int, int], ...]:
    """What changes if one of the files is replaced or written to: cheap to ask."""
    told = []
    for path in options.watched:
        try:
            status = Path(path).stat()
        except OSError:
            told.append((0, 0, 0))
        else:
            told.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(told)
