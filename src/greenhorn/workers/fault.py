"""The page that stands in for an application that cannot be loaded while somebody works on it: the setting reload."""

import html
from collections.abc import Iterable
from typing import Any

from greenhorn.wsgi.environ import Environ

EXPLANATION = (
    "The application cannot be loaded. This page is shown in its place because reload is on, and goes away when the "
    "file is mended."
)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The application cannot be loaded</title>
<style>
body {{ font-family: sans-serif; line-height: 1.4; margin: 2em auto; max-width: 60em; padding: 0 1em }}
pre {{ background: #f4f4f4; border-left: .3em solid #c00; color: #222; overflow-x: auto; padding: 1em }}
</style>
</head>
<body>
<p>{explanation}</p>
<pre>{message}</pre>
</body>
</html>
"""


class FaultPage:
    """A WSGI application (PEP 3333) that answers every request with 500 and one text. Any thread."""

    def __init__(self, message: str) -> None:
        plain = f"{EXPLANATION}\n\n{message}\n"
        page = PAGE.format(explanation=html.escape(EXPLANATION), message=html.escape(message))
        # The name of a file that is no UTF-8 stands in a traceback with surrogates.
        self._plain = plain.encode("utf-8", "backslashreplace")
        self._page = page.encode("utf-8", "backslashreplace")

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer in HTML, or in plain text whoever prefers it or does not accept HTML."""
        as_html = _accepts_html(environ.get("HTTP_ACCEPT", ""))
        body = self._page if as_html else self._plain
        fields = [
            ("Content-Type", f"text/{'html' if as_html else 'plain'}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
            ("Vary", "Accept"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response("500 Internal Server Error", fields)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def fault_page(message: str) -> FaultPage:
    """Return a WSGI application that shows `message`, the text of an `AppLoadError`, whatever is asked for."""
    return FaultPage(message)


def _accepts_html(accept: str) -> bool:
    """Whether the value of Accept, empty for no field, prefers nothing to HTML (RFC 9110, section 12.5.1)."""
    if not accept.strip():
        return True
    qualities = {}
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        qualities[name] = next((_quality(value[2:]) for value in parameters if value.startswith("q=")), 1.0)
    page, plain = (
        next((qualities[name] for name in (exact, "text/*", "*/*") if name in qualities), 0.0)
        for exact in ("text/html", "text/plain")
    )
    return page > 0 and page >= plain


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
