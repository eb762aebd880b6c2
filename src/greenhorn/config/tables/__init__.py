"""The table of all settings, by section, and the record that they make up."""

import dataclasses
import ipaddress
import os
from dataclasses import dataclass
from typing import Any, NoReturn

from greenhorn.config.entries import Entries
from greenhorn.config.ini import variables_of
from greenhorn.config.setting import Row, rows
from greenhorn.config.tables.asgi import ASGISettings
from greenhorn.config.tables.control import ControlSettings
from greenhorn.config.tables.development import DevelopmentSettings
from greenhorn.config.tables.hooks import HookSettings
from greenhorn.config.tables.http import HTTPSettings, LimitSettings, TimeoutSettings
from greenhorn.config.tables.logs import LoggingSettings, LogTargetSettings
from greenhorn.config.tables.metrics import MetricSettings
from greenhorn.config.tables.paste import PasteSettings
from greenhorn.config.tables.process import DutySettings, ProcessSettings
from greenhorn.config.tables.protocol import ProtocolSettings
from greenhorn.config.tables.proxy import ProxySettings
from greenhorn.config.tables.socket import SocketSettings
from greenhorn.config.tables.tls import TLSSettings
from greenhorn.config.tables.worker import WorkerSettings

TABLES: dict[str, type[Any]] = {
    "Application and process": ProcessSettings,
    "Paste Deployment": PasteSettings,
    "Background, identity and name": DutySettings,
    "Listening sockets": SocketSettings,
    "Workers": WorkerSettings,
    "Sizes": LimitSettings,
    "Patience with clients": TimeoutSettings,
    "HTTP": HTTPSettings,
    "Proxies in front": ProxySettings,
    "TLS": TLSSettings,
    "Other protocols": ProtocolSettings,
    "ASGI": ASGISettings,
    "Logging": LoggingSettings,
    "Logging configurations and syslog": LogTargetSettings,
    "Metrics": MetricSettings,
    "Control": ControlSettings,
    "Development": DevelopmentSettings,
    "Server hooks": HookSettings,
}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Settings(
    ProcessSettings,
    PasteSettings,
    DutySettings,
    SocketSettings,
    WorkerSettings,
    LimitSettings,
    TimeoutSettings,
    HTTPSettings,
    ProxySettings,
    TLSSettings,
    ProtocolSettings,
    ASGISettings,
    LoggingSettings,
    LogTargetSettings,
    MetricSettings,
    ControlSettings,
    DevelopmentSettings,
    HookSettings,
):
    """Every setting with its value: lists are tuples, times are whole seconds, sizes are bytes.

    `Settings()` is the table's defaults; `Settings(workers=2)` changes one. The properties are what hooks and logger
    classes that were written for gunicorn ask of `cfg` beside.
    """

    @property
    def uid(self) -> int:
        """The user id that the workers have."""
        return os.geteuid() if self.user is None else self.user

    @property
    def gid(self) -> int:
        """The group id that the workers have."""
        return os.getegid() if self.group is None else self.group

    @property
    def address(self) -> tuple[str, ...]:
        """The addresses, as they were asked for."""
        return self.bind

    @property
    def env(self) -> dict[str, str]:
        """The variables of `raw_env`."""
        return dict(assignment.split("=", 1) for assignment in self.raw_env)

    @property
    def is_ssl(self) -> bool:
        """Whether connections are encrypted."""
        return bool(self.certfile or self.keyfile)

    @property
    def worker_class_str(self) -> str:
        """The name of the worker class."""
        kind = self.worker_class
        return kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"

    @property
    def ssl_options(self) -> dict[str, Any]:
        """The settings of TLS by their names."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(TLSSettings)}

    @property
    def paste_global_conf(self) -> dict[str, str]:
        """The variables of `raw_paste_global_conf`."""
        return variables_of(self.raw_paste_global_conf)

    @property
    def settings(self) -> Entries:
        """Every setting by its name."""
        return Entries(self, ROWS)

    def forwarded_allow_networks(self) -> list[Network]:
        """The networks of `forwarded_allow_ips`, but for `*`."""
        return [ipaddress.ip_network(text) for text in self.forwarded_allow_ips if text != "*"]

    def proxy_allow_networks(self) -> list[Network]:
        """The networks of `proxy_allow_ips`, but for `*`."""
        return [ipaddress.ip_network(text) for text in self.proxy_allow_ips if text != "*"]

    def set(self, name: str, value: object) -> NoReturn:
        """Raise `AttributeError`: settings are fixed once they are read."""
        raise AttributeError(
            f"{name} = {value!r}: no setting can be changed after the configuration was read; set it in the "
            "configuration file, and the number of workers by server.num_workers"
        )


ROWS: dict[str, Row] = rows(TABLES)
"""Every row by its setting's name, in the order of the table."""

HOOKS: tuple[str, ...] = tuple(rows({"": HookSettings}))
"""The settings that are server hooks."""
