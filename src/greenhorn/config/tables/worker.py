"""How many workers there are, of which kind, and how much each takes on."""

from dataclasses import dataclass

from greenhorn.config.cpus import worker_count
from greenhorn.config.parsers import positive, seconds, size, whole
from greenhorn.config.setting import Variable, setting
from greenhorn.config.worker_classes import USUAL, WorkerKind, worker_class


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """The worker processes."""

    workers: int = setting(
        ("-w", "--workers"),
        default=1,
        parse=worker_count,
        meta="NUMBER",
        variable=Variable("WEB_CONCURRENCY"),
        doc="""Worker processes to keep running, or auto for as many as there are CPUs. Those that count are the CPUs
            that the process may use, by its affinity and by the limit of its container, a fraction rounded up.""",
        differs="""numbers only.""",
    )
    worker_class: WorkerKind = setting(  # noqa: RUF009 - as all the others
        ("-k", "--worker-class"),
        default=USUAL,
        parse=worker_class,
        meta="NAME",
        doc="""Kind of worker: gthread unless there is a reason for another; sync for code that is safe in one thread
            only, gevent or eventlet for hundreds of requests that wait at once, tornado and asgi for applications of
            those kinds, or the path of a class. docs/workers.md says more. A class is the name of one that another
            package offers (entry points in the group greenhorn.workers), the dotted path of a subclass of
            greenhorn.workers.base.Worker, or in a file such a class. gunicorn's names and classes are understood, and
            sync with threads above 1 means gthread.""",
        differs="""sync, one request at a time, which any slow client can hold. Here a client that is slow, silent
            or idle costs no thread of any class.""",
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
        doc="""Most connections that one worker holds at once. At the limit, and when descriptors run out, it closes
            those that have been idle for longest, then those that are slowest, those that carried no request yet, and
            those that are between two; if there is none it stops accepting until one closes.""",
    )
    queue_size: int = setting(
        ("--queue-size",),
        default=0,
        parse=whole,
        meta="NUMBER",
        doc="""Most whole requests that wait for a thread of one worker; more are answered 503 with Retry-After; 0 = no
            limit but worker_connections.""",
        differs="""has no such setting; requests wait without limit.""",
    )
    queue_timeout: int = setting(
        ("--queue-timeout",),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Longest time that a whole request waits for a thread; 0 = for ever. Then it is answered 503 with
            Retry-After. While worker_connections is reached it is a fourth, since nobody else can be accepted.""",
        differs="""has no such setting; the application works on requests that nobody waits for any more.""",
    )
    timeout: int = setting(
        ("-t", "--timeout"),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Silence after which a worker counts as stuck and is killed and replaced; 0 = never. It is
            the worker's loop that has to be alive: a single long request does not trip it.""",
    )
    request_timeout: int = setting(
        ("--request-timeout",),
        default=0,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that the application has for one request; 0 = for ever. Then the client gets 504, or its connection
            is closed if the answer has begun; the log gets the stack of the thread, which another one replaces.""",
        differs="""has no such setting; timeout does not see a request in a thread.""",
    )
    max_stuck_threads: int = setting(
        ("--max-stuck-threads",),
        default=2,
        parse=whole,
        meta="NUMBER",
        doc="""Threads of one worker that may be beyond request_timeout at once; with one more the worker is exchanged
            for a fresh one, which is ready before the old one leaves.""",
        differs="""has no such setting.""",
    )
    graceful_timeout: int = setting(
        ("--graceful-timeout",),
        default=30,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that running requests get to finish when a worker is asked to stop. What still runs
            then is cut off.""",
    )
    max_requests: int = setting(
        ("--max-requests",),
        default=0,
        parse=whole,
        meta="NUMBER",
        doc="""Requests after which a worker is exchanged for a fresh one; 0 = never. The replacement is ready before
            the worker leaves.""",
    )
    max_requests_jitter: int = setting(
        ("--max-requests-jitter",),
        default=0,
        parse=whole,
        meta="NUMBER",
        doc="""Most requests that are added to max_requests, at random for each worker, so that they do not all leave at
            once.""",
    )
    max_worker_memory: int = setting(
        ("--max-worker-memory",),
        default=0,
        parse=size,
        meta="SIZE",
        doc="""Resident memory beyond which a worker is exchanged for a fresh one, such as 512M; 0 = no limit. The
            replacement is ready before the worker leaves.""",
        differs="""has no such setting; max_requests has to guess when a worker has grown.""",
    )
    max_worker_lifetime: int = setting(
        ("--max-worker-lifetime",),
        default=0,
        parse=seconds,
        meta="SECONDS",
        doc="""Time after which a worker is exchanged for a fresh one, which is ready before the worker leaves; 0 =
            never.""",
        differs="""has no such setting.""",
    )
    max_worker_lifetime_jitter: int = setting(
        ("--max-worker-lifetime-jitter",),
        default=0,
        parse=seconds,
        meta="SECONDS",
        doc="""Most time that is added to max_worker_lifetime, at random for each worker, so that they do not all leave
            at once.""",
        differs="""has no such setting.""",
    )
    boot_timeout: int = setting(
        ("--boot-timeout",),
        default=120,
        parse=seconds,
        meta="SECONDS",
        doc="""Time that a worker has to load the application; 0 = for ever. One that takes longer is ended, and its
            stacks are in the log.""",
        differs="""has no such setting: a worker that hangs while it loads the application hangs for ever.""",
    )
    shutdown_delay: int = setting(
        ("--shutdown-delay",),
        default=0,
        parse=seconds,
        meta="SECONDS",
        doc="""Time for which everything still serves after TERM to the master, while environ["greenhorn.ready"]() says
            False already and systemd is told of the stop. Kubernetes takes a few seconds to forget the endpoint of a
            pod that it stops.""",
        differs="""has no such setting; a preStop hook has to sleep.""",
    )
