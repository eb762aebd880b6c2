"""Encrypted connections."""

from dataclasses import dataclass

from greenhorn.config.parsers import given, optional, path, switch, text
from greenhorn.config.protocols import certificate_request, certificates, ssl_version, tls_version, verify_flags
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class TLSSettings:
    """Certificates, and how they are used."""

    certfile: str | None = setting(
        ("--certfile",),
        default=None,
        parse=given(path),
        meta="FILE",
        doc="""Certificate in PEM form, with the certificates of its issuers behind it. It turns TLS on for all TCP
            and unix listeners but those whose bind says http.""",
    )
    keyfile: str | None = setting(
        ("--keyfile",),
        default=None,
        parse=given(path),
        meta="FILE",
        doc="""Private key of the certificate, in PEM form. Unset = it stands in certfile.""",
    )
    key_password: str | None = setting(
        ("--key-password",),
        default=None,
        parse=given(text),
        meta="PASSWORD",
        secret=True,
        doc="""What opens encrypted keys: the password itself, file:PATH for a file that holds it, or command:COMMAND
            for a command that prints it (without a shell). Everybody on the machine can see the arguments of a
            command.""",
        differs="""has no such setting.""",
    )
    certificates: tuple[str, ...] = setting(
        ("--certificate",),
        default=(),
        parse=certificates,
        meta="CERTFILE[,KEYFILE]",
        repeats=True,
        doc="""More certificates, for clients that ask for one of their names (SNI). The flag may be given several
            times, and a file may hold a list of texts or pairs. The names are those in the certificates, wildcards
            included. Who asks for none of them gets certfile. One of the same names with another kind of key stands
            beside the first: RSA and EC.""",
        differs="""has no such setting.""",
    )
    reload_certificates: bool = setting(
        ("--reload-certificates",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Take certificates when their files change, without HUP. Connections that are there already keep theirs.
            What cannot be used is told in the log, and the old certificate stays.""",
        differs="""has no such setting.""",
    )
    ca_certs: str | None = setting(
        ("--ca-certs",),
        default=None,
        parse=given(path),
        meta="FILE",
        doc="""Certificates, in PEM form, of those whose client certificates are believed.""",
    )
    cert_reqs: int = setting(
        ("--cert-reqs",),
        default=0,
        parse=certificate_request,
        meta="NUMBER",
        doc="""Whether clients show a certificate: 0 they need not, 1 they may, 2 they must. The members of
            ssl.VerifyMode and the words none, optional and required say the same. What it says stands in the environ
            as SSL_CLIENT_S_DN and so on.""",
    )
    crl_file: str | None = setting(
        ("--crl-file",),
        default=None,
        parse=given(path),
        meta="FILE",
        doc="""Revocation lists, in PEM form, of those in ca_certs. A client certificate whose issuer has no list, or
            one that is too old, is refused.""",
        differs="""has no such setting.""",
    )
    verify_flags: tuple[str, ...] = setting(
        ("--verify-flags",),
        default=(),
        parse=verify_flags,
        meta="NAMES",
        doc="""How client certificates are looked at: names of ssl.VerifyFlags separated by commas, such as
            x509_strict or crl_check_chain.""",
        differs="""has no such setting.""",
    )
    tls_min_version: str = setting(
        ("--tls-min-version",),
        default="1.2",
        parse=tls_version,
        meta="VERSION",
        doc="""The oldest version of TLS that is spoken: 1.2 or 1.3.""",
        differs="""has no such setting.""",
    )
    ciphers: str | None = setting(
        ("--ciphers",),
        default=None,
        parse=optional(text),
        meta="CIPHERS",
        doc="""Ciphers for TLS 1.2, in the notation of OpenSSL. Unset = those with forward secrecy and authenticated
            encryption.""",
        differs="""those that Python takes, CBC included.""",
    )
    tls_ciphersuites: str | None = setting(
        ("--tls-ciphersuites",),
        default=None,
        parse=optional(text),
        meta="SUITES",
        doc="""Suites for TLS 1.3, separated by colons; only Python 3.15 and newer can choose.
            Unset = what OpenSSL takes.""",
        differs="""has no such setting.""",
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
    )
    ssl_version: str | None = setting(
        ("--ssl-version",),
        default=None,
        parse=ssl_version,
        meta="VERSION",
        doc="""For old configurations, a member of ssl._SSLMethod or its name. TLSv1_2 and TLSv1_3 stand for these
            versions and newer ones, as with tls_min_version; the others for all that are spoken, of which none is
            older than 1.2.""",
        differs="""ssl.PROTOCOL_TLS, without effect.""",
    )
