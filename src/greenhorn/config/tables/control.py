"""The socket over which the server is asked and told."""

from dataclasses import dataclass

from greenhorn.config.identity import file_mode
from greenhorn.config.parsers import optional, path, switch
from greenhorn.config.setting import Pending, setting

_CONTROL = Pending("control socket")


@dataclass(frozen=True, kw_only=True)
class ControlSettings:
    """Where it is, and who may use it."""

    control_socket: str | None = setting(
        ("--control-socket",),
        default=None,
        parse=optional(path),
        meta="FILE",
        doc="""Unix socket of the control interface.""",
        pending=_CONTROL,
        differs="""gunicorn.ctl in $XDG_RUNTIME_DIR, else in ~/.gunicorn, where the last of several servers takes it
            from the others.""",
    )
    control_socket_mode: int = setting(
        ("--control-socket-mode",),
        default=0o600,
        parse=file_mode,
        meta="MODE",
        doc="""Permissions of the control socket, as in 0660 or 0o660; a leading zero makes text octal.""",
        pending=_CONTROL,
    )
    control_socket_disable: bool = setting(
        ("--no-control-socket",),
        default=False,
        parse=switch,
        bare=True,
        doc="""Do without a control socket. There is none yet in any case.""",
    )
