"""What is spoken at one address."""

from typing import NamedTuple

from greenhorn.tls.credentials import Credentials


class Entrance(NamedTuple):
    """What is spoken at one address."""

    credentials: Credentials | None = None
    """The certificates to show; None where nothing is encrypted."""
    redirect: str = ""
    """Where clients are sent instead of being served: a port, or the beginning of a URL up to the host or port."""

    @property
    def scheme(self) -> str:
        """Http or https."""
        return "https" if self.credentials is not None else "http"


PLAIN = Entrance()
