"""What helps while an application is being written."""

from dataclasses import dataclass

from greenhorn.config.parsers import one_of, switch, watched_files
from greenhorn.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class DevelopmentSettings:
    """Reloading when a file changes, and tracing."""

    reload: bool = setting(
        ("--reload",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Exchange the workers when a file of a loaded module changes. For development only.""",
    )
    reload_engine: str = setting(
        ("--reload-engine",),
        default="auto",
        parse=one_of("auto", "poll", "inotify"),
        meta="ENGINE",
        doc="""How changes are noticed: poll looks at the files, inotify is told by the kernel and needs a package for
            it, auto is inotify where it can be had, else poll.""",
    )
    reload_extra_files: tuple[str, ...] = setting(
        ("--reload-extra-file",),
        default=(),
        parse=watched_files,
        meta="FILE",
        repeats=True,
        doc="""Further files to watch: paths, which must exist, and patterns such as templates/*.html. The flag may be
            given several times, and a file may hold a list; relative ones count from where greenhorn was started.""",
    )
    spew: bool = setting(
        ("--spew",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Print every line of Python that the workers run. It slows everything down very much.""",
    )
