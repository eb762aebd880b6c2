"""Certificates whose files change while the server runs: the setting reload_certificates."""

from greenhorn.errors import ConfigError
from greenhorn.master.server import Server
from greenhorn.tls.credentials import Credentials

EVERY = 1.0
"""Seconds between two looks at the files."""


class Renewal:
    """Looks at the files of all certificates in use, and lets master and workers take what is new. Master's thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._look_at = 0.0

    def look(self, now: float) -> None:
        """Take what has changed, if it is time to look. What cannot be used is logged, and the old one stays."""
        if now < self._look_at:
            return
        self._look_at = now + EVERY
        fleet = self._server.fleet
        watched = [one for one in (fleet.current, fleet.candidate) if one and one.settings.reload_certificates]
        # Generations share those that stay the same: to look twice would find that a change has settled.
        for credentials in dict.fromkeys(one for generation in watched for one in generation.entrances.credentials):
            if credentials.has_changed():
                self._renew(credentials)

    def _renew(self, credentials: Credentials) -> None:
        log = self._server.log
        files = ", ".join(map(str, credentials.options.certificates))
        try:
            renewed = credentials.renew()
        except ConfigError as error:
            log.error("The new certificate is refused, and the old one stays: %s", error)  # noqa: TRY400 - said
            return
        if renewed:
            log.info("There is a new certificate: %s", files)
            for child in self._server.fleet.children.values():
                child.order("certificates")
