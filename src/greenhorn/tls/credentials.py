"""The certificates of one listener: which one a client gets, and how they are exchanged while the server runs."""

import datetime as dt
import functools
import re
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenhorn.errors import ConfigError
from greenhorn.tls.certificate import Certificate
from greenhorn.tls.context import fingerprint, load_pair, make_context, signature, with_password
from greenhorn.tls.options import Pair, TLSOptions
from greenhorn.tls.stream import Engine

HOST = re.compile(r"[a-z0-9._-]{1,255}")
"""What a host name looks like (RFC 6066 3); another one could forge what logs and applications write of it."""
MakeContext = Callable[[TLSOptions, Pair], ssl.SSLContext]


@dataclass
class Loaded:
    """A context, and the certificates in it: one, or several of the same name with different kinds of keys."""

    context: ssl.SSLContext
    pairs: list[Pair]
    certificates: list[Certificate]

    @property
    def kinds(self) -> list[bytes]:
        """Which kinds of keys it has."""
        return [certificate.algorithm for certificate in self.certificates]

    @property
    def names(self) -> set[str]:
        """What names it is for."""
        return {name for certificate in self.certificates for name in certificate.names}


class Credentials:
    """The contexts of one listener, made before the fork: all workers share the keys of their session tickets.

    `make` makes the contexts where somebody wants to have a hand in that (the hook ssl_context). Raises
    `ConfigError` that begins with a setting's name. The lock keeps handshakes from beginning while a certificate is
    exchanged; any thread.
    """

    def __init__(self, options: TLSOptions, make: MakeContext | None = None) -> None:
        self.options = options
        self.strict_end = options.strict_end
        self.is_own = make is not None
        """Whether somebody else makes the context."""
        self._make = make or make_context
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._fingerprint = fingerprint(options)
        self._signature = signature(options)
        self._seen = self._signature
        self._loaded: list[Loaded] = []
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._renewals = 0
        self._use(self._load(with_password(options)))
        keep_quiet_of_names()

    @property
    def context(self) -> ssl.SSLContext:
        """What speaks TLS with clients that connect from now on, for engines that wrap sockets themselves."""
        with self._lock:
            return self._loaded[0].context

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> Engine:
        """What speaks TLS with one client over two buffers. Raises `ssl.SSLError`."""
        with self._lock:
            engine = self._loaded[0].context.wrap_bio(incoming, outgoing, server_side=True)
        assert isinstance(engine, Engine)  # noqa: S101 - sslobject_class says so
        return engine

    def watch(self) -> Callable[[Engine], str | None]:
        """What tells the certificate, in PEM form, that a client who connects now is shown.

        None where that is not certain: with keys of two kinds, with a context of somebody else, and if certificates
        were exchanged since.
        """
        began = self._renewals

        def shown(engine: Engine) -> str | None:
            with self._lock:
                if self.is_own or self._renewals != began:
                    return None
                found = [one.certificates for one in self._loaded if one.context is engine.context]
            return found[0][0].pem if len(found) == 1 and len(found[0]) == 1 else None

        return shown

    def _load(self, options: TLSOptions) -> list[Loaded]:
        loaded: list[Loaded] = []
        for pair in options.certificates:
            certificate = _read(pair)
            same = next((one for one in loaded if one.names == set(certificate.names)), None)
            if same is not None and certificate.algorithm not in same.kinds:
                load_pair(same.context, options, pair)
                same.pairs.append(pair)
                same.certificates.append(certificate)
            else:
                loaded.append(Loaded(self._make(options, pair), [pair], [certificate]))
        return loaded

    def _listen_for_names(self, context: ssl.SSLContext) -> None:
        """Note the name that each client asks for, and give it the certificate of that name (RFC 6066 3)."""
        context.sslobject_class = Engine
        before = context.sni_callback

        def choose(engine: Any, name: Any, asked: ssl.SSLContext) -> int | None:
            host = name.lower() if name else ""
            if HOST.fullmatch(host):
                engine.server_name = host
            if before is not None:
                return before(engine, name, asked)
            if host and len(self._loaded) > 1:
                with self._lock:
                    chosen = self._find(host)
                    if chosen is not context:
                        engine.context = chosen
            return None

        # gevent's contexts put something around a callback that knows its own sockets only.
        basic = next(kind for kind in reversed(type(context).__mro__) if "sni_callback" in vars(kind))
        basic.sni_callback.__set__(context, choose)  # type: ignore[attr-defined]

    def _find(self, name: str) -> ssl.SSLContext:
        """The context for a host name in lower case; a star stands for one label (RFC 6125 6.4.3)."""
        known = self._by_name
        return known.get(name) or known.get(f"*.{name.partition('.')[2]}") or self._loaded[0].context

    def _use(self, loaded: list[Loaded]) -> None:
        """Show these certificates; of those with the same name, the first."""
        if loaded is not self._loaded:
            self._listen_for_names(loaded[0].context)
        self._loaded = loaded
        self._by_name = {name: one.context for one in reversed(loaded) for name in one.names}

    def warnings(self, now: dt.datetime) -> list[str]:
        """What should be known of certificates that are not valid yet, not any more, or not for long."""
        told = []
        for one in self._loaded:
            for pair, certificate in zip(one.pairs, one.certificates, strict=True):
                if now < certificate.begins:
                    told.append(f"certfile: {pair.certfile} is not valid before {_day(certificate.begins)}")
                elif now > certificate.ends:
                    told.append(f"certfile: {pair.certfile} has expired at {_day(certificate.ends)}")
                elif now > certificate.ends - dt.timedelta(days=7):
                    told.append(f"certfile: {pair.certfile} expires at {_day(certificate.ends)}")
        return told

    # While the server runs.

    def has_changed(self) -> bool:
        """Whether a file was replaced and has been the same since the last call: a key follows its certificate."""
        found = signature(self.options)
        settled = found == self._seen
        self._seen = found
        return settled and found != self._signature

    def renew(self) -> bool:
        """Take what the files hold now, for handshakes to come; whether that is something else than before.

        Session tickets stay valid, if nothing but certificates of the same kinds has changed. Raises `ConfigError`,
        and everything is as it was; the same files are not tried again until they change. It may take as long as a
        command that tells a password: a worker has a thread for it.
        """
        with self._renewing:
            return self._renew()

    def _renew(self) -> bool:
        self._signature = self._seen = signature(self.options)
        found = fingerprint(self.options)
        if found == self._fingerprint:
            return False
        options = with_password(self.options)
        fresh = self._load(options)
        authorities = slice(sum(len(pair) if pair.keyfile else 1 for pair in self.options.certificates), None)
        with self._lock:
            self._renewals += 1
            same_clients = found[authorities] == self._fingerprint[authorities]
            self._use(self._loaded if same_clients and self._exchange(fresh, options) else fresh)
        self._fingerprint = found
        return True

    def _exchange(self, fresh: list[Loaded], options: TLSOptions) -> bool:
        """Put the certificates of `fresh` into the contexts that there are; whether that went well."""
        if self.is_own or [one.kinds for one in fresh] != [one.kinds for one in self._loaded]:
            return False
        try:
            for old, new in zip(self._loaded, fresh, strict=True):
                for pair in new.pairs:
                    load_pair(old.context, options, pair)
                old.pairs, old.certificates = new.pairs, new.certificates
        except ConfigError:  # replaced again, just now
            return False
        return True


@functools.cache
def keep_quiet_of_names() -> None:
    """Keep Python from writing a traceback for each client that asks for a name which is no ASCII.

    Its handshake fails, which is told as of others; what scanners send must not fill the log. It is done once in a
    process, and what an application sets goes before it.
    """
    before = sys.unraisablehook

    def tell(unraisable: "sys.UnraisableHookArgs") -> None:
        error = unraisable.exc_value
        if not (isinstance(error, UnicodeDecodeError) and error.object == unraisable.object):
            before(unraisable)

    sys.unraisablehook = tell


def _read(pair: Pair) -> Certificate:
    try:
        return Certificate.read(pair.certfile)
    except OSError as error:
        raise ConfigError(f"certfile: cannot read {pair.certfile}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"certfile: {pair.certfile} is no certificate in PEM form: {error}") from None


def _day(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
