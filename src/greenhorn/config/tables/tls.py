"""Encrypted connections."""

from dataclasses import dataclass

from greenhorn.config.parsers import optional, path, switch, text
from greenhorn.config.protocols import certificate_request, ssl_version
from greenhorn.config.setting import Pending, setting

FEATURE = "TLS"
_PLAIN = Pending(FEATURE, "connections would not be encrypted; terminate TLS in a proxy for now")
_UNCHECKED = Pending(FEATURE, "clients would not have to show a certificate; check them in a proxy for now")


@dataclass(frozen=True, kw_only=True)
class TLSSettings:
    """Certificates, and how they are used."""

    certfile: str | None = setting(
        ("--certfile",),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""Certificate in PEM form, with the certificates of its issuers behind it. It turns TLS on for all TCP
            and unix listeners.""",
        pending=_PLAIN,
    )
    keyfile: str | None = setting(
        ("--keyfile",),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""Private key of the certificate, in PEM form. Unset = it stands in certfile.""",
        pending=_PLAIN,
    )
    ca_certs: str | None = setting(
        ("--ca-certs",),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""Certificates, in PEM form, of those whose client certificates are believed.""",
        pending=_UNCHECKED,
    )
    cert_reqs: int = setting(
        ("--cert-reqs",),
        default=0,
        parse=certificate_request,
        meta="NUMBER",
        doc="""Whether clients show a certificate: 0 they need not, 1 they may, 2 they must. The members of
            ssl.VerifyMode and the words none, optional and required say the same.""",
        pending=_UNCHECKED,
    )
    ciphers: str | None = setting(
        ("--ciphers",),
        default=None,
        parse=optional(text),
        meta="CIPHERS",
        doc="""Ciphers for TLS up to 1.2, in the notation of OpenSSL. Unset = what Python takes.""",
        pending=Pending(FEATURE),
    )
    do_handshake_on_connect: bool = setting(
        ("--do-handshake-on-connect",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Accepted for configurations of gunicorn, without effect. The handshake waits for the client in the
            poller, where it holds no thread.""",
        moot="the handshake waits in the poller, where it holds no thread",
        differs="""has the handshake done when a connection is wrapped.""",
    )
    suppress_ragged_eofs: bool = setting(
        ("--suppress-ragged-eofs",),
        default=True,
        parse=switch,
        bare=True,
        doc="""Take a connection that ends without a TLS goodbye for one that ended, not for an error.""",
        pending=Pending(FEATURE),
    )
    ssl_version: int | str | None = setting(
        ("--ssl-version",),
        default=None,
        parse=ssl_version,
        meta="VERSION",
        doc="""Accepted for old configurations, without effect. The hook ssl_context chooses versions of TLS.""",
        moot="use ssl_context to choose versions of TLS",
        differs="""ssl.PROTOCOL_TLS, and as little effect.""",
    )
