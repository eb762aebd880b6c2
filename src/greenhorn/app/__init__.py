"""The application: how it is named and loaded, and how it starts the server itself."""

from greenhorn.app.load import load_app, load_named
from greenhorn.app.paste import check_paste

__all__ = ["check_paste", "load_app", "load_named"]
