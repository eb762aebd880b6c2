"""Every exception of the server, which nothing else in the house defines, and what to do about an import's."""

REMEDY_FOR_GUNICORN = (
    "gunicorn is not installed: write greenhorn.glogging for gunicorn.glogging, and the same for app.base, app.wsgiapp "
    "and instrument.statsd; leave out what else is gunicorn's, or install it (docs/from-gunicorn.md)"
)


class GreenhornError(Exception):
    """Base of all exceptions below; never raised itself."""


class ConfigError(GreenhornError):
    """A setting, a bind address or a file named by one is wrong.

    The message is for the person who wrote it: what, where, and what would be valid. Ends the start with exit code 1.
    """


class AppLoadError(GreenhornError):
    """The application named by APP_MODULE cannot be had.

    `exit_code` is gunicorn's: 3 when its module cannot be imported, 4 when the module has no such callable.
    """

    def __init__(self, message: str, exit_code: int = 4) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(KeyboardInterrupt):
    """A signal that stops came before the master had begun to serve; `number` says which one."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class HTTPError(GreenhornError):
    """A request that is answered by the server itself, with `status`, and whose connection then closes.

    `detail` says why, for the log and in the short plain body; it is fixed text that quotes nothing of the request.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class RequestBodyError(HTTPError, OSError):
    """A body that the application reads while it comes is late, too large or malformed.

    An `OSError` too, which frameworks take for what it is: the client's failure.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.args = (detail,)


class StorageError(GreenhornError, OSError):
    """What a slow client has not read cannot be kept: the temporary folder fails, or tmp_files_max is reached (EDQUOT).

    It surfaces in the application, and is not its fault.
    """


class ClientGone(GreenhornError, ConnectionError):  # noqa: N818 - an event of the network, not a fault
    """The peer reset or closed the connection, or stopped reading for longer than it may.

    A `ConnectionError` too, for applications that expect one from `write()`.
    """


def import_remedy(error: BaseException) -> str:
    """What to do, to stand behind the message of an error that a module raised; empty if there is nothing to say."""
    missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
    return f"; {REMEDY_FOR_GUNICORN}" if missing.partition(".")[0] == "gunicorn" else ""
