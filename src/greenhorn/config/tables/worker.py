"""How many workers there are, of which kind, and how much each takes on."""

from dataclasses import dataclass

from greenhorn.config.parsers import positive, seconds, text, whole
from greenhorn.config.setting import Variable, setting


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """The worker processes."""

    workers: int = setting(
        ("-w", "--workers"),
        default=1,
        parse=whole,
        meta="NUMBER",
        variable=Variable("WEB_CONCURRENCY"),
        doc="""Worker processes to keep running. Start with one or two per processor core and measure.""",
    )
    worker_class: str = setting(
        ("-k", "--worker-class"),
        default="gthread",
        parse=text,
        meta="NAME",
        doc="""Kind of worker; gthread, a poller with a pool of threads, is the one there is.""",
        differs="""sync, one request at a time, which any slow client can hold. With gthread a client that
            is slow, silent or idle costs no thread.""",
    )
    threads: int = setting(
        ("--threads",),
        default=4,
        parse=positive,
        meta="NUMBER",
        doc="""Threads per worker that run the application. That many requests are worked on at once;
            connections without a complete request need none.""",
        differs="""1. Applications mostly wait for databases and other services, and one such wait should
            not hold up everybody else.""",
    )
    worker_connections: int = setting(
        ("--worker-connections",),
        default=1000,
        parse=positive,
        meta="NUMBER",
        doc="""Most connections that one worker holds at once, idle ones included. At the limit it stops
            accepting until one closes.""",
    )
    timeout: int = setting(
        ("-t", "--timeout"),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Silence after which a worker counts as stuck and is killed and replaced; 0 = never. It is
            the worker's loop that has to be alive: a single long request does not trip it.""",
    )
    graceful_timeout: int = setting(
        ("--graceful-timeout",),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that running requests get to finish when a worker is asked to stop. What still runs
            then is cut off.""",
    )
