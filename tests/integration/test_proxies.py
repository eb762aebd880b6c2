"""The setups of docs/proxies.md with the real nginx and HAProxy in front, and with both in a row."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from integration.answers import AnswerReader
from integration.proxies import haproxy, nginx
from integration.running import DEADLINE, Server, StartServer, wait_until

APPLICATION = """
import json

def application(environ, start_response):
    names = {name for name in environ if name.isupper()} | {"wsgi.url_scheme", "greenhorn.peer_addr"}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: environ.get(name) for name in names}).encode()]
"""
CLIENT = "127.0.0.9"
"""The address of the client in these tests; proxies connect from 127.0.0.1."""
SPOOFED = (
    'Forwarded: for="6.6.6.6',
    "X-Forwarded-For: 6.6.6.6, 7.7.7.7",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: //evil.example",
)

PLAIN_NGINX = """
location / {{
  proxy_pass http://127.0.0.1:{port};
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
}}
"""
MOUNTING_NGINX = """
location /shop/ {{
  proxy_pass http://127.0.0.1:{port}/;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto https;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Forwarded-Prefix /shop;
}}
"""


@pytest.fixture
def mirror(server: StartServer) -> Any:
    """Start a server that shows the environ."""
    return lambda *arguments: server(None, *arguments, app_source=APPLICATION)


def seen(port: int, path: str = "/a", requests: int = 1) -> dict[str, Any]:
    """What the application sees of the last of some requests of `CLIENT` to a proxy at `port`."""
    request = "\r\n".join((f"GET {path} HTTP/1.1", "Host: name.example:8", *SPOOFED, "", "")).encode()
    with socket.create_connection(("127.0.0.1", port), DEADLINE, source_address=(CLIENT, 0)) as connection:
        for _ in range(requests):
            connection.sendall(request)
            answer = AnswerReader(connection).read()
            assert answer.status == 200, answer.text
        environ: dict[str, Any] = json.loads(answer.text)
        environ["own port"] = str(connection.getsockname()[1])
    return environ


def at(site: Server) -> str:
    return f"127.0.0.1:{site.port}"


def test_behind_nginx_the_client_is_whom_it_appended(mirror: Any, tmp_path: Path):
    site = mirror("--forwarded-hops", "1")
    with nginx(tmp_path / "nginx", PLAIN_NGINX.format(port=site.port)) as port:
        environ = seen(port)
    assert (environ["REMOTE_ADDR"], environ["greenhorn.peer_addr"][0]) == (CLIENT, "127.0.0.1")
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("http", "name.example:8")
    assert "REMOTE_PORT" not in environ


def test_without_hops_the_client_is_nginx(mirror: Any, tmp_path: Path):
    site = mirror()
    with nginx(tmp_path / "nginx", PLAIN_NGINX.format(port=site.port)) as port:
        assert seen(port)["REMOTE_ADDR"] == "127.0.0.1"


def test_nginx_can_tell_where_it_mounted_the_application(mirror: Any, tmp_path: Path):
    site = mirror("--forwarded-hops", "1", "--forwarded-fields", "host,port,prefix")
    with nginx(tmp_path / "nginx", MOUNTING_NGINX.format(port=site.port)) as port:
        environ = seen(port, "/shop/a?b")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/shop", "/a", "b")
    assert (environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("name.example:8", str(port))
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")


def test_behind_haproxy_the_client_is_whom_it_appended(mirror: Any, tmp_path: Path):
    site = mirror("--forwarded-hops", "1")
    text = "  option forwardfor\n  http-request set-header X-Forwarded-Proto https\n"
    with haproxy(tmp_path / "haproxy", at(site), text) as port:
        environ = seen(port, requests=2)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")


def test_behind_haproxy_and_nginx_the_client_is_whom_haproxy_appended(mirror: Any, tmp_path: Path):
    site = mirror("--forwarded-hops", "2")
    with (
        nginx(tmp_path / "nginx", PLAIN_NGINX.format(port=site.port)) as inner,
        haproxy(tmp_path / "haproxy", f"127.0.0.1:{inner}", "  option forwardfor\n") as outer,
    ):
        environ = seen(outer)
        assert environ["REMOTE_ADDR"] == CLIENT
        assert environ["HTTP_X_FORWARDED_FOR"].replace(" ", "") == f"6.6.6.6,7.7.7.7,{CLIENT},127.0.0.1"


@pytest.mark.parametrize(
    "option",
    ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"],
    ids=["v1", "v2", "v2 with a checksum"],
)
@pytest.mark.parametrize("mode", ["tcp", "http"])
def test_haproxy_tells_the_client_by_the_proxy_protocol(mirror: Any, tmp_path: Path, option: str, mode: str):
    site = mirror("--proxy-protocol=auto")
    with haproxy(tmp_path / "haproxy", f"{at(site)} {option}", mode=mode) as port:
        environ = seen(port, requests=3)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (CLIENT, environ["own port"])
    assert (environ["PROXY_PROTOCOL"], environ["PROXY_ADDR"], environ["PROXY_PORT"]) == ("TCP4", "127.0.0.1", str(port))
    assert environ["greenhorn.peer_addr"][0] == "127.0.0.1"


def test_haproxy_can_append_to_forwarded(mirror: Any, tmp_path: Path):
    site = mirror("--forwarded-hops", "1", "--forwarded-header", "forwarded", "--forwarded-fields", "host")
    element = 'for=%[src];proto=https;host=\\"%[req.hdr(host)]\\"'
    text = f'  http-request add-header Forwarded "{element}"\n  http-request set-header Host inner.example\n'
    with haproxy(tmp_path / "haproxy", at(site), text) as port:
        environ = seen(port)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == (
        CLIENT,
        "https",
        "name.example:8",
    )


def test_health_checks_of_haproxy_are_answered(mirror: Any, tmp_path: Path):
    site = mirror("--proxy-protocol=v2", "--access-logfile", "-")
    options = f"{at(site)} send-proxy-v2 check check-send-proxy inter 100ms"
    with haproxy(tmp_path / "haproxy", options, back="  option httpchk GET /health\n"):
        wait_until(lambda: '"GET /health HTTP/1.0" 200' in site.stdout(), what="a health check")
        assert " 400 " not in site.stdout()
