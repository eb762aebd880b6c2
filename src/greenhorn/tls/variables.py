"""What an application is told of its connection: the variables that Apache's mod_ssl made common."""

import datetime as dt
import ssl
from collections.abc import Iterator
from typing import Any

from greenhorn.tls.stream import Engine

SHORT_NAMES = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
"""RFC 4514 3."""
ALTERNATIVES = {"DNS": "DNS", "email": "Email", "URI": "URI", "IP Address": "IP"}


def connection_variables(engine: Engine) -> dict[str, Any]:
    """What the environs of all requests on a connection have in common because it is encrypted."""
    cipher = engine.cipher()
    variables: dict[str, Any] = {
        "wsgi.url_scheme": "https",
        "HTTPS": "on",
        "SSL_PROTOCOL": engine.version() or "",
        "SSL_CIPHER": cipher[0] if cipher else "",
        "SSL_CIPHER_USEKEYSIZE": str(cipher[2]) if cipher else "",
        "SSL_SESSION_RESUMED": "Resumed" if engine.session_reused else "Initial",
        "SSL_CLIENT_VERIFY": "NONE",
    }
    if engine.server_name is not None:
        variables["SSL_TLS_SNI"] = engine.server_name
    der = engine.getpeercert(binary_form=True)
    if der is not None:
        told = engine.getpeercert()
        if told:  # without cert_reqs nobody looked at it
            variables |= _client_variables(told, der)
    return variables


def _client_variables(told: dict[str, Any], der: bytes) -> dict[str, str]:
    serial = told.get("serialNumber", "")
    variables = {
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_S_DN": distinguished_name(told.get("subject", ())),
        "SSL_CLIENT_I_DN": distinguished_name(told.get("issuer", ())),
        "SSL_CLIENT_SERIAL": serial,
        "SSL_CLIENT_M_SERIAL": serial,
        "SSL_CLIENT_V_START": _moment(told.get("notBefore")),
        "SSL_CLIENT_V_END": _moment(told.get("notAfter")),
        "SSL_CLIENT_CERT": ssl.DER_cert_to_PEM_cert(der),
    }
    for owner, name in (("S", "subject"), ("I", "issuer")):
        for kind, value in _attributes(told.get(name, ())):
            variables.setdefault(f"SSL_CLIENT_{owner}_DN_{kind}", native(value))
    counts: dict[str, int] = {}
    for kind, value in told.get("subjectAltName", ()):
        known = ALTERNATIVES.get(kind)
        if known is not None:
            number = counts.get(known, 0)
            counts[known] = number + 1
            variables[f"SSL_CLIENT_SAN_{known}_{number}"] = native(value)
    return variables


def distinguished_name(names: Any) -> str:
    """A name as `ssl` tells it, as the text of RFC 4514: the most special part first."""
    relative = [
        "+".join(f"{SHORT_NAMES.get(kind, kind)}={_escaped(value)}" for kind, value in parts) for parts in names
    ]
    return native(",".join(reversed(relative)))


def native(text: str) -> str:
    """A text as a native string of WSGI: UTF-8, each byte a character (PEP 3333)."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _attributes(names: Any) -> Iterator[tuple[str, str]]:
    for parts in names:
        for kind, value in parts:
            yield SHORT_NAMES.get(kind, "Email" if kind == "emailAddress" else kind), value


def _escaped(value: str) -> str:
    """A value by RFC 4514 2.4; control characters as well, so that no name can forge a line."""
    text = "".join(
        f"\\{char}" if char in '"+,;<>\\' else f"\\{ord(char):02X}" if ord(char) < 32 or ord(char) == 127 else char  # noqa: PLR2004 - ASCII
        for char in value
    )
    if text.startswith(("#", " ")):
        text = "\\" + text
    if text.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text


def _moment(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    moment = dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(text), dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
