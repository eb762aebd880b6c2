"""The hook ssl_context: it makes the context of each address, in the master, before any worker is there."""

import signal
import ssl

import pytest

from integration.reloading import GIVEN_UP, signal_and_wait, wait_for_others
from integration.running import StartServer
from tls.certificates import Issued
from tls.clients import only, port_of, visit

ASKING = """
import os

def ssl_context(config, default_ssl_context_factory):
    import ssl
    context = default_ssl_context_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    print("made", os.getpid(), config.certfile is not None, type(context).__name__, flush=True)
    return context
"""
OF_ITS_OWN = """
def ssl_context(config, default_ssl_context_factory):
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain({certfile!r}, {keyfile!r})
    context.sni_callback = lambda engine, name, asked: print("asked for", name, flush=True)
    return context
"""
RAISING = """
def ssl_context(config, default_ssl_context_factory):
    raise RuntimeError("zq81")
"""
RETURNING = """
def ssl_context(config, default_ssl_context_factory):
    return "zq81"
"""


def test_it_is_called_once_for_each_address_by_the_master(secure: StartServer, trusting: ssl.SSLContext):
    bind = ("https://127.0.0.1:0", "https://127.0.0.1:0?ciphers=ECDHE%2BAESGCM", "http://127.0.0.1:0")
    site = secure("wsgi_app", config=ASKING, workers=2, bind=bind)
    assert site.stdout().splitlines() == [f"made {site.pid} True SSLContext"] * 2
    for number in range(2):
        assert visit(site, trusting, port=port_of(site, "https", number)).answer.status == 200
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        visit(site, only(trusting, ssl.TLSVersion.TLSv1_2))
    assert site.stdout().count("made") == 2


def test_a_context_of_its_own_is_used_as_it_is(secure: StartServer, trusting: ssl.SSLContext, certificate: Issued):
    names = {"certfile": str(certificate.certfile), "keyfile": str(certificate.keyfile)}
    site = secure("wsgi_app", config=OF_ITS_OWN.format(**names))
    made = visit(site, trusting)
    assert made.certificate == certificate.certificate
    assert "asked for localhost" in site.stdout()
    again = visit(site, trusting, session=made.session)
    assert again.resumed


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (RAISING, r"ssl_context fails:\n(.*\n)+RuntimeError: zq81"),
        (RETURNING, "ssl_context returns str; it must return an ssl.SSLContext"),
    ],
    ids=["raises", "returns a text"],
)
def test_one_that_fails_ends_the_start(secure: StartServer, config: str, said: str):
    site = secure("wsgi_app", config=config, ready=False, allow_traceback=True)
    assert site.wait() == 1
    site.wait_for_log(said)
    assert "Listening" not in site.log()


def test_one_that_fails_at_a_reload_gives_that_up(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", config=ASKING, allow_traceback=True)
    worker = site.worker_pid()
    (site.folder / "config.py").write_text(RAISING)
    assert "zq81" in signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
    assert visit(site, trusting).answer.status == 200
    (site.folder / "config.py").write_text(ASKING)
    site.signal(signal.SIGHUP)
    wait_for_others(site, [worker])
    assert visit(site, trusting).answer.status == 200
    assert site.stdout().count(f"made {site.pid}") == 2
