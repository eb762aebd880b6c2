"""The `greenhorn` command: settings, surroundings, and then the master or a check."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from greenhorn.app import load_named
from greenhorn.config import Configuration, load_configuration
from greenhorn.config.hooks import hook_name
from greenhorn.config.tables import ROWS
from greenhorn.errors import AppLoadError, ConfigError, Interrupted
from greenhorn.master.arbiter import Arbiter
from greenhorn.master.check import check
from greenhorn.master.generation import Generation, Load
from greenhorn.master.handover import Handover
from greenhorn.master.process import Launch, daemonize
from greenhorn.master.surroundings import Surroundings
from greenhorn.net.bind import masked, parse_bind

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
    return exit_code_of(lambda: _run(sys.argv[1:] if argv is None else argv))


def exit_code_of(run: Callable[[], int]) -> int:
    """Run what may fail as a start does; its exit code, or that of the failure, which is told."""
    open_standard_streams()
    try:
        return run()
    except Interrupted as interrupted:
        return 0 if interrupted.number == signal.SIGTERM else INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ConfigError, AppLoadError) as wrong:
        print(describe(wrong), file=sys.stderr)
        return 1


def describe(wrong: Exception) -> str:
    """What is said of a start that fails."""
    return f"greenhorn: error: {wrong}"


def open_standard_streams() -> None:
    """Put /dev/null where standard input, output or error is closed: the number must not become a socket's."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", closefd=False))


def _run(arguments: Sequence[str]) -> int:
    surroundings = Surroundings()
    handover = Handover(surroundings)
    configuration = load_configuration(arguments, surroundings.environ)

    def read() -> Configuration:
        return load_configuration(arguments, surroundings.environ, again=True)

    return start(configuration, read, surroundings, handover)


def start(
    configuration: Configuration,
    read: Callable[[], Configuration],
    surroundings: Surroundings,
    handover: Handover,
    load: Load = load_named,
) -> int:
    """Check what is configured or serve it, as the settings say, and return the exit code.

    `read` reads the configuration anew, and `load` loads the application. Raises `ConfigError` and `AppLoadError`.
    Main thread.
    """
    try:
        return _start(configuration, read, surroundings, handover, load)
    except ConfigError as wrong:
        raise ConfigError(configuration.sourced(str(wrong))) from wrong


def _start(
    configuration: Configuration,
    read: Callable[[], Configuration],
    surroundings: Surroundings,
    handover: Handover,
    load: Load,
) -> int:
    settings = configuration.settings
    for warning in configuration.warnings:
        print(f"greenhorn: warning: {warning}", file=sys.stderr)
    surroundings.enter(settings)
    if settings.print_config:
        try:
            print("\n".join(listing(configuration)), flush=True)
        except BrokenPipeError:  # as of `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    unnamed = load is load_named and settings.wsgi_app is None and settings.paste is None
    if unnamed and settings.print_config and not settings.check_config:
        return 0
    for text in settings.bind:
        parse_bind(text)  # before anything is begun or loaded, since typing it right is all that it takes
    generation = Generation.of(settings, load)
    if settings.check_config or settings.print_config:
        for warning in check(generation):
            print(f"greenhorn: warning: {warning}", file=sys.stderr)
        return 0
    if not settings.daemon or handover.predecessor:
        launch = Launch()
    else:
        if "NOTIFY_SOCKET" in surroundings.environ:
            print(
                "greenhorn: warning: daemon: a service manager that is told of the start wants it off", file=sys.stderr
            )
        launch = daemonize(keep_output=settings.enable_stdio_inheritance)
    try:
        return Arbiter(configuration, read, surroundings, handover, launch, generation).run()
    except (ConfigError, AppLoadError) as wrong:
        launch.failed(describe(type(wrong)(configuration.sourced(str(wrong)))), 1)
        raise


def listing(configuration: Configuration) -> Iterator[str]:
    """Yield a line of Python per setting, sorted by name, each with the origin of its value as a comment."""
    values = vars(configuration.settings)
    longest = max(map(len, values))
    for name in sorted(values):
        value = values[name]
        if name == "bind":
            value = tuple(map(masked, value))
        if callable(value):
            value = hook_name(value)
        shown = repr(dict(value) if isinstance(value, Mapping) else value)
        if ROWS[name].secret and value is not None:
            shown = "'...'"
        yield f"{name:{longest}} = {shown:{WIDEST_VALUE}}  # {configuration.origins[name]}"
