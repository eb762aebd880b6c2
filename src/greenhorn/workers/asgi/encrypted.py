"""What an application of ASGI, and the access log, are told of a connection that is encrypted."""

import ssl
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from greenhorn.tls.stream import Engine
from greenhorn.tls.variables import connection_variables, native
from greenhorn.workers.asgi.kind import Scope

KEY = "greenhorn.tls"
"""Where in the state of a scope the names of docs/tls.md are."""
NUMBERS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
"""The versions as they go over the wire (RFC 8446 4.2.1)."""
NOTHING: Mapping[str, str] = MappingProxyType({})
Shown = Callable[[Engine], str | None]
"""Tells the certificate in PEM form that a client was shown, or None where that is not certain."""


class Encrypted:
    """What is known of one connection. Loop's thread.

    Raises `ValueError` for a client's certificate that was believed and cannot be read.
    """

    def __init__(self, engine: Engine, shown: Shown) -> None:
        variables = connection_variables(engine)
        del variables["wsgi.url_scheme"]
        self.variables: Mapping[str, str] = variables
        """As an environ of WSGI has them."""
        self._told = MappingProxyType({name: _text(value) for name, value in variables.items()})
        self._extension: dict[str, Any] = {
            "server_cert": shown(engine),
            "client_cert_chain": _chain(engine),
            "client_cert_name": self._told.get("SSL_CLIENT_S_DN"),
            "client_cert_error": None,  # who shows one that is not believed is not served
            "tls_version": NUMBERS.get(variables["SSL_PROTOCOL"]),
            "cipher_suite": _suite(engine, variables["SSL_CIPHER"]),
        }

    def tell(self, scope: Scope) -> None:
        """Put it into the scope of a request: the extension `tls` of ASGI, and our names."""
        scope.setdefault("extensions", {})["tls"] = dict(self._extension)
        scope["state"][KEY] = self._told


def variables_of(scope: Scope) -> Mapping[str, str]:
    """What the environ of a request of WSGI would have of it; empty for a connection without TLS."""
    told = scope.get("state", NOTHING).get(KEY)
    return {name: native(value) for name, value in told.items()} if told else NOTHING


def _text(value: str) -> str:
    """A native string of WSGI as the text that it stands for."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def _chain(engine: Engine) -> tuple[str, ...]:
    """The certificates that the client has shown, its own first; more than that Python tells since 3.13."""
    der = engine.getpeercert(binary_form=True)
    if der is None:
        return ()
    shown: list[bytes] = [der]
    if sys.version_info >= (3, 13):
        shown = engine.get_unverified_chain() or shown
    return tuple(map(ssl.DER_cert_to_PEM_cert, shown))


_suites: dict[str, int] = {}


def _suite(engine: Engine, name: str) -> int | None:
    """The number of a cipher suite (RFC 8446 B.4)."""
    if name not in _suites:
        _suites.update({each["name"]: each["id"] & 0xFFFF for each in engine.context.get_ciphers()})
    return _suites.get(name)
