"""How a worker comes by its application, and hears that a file of it has changed."""

import re
from collections.abc import Callable
from typing import Any

from greenhorn.config import Settings
from greenhorn.errors import AppLoadError
from greenhorn.observe.logger import Logger
from greenhorn.workers.fault import fault_page
from greenhorn.workers.reloader import Reloader

Application = Callable[..., Any]


def load_watched(
    settings: Settings,
    load: Callable[[Settings], Application],
    *,
    on_change: Callable[[str], None],
    since: float,
    log: Logger,
) -> Application:
    """The application while somebody works on it: a page that shows why, if it cannot be loaded.

    `on_change` is called, by another thread, with the path of a file that has changed `since` then, in seconds of
    the epoch.
    """
    reloader = Reloader(
        on_change, engine=settings.reload_engine, extra=settings.reload_extra_files, since=since, log=log
    )
    try:
        application = load(settings)
    except AppLoadError as error:
        log.error("%s", error)  # noqa: TRY400 - the message has the traceback that matters
        application = fault_page(str(error))
        reloader.watch(re.findall(r'^ *File "(.+?)", line \d+', str(error), re.MULTILINE))
    reloader.start()
    return application
