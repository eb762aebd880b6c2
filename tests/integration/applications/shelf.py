"""A Pyramid application as an ini file names it: `use = call:shelf:main`."""

import logging
import os
from typing import Any

from pyramid.config import Configurator
from pyramid.response import Response

log = logging.getLogger("shelf")


def home(request: Any):
    settings = request.registry.settings
    log.info("asked for %s", request.path)
    return Response(json_body={"size": settings["shelf.size"], "depth": settings["depth"], "pid": os.getpid()})


def main(global_config: dict[str, str], **settings: Any):
    settings["depth"] = global_config.get("depth")
    with Configurator(settings=settings) as config:
        config.add_route("home", "/")
        config.add_view(home, route_name="home")
        return config.make_wsgi_app()
