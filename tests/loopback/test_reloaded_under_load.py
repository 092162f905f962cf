"""
The file changes again and again while wrk and two hundred WebSockets are there: servers, weights,
rules, certificates, frontends. No request fails, no WebSocket ends, and memory stays as it is.
"""

import random
import selectors
import signal
import socket
import ssl
import threading
import time
from contextlib import ExitStack

import pytest
from authority import Authority, pem
from loopback.running import Balancer, Nginx, freePorts, run, until
from loopback.test_wrk import wrk

CHANGES = 50
SECONDS = 30
SOCKETS = 200
NAME = "site.test"

UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
# A text of four bytes, masked with noughts (RFC 6455 section 5.2).
FRAME = b"\x81\x84\0\0\0\0ping"

pytestmark = pytest.mark.needs("nginx", "wrk")


class Echo(threading.Thread):
    """Takes every upgrade, and says again whatever comes then."""

    def __init__(self):
        super().__init__(daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listening.getsockname()[1]
        self._ended = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *reason):
        self._ended = True
        self.join()

    def run(self):
        with selectors.DefaultSelector() as selector, ExitStack() as stack:
            stack.enter_context(self._listening)
            selector.register(self._listening, selectors.EVENT_READ)
            upgraded = set()
            while not self._ended:
                for key, _ in selector.select(0.1):
                    skt = key.fileobj
                    if skt is self._listening:
                        accepted = stack.enter_context(skt.accept()[0])
                        selector.register(accepted, selectors.EVENT_READ)
                        continue
                    data = skt.recv(65536)
                    if not data:
                        selector.unregister(skt)
                        skt.close()
                    elif skt in upgraded:
                        skt.sendall(data)
                    else:
                        # A head is small, and comes whole on this machine.
                        upgraded.add(skt)
                        skt.sendall(UPGRADED)


def webSocket(port):
    skt = socket.create_connection(("127.0.0.1", port))
    skt.settimeout(15)
    skt.sendall(UPGRADE)
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += skt.recv(4096) or pytest.fail(f"no upgrade: {received}")
    assert received.startswith(b"HTTP/1.1 101"), received
    return skt


def lives(skt):
    """Whether a WebSocket says again what it is told."""
    skt.sendall(FRAME)
    received = b""
    while len(received) < len(FRAME):
        received += skt.recv(4096) or pytest.fail(f"it was ended after {received}")
    return received == FRAME


class Changing:
    """
    Writes the file anew, each time otherwise, by a chance that is always the same.

    @ivar ports: of the frontends C{www}, C{tls} and C{more}.
    """

    def __init__(self, servers, echo):
        self.ports = freePorts(3)
        self._servers = servers
        self._echo = echo
        self._dice = random.Random(20261122)

    def text(self):
        dice = self._dice
        www, tls, more = self.ports
        servers = dice.sample(self._servers, dice.randint(1, len(self._servers)))
        rules = dice.sample([
            "set-header X-Now {path}", "limit rate=1000000/1s", "deny if path == '/secret'",
            "set-header X-Rate {str(rate(src, '10s'))}", "limit concurrency=1000",
        ], 3)  # fmt: skip
        lines = [
            "[frontend www]", f"bind = 127.0.0.1:{www} backlog={dice.randint(500, 999)}",
            "pool = app", f"timeout-client = {dice.randint(40, 60)}s", "request =",
            '    pool chat if path == "/chat"', *(f"    {one}" for one in rules),
            "[frontend tls]", f"bind = 127.0.0.1:{tls} tls=site", "pool = app",
            "[tls site]", f"certificate = {dice.choice(['one.pem', 'two.pem'])}",
            "[pool app]", f"balance = {dice.choice(['roundrobin', 'leastconn', 'random'])}",
            f"retries = {dice.randint(2, 5)}", f"timeout-server = {dice.randint(40, 60)}s",
            dice.choice(["", "persist = source", "check = tcp interval=200ms"]),
            *(f"server {name} = 127.0.0.1:{port} weight={dice.randint(1, 9)}"
              for name, port in servers),
            "[pool chat]",
            f"server {dice.choice('xyz')} = 127.0.0.1:{self._echo} weight={dice.randint(1, 9)}",
        ]  # fmt: skip
        if dice.random() < 0.5:
            lines += ["[frontend more]", f"bind = 127.0.0.1:{more}", "pool = app"]
        return "\n".join(lines) + "\n"


def certificateAt(port, authority):
    """@return: the number of the certificate that is shown now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(authority.certificate).decode())
    with (
        socket.create_connection(("127.0.0.1", port)) as skt,
        context.wrap_socket(skt, server_hostname=NAME) as secured,
    ):
        return secured.getpeercert()["serialNumber"]


def test_fiftyChanges(tmp_path):
    authority = Authority()
    for name in ("one", "two"):
        authority.issue(NAME).write(tmp_path / f"{name}.pem")
    reports = []
    with ExitStack() as stack:
        echo = stack.enter_context(Echo())
        servers = [
            (f"s{number}", stack.enter_context(Nginx(tmp_path / f"n{number}")).port)
            for number in range(3)
        ]
        changing = Changing(servers, echo.port)
        balancer = stack.enter_context(Balancer(tmp_path, changing.text()))
        www, tls, _ = changing.ports
        sockets = [stack.enter_context(webSocket(www)) for _ in range(SOCKETS)]
        load = threading.Thread(target=lambda: reports.append(wrk(www, SECONDS)))
        load.start()
        stack.callback(load.join)
        shown, memory = set(), []
        began = time.monotonic()
        for number in range(1, CHANGES + 1):
            (balancer.directory / "lb.ini").write_text(changing.text())
            balancer.process.send_signal(signal.SIGHUP)
            balancer.until(lambda number=number: f"reload {number} of" in balancer.out)
            for skt in sockets[number % 20 :: 20]:
                assert lives(skt)
            shown.add(certificateAt(tls, authority))
            memory.append(balancer.pss)
            # The changes are spread over all of the load.
            time.sleep(max(0.0, began + number * SECONDS * 0.9 / CHANGES - time.monotonic()))
        load.join()
        assert all(map(lives, sockets))
        refused = [line for line in balancer.out.splitlines() if "nothing was changed" in line]
        assert refused == []
        for skt in sockets:
            skt.close()
        # Whoever had gone has been forgotten with them.
        until(lambda: run("curl", "-sf", f"http://127.0.0.1:{www}/name").returncode == 0)
    [report] = reports
    assert (report.errors, report.failed) == ("", 0)
    assert report.requests > 1000
    assert len(shown) == 2, "both certificates were shown"
    assert max(memory[CHANGES // 2 :]) < max(memory[: CHANGES // 2]) * 1.1
