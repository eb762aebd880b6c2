"""From the settings to what is spoken at each address: certificates, and who is sent elsewhere."""

import dataclasses
import datetime as dt
import re
import ssl
import traceback
from collections.abc import Sequence
from typing import Any

from greenhorn.config import Settings
from greenhorn.config.setting import parsed
from greenhorn.config.tables import ROWS
from greenhorn.config.tables.tls import TLSSettings
from greenhorn.errors import ConfigError
from greenhorn.net.bind import LAST_PORT, Bind, parse_bind
from greenhorn.tls.context import make_context
from greenhorn.tls.credentials import Credentials
from greenhorn.tls.entrance import Entrance
from greenhorn.tls.options import Pair, TLSOptions

OWN = tuple(field.name for field in dataclasses.fields(TLSSettings) if not ROWS[field.name].moot)
"""Settings that one address can have for itself."""
WITH_CERTFILE = ("keyfile", "key_password", "certificates")
"""What belongs to a certificate, so that another certificate leaves it behind."""
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ELSEWHERE = re.compile(
    r"(?P<port>\d{1,5})|https://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<behind>\d{1,5}))?/?", re.ASCII
)


class Entrances:
    """What is spoken at each value of bind, in their order. Raises `ConfigError`.

    Certificates of `before` are gone on with where the options are the same, so that session tickets stay valid.
    """

    def __init__(self, settings: Settings, before: "Entrances | None" = None) -> None:
        self._settings = settings
        self._known = list(before.credentials) if before is not None else []
        self.credentials: list[Credentials] = []
        """Those in use, each once."""
        self.all: list[tuple[Bind, Entrance]] = [(bind, self._of(bind)) for bind in map(parse_bind, settings.bind)]
        self.default = Entrance(self._credentials(settings)) if settings.is_ssl else Entrance()
        """For sockets that a service manager has opened."""
        self._check(settings)

    def _check(self, settings: Settings) -> None:
        """Raise `ConfigError` for what somebody relies on and nobody does."""
        asked = any(one.options.cert_reqs for one in self.credentials)
        if settings.cert_reqs and not self.credentials:
            raise ConfigError("cert_reqs: clients cannot show a certificate without TLS; set certfile")
        if settings.certificates and not self.credentials:
            raise ConfigError("certificates: those are more certificates; name the first one in certfile")
        if not asked and (settings.crl_file or any(one.options.crl_file for one in self.credentials)):
            raise ConfigError("crl_file: no client is asked for a certificate; set cert_reqs")

    def _of(self, bind: Bind) -> Entrance:
        settings, scheme = self._settings, bind.scheme or ("https" if self._settings.is_ssl else "http")
        own = _grouped(bind)
        if scheme == "http":
            return Entrance(redirect=_redirect(bind, own))
        for name in own:
            if name not in OWN:
                raise ConfigError(f"bind: {name!r} is nothing that an https address can have; {', '.join(OWN)} are")
        changes: dict[str, Any] = {name: ROWS[name].default for name in WITH_CERTFILE} if "certfile" in own else {}
        for name, values in own.items():
            changes[name] = parsed(ROWS[name], values if ROWS[name].repeats else values[0], "bind")
        try:
            return Entrance(self._credentials(dataclasses.replace(settings, **changes)))
        except ConfigError as wrong:
            if not own or str(wrong).startswith("bind: "):
                raise
            raise ConfigError(f"bind: {bind.address}: {wrong}") from None

    def _credentials(self, settings: Settings) -> Credentials:
        options = tls_options(settings)
        for one in self.credentials:
            if one.options == options:
                return one
        hook = settings.ssl_context
        found = next((one for one in self._known if one.options == options and not one.is_own), None)
        if found is None or hook is not None:
            found = Credentials(options, (lambda o, p: _call(settings, o, p)) if hook is not None else None)
        else:
            found.renew()
        self.credentials.append(found)
        return found

    def warnings(self) -> list[str]:
        """What should be known of the certificates."""
        now = dt.datetime.now(dt.UTC)
        told = [warning for one in self.credentials for warning in one.warnings(now)]
        settings = self._settings
        if settings.ssl_context is not None and not self.credentials:
            told.append("ssl_context is not called, since no address speaks TLS: certfile turns it on")
        if settings.ssl_version is not None and settings.ssl_version not in VERSIONS:
            told.append(f"ssl_version: {settings.ssl_version} is not spoken any more (RFC 8996); TLS 1.2 is the oldest")
        return told


def tls_options(settings: Settings) -> TLSOptions:
    """What the settings say of TLS. Raises `ConfigError` if there is no certificate."""
    if settings.certfile is None:
        wanted = f"keyfile: {settings.keyfile}" if settings.keyfile else "bind: https"
        raise ConfigError(f"{wanted} needs a certificate; name one in certfile")
    more: Sequence[str] = settings.certificates
    flags = ssl.VerifyFlags.VERIFY_DEFAULT
    for name in settings.verify_flags:
        flags |= ssl.VerifyFlags[f"VERIFY_{name}"]
    return TLSOptions(
        certificates=(Pair(settings.certfile, settings.keyfile), *(Pair(*text.split(",")) for text in more)),
        key_password=settings.key_password,
        ca_certs=settings.ca_certs,
        cert_reqs=ssl.VerifyMode(settings.cert_reqs),
        crl_file=settings.crl_file,
        verify_flags=flags,
        minimum=VERSIONS[_oldest(settings)],
        ciphers=settings.ciphers,
        ciphersuites=settings.tls_ciphersuites,
        strict_end=not settings.suppress_ragged_eofs,
    )


def _oldest(settings: Settings) -> str:
    """The oldest version that both settings of versions allow."""
    legacy = settings.ssl_version
    return max(settings.tls_min_version, legacy) if legacy in VERSIONS else settings.tls_min_version


def _call(settings: Settings, options: TLSOptions, pair: Pair) -> ssl.SSLContext:
    """What the hook ssl_context makes. Raises `ConfigError`."""
    assert settings.ssl_context is not None  # noqa: S101 - who calls knows
    try:
        made = settings.ssl_context(settings, lambda: make_context(options, pair))
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - told, with its traceback
        raise ConfigError(f"ssl_context fails:\n{traceback.format_exc().rstrip()}") from None
    if not isinstance(made, ssl.SSLContext):
        raise ConfigError(f"ssl_context returns {type(made).__name__}; it must return an ssl.SSLContext")
    return made


def _grouped(bind: Bind) -> dict[str, list[str]]:
    """The values of each setting of an address. Raises `ConfigError` for one that has several and can have one."""
    own: dict[str, list[str]] = {}
    for name, value in bind.settings:
        own.setdefault(name, []).append(value)
    for name, values in own.items():
        if len(values) > 1 and not (name in ROWS and ROWS[name].repeats):
            raise ConfigError(f"bind: {name} is set twice at {bind.address}; set it once")
    return own


def _redirect(bind: Bind, own: dict[str, list[str]]) -> str:
    """Where the clients of an address without TLS are sent; empty if they are served."""
    [target] = own.pop("redirect", [None])
    if own:
        raise ConfigError(f"bind: {next(iter(own))!r} is nothing that an address without TLS can have; redirect is")
    if target is None:
        return ""
    found = _ELSEWHERE.fullmatch(target)
    if found is None or not 0 < int(found["port"] or found["behind"] or 1) <= LAST_PORT:
        raise ConfigError(
            f"bind: redirect={target!r} at {bind.address} is neither a port nor a URL such as https://example.org"
        )
    return target.removesuffix("/")
