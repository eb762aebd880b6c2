"""An application of Tornado's own over TLS."""

import json
import ssl
from pathlib import Path

import pytest
import trustme

from integration.running import StartServer, wait_until
from tls.certificates import issue
from tls.clients import ask

pytest.importorskip("tornado")
websockets = pytest.importorskip("websockets.sync.client")

SOURCE = """
import json
import tornado.web
import tornado.websocket

class Told(tornado.web.RequestHandler):
    def get(self):
        shown = self.request.get_ssl_certificate()
        self.finish(json.dumps({"tls": self.request.connection.context.tls, "serial": (shown or {}).get("serialNumber"),
                                "scheme": self.request.protocol}))

class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)

application = tornado.web.Application([("/", Told), ("/echo", Echo)])
"""


def test_handlers_and_the_access_log_are_told_of_it(
    secure: StartServer, trusting: ssl.SSLContext, authority: trustme.CA, ca_file: Path, tmp_path: Path
):
    own = issue(authority, tmp_path / "client", "client.example", common_name="Zq81")
    log = "%({SSL_PROTOCOL}e)s %({SSL_CLIENT_S_DN_CN}e)s %(s)s"
    flags = ("--ca-certs", str(ca_file), "--cert-reqs", "1", "--access-logfile", "-", "--access-logformat", log)
    site = secure(None, "--worker-class", "tornado", *flags, app_source=SOURCE)
    trusting.load_cert_chain(own.certfile, own.keyfile)
    with site.secure(site.dial(), trusting) as connection:
        for _ in range(2):
            told = json.loads(ask(connection).text)
            assert told["tls"]["SSL_CLIENT_SERIAL"] == told["serial"] == own.serial
            assert (told["tls"]["SSL_PROTOCOL"], told["tls"]["HTTPS"], told["scheme"]) == ("TLSv1.3", "on", "https")
    wait_until(lambda: site.stdout() == "TLSv1.3 Zq81 200\n" * 2, what="the lines")


def test_websockets_are_encrypted_as_well(secure: StartServer, trusting: ssl.SSLContext):
    site = secure(None, "--worker-class", "tornado", app_source=SOURCE)
    with websockets.connect(f"wss://localhost:{site.port}/echo", ssl=trusting) as echo:
        for message in ("hello", "x" * 300_000):
            echo.send(message)
            assert echo.recv() == message
