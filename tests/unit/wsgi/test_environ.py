"""The environ: every key, where each comes from, SCRIPT_NAME, and names for unix sockets."""

import io
from typing import Any

import pytest

from greenhorn.errors import HTTPError
from greenhorn.http.forwarded import Told
from greenhorn.http.head import Limits, parse_head
from greenhorn.http.names import FieldNames
from greenhorn.wsgi.environ import build_environ, connection_template, forwarded_template
from greenhorn.wsgi.exchange import FileWrapper, Response
from unit.wsgi.recording import Facts, RecordingOutput, template

PEER = ("198.51.100.7", "4242")


def never() -> bool:
    """Nobody disconnects."""
    return False


def build(
    raw: str = "GET / HTTP/1.1\r\nHost: example.com",
    peer: tuple[str, str] | None = PEER,
    names: FieldNames | None = None,
    **changes: Any,
) -> dict[str, Any]:
    head = parse_head(raw.encode("latin-1"), FieldNames() if names is None else names, Limits())
    response = Response(head, RecordingOutput(), Facts())
    own = connection_template(template(**changes), peer, "the socket", never)
    return build_environ(own, head, io.BytesIO(b"body"), response)


def test_every_key_has_its_value():
    environ = build(
        "POST /a%20b/%C3%BC;p?q=%20&r=1 HTTP/1.1\r\n"
        "Host: example.com:81\r\n"
        "Content-Type: text/plain\r\n"
        "Content-Length: 4\r\n"
        "X-Own: \xe4 b\r\n"
        "Accept: a\r\n"
        "Accept: b\r\n"
        "Cookie: c=1\r\n"
        "Cookie: d=2"
    )
    body = environ.pop("wsgi.input")
    hints = environ.pop("wsgi.early_hints")
    is_ready = environ.pop("greenhorn.ready")
    assert body.read() == b"body"
    assert callable(hints)
    assert is_ready() is True
    assert environ == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\xc3\xbc;p",
        "QUERY_STRING": "q=%20&r=1",
        "RAW_URI": "/a%20b/%C3%BC;p?q=%20&r=1",
        "REQUEST_URI": "/a%20b/%C3%BC;p?q=%20&r=1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "192.0.2.1",
        "SERVER_PORT": "8000",
        "SERVER_SOFTWARE": "greenhorn/1",
        "REMOTE_ADDR": "198.51.100.7",
        "REMOTE_PORT": "4242",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "4",
        "HTTP_HOST": "example.com:81",
        "HTTP_X_OWN": "\xe4 b",
        "HTTP_ACCEPT": "a,b",
        "HTTP_COOKIE": "c=1; d=2",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": "the log",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "gunicorn.socket": "the socket",
        "greenhorn.client_disconnected": never,
        "waitress.client_disconnected": never,
    }


def test_all_that_pep_3333_calls_a_string_is_one():
    environ = build()
    for key, value in environ.items():
        if key.isupper():
            assert type(value) is str, key
            value.encode("latin-1")
    assert {"REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT"} <= set(environ)


def test_each_request_has_an_environ_of_its_own():
    common = template()
    before = dict(common)
    head = parse_head(b"GET / HTTP/1.1\r\nHost: a", FieldNames(), Limits())
    response = Response(head, RecordingOutput(), Facts())
    first, second = (build_environ(common, head, io.BytesIO(), response) for _ in range(2))
    first.clear()
    assert second["PATH_INFO"] == "/"
    assert common == before


def test_what_the_template_says_can_be_changed():
    environ = build(scheme="https", multithread=False, multiprocess=True)
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["wsgi.multithread"] is False
    assert environ["wsgi.multiprocess"] is True


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a//b/../c", "/a//b/../c", ""),
        ("/%2Fa%00", "/%2Fa%00".replace("%2F", "/").replace("%00", "\0"), ""),
        ("/a?b?c", "/a", "b?c"),
        ("/a?", "/a", ""),
        ("/%zz", "/%zz", ""),
        ("http://example.com/x?y", "/x", "y"),
        ("http://example.com", "/", ""),
    ],
)
def test_path_and_query_come_from_the_target(target: str, path: str, query: str):
    environ = build(f"GET {target} HTTP/1.1\r\nHost: example.com")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == target


# SCRIPT_NAME.


@pytest.mark.parametrize(
    ("script_name", "path", "below"),
    [
        ("", "/a", "/a"),
        ("/app", "/app", ""),
        ("/app", "/app/", "/"),
        ("/app", "/app/x/y", "/x/y"),
        ("/a/b", "/a/b/c", "/c"),
    ],
)
def test_the_path_is_what_is_below_the_script_name(script_name: str, path: str, below: str):
    environ = build(f"GET {path} HTTP/1.1\r\nHost: a", script_name=script_name)
    assert environ["SCRIPT_NAME"] == script_name
    assert environ["PATH_INFO"] == below
    assert environ["SCRIPT_NAME"] + environ["PATH_INFO"] == path


def test_a_slash_at_the_end_of_the_script_name_belongs_to_the_path():
    environ = build("GET /app/x HTTP/1.1\r\nHost: a", script_name="/app/")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/x")


@pytest.mark.parametrize("path", ["/", "/ap", "/application", "/APP/x", "/x/app"])
def test_a_path_beside_the_script_name_is_an_error_of_the_setup(path: str):
    with pytest.raises(HTTPError) as caught:
        build(f"GET {path} HTTP/1.1\r\nHost: a", script_name="/app")
    assert caught.value.status == 500


def test_a_trusted_proxy_can_tell_the_script_name_and_nobody_else():
    raw = "GET /told/x HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /told"
    trusted = build(raw, names=FieldNames(allowed=("SCRIPT_NAME",)))
    assert (trusted["SCRIPT_NAME"], trusted["PATH_INFO"]) == ("/told", "/x")
    stranger = build(raw)
    assert (stranger["SCRIPT_NAME"], stranger["PATH_INFO"]) == ("", "/told/x")
    spelled = build(raw.replace("SCRIPT_NAME", "Script-Name"))
    assert (spelled["SCRIPT_NAME"], spelled["HTTP_SCRIPT_NAME"]) == ("", "/told")


def told(raw: str, told: Told, peer: tuple[str, str] | None = PEER, **changes: Any) -> dict[str, Any]:
    head = parse_head(raw.encode("latin-1"), FieldNames(), Limits())
    own = connection_template(template(**changes), peer, "the socket", never)
    before = dict(own)
    forwarded = forwarded_template(own, head, told, peer, told.scheme)
    assert own == before
    return build_environ(forwarded, head, io.BytesIO(), Response(head, RecordingOutput(), Facts()))


GET = "GET /a/b HTTP/1.1\r\nHost: example.com"


@pytest.mark.parametrize(
    ("own", "path", "script_name", "path_info"),
    [
        ("", "/a/b", "/shop", "/a/b"),
        ("", "/", "/shop", "/"),
        ("", "/shop/a", "/shop", "/shop/a"),
        ("/app", "/app/b", "/shop/app", "/b"),
        ("/app", "/app", "/shop/app", ""),
    ],
)
def test_a_prefix_that_a_proxy_cut_off_comes_before_the_own_one(own: str, path: str, script_name: str, path_info: str):
    environ = told(f"GET {path} HTTP/1.1\r\nHost: a", Told(prefix="/shop"), script_name=own)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


def test_a_path_beside_the_own_script_name_is_an_error_whatever_was_cut_off():
    with pytest.raises(HTTPError) as caught:
        told("GET /shop/b HTTP/1.1\r\nHost: a", Told(prefix="/shop"), script_name="/app")
    assert caught.value.status == 500


def test_the_star_of_options_has_no_prefix():
    environ = told("OPTIONS * HTTP/1.1\r\nHost: a", Told(prefix="/shop"))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", "*")


def test_a_port_that_was_not_told_is_not_there():
    environ = told(GET, Told(client=("203.0.113.7", "")))
    assert (environ["REMOTE_ADDR"], environ["greenhorn.peer_addr"]) == ("203.0.113.7", PEER)
    assert "REMOTE_PORT" not in environ
    assert told(GET, Told(client=("203.0.113.7", "1")))["REMOTE_PORT"] == "1"


def test_a_client_behind_a_unix_socket_can_be_told():
    environ = told(GET, Told(client=("203.0.113.7", "1")), None, server=("/run/app.sock", ""))
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.7", "1")
    assert environ["greenhorn.peer_addr"] is None


@pytest.mark.parametrize(("server", "name"), [(("/run/app.sock", ""), "a.example"), (("192.0.2.1", "80"), "192.0.2.1")])
def test_host_and_port_are_what_was_told(server: tuple[str, str], name: str):
    environ = told(GET, Told(host="a.example:8", port="9"), server=server)
    assert (environ["HTTP_HOST"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("a.example:8", name, "9")


# Unix sockets.


@pytest.mark.parametrize(
    ("host", "scheme", "name", "port"),
    [
        ("example.com", "http", "example.com", "80"),
        ("example.com", "https", "example.com", "443"),
        ("example.com:8080", "https", "example.com", "8080"),
        ("example.com:", "http", "example.com", "80"),
        ("[::1]", "http", "[::1]", "80"),
        ("[::1]:81", "http", "[::1]", "81"),
    ],
)
def test_a_unix_socket_is_named_as_the_client_named_it(host: str, scheme: str, name: str, port: str):
    environ = build(f"GET / HTTP/1.1\r\nHost: {host}", None, server=("/run/app.sock", ""), scheme=scheme)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ


def test_a_unix_socket_that_the_client_did_not_name_is_named_by_its_path():
    environ = build("GET / HTTP/1.0", None, server=("/run/app.sock", ""))
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("/run/app.sock", "")


def test_a_tcp_socket_is_named_by_its_address_whatever_the_client_says():
    environ = build("GET / HTTP/1.1\r\nHost: evil.example:1")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("192.0.2.1", "8000")
