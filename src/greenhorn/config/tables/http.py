"""What a request may look like, how large it may be, and how long it may take."""

from dataclasses import dataclass

from greenhorn.config.parsers import field_count, seconds, size, switch, whole
from greenhorn.config.setting import Variable, setting


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Sizes of requests, and how much of requests and answers is kept in memory."""

    limit_request_line: int = setting(
        ("--limit-request-line",),
        default=4094,
        parse=size,
        meta="SIZE",
        doc="""Longest request line; a longer one is answered 414; 0 = no limit but that of the whole
            head.""",
        differs="""the same default, but a value above 8190 is cut to 8190. Here it counts as written.""",
    )
    limit_request_fields: int = setting(
        ("--limit-request-fields",),
        default=100,
        parse=field_count,
        meta="NUMBER",
        doc="""Most header fields of a request; more are answered 431. 0 and everything above 32768 mean
            32768.""",
    )
    limit_request_field_size: int = setting(
        ("--limit-request-field_size",),
        default=8190,
        parse=size,
        meta="SIZE",
        doc="""Longest header field, name and value; a longer one is answered 431; 0 = no limit but that of the
            whole head.""",
        differs="""documents 0 as no limit, and takes it for 8190.""",
    )
    limit_request_head: int = setting(
        ("--limit-request-head",),
        default=65536,
        parse=size,
        meta="SIZE",
        doc="""Largest head of a request (request line and all fields); a larger one is answered 431; 0 =
            no limit of its own. The other limits bound it then.""",
        differs="""has no such setting; its limits multiply to 800 KiB per connection.""",
    )
    limit_request_body: int = setting(
        ("--limit-request-body",),
        default=1073741824,
        parse=size,
        meta="SIZE",
        doc="""Largest body of a request, decoded; a larger one is answered 413; 0 = no limit. Where the length is
            announced nothing is read of it; otherwise the answer comes at the first byte too many.""",
        differs="""has no such setting: whoever sends the most fills the most memory or disk. Set it to what the
            application needs.""",
    )
    stream_request_body: bool = setting(
        ("--stream-request-body",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Pass request bodies on while they come. The application's thread then waits for the client, for as
            long as body_timeout and body_min_rate let it, so that a few slow clients can hold all threads; 100
            Continue is sent at the first read.""",
        differs="""has no such setting: it always does so, without any deadline.""",
    )
    body_buffer_size: int = setting(
        ("--body-buffer-size",),
        default=131072,
        parse=size,
        meta="SIZE",
        doc="""How much of a request body is kept in memory before it goes to a temporary file. A thread
            takes the request once its body is complete.""",
        differs="""has no such setting; a thread waits for the body, for as long as the client likes.""",
    )
    response_buffer_size: int = setting(
        ("--response-buffer-size",),
        default=65536,
        parse=size,
        meta="SIZE",
        doc="""How much of an answer is kept in memory for a client that does not keep up, before the rest
            goes to a temporary file.""",
        differs="""has no such setting; a thread waits until the client has taken it all.""",
    )
    response_buffer_max: int = setting(
        ("--response-buffer-max",),
        default=67108864,
        parse=size,
        meta="SIZE",
        doc="""How much of one answer is kept for a client that does not keep up, in memory and file
            together, before the application's thread waits for it. No more than half of the threads wait so, the
            others and an only one go on to fill files up to tmp_files_max.""",
        differs="""has no such setting; the thread waits from the first byte on.""",
    )
    tmp_files_max: int = setting(
        ("--tmp-files-max",),
        default=4294967296,
        parse=size,
        meta="SIZE",
        doc="""Most bytes that one worker keeps in temporary files, for bodies and answers together; 0 = no limit.
            Beyond it the connection whose client is slowest with an answer is closed to make room. If none is slow, a
            body is answered 503; for an answer its thread waits, or it is cut off if half of the threads do. A body
            beyond 1 MiB has to leave as much room as it takes.""",
        differs="""has no such setting.""",
    )


@dataclass(frozen=True, kw_only=True)
class TimeoutSettings:
    """How long a client may take for each part of its turn."""

    keepalive: int = setting(
        ("--keep-alive",),
        default=75,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that a connection may be idle between two requests; 0 = no keep-alive. Then each
            answer closes its connection.""",
        differs="""2. That is below the idle time of every load balancer, which then sends requests into
            connections that are just closing (their 502s); an idle connection costs no thread here.""",
    )
    keepalive_requests: int = setting(
        ("--keepalive-requests",),
        default=10000,
        parse=whole,
        meta="NUMBER",
        doc="""Most requests on one connection; the last answer closes it; 0 = no limit. Clients that connect anew now
            and then are spread over the workers and hosts.""",
        differs="""has no such setting.""",
    )
    handshake_timeout: int = setting(
        ("--handshake-timeout",),
        default=10,
        parse=seconds,
        meta="SECONDS",
        doc="""Time for what comes before the first request, the PROXY header and the TLS handshake, from the first byte
            on; 0 = for ever. No later byte renews it. When it is over the connection is closed.""",
        differs="""has no such setting.""",
    )
    first_byte_timeout: int = setting(
        ("--first-byte-timeout",),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that a new connection may stay silent; 0 = for ever. Then it is closed without a
            word.""",
        differs="""has no such setting.""",
    )
    header_timeout: int = setting(
        ("--header-timeout",),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Time for the whole head of a request, from its first byte on; 0 = for ever. No later byte
            renews it. When it is over the answer is 408.""",
        differs="""has no such setting; a head may trickle in for ever.""",
    )
    body_timeout: int = setting(
        ("--body-timeout",),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Longest pause within a request body; 0 = for ever. After it the answer is 408. body_min_rate says how
            much has to come for a new pause.""",
        differs="""has no such setting; a body may trickle in for ever.""",
    )
    body_min_rate: int = setting(
        ("--body-min-rate",),
        default=500,
        parse=size,
        meta="SIZE",
        doc="""Bytes per second that a request body has to bring, pauses up to body_timeout aside; 0 = any byte will
            do. Each byte earns its share of a second of waiting, up to body_timeout; who has none left gets 408.""",
        differs="""has no such setting.""",
    )
    write_timeout: int = setting(
        ("--write-timeout",),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Longest pause of a client in taking its answer; 0 = for ever. After it the connection is
            closed.""",
        differs="""has no such setting; a client that stops reading keeps its thread.""",
    )
    write_min_rate: int = setting(
        ("--write-min-rate",),
        default=500,
        parse=size,
        meta="SIZE",
        doc="""Bytes per second of an answer that a client has to take, pauses up to write_timeout aside; 0 = any byte
            will do. It is counted as for body_min_rate, by what the client's system confirms. That comes in steps, on
            loopback of 64 KiB: who takes longer than write_timeout for a step is cut whatever the rate.""",
        differs="""has no such setting.""",
    )
    linger_timeout: int = setting(
        ("--linger-timeout",),
        default=2,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that a client has to take note of the last answer on its connection, while what it still sends is
            thrown away; 0 = none. Then the connection is closed.""",
        differs="""has no such setting: it closes at once, and the client may lose the answer to a reset.""",
    )


@dataclass(frozen=True, kw_only=True)
class HTTPSettings:
    """Where the reading of requests and the sending of files may be changed."""

    permit_obsolete_folding: bool = setting(
        ("--permit-obsolete-folding",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Accept header fields that go on in the next line, and join the lines by a space. Otherwise
            they are answered 400: a proxy may read such a request differently.""",
    )
    strip_header_spaces: bool = setting(
        ("--strip-header-spaces",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Accept blanks between the name of a header field and its colon. Unsafe behind a proxy that
            reads such fields differently; otherwise they are answered 400.""",
    )
    permit_unconventional_http_method: bool = setting(
        ("--permit-unconventional-http-method",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Accepted for compatibility, without effect. Every method that is a token by RFC 9110 is
            taken.""",
    )
    permit_unconventional_http_version: bool = setting(
        ("--permit-unconventional-http-version",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Accepted for compatibility, without effect. Only HTTP/1.0 and HTTP/1.1 are taken; other
            versions are answered 505.""",
    )
    casefold_http_method: bool = setting(
        ("--casefold-http-method",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Turn methods into upper case. Methods are case-sensitive by RFC 9110, so the application
            otherwise sees them as sent.""",
    )
    sendfile: bool = setting(
        ("--no-sendfile",),
        default=True,
        parse=switch,
        bare=False,
        variable=Variable("SENDFILE"),
        doc="""Whether files that the application wraps in wsgi.file_wrapper are sent by the kernel's
            sendfile; the flag turns it off. In a file, True means on and False means off.""",
        differs="""every value in a file, True included, turns it off. Here True means on.""",
    )
