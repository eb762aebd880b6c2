"""Whether anybody could listen at an address, asked without listening."""

import os
import stat
from pathlib import Path

from greenhorn.errors import ConfigError
from greenhorn.net.listener import LONGEST_PATH, Address, reason_for, resolve


def check_address(address: Address) -> None:
    """Raise `ConfigError` for an address at which nobody could ever listen: who listens there now does not matter.

    No port is taken for that, and no path. Named descriptors are left out, since a service manager passes them on.
    """
    if address.fd >= 0:
        _check_descriptor(address)
    try:
        if address.path:
            _check_path(address)
        elif address.host:
            sock, resolved = resolve(address, 0)
            with sock:
                sock.bind(resolved)
    except UnicodeError:
        raise ConfigError(f"bind: cannot listen at {address}: {address.host!r} is no host name") from None
    except OSError as error:
        raise ConfigError(f"bind: cannot listen at {address}: {reason_for(error, address)}") from error


def _check_descriptor(address: Address) -> None:
    try:
        listens = stat.S_ISSOCK(os.fstat(address.fd).st_mode)
    except (OSError, OverflowError):
        raise ConfigError(f"bind: cannot listen at {address}: no such descriptor is open here") from None
    if not listens:
        raise ConfigError(f"bind: cannot listen at {address}: the descriptor is no socket")


def _check_path(address: Address) -> None:
    path = Path(address.path)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(f"bind: cannot listen at {address}: the path is longer than {LONGEST_PATH} bytes")
    if path.exists() and not path.is_socket():
        raise ConfigError(f"bind: cannot listen at {address}: there is a file that is no socket")
    if not path.parent.is_dir():
        raise ConfigError(f"bind: cannot listen at {address}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"bind: cannot listen at {address}: the directory {path.parent} may not be written to")
