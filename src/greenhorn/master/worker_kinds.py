"""From the setting worker_class to a class: ours, a plug-in's, or somebody's own."""

import platform
from importlib import import_module
from importlib.metadata import entry_points
from operator import attrgetter
from typing import Any

from greenhorn.config.worker_classes import ENTRY_POINTS, LIBRARIES, WORKERS, WorkerKind, fault_of
from greenhorn.errors import ConfigError
from greenhorn.workers.base import Worker


def find_worker_class(wanted: WorkerKind) -> type[Worker]:
    """The class, imported by name, so that the master depends on none; its `setup` was called.

    `wanted` is one of our names, the name of an entry point, a dotted path, or a class. Raises `ConfigError` that
    begins with the setting's name.
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
    module, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    return _imported(name, module, attribute)


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
