"""
Clients that do not want TLS, do not know it or never come to its end: what each costs,
what it is told, what the log says of it, and whether others are served meanwhile.
"""

import contextlib
import json
import os
import random
import resource
import select
import socket
import ssl
import time
from collections import Counter
from pathlib import Path

import pytest
from authority import Authority
from loopback import wire
from loopback.running import Balancer, freePorts, run, until
from OpenSSL import SSL

from lbtwist.arrival import PATIENCE

COUNT = 10_000
ALLOWED = 4 * 1024
"""Bytes of memory that a connection without a handshake may cost."""
MOST = 6
"""C{max-handshakes} where it is reached."""
MUTATED = 400

ALERT = 21
HANDSHAKE = 22
DATA = 23
PROTOCOL_VERSION, DECODE_ERROR, UNEXPECTED_MESSAGE = 70, 50, 10

pytestmark = [pytest.mark.needs("curl"), pytest.mark.timeout(180)]


def hello(name="site.test", alpn=("h2", "http/1.1"), highest=None):
    """@return: the ClientHello that Python's OpenSSL makes, one record."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(alpn)
    if highest is not None:
        context.maximum_version = highest
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = hello()
HELLO12 = hello(highest=ssl.TLSVersion.TLSv1_2)


def record(payload, kind=HANDSHAKE, minor=1):
    return bytes((kind, 3, minor)) + len(payload).to_bytes(2, "big") + payload


class Site(Balancer):
    """A balancer with TLS on its C{port}."""

    def __init__(self, directory, settings="", timeout="10s"):
        Authority().issue("site.test").write(directory / "site.pem")
        self.port, = freePorts(1)
        text = f"""\
            [global]
            log = file:access.log format=json
            {settings}
            [defaults]
            pool = app
            timeout-handshake = {timeout}
            [frontend secure]
            bind = 127.0.0.1:{self.port} tls=site
            [tls site]
            certificate = site.pem
            [pool app]
            http-reuse = never
            server a = demo:a
            """
        super().__init__(directory, text)

    def __enter__(self):
        super().__enter__()
        try:
            sockets = self.sockets
            self.serves()
            until(lambda: self.sockets == sockets)
        except BaseException:
            self.kill()
            raise
        # What the first request has made besides is kept.
        self.before = self.descriptors
        return self

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self.leavesNothing()
            super().__exit__(kind, error, traceback)
        finally:
            self.kill()

    @property
    def descriptors(self):
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def sockets(self):
        """How many of them are sockets."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:")
        return count

    def leavesNothing(self):
        until(lambda: self.descriptors <= self.before, what=lambda: self.descriptors)

    def serves(self):
        """Somebody else gets an answer."""
        done = run("curl", "-sSk", "--max-time", 15, f"https://127.0.0.1:{self.port}/")
        assert "demonstration server" in done.stdout, done.stderr

    @property
    def seconds(self):
        """The time of a processor that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def exchanges(self):
        return [json.loads(line) for line in self.lines]

    def ending(self, port):
        """@return: the letters and the reason of a client's only line in the log."""
        return self._ended(f'"client_port":{port},')

    def endingOf(self, host):
        """The same of a client who is the only one with an address."""
        return self._ended(f'"client":"{host}",')

    def _ended(self, text):
        end = json.loads(self.line(text))
        return end["termination"][:2], end["reason"]


def told(client):
    """
    Everything a client reads until the end; a reset is one too, for nobody has to read
    what it has sent.
    """
    found = b""
    try:
        while data := client.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def fatal(alert):
    return bytes((ALERT, 3, 1, 0, 2, 2, alert))


# many


@pytest.fixture
def files():
    """As many descriptors as many clients need, here and in what is started from here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = COUNT + 1000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, before[1])))
    except (ValueError, OSError):
        pytest.skip(f"only {before[1]} descriptors are allowed")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def waitForEnds(clients):
    """Until each has something to read, which is the end."""
    poller = select.epoll()
    waiting = {one.fileno() for one in clients}
    for one in waiting:
        poller.register(one, select.EPOLLIN)
    while waiting:
        events = poller.poll(60)
        assert events, f"{len(waiting)} are still open"
        for one, _ in events:
            poller.unregister(one)
            waiting.discard(one)
    poller.close()


def test_tenThousandWithoutHandshake(tmp_path, files):
    """They say nothing, or a part of a hello; and it is the timeout that ends them."""
    begun = [b"", HELLO[:1], HELLO[:5], HELLO[: len(HELLO) // 2], HELLO[:-1]]
    clients = []
    with Site(tmp_path, timeout="25s") as site:
        try:
            for number in range(COUNT + 200):
                if number == 200:
                    until(lambda: site.descriptors >= site.before + 200)
                    small = site.pss
                # The ports of one address may be too few.
                client = socket.create_connection(
                    ("127.0.0.1", site.port), 15, (f"127.0.0.{2 + number % 4}", 0)
                )
                clients.append(client)
                client.send(begun[number % len(begun)])
            until(lambda: site.descriptors >= site.before + COUNT + 200)
            site.serves()
            assert (site.pss - small) / COUNT < ALLOWED
            waitForEnds(clients)
            assert {told(client) for client in clients} == {b""}
        finally:
            for client in clients:
                client.close()
        site.leavesNothing()
        until(lambda: len(site.lines) >= COUNT + 202)
        assert Counter(
            (one["termination"][:2], one["reason"]) for one in site.exchanges
        ) == {("--", None): 2, ("cR", "no ClientHello in time"): COUNT + 200}  # fmt: skip


# a bound


def greeted(clients):
    """@return: those who were answered, by now."""
    return [one for one in clients if select.select([one], [], [], 0)[0]]


def stalled(site):
    """@return: three times as many clients as may, with a hello and nothing after it."""
    clients = [wire.connect(site.port) for _ in range(3 * MOST)]
    for client in clients:
        client.send(HELLO)
    return clients


def awaitMost(clients, since):
    """
    Until C{max-handshakes} are in their handshake.

    @param since: before this there was none. Later on some had to make room.
    """
    until(lambda: len(greeted(clients)) >= MOST)
    found = greeted(clients)
    assert len(found) == MOST or time.monotonic() - since > PATIENCE
    return found


def test_boundOnHandshakes(tmp_path):
    """Of those who stall, C{max-handshakes} are in their handshake, and others wait."""
    with Site(tmp_path, f"max-handshakes = {MOST}", "1m") as site:
        begun = time.monotonic()
        clients = stalled(site)
        ports = [wire.port(client) for client in clients]
        for client in awaitMost(clients, begun):
            wire.reset(client)
            clients.remove(client)
        awaitMost(clients, begun)
        for client in clients:
            wire.reset(client)
        assert {site.ending(port)[0] for port in ports} <= {"CR", "cR"}


def test_handshakesThatStall(tmp_path):
    """Nobody else has to wait until they have timed out."""
    with Site(tmp_path, f"max-handshakes = {MOST}", "1m") as site:
        clients = stalled(site)
        until(lambda: len(greeted(clients)) >= MOST)
        site.serves()
        ports = [wire.port(client) for client in clients]
        for client in clients:
            wire.reset(client)
        ends = Counter(site.ending(port) for port in ports)
        assert ends["cR", "TLS: no handshake in time for those who wait"] > 0
        assert {letters for letters, _ in ends} <= {"cR", "CR"}


# garbage


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("hostile"), timeout="2s") as site:
        yield site


NOISE = random.Random(1).randbytes(600)
SSLV2 = bytes.fromhex("802e0100020015000000100100800300800700c0060040020080") + NOISE[:22]
LARGE = b"\1" + (65536).to_bytes(3, "big") + b"\3\3" + NOISE * 109 + NOISE[:134]
RECORDS = b"".join(record(LARGE[n : n + 16384]) for n in range(0, len(LARGE), 16384))


@pytest.mark.parametrize(
    "garbage, alert, reason",
    [
        (b"\x99" + NOISE, None, "no TLS"),
        (b"\x16" + NOISE, None, "no TLS"),
        (b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n", None, "an HTTP request without TLS"),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", None, "a PROXY header, which is not"),
        (SSLV2, None, "a hello of SSLv2, which is not spoken"),
        (record(b""), DECODE_ERROR, "a record that is empty or longer than allowed"),
        (b"\x16\3\1\xff\xff\1" + NOISE, DECODE_ERROR, "a record that is empty or longer"),
        (RECORDS, DECODE_ERROR, "the ClientHello is longer than 16389 bytes"),
        (record(b"\2" + HELLO[6:]), DECODE_ERROR, "a handshake that does not begin with"),
        (record(b"GET /", DATA), DECODE_ERROR, "a record of TLS that is no handshake"),
        (fatal(PROTOCOL_VERSION), DECODE_ERROR, "a record of TLS that is no handshake"),
        (HELLO[:43] + b"\xff" + HELLO[44:], DECODE_ERROR, "a session id of more than 32"),
        (HELLO12 + record(HELLO12[5:], minor=3), UNEXPECTED_MESSAGE, "unexpected message"),
    ],
)
def test_garbage(site, garbage, alert, reason):
    with wire.connect(site.port) as client:
        client.sendall(garbage)
        port = wire.port(client)
        answer = told(client)
    letters, words = site.ending(port)
    assert (letters, words[:5]) == ("PR", "TLS: ")
    assert reason in words
    if alert is None:
        assert answer == b""
    else:
        # The version before them is what was agreed on, if anything was.
        assert (answer[-7], answer[-2:]) == (ALERT, bytes((2, alert)))
    site.serves()


def test_byteByByte(site):
    """It stops before its last byte, and costs no time while it is waited for."""
    with wire.connect(site.port) as client:
        for n in range(len(HELLO) - 1):
            client.send(HELLO[n : n + 1])
        port = wire.port(client)
        before = site.seconds
        assert told(client) == b""
    assert site.ending(port) == ("cR", "no ClientHello in time")
    assert site.seconds - before < 0.5


def test_byteByByteToItsEnd(site):
    with wire.connect(site.port) as client:
        for n in range(len(HELLO)):
            client.send(HELLO[n : n + 1])
        assert wire.readExactly(client, 1) == bytes([HANDSHAKE])


# after the handshake


def secured(site, highest):
    """@return: a client whose handshake is done, and its plain socket below it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = highest
    plain = wire.connect(site.port)
    below = plain.dup()
    below.settimeout(wire.SECONDS)
    return context.wrap_socket(plain), below


def records(data):
    """@return: kind and length of each."""
    found = []
    while data:
        size = int.from_bytes(data[3:5], "big")
        found.append((data[0], size))
        data = data[5 + size :]
    return found


# An alert is 2 bytes, and what encryption adds; TLSv1.3 hides what it is.
@pytest.mark.parametrize(
    "version, alert", [("TLSv1_2", (ALERT, 2 + 24)), ("TLSv1_3", (DATA, 2 + 17))]
)
@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x17\3\3\0\x20" + NOISE])
def test_plaintextAfterTheHandshake(site, version, alert, garbage):
    client, below = secured(site, ssl.TLSVersion[version])
    with client, below:
        port = wire.port(below)
        client.send(b"GET / HTTP/1.1\r\n")
        below.sendall(garbage)
        assert records(told(below))[-1] == alert
    assert site.ending(port) == ("CR", "the client went away")
    site.serves()


def test_renegotiation(site):
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with wire.connect(site.port) as plain:
        plain.settimeout(None)
        client = SSL.Connection(context, plain)
        client.set_connect_state()
        client.do_handshake()
        port = wire.port(plain)
        client.send(b"GET / HTTP/1.1\r\n")
        assert client.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            client.do_handshake()
    assert site.ending(port) == ("CR", "the client went away")
    site.serves()


# chance


def mutated(random):
    """@return: a ClientHello in which something is not as it should be."""
    data = bytearray(random.choice((HELLO, HELLO12)))
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        at = random.randrange(len(data))
        match random.randrange(6):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at : at + random.randrange(1, 9)]
            case 3:
                data[at:at] = random.randbytes(random.randrange(1, 9))
            case 4:
                data[at:at] = data[at : at + random.randrange(1, 99)]
            case 5:
                # Two records of what was one.
                if at > 5:
                    data[3:5] = (at - 5).to_bytes(2, "big")
                    data[at:at] = record(data[at:])[:5]
        if len(data) < 6:
            break
    return bytes(data[: random.choice((None, None, None, random.randrange(len(data) + 1)))])


def test_mutatedHellos(site):
    """Each is told an alert, or nothing, or is greeted; and has its line in the log."""
    chance = random.Random(20261121)
    sent = {}
    for number in range(MUTATED):
        data = mutated(chance)
        # Ports are taken again, and so many clients would meet one of before.
        host = f"127.9.{number >> 8}.{number & 255}"
        with socket.create_connection(("127.0.0.1", site.port), 15, (host, 0)) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent[host] = data
            client.sendall(data)
            with contextlib.suppress(OSError):
                # It may be closed already.
                client.shutdown(socket.SHUT_WR)
            answer = told(client)
        assert answer[:1] in (b"", bytes([ALERT]), bytes([HANDSHAKE])), (data.hex(), answer)
    ends = {host: site.endingOf(host) for host in sent}
    for host, (letters, reason) in ends.items():
        assert letters in ("PR", "CR"), (sent[host].hex(), reason)
    assert len(set(ends.values())) > 10
    site.serves()
