"""The application: how it is named and loaded, and how it starts the server itself."""

from greenhorn.app.interface import check_wsgi, is_async, name_of
from greenhorn.app.load import load_app, load_named
from greenhorn.app.paste import check_paste

__all__ = ["check_paste", "check_wsgi", "is_async", "load_app", "load_named", "name_of"]
