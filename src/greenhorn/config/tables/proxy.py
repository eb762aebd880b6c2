"""Whom to believe about the client, and what."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from greenhorn.config.choices import some_of
from greenhorn.config.parsers import header_values, names, networks, one_of, proxy_mode, whole
from greenhorn.config.setting import Variable, setting


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """Trusted peers, and the fields and headers that only they may send."""

    forwarded_allow_ips: tuple[str, ...] = setting(
        ("--forwarded-allow-ips",),
        default=("127.0.0.1", "::1"),
        parse=networks,
        meta="NETWORKS",
        variable=Variable("FORWARDED_ALLOW_IPS", empty_counts=True),
        doc="""Peers that may tell the scheme and send forwarder_headers: addresses and networks separated
            by commas, * for everybody. Empty trusts nobody; peers of a unix socket are always trusted.
            The scheme is told by secure_scheme_headers.""",
    )
    secure_scheme_headers: Mapping[str, str] = setting(
        default=MappingProxyType(
            {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
        ),
        parse=header_values,
        doc="""Header fields, and the value of each, by which a trusted peer says that the client used
            https. Another value says http; fields that disagree are answered 400.""",
    )
    forwarded_hops: int = setting(
        ("--forwarded-hops",),
        default=0,
        parse=whole,
        meta="NUMBER",
        doc="""How many proxies stand in front, each of which appends to forwarded_header whom it got the request from:
            REMOTE_ADDR is then that entry from the end, if the peer is one of forwarded_allow_ips. 0 = REMOTE_ADDR is
            the peer. docs/proxies.md has examples.""",
        differs="""has no such setting; the application has to look at X-Forwarded-For.""",
    )
    forwarded_header: str = setting(
        ("--forwarded-header",),
        default="x-forwarded",
        parse=one_of("x-forwarded", "forwarded"),
        meta="NAME",
        doc="""Where the client's address stands when forwarded_hops is set: x-forwarded for X-Forwarded-For and its
            kin, forwarded for Forwarded (RFC 7239).""",
        differs="""has no such setting.""",
    )
    forwarded_fields: tuple[str, ...] = setting(
        ("--forwarded-fields",),
        default=(),
        parse=some_of("host", "port", "prefix"),
        meta="NAMES",
        doc="""What else is believed when forwarded_hops is set, of host, port and prefix, separated by commas:
            HTTP_HOST is what X-Forwarded-Host says, SERVER_PORT what X-Forwarded-Port says, SCRIPT_NAME begins with
            what X-Forwarded-Prefix says; of Forwarded there is only host. Name only what your proxies set themselves:
            many pass on what a client sends under these names.""",
        differs="""has no such setting.""",
    )
    forwarder_headers: tuple[str, ...] = setting(
        ("--forwarder-headers",),
        default=("SCRIPT_NAME", "PATH_INFO"),
        parse=names,
        meta="NAMES",
        doc="""Header names with an underscore that a trusted peer may send all the same, whatever
            header_map says. Separated by commas; * stands for all.""",
    )
    header_map: str = setting(
        ("--header-map",),
        default="drop",
        parse=one_of("drop", "refuse", "dangerous"),
        meta="POLICY",
        doc="""What becomes of header names with an underscore, which the environ cannot tell from those
            with a hyphen: drop leaves the field out, refuse answers 400, dangerous lets it through. Use
            dangerous only where no proxy sets a field that a client could forge.""",
    )
    proxy_protocol: str = setting(
        ("--proxy-protocol",),
        default="off",
        parse=proxy_mode,
        meta="MODE",
        bare="auto",
        doc="""Accept a PROXY protocol header at the start of a connection: off, v1, v2 or auto. The flag
            without a value means auto; put it behind APP_MODULE or write --proxy-protocol=auto.""",
    )
    proxy_allow_ips: tuple[str, ...] = setting(
        ("--proxy-allow-from",),
        default=("127.0.0.1", "::1"),
        parse=networks,
        meta="NETWORKS",
        doc="""Peers that may send a PROXY protocol header: addresses and networks separated by commas, *
            for everybody. From anybody else it is answered 403; peers of a unix socket always may.""",
    )
