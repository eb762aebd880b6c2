"""Field names and their environ keys: every spelling is judged once (RFC 9110 5.1, PEP 3333)."""

from collections.abc import Callable, Collection

from greenhorn.errors import HTTPError
from greenhorn.http.grammar import is_token

REMEMBERED = 2048
"""Spellings that are remembered before the memory is emptied: strangers choose them."""
LONGEST_REMEMBERED = 64

LONGEST_LINE_REMEMBERED = 256

REPEATED = frozenset(
    (
        "CONTENT_TYPE",
        "HTTP_ACCEPT",
        "HTTP_ACCEPT_ENCODING",
        "HTTP_ACCEPT_LANGUAGE",
        "HTTP_CACHE_CONTROL",
        "HTTP_CONNECTION",
        "HTTP_DNT",
        "HTTP_HOST",
        "HTTP_ORIGIN",
        "HTTP_PRAGMA",
        "HTTP_PRIORITY",
        "HTTP_SEC_CH_UA",
        "HTTP_SEC_CH_UA_MOBILE",
        "HTTP_SEC_CH_UA_PLATFORM",
        "HTTP_SEC_FETCH_DEST",
        "HTTP_SEC_FETCH_MODE",
        "HTTP_SEC_FETCH_SITE",
        "HTTP_SEC_FETCH_USER",
        "HTTP_UPGRADE_INSECURE_REQUESTS",
        "HTTP_USER_AGENT",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_REQUESTED_WITH",
    )
)
"""Keys of fields that clients repeat, and that are nobody's secret: their whole lines are remembered."""

NEVER_BY_UNDERSCORE = frozenset(
    (
        "TRANSFER_ENCODING",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HOST",
        "CONNECTION",
        "EXPECT",
        "TE",
        "TRAILER",
        "UPGRADE",
    )
)
"""Names that frame or route a request: `header_map = "dangerous"` does not extend to them."""


class FieldNames(dict[str, str | None]):
    """Maps a field name as spelled to its environ key, or to None where the field is not passed on.

    A name with an underscore would collide with the one spelled with a hyphen: `header_map` says whether it is
    dropped, refused or, dangerously, passed on; the names in `allowed` (upper case) always are. `Proxy` is dropped:
    HTTP_PROXY means something else to programs that the application may start (CVE-2016-5385). `on_dropped(name)` is
    called for each spelling that is dropped, the first time.

    Looked up by pool threads, without a lock: the same spelling always gives the same key.
    """

    def __init__(
        self,
        *,
        header_map: str = "drop",
        allowed: Collection[str] = (),
        strip_spaces: bool = False,
        telling: Collection[str] = (),
        on_dropped: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self._header_map = header_map
        self._allowed = frozenset(allowed)
        self._strip_spaces = strip_spaces
        self._on_dropped = on_dropped
        self._telling = frozenset(telling)
        self.told = False
        """Whether a peer ever used one of `telling`, the environ keys of fields by which proxies tell of clients."""
        self.lines: dict[str, tuple[str, str]] = {}
        """Whole field lines that came before, with their key and value."""
        self.hosts: set[str | None] = set()
        """Host values that were found well-formed; kept by the parser."""

    def __missing__(self, name: str) -> str | None:
        spelled = name.rstrip(" \t") if self._strip_spaces else name
        if not is_token(spelled):
            raise HTTPError(400, "a field name is not a token directly followed by a colon")
        key = self._key(spelled)
        if key in self._telling:
            self.told = True
        if len(name) <= LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[name] = key
        return key

    def remember_line(self, line: str, key: str, value: str) -> None:
        """Keep what a whole line of a `REPEATED` field was found to say. Any thread."""
        if len(line) <= LONGEST_LINE_REMEMBERED:
            if len(self.lines) >= REMEMBERED:
                self.lines.clear()
            self.lines[line] = (key, value)

    def _key(self, name: str) -> str | None:
        upper = name.upper()
        if "_" in name and "*" not in self._allowed and upper not in self._allowed:
            if self._header_map == "refuse":
                raise HTTPError(400, "a field name has an underscore")
            if self._header_map == "drop":
                return self._dropped(name)
        if "_" in name and upper.replace("-", "_") in NEVER_BY_UNDERSCORE:
            return self._dropped(name)
        if upper == "PROXY":
            return self._dropped(name)
        if upper == "SCRIPT_NAME" and upper in self._allowed:
            return upper  # where the application is mounted, told by a trusted proxy
        key = upper.replace("-", "_")
        return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key

    def _dropped(self, name: str) -> str | None:
        if self._on_dropped is not None:
            self._on_dropped(name)
        return None
