"""Where the server listens."""

from dataclasses import dataclass

from greenhorn.config.parsers import addresses, switch, whole
from greenhorn.config.setting import Variable, setting


@dataclass(frozen=True, kw_only=True)
class SocketSettings:
    """The listening sockets."""

    bind: tuple[str, ...] = setting(
        ("-b", "--bind"),
        default=("127.0.0.1:8000",),
        parse=addresses,
        meta="ADDRESS",
        repeats=True,
        variable=Variable("PORT", form="0.0.0.0:{}"),
        doc="""Addresses to listen on: HOST, HOST:PORT, [IPv6]:PORT, unix:PATH or fd://NUMBER. The flag
            may be given several times, and a file may hold a list. Without a port it is 8000; an empty
            host listens on every IPv4 address. With PORT in the environment the default is that port on
            every IPv4 address. A URL says what is spoken there, and has settings of its own behind a question mark:
            https://HOST:PORT?certfile=PATH&keyfile=PATH takes those about TLS, and
            http://HOST:PORT?redirect=443 sends clients to that port, or to a URL such as https://example.org.
            https+unix:PATH, http+unix:PATH, https+fd://N and http+fd://N say the same of other addresses. Without a
            port a URL means 443 or 80.""",
    )
    backlog: int = setting(
        ("--backlog",),
        default=2048,
        parse=whole,
        meta="NUMBER",
        doc="""Most connections that wait in the kernel, per listener, until a worker accepts them. The
            kernel caps the number (net.core.somaxconn on Linux).""",
    )
    reuse_port: bool = setting(
        ("--reuse-port",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Give each worker sockets of its own (SO_REUSEPORT), among which the kernel spreads the connections. What
            waits in the queue of a worker that dies is lost, which a shared socket keeps.""",
    )
