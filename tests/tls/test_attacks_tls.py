"""Crowds that attack an address with TLS cost healthy clients nothing, little memory, and leave nothing behind.

The clients are those of scripts/attack, which does the same with more of them and for longer.
"""

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from attacking.attacks import Attack
from attacking.companion import SCRIPTS, Companion
from attacking.encrypted import ENCRYPTED
from attacking.healthy import Healthy
from attacking.observing import Facts, connections, facts
from attacking.swarm import HOSTILE_HOST, SERVER_HOST
from greenhorn.tls.credentials import Credentials
from greenhorn.tls.options import Pair, TLSOptions
from greenhorn.tls.stream import SecureSocket
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.slow_clients import MIB
from tls.certificates import Issued, trusting_only
from tls.clients import LAST_GET, Steps, line_of, s_client

HOSTILE = 24
"""Six times as many as there are threads."""
STOPPED = 500
PER_SECOND = 400
LATEST = 6.0
"""Seconds after which all of them are gone for certain: a wait, a lingering close, and two sweeps."""
LONGEST = 1.0
"""Seconds that a healthy client may wait on a busy machine; behind clients that hold the threads it waits for ever."""
HEALTHY = 2
TIMEOUTS = ("--first-byte-timeout", "--handshake-timeout", "--header-timeout", "--linger-timeout")
DEADLINES = [word for name in TIMEOUTS for word in (name, "1")]
BEGUN_BYTES = 8192
"""Memory of a client that has sent half a ClientHello."""
ANSWERED_BYTES = 98304
"""The same of one whose ClientHello was answered: OpenSSL has begun. It is about half of that."""
FLOODERS = 6
NEW_KEYS = 2000
TINY = 2000
"""Records that each of them sends, and whose loads are a byte each."""

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the server is observed through /proc")


@pytest.fixture
def attacked(secure: StartServer) -> Callable[..., Server]:
    """Start the application of scripts/attack with four threads."""

    def start(*arguments: str) -> Server:
        env = {"LARGE_MIB": "1"}
        return secure("attacking.applications", "--threads", "4", *arguments, pythonpath=(SCRIPTS,), env=env)

    return start


def hostile(site: Server) -> int:
    return connections(site.port, HOSTILE_HOST)


def at_rest(site: Server) -> Facts:
    """Return what the worker uses when it has served somebody and nobody is there."""
    assert site.request(LAST_GET).status == 200
    wait_until(lambda: not connections(site.port, SERVER_HOST), what="the end of that connection")
    return facts(site.pid)


def has_attacked(attack: Attack, tally: dict[str, Any]) -> bool:
    """Tell whether all have come, and those that come again have done so often enough."""
    return bool(tally["arrived"] >= (5 * HOSTILE if attack.renewed else HOSTILE))


def assert_all_served(healthy: Healthy) -> None:
    samples = healthy.stop()
    assert {sample.failure for sample in samples} == {""}
    assert len(samples) > 20 * HEALTHY
    longest = max(sample.seconds for sample in samples)
    assert longest < LONGEST, f"a healthy client waited {longest:.2f} s"


@pytest.mark.parametrize("attack", ENCRYPTED.values(), ids=ENCRYPTED.keys())
def test_a_crowd_of_hostile_clients_costs_the_healthy_nothing(
    attacked: Callable[..., Server], ca_file: Path, attack: Attack
):
    site = attacked(*DEADLINES)
    before = at_rest(site)
    with (
        Companion("swarm", attack.name, site.port, HOSTILE, PER_SECOND) as swarm,
        Healthy(site.port, clients=HEALTHY, interval=0.01, certfile=ca_file) as healthy,
    ):
        wait_until(lambda: connections(site.port, SERVER_HOST) >= HEALTHY, what="the healthy clients")
        swarm.ask("go")
        wait_until(lambda: has_attacked(attack, swarm.ask()), LATEST, "the attack")
        swarm.ask("rest")
        with suppress(AssertionError):  # what the healthy saw says more, if somebody is left
            wait_until(lambda: not hostile(site), LATEST)
        assert_all_served(healthy)
        assert hostile(site) == 0
    wait_until(lambda: facts(site.pid).descriptors <= before.descriptors, LATEST, "the descriptors at rest")
    assert facts(site.pid).threads == before.threads


@pytest.mark.parametrize(("name", "most"), [("tls-half-hello", BEGUN_BYTES), ("tls-hello", ANSWERED_BYTES)])
def test_handshakes_that_stop_cost_little_memory_and_no_time(
    attacked: Callable[..., Server], ca_file: Path, name: str, most: int
):
    site = attacked("--handshake-timeout", "30")
    with (
        Companion("swarm", name, site.port, STOPPED, 1000) as swarm,
        Healthy(site.port, clients=HEALTHY, interval=0.01, certfile=ca_file) as healthy,
    ):
        wait_until(lambda: connections(site.port, SERVER_HOST) >= HEALTHY, what="the healthy clients")
        before = facts(site.pid)
        swarm.ask("go")
        wait_until(lambda: swarm.ask()["arrived"] == STOPPED, what="the hostile clients")
        assert hostile(site) == STOPPED
        each = (facts(site.pid).resident - before.resident) / STOPPED
        assert each < most, f"each of them costs {each:.0f} bytes"
        assert_all_served(healthy)


class Sender:
    """What a client could send behind its handshake: records under its keys, made by hand (RFC 8446 5.2)."""

    def __init__(self, connection: socket.socket, authority: trustme.CA, folder: Path) -> None:
        context = trusting_only(authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        keys = folder / f"keys{connection.fileno()}"
        context.keylog_filename = str(keys)
        self.steps = Steps(connection, context)
        self._keys = keys
        self._number = 0

    def know_keys(self) -> None:
        """Learn the client's keys; its side of the handshake is complete."""
        assert (self.steps.engine.cipher() or ("",))[0] == "TLS_AES_256_GCM_SHA384"
        [line] = [one for one in self._keys.read_text().splitlines() if one.startswith("CLIENT_TRAFFIC_SECRET_0 ")]
        self._secret = bytes.fromhex(line.split()[2])

    def _derive(self, name: bytes, size: int) -> bytes:
        """HKDF-Expand-Label of RFC 8446 7.1, without a context."""
        info = struct.pack(">HB", size, len(name) + 6) + b"tls13 " + name + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)

    def _record(self, content: bytes, kind: bytes) -> bytes:
        nonce = int.from_bytes(self._derive(b"iv", 12)) ^ self._number
        head = b"\x17\3\3" + struct.pack(">H", len(content) + 1 + 16)
        self._number += 1
        return head + AESGCM(self._derive(b"key", 32)).encrypt(nonce.to_bytes(12), content + kind, head)

    def data(self, *pieces: bytes) -> bytes:
        """Records that carry these pieces."""
        return b"".join(self._record(piece, b"\x17") for piece in pieces)

    def new_keys(self, count: int) -> bytes:
        """Records, each of which says that the client goes on with another key (RFC 8446 4.6.3)."""
        made = []
        for _ in range(count):
            made.append(self._record(b"\x18\0\0\1\0", b"\x16"))
            self._secret = self._derive(b"traffic upd", 48)
            self._number = 0
        return b"".join(made)


def read(secure: SecureSocket) -> bytes:
    """Return what can be read in one turn."""
    try:
        return secure.recv(65536)
    except BlockingIOError:
        return b""


def test_a_flood_of_new_keys_is_read_a_little_at_a_time(certificate: Issued, authority: trustme.CA, tmp_path: Path):
    """It carries nothing, so that a thread could go on with it for as long as it comes."""
    credentials = Credentials(TLSOptions(certificates=(Pair(str(certificate.certfile), str(certificate.keyfile)),)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), DEADLINE)
        ours, _ = listener.accept()
    with ours, theirs:
        sender = Sender(theirs, authority, tmp_path)
        ours.setblocking(False)
        secure = SecureSocket(ours, credentials, sender.steps.hello)
        assert not secure.shake_hands()
        theirs.sendall(sender.steps.next_flight())
        wait_until(secure.shake_hands, what="the handshake")
        sender.know_keys()
        theirs.sendall(sender.new_keys(2000) + sender.data(b"the end"))
        wait_until(lambda: len(ours.recv(MIB, socket.MSG_PEEK)) > 50_000, what="the flood")
        with pytest.raises(BlockingIOError):
            secure.recv(65536)
        assert secure.is_within_record
        assert len(ours.recv(MIB, socket.MSG_PEEK)) > 30_000
        assert wait_until(lambda: read(secure), what="what comes behind the flood") == b"the end"


def test_requests_behind_floods_of_records_are_answered_and_nobody_waits_for_them(
    attacked: Callable[..., Server], authority: trustme.CA, ca_file: Path, tmp_path: Path
):
    site = attacked()
    senders = [Sender(site.dial(), authority, tmp_path) for _ in range(FLOODERS)]
    with Healthy(site.port, clients=HEALTHY, interval=0.01, certfile=ca_file) as healthy:
        wait_until(lambda: connections(site.port, SERVER_HOST) >= HEALTHY + FLOODERS, what="the healthy clients")
        for sender in senders:
            sender.steps.shake_hands()
            sender.know_keys()
        head = b"POST /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % TINY
        for sender in senders:
            flood = sender.new_keys(NEW_KEYS) + sender.data(head, *[b"x"] * TINY)
            sender.steps.connection.sendall(flood)
        for sender in senders:
            received = sender.steps.read_to_end()
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert received.endswith(b"\r\n\r\n%d" % TINY)
        assert_all_served(healthy)


def test_early_data_is_not_taken(attacked: Callable[..., Server], ca_file: Path, tmp_path: Path):
    """What comes before the handshake is complete could be sent again by anybody who has seen it (RFC 8446 8)."""
    site = attacked()
    session, early = tmp_path / "session", tmp_path / "early"
    early.write_bytes(LAST_GET)
    believing = ("-tls1_3", "-CAfile", str(ca_file))
    _, told = s_client(site.port, *believing, "-sess_out", str(session))
    assert line_of(told, "Max Early Data") == "0"
    _, told = s_client(site.port, *believing, "-sess_in", str(session), "-early_data", str(early))
    assert "Reused, TLSv1.3" in told
    assert "Early data was not sent" in told
