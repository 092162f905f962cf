"""
C{etc/slow-servers.ini}: servers get as much as they have workers, and who waits is served in
turn; what one customer sends delays nobody else, and one that came back gets little at first.
"""

import http.server
import threading
from contextlib import ExitStack

import pytest
from loopback import wire
from loopback.running import until
from recipe import connects, started

from programs import freePort


class Workers:
    """
    A server that answers a request when it is told to.

    @ivar waiting: the paths of the requests that it has.
    @ivar most: so many it has had at once.
    """

    def __init__(self, name):
        self.name = name
        self.healthy = True
        self.ending = False
        self.waiting = {}
        self.most = 0
        self._lock = threading.Lock()
        self.port = 0

    def __enter__(self):
        server = self

        class Talk(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/health":
                    self._says(200 if server.healthy else 503)
                    return
                released = threading.Event()
                with server._lock:
                    if server.ending:
                        released.set()
                    else:
                        server.waiting[self.path] = released
                        server.most = max(server.most, len(server.waiting))
                released.wait(wire.SECONDS)
                self._says(200)

            def _says(self, status):
                self.wfile.write(b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\nok" % status)

            def log_message(self, *arguments):
                """Nobody reads it."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Talk)
        self._server.handle_error = lambda *peer: None
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def ends(self):
        """Answer everything at once from now on."""
        with self._lock:
            self.ending = True
            held = list(self.waiting)
        for path in held:
            self.answers(path)

    def __exit__(self, *error):
        self.ends()
        self._server.shutdown()
        self._server.server_close()

    def answers(self, path):
        with self._lock:
            released = self.waiting.pop(path)
        released.set()

    def __str__(self):
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def slow(tmp_path):
    """The recipe, with C{servers} whose workers a test lets answer."""
    port = freePort()
    with Workers("one") as one, Workers("two") as two:
        replaced = {
            ":8080": f"127.0.0.1:{port}", "10.0.5.10:8000": one, "10.0.5.11:8000": two,
            "interval=1s": "interval=50ms",
        }  # fmt: skip
        with started("slow-servers.ini", tmp_path, replaced) as balancer:
            balancer.port = port
            balancer.servers = (one, two)
            with ExitStack() as clients:
                balancer.clients = clients
                yield balancer
                one.ends()
                two.ends()


def sends(slow, path, customer=""):
    client = slow.clients.enter_context(connects(slow.port))
    lines = [f"GET {path} HTTP/1.1", "Host: h", "Connection: close"]
    lines += [f"X-Customer: {customer}"] if customer else []
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    return client


def served(slow):
    return {path for server in slow.servers for path in server.waiting}


def fills(slow):
    """All workers of both are busy."""
    for number in range(16):
        sends(slow, f"/busy/{number}")
    until(lambda: len(served(slow)) == 16)


def answers(slow):
    """One worker has done its work. @return: what is next."""
    before = served(slow)
    server = next(one for one in slow.servers if any(p.startswith("/busy") for p in one.waiting))
    server.answers(next(path for path in server.waiting if path.startswith("/busy")))
    until(lambda: served(slow) - before)
    [path] = served(slow) - before
    return path


def test_noServerGetsMoreThanItHasWorkers(slow):
    fills(slow)
    waiting = sends(slow, "/more")
    heard(slow)
    assert answers(slow) == "/more"
    assert [server.most for server in slow.servers] == [8, 8]
    for server in slow.servers:
        if "/more" in server.waiting:
            server.answers("/more")
    assert waiting.recv(100).startswith(b"HTTP/1.1 200 ")
    assert ' 0/0 "GET /more ' in slow.line("/more")


def heard(slow):
    """All that was sent before has come: what is no request is answered by the balancer."""
    with connects(slow.port) as client:
        client.sendall(b"no request\r\n\r\n")
        assert wire.readAll(client).startswith(b"HTTP/1.1 400 ")


def test_oneCustomerDelaysNobodyElse(slow):
    """The crowd has come first, and the others are among the next five all the same."""
    fills(slow)
    for number in range(20):
        sends(slow, f"/crowd/{number}", "crowd")
    heard(slow)
    sends(slow, "/single", "single")
    sends(slow, "/acme/1", "acme")
    sends(slow, "/acme/2", "acme")
    heard(slow)
    assert {answers(slow) for _ in range(5)} >= {"/single", "/acme/1", "/acme/2"}


def test_noCustomerFillsTheQueue(slow):
    fills(slow)
    for number in range(64):
        sends(slow, f"/crowd/{number}", "crowd")
    heard(slow)
    refused = sends(slow, "/crowd/64", "crowd")
    assert wire.readAll(refused).startswith(b"HTTP/1.1 503 ")
    assert " SQ-- " in slow.line("/crowd/64")
    sends(slow, "/single", "single")
    heard(slow)
    assert "/single" in {answers(slow) for _ in range(2)}


def test_whoBuysIsFirst(slow):
    fills(slow)
    for path in ("/reports/1", "/look", "/checkout/1"):
        sends(slow, path)
        heard(slow)
    assert [answers(slow) for _ in range(3)] == ["/checkout/1", "/look", "/reports/1"]


def test_oneThatCameBackGetsLittleAtFirst(slow):
    """One at once, where the other has eight."""
    one, two = slow.servers
    for healthy, word in ((False, "DOWN"), (True, "UP")):
        two.healthy = healthy
        slow.until(lambda word=word: f"Server app/two is {word}" in slow.events)
    for number in range(10):
        sends(slow, f"/busy/{number}")
    until(lambda: len(served(slow)) == 9)
    heard(slow)
    assert (len(one.waiting), len(two.waiting)) == (8, 1)
