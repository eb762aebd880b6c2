"""The application: how it is named and loaded, and how it starts the server itself."""

from greenhorn.app.load import load_app, load_named

__all__ = ["load_app", "load_named"]
