"""Serving on Tornado's HTTP server: what the worker class `tornado` is made of."""
