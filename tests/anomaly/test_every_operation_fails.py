"""
The n-th connect, read or write of a whole exchange fails, for every n.

Whatever fails, a client gets a correct answer, one of our own that says what
happened, or a close; never half an answer that looks whole. Every exchange ends
once, and nothing is left behind: no slot, no descriptor, no deadline.
"""

import errno
import os
import socket
from contextlib import suppress

import h11
import pytest

import lbtwist.http.front
import lbtwist.net.tcp
import lbtwist.tunnel
from lbtwist.exchange import Exchange
from lbtwist.testing import Balancer

BIG = b"0123456789abcdef" * 40_000
UPLOAD = b"fedcba9876543210" * 20_000

CONFIG = """
[frontend www]
bind = ${bind}
pool = app
log = ${log}
mode = MODE
[pool app]
server a = ${a}
server b = ${b}
http-reuse = always
"""


class Faults:
    """Counts the operations on all sockets of the balancer; one of them fails."""

    def __init__(self, failing: int) -> None:
        self.failing = failing
        self.count = 0

    def now(self) -> bool:
        self.count += 1
        return self.count - 1 == self.failing


class FaultySocket(socket.socket):
    """A socket whose peer vanishes at a certain operation."""

    faults: Faults
    dead = False
    inet = False

    @property
    def family(self):
        return socket.AF_INET if self.inet else super().family

    def getsockname(self):
        return ("192.0.2.1", 80) if self.inet else super().getsockname()

    def _perhaps(self, code: int) -> None:
        if self.dead or self.faults.now():
            if not self.dead:
                self.dead = True
                # The other end notices as well.
                with suppress(OSError):
                    super().shutdown(socket.SHUT_RDWR)
            raise OSError(code, os.strerror(code))

    def recv(self, *args):
        self._perhaps(errno.ECONNRESET)
        return super().recv(*args)

    def send(self, *args):
        self._perhaps(errno.EPIPE)
        return super().send(*args)

    def sendmsg(self, *args):
        self._perhaps(errno.EPIPE)
        return super().sendmsg(*args)

    def connect_ex(self, address):
        if self.faults.now():
            return errno.ECONNREFUSED
        return super().connect_ex(address)


class Origin:
    """A server that answers by the book: what it answers depends on the path."""

    def __init__(self, server):
        self._listener = server._listener
        self._open = []

    def step(self) -> bool:
        try:
            skt, _ = self._listener.accept()
            skt.setblocking(False)
            self._open.append([skt, h11.Connection(h11.SERVER), b"", None, 0])
            return True
        except BlockingIOError:
            pass
        worked = False
        for one in list(self._open):
            worked = self._serve(one) or worked
        return worked

    def _serve(self, one) -> bool:
        skt, http, out, request, size = one
        worked = False
        if out:
            try:
                sent = skt.send(out)
                one[2] = out[sent:]
                worked = True
            except BlockingIOError:
                pass
            except OSError:
                self._drop(one)
                return True
        try:
            data = skt.recv(65536)
        except BlockingIOError:
            return worked
        except OSError:
            self._drop(one)
            return True
        try:
            http.receive_data(data)
            while True:
                event = http.next_event()
                if isinstance(event, h11.Request):
                    one[3], one[4] = event, 0
                elif isinstance(event, h11.Data):
                    one[4] += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._answer(one)
                    http.start_next_cycle()
                else:
                    break
        except h11.ProtocolError:
            self._drop(one)
            return True
        if not data:
            self._drop(one)
        return True

    def _answer(self, one) -> None:
        _, http, out, request, size = one
        body = {b"/big": BIG, b"/up": b"%d" % size}.get(request.target, b"small")
        headers = [("Content-Length", str(len(body)))]
        if request.target == b"/chunked":
            headers = [("Transfer-Encoding", "chunked")]
        out += http.send(h11.Response(status_code=200, headers=headers, reason=b"OK"))
        out += http.send(h11.Data(data=body)) + http.send(h11.EndOfMessage())
        one[2] = out

    def _drop(self, one) -> None:
        one[0].close()
        self._open.remove(one)

    def stop(self) -> None:
        for one in list(self._open):
            self._drop(one)


REQUESTS = {
    "get": [("GET", "/small", b"small", b"")],
    "keep-alive": [("GET", "/small", b"small", b""), ("GET", "/chunked", b"small", b"")],
    "big": [("GET", "/big", BIG, b"")],
    "upload": [("POST", "/up", b"%d" % len(UPLOAD), UPLOAD), ("GET", "/small", b"small", b"")],
}


class Client:
    """Sends requests one after the other and understands the answers."""

    def __init__(self, skt, requests, chunked):
        self.answers = []
        self._socket = skt
        self._requests = list(requests)
        self._chunked = chunked
        self._http = h11.Connection(h11.CLIENT)
        self._out = b""
        self._status = 0
        self._body = b""
        self.closed = False
        self._next()

    def _next(self):
        if not self._requests:
            self._socket.shutdown(socket.SHUT_WR)
            return
        method, path, _, body = self._requests.pop(0)
        headers = [("Host", "h")]
        if body:
            headers.append(
                ("Transfer-Encoding", "chunked")
                if self._chunked
                else ("Content-Length", str(len(body)))
            )
        http = self._http
        self._out += http.send(h11.Request(method=method, target=path, headers=headers))
        if body:
            self._out += http.send(h11.Data(data=body))
        self._out += http.send(h11.EndOfMessage())

    def step(self) -> bool:
        if self.closed:
            return False
        worked = False
        if self._out:
            try:
                self._out = self._out[self._socket.send(self._out) :]
                worked = True
            except BlockingIOError:
                pass
            except OSError:
                self._out = b""
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return worked
        except OSError:
            self.closed = True
            return True
        http = self._http
        try:
            http.receive_data(data)
            while True:
                event = http.next_event()
                if isinstance(event, h11.Response):
                    self._status, self._body = event.status_code, b""
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.answers.append((self._status, self._body))
                    if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                        break
                    http.start_next_cycle()
                    self._next()
                else:
                    break
        except h11.RemoteProtocolError:
            # An answer broken off: the client knows that it is not whole.
            assert not data, "the answer is not HTTP"
        if not data:
            self.closed = True
        return True


@pytest.fixture
def counted(monkeypatch):
    made = []

    class Counted(Exchange):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(lbtwist.http.front, "Exchange", Counted)
    return made


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def converse(monkeypatch, name, requests, chunked, failing):
    """
    One whole conversation in which one operation fails.

    @return: how many operations there were, and the client's answers.
    """
    faults = Faults(failing)

    class Faulty(FaultySocket):
        pass

    Faulty.faults = faults
    monkeypatch.setattr(lbtwist.net.tcp, "newSocket", Faulty)

    def wrap(fd):
        skt = Faulty(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
        skt.inet = True
        return skt

    with Balancer(CONFIG.replace("MODE", "http"), "a", "b") as balancer:
        # Connections and pipes that were kept from before do not count.
        peer = balancer.client(wrap=wrap)
        client = Client(peer.socket, requests, chunked)
        origins = [Origin(balancer.server(one)) for one in "ab"]
        for _ in range(5000):
            worked = client.step()
            for origin in origins:
                worked = origin.step() or worked
            balancer.pump.turn()
            if client.closed:
                break
            if not worked:
                # Somebody waits for a time: a retry, an idle connection.
                balancer.advance(1.1)
        assert client.closed, "the client waits for ever"
        peer.socket.close()
        balancer.pump.turn()
        for server in balancer.running.pool("app").servers:
            assert server.active == 0, "a slot is left"
            assert not server.sessions
        assert balancer.running.pool("app").active == 0
        assert balancer.running.process.active == 0
        assert not balancer.running.frontend("www").inbound.connections
        lines = balancer.lines
        for origin in origins:
            origin.stop()
        balancer.pump.turn()
        for server in balancer.running.pool("app").servers:
            assert not server.idle, "an idle connection is left"
        assert len(balancer.running.deadlines) == 0, "a deadline is left"
    return faults.count, client.answers, lines


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("name", REQUESTS)
def test_everyOperationOfAnExchange(name, chunked, counted, monkeypatch):
    requests = REQUESTS[name]
    expected = [(200, body) for _, _, body, _ in requests]
    total, answers, lines = converse(monkeypatch, name, requests, chunked, -1)
    assert answers == expected
    assert len(lines) == len(requests)
    for failing in range(total):
        counted.clear()
        before = descriptors()
        _, answers, lines = converse(monkeypatch, name, requests, chunked, failing)
        assert descriptors() <= before + 4, "descriptors are left"
        for got, wanted in zip(answers, expected, strict=False):
            assert got == wanted or got[0] in (400, 408, 502, 503, 504), (failing, got[0])
        assert all(exchange.cause for exchange in counted), f"{failing}: an exchange is open"
        assert len(lines) == len(counted), f"{failing}: {lines}"
