"""From the setting worker_class to a class: ours, a plug-in's, or somebody's own."""

import platform
import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from operator import attrgetter
from typing import Any

from greenhorn.config.worker_classes import ENTRY_POINTS, LIBRARIES, WORKERS, WorkerKind, fault_of
from greenhorn.errors import ConfigError
from greenhorn.workers.base import Worker

OFFERS = (ENTRY_POINTS, "gunicorn.workers")
_EGG = re.compile(r"egg:([^#]+)#(.+)", re.IGNORECASE)


def find_worker_class(wanted: WorkerKind) -> type[Worker]:
    """The class, imported by name, so that the master depends on none; its `setup` was called.

    `wanted` is one of our names, the name of an entry point, `egg:PACKAGE#ENTRY_POINT`, a dotted path, or a class.
    Raises `ConfigError` that begins with the setting's name.
    """
    found = wanted if isinstance(wanted, type) else _find(wanted)
    name = wanted if isinstance(wanted, str) else f"{wanted.__module__}.{wanted.__qualname__}"
    if not (isinstance(found, type) and issubclass(found, Worker)):
        gunicorns = any(each.__module__.startswith("gunicorn.") for each in getattr(found, "__mro__", ()))
        remedy = "import the base class from greenhorn.workers.base" if gunicorns else "it must be"
        raise ConfigError(
            f"worker_class = {name!r}: is no subclass of greenhorn.workers.base.Worker: {remedy} (docs/workers.md)"
        )
    try:
        found.setup()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"worker_class = {name!r}: its setup() fails: {error!r}") from error
    if found.run is Worker.run:
        raise ConfigError(f"worker_class = {name!r}: it has no method run, which is the least of a worker class")
    return found


def _find(name: str) -> Any:
    fault = fault_of(name)
    if fault:
        raise ConfigError(f"worker_class = {name!r}: {fault}")
    if name in WORKERS:
        return _imported(name, *WORKERS[name].split(":"))
    if ":" not in name and "." not in name:
        offered = {(entry.module, entry.attr): entry.value for entry in entry_points(group=ENTRY_POINTS, name=name)}
        if len(offered) > 1:
            raise ConfigError(
                f"worker_class = {name!r}: several packages offer one: name it by its path, as {min(offered.values())}"
            )
        [(module, attribute)] = offered
        return _imported(name, module, attribute)
    egg = _EGG.fullmatch(name)
    if egg is not None:
        return _imported(name, *_offered_by(name, egg[1], egg[2]))
    module, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    return _imported(name, module, attribute)


def _offered_by(name: str, package: str, entry_name: str) -> tuple[str, str]:
    """Module and attribute of what a package offers, in our group of entry points or that of gunicorn."""
    try:
        offered = distribution(package).entry_points
    except PackageNotFoundError:
        raise ConfigError(f"worker_class = {name!r}: the package {package} is not installed: pip install it") from None
    entries = [entry for group in OFFERS for entry in offered.select(group=group, name=entry_name)]
    if not entries:
        raise ConfigError(
            f"worker_class = {name!r}: {package} has no entry point {entry_name} in the group {ENTRY_POINTS}"
        )
    return entries[0].module, entries[0].attr


def _imported(name: str, module: str, attribute: str) -> Any:
    try:
        imported = import_module(module)
    except ImportError as error:
        library = LIBRARIES.get(name, "")
        if library and (error.name or "").partition(".")[0] in (library, "greenlet"):
            extra = name.partition("-")[0]
            raise ConfigError(
                f"worker_class = {name!r}: needs {library}, which is not installed: pip install 'greenhorn[{extra}]'"
            ) from None
        if (error.name or "").partition(".")[0] == "gunicorn":
            raise ConfigError(
                f"worker_class = {name!r}: {module} needs gunicorn, whose classes do not run here: use -k asgi "
                "in place of uvicorn's, or import the base class from greenhorn.workers.base (docs/workers.md)"
            ) from error
        raise ConfigError(f"worker_class = {name!r}: {module} cannot be imported: {error}") from error
    except Exception as error:
        what = module
        if name in LIBRARIES:
            what = f"{LIBRARIES[name]} as it is installed does not go with Python {platform.python_version()}: {module}"
        raise ConfigError(f"worker_class = {name!r}: {what} cannot be imported: {error!r}") from error
    try:
        return attrgetter(attribute)(imported)
    except AttributeError:
        raise ConfigError(f"worker_class = {name!r}: there is no {attribute} in {module}") from None
