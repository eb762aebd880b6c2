"""Applications of the other interface, ASGI for WSGI or the other way round, are told before any request."""

import signal

import pytest

from integration.kinds import KINDS
from integration.running import DEADLINE, EXAMPLES, StartServer

SOURCE = """
import functools
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from fastapi import FastAPI
from starlette.applications import Starlette
import django.conf
django.conf.settings.configure()

fastapi, starlette, django_asgi, django_wsgi = FastAPI(), Starlette(), get_asgi_application(), get_wsgi_application()

async def coroutine(scope, receive, send):
    pass

def function(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []

class Made:
    def __init__(self, environ, start_response):
        self.pieces = function(environ, start_response)
    def __iter__(self):
        return iter(self.pieces)

@functools.wraps(function)
def decorated(*arguments):
    return function(*arguments)

partial = functools.partial(function)
"""
ASGI = ("fastapi", "starlette", "django_asgi", "coroutine")
WSGI = ("django_wsgi", "function", "Made", "decorated", "partial")
OTHER = {
    "gthread": "is an application of ASGI: .* use -k asgi for it",
    "asgi": "is an application of WSGI .* use gthread for it",
}


@pytest.mark.parametrize("worker_class", OTHER)
def test_a_check_tells_which_applications_a_worker_class_cannot_serve(server: StartServer, worker_class: str):
    checks = {
        name: server(
            f"written:{name}",
            "--check-config",
            "-k",
            worker_class,
            app_source=SOURCE,
            ready=False,
            pythonpath=(EXAMPLES,),
        )
        for name in ASGI + WSGI
    }
    served = ASGI if worker_class == "asgi" else WSGI
    for name, check in checks.items():
        assert check.wait(DEADLINE) == (0 if name in served else 1), check.log()
        if name in served:
            assert check.log() == ""
        else:
            check.wait_for_log(OTHER[worker_class])


@pytest.mark.parametrize("worker_class", [kind for kind in KINDS if not kind.startswith("asgi")])
def test_every_class_for_wsgi_refuses_an_application_of_asgi_and_begins_nothing(server: StartServer, worker_class: str):
    site = server(
        "written:coroutine", "-k", worker_class, "--preload", app_source=SOURCE, ready=False, allow_traceback=True
    )
    assert site.wait(DEADLINE) == 1
    site.wait_for_log("coroutine is an application of ASGI: .* use -k asgi for it")
    assert "Booting worker" not in site.log()


def test_without_preload_the_first_worker_tells(server: StartServer):
    site = server("written:coroutine", app_source=SOURCE, ready=False)
    assert site.wait(DEADLINE) == 4
    site.wait_for_log("cannot boot: coroutine is an application of ASGI: .* use -k asgi for it")


def test_a_reload_to_the_other_interface_is_given_up(server: StartServer):
    site = server("written:function", app_source=SOURCE)
    (site.folder / "written.py").write_text(SOURCE + "\nfunction = coroutine\n")
    site.signal(signal.SIGHUP)
    site.wait_for_log("coroutine is an application of ASGI")
    site.wait_for_log("The reload is given up")
    assert site.request(b"GET / HTTP/1.0\r\n\r\n").status == 200
