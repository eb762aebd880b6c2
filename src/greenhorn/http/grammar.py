"""The patterns of the protocol, each under the ABNF and the section it comes from."""

import re

# RFC 9110 5.6.2: token = 1*tchar
TCHAR = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
is_token = re.compile(rf"[{TCHAR}]+").fullmatch

# RFC 9110 5.5: field-vchar = VCHAR / obs-text, between them SP and HTAB. CR and LF only end lines.
FIELD_OCTETS = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])

# RFC 9112 2.2: what may never stand in a head, and line ends that are not CRLF; a CR at the end of what came may
# still become one.
find_fault_in_head = re.compile(rb"[^\x09\x0a\x0d\x20-\x7e\x80-\xff]|(?<!\r)\n|\r(?!\n|\Z)").search

# RFC 9112 2.3: HTTP-version = HTTP-name "/" DIGIT "." DIGIT
is_version = re.compile(r"HTTP/[0-9]\.[0-9]").fullmatch

# RFC 9110 7.2 and RFC 3986 3.2.2: Host = uri-host [ ":" port ]; the userinfo of a URI is no part of it.
# The name may be empty: a client whose URI has no authority has to send it so.
HOST = (
    r"(?:\[(?:[0-9A-Fa-f:.]{2,45}(?:%25[0-9A-Za-z._~\-]+)?|[vV][0-9A-Fa-f]+\.[0-9A-Za-z\-._~!$&'()*+,;=:]+)\]"
    r"|(?:[0-9A-Za-z\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)"
)
is_host = re.compile(rf"{HOST}(?::[0-9]*)?").fullmatch

# RFC 9112 3.2.2: absolute-form, for the two schemes of HTTP. Groups: authority, path, query with its "?".
match_absolute_form = re.compile(rf"(?i:https?)://({HOST}(?::[0-9]*)?)(/[^?]*)?(\?.*)?").fullmatch

# RFC 9112 3.2.3: authority-form = uri-host ":" port
is_authority_form = re.compile(rf"(?!:){HOST}:[0-9]+").fullmatch

# RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF; the size is bounded here to what fits 64 bits.
# RFC 9112 7.1.1: chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
_TOKEN_BYTES = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED_STRING = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
match_chunk_line = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*"
    % (_TOKEN_BYTES, _TOKEN_BYTES, _QUOTED_STRING)
).fullmatch

# RFC 9112 4: status-code SP [ reason-phrase ]; the reason is optional in what an application hands over.
is_status = re.compile(r"[1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?").fullmatch

# RFC 9110 6.5.1: fields that frame, route or authenticate a request cannot come after its body. Others may: they are
# checked and thrown away, so that none of them can change what the head said.
FORBIDDEN_TRAILERS = frozenset(
    (
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    )
)
