"""The `greenhorn` command: settings, surroundings, and then the master or a check."""

import os
import sys
from collections.abc import Iterator, Mapping

from greenhorn import __version__
from greenhorn.app import load_app
from greenhorn.config import Configuration, Settings, load_configuration
from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.master.arbiter import Arbiter, find_worker_class
from greenhorn.net.listener import parse_address

INTERRUPTED = 130
"""Exit code after Ctrl-C before the master was there, as shells have it."""
WIDEST_VALUE = 44
"""Up to this width the origins of --print-config stand below each other."""


def main(argv: list[str] | None = None) -> int:
    """Run the command with `argv` (default: of this process; no program name) and return its exit code.

    0 after a check that passes, 1 after one that does not and for a wrong configuration, else what
    `Arbiter.run()` returns. --help, --version and faults of the command line (code 2) raise SystemExit, as
    argparse does.
    """
    open_standard_streams()
    try:
        return _run(load_configuration(argv))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ConfigError, AppLoadError) as wrong:
        print(f"greenhorn: error: {wrong}", file=sys.stderr)
        return 1


def open_standard_streams() -> None:
    """Put /dev/null where standard input, output or error is closed: the number must not become a socket's."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", closefd=False))


def _run(configuration: Configuration) -> int:
    settings = configuration.settings
    for warning in configuration.warnings:
        print(f"greenhorn: warning: {warning}", file=sys.stderr)
    surround(settings)
    if settings.print_config:
        print("\n".join(listing(configuration)), flush=True)
    if settings.wsgi_app is None and settings.print_config and not settings.check_config:
        return 0
    if settings.wsgi_app is None:
        raise ConfigError(
            "no application is named: name one as in `greenhorn hello:app`, for app in hello.py, "
            "or set wsgi_app in a configuration file"
        )
    if settings.check_config or settings.print_config:
        check(settings, settings.wsgi_app)
        return 0
    return Arbiter(settings).run()


def surround(settings: Settings) -> None:
    """Give the process the directory, the sys.path and the environment that the application is to find.

    Raises ConfigError for a directory that cannot be entered.
    """
    try:
        os.chdir(settings.chdir)
    except OSError as wrong:
        raise ConfigError(f"chdir = {settings.chdir!r}: cannot be entered: {wrong.strerror}") from None
    first = [os.path.abspath(path) for path in settings.pythonpath]  # noqa: PTH100 - sys.path holds text
    wanted = list(dict.fromkeys([*first, settings.chdir]))
    sys.path[:] = wanted + [path for path in sys.path if path not in wanted]
    for assignment in settings.raw_env:
        name, _, value = assignment.partition("=")
        os.environ[name] = value
    os.environ["SERVER_SOFTWARE"] = f"greenhorn/{__version__}"


def check(settings: Settings, app_module: str) -> None:
    """Check addresses and worker class, and load the application. Raises ConfigError and AppLoadError."""
    for address in settings.bind:
        parse_address(address)
    find_worker_class(settings.worker_class)
    load_app(app_module)


def listing(configuration: Configuration) -> Iterator[str]:
    """Yield a line of Python per setting, sorted by name, each with the origin of its value as a comment."""
    values = vars(configuration.settings)
    longest = max(map(len, values))
    for name in sorted(values):
        value = values[name]
        shown = repr(dict(value) if isinstance(value, Mapping) else value)
        yield f"{name:{longest}} = {shown:{WIDEST_VALUE}}  # {configuration.origins[name]}"
