"""
Clients and servers that hold a conversation by the book, whatever the balancer between
them meets; L{h11} understands for them.
"""

import socket

import h11

BIG = b"0123456789abcdef" * 36_000
UPLOAD = b"fedcba9876543210" * 60_000
TALK = b"tunnelled bytes." * 32_000
GREETING = b"greeting."
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" + GREETING
)
CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n" + GREETING


class Speaker:
    """
    One end of a connection.

    @ivar out: what is still to be sent.
    @ivar ending: our side ends when all is sent.
    @ivar closed: nothing comes any more.
    """

    def __init__(self, skt):
        skt.setblocking(False)
        self.socket = skt
        self.out = b""
        self.ending = False
        self.closed = False

    def received(self, data):
        """@param data: what was read; empty at the end."""
        raise NotImplementedError

    def end(self):
        """
        All is sent.

        Our side ends, and what comes is still read.
        """
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def close(self):
        self.closed = True
        self.socket.close()

    def step(self):
        """@return: whether anything could be done."""
        if self.closed:
            return False
        worked = False
        if self.out:
            try:
                self.out = self.out[self.socket.send(self.out) :]
                worked = True
            except BlockingIOError:
                pass
            except OSError:
                self.out = b""
        if self.ending and not self.out:
            self.ending = False
            self.end()
            if self.closed:
                return True
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return worked
        except OSError:
            data = b""
        self.received(data)
        if not data:
            self.close()
        return True


class Serving(Speaker):
    """
    One connection to a server; what it answers depends on the path.

    @ivar posts: every C{POST} that has come to any server, in a list of all.
    """

    def __init__(self, skt, mode, posts):
        super().__init__(skt)
        self.posts = posts
        self.echoing = mode == "tcp"
        if self.echoing:
            self.out = GREETING
        self.http = h11.Connection(h11.SERVER)
        self.request = None
        self.size = 0

    def received(self, data):
        if self.echoing:
            self.echo(data)
            return
        http = self.http
        try:
            http.receive_data(data)
            while not self.echoing:
                event = http.next_event()
                if isinstance(event, h11.Request):
                    self.request, self.size = event, 0
                    if event.method == b"POST":
                        self.posts.append(event.target)
                    if http.they_are_waiting_for_100_continue:
                        go = h11.InformationalResponse(status_code=100, headers=[])
                        self.out += http.send(go)
                elif isinstance(event, h11.Data):
                    self.size += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.answer()
                else:
                    break
        except h11.ProtocolError:
            self.ending = True

    def echo(self, data):
        self.out += data
        if not data:
            self.ending = True

    def tunnel(self, answer):
        self.echoing = True
        self.out += answer
        self.echo(self.http.trailing_data[0] or b"")
        self.ending = False

    def answer(self):
        http, request = self.http, self.request
        target = request.target
        if request.method == b"CONNECT":
            self.tunnel(CONNECTED)
            return
        if target == b"/upgrade":
            self.tunnel(UPGRADED)
            return
        body = {b"/big": BIG, b"/until-close": BIG, b"/up": b"%d" % self.size}
        body = body.get(target, b"small")
        if target == b"/until-close":
            self.out += b"HTTP/1.1 200 OK\r\n\r\n" + body
            self.ending = True
            return
        headers = [("Content-Length", str(len(body)))]
        if target == b"/chunked":
            headers = [("Transfer-Encoding", "chunked")]
        self.out += http.send(h11.Response(status_code=200, headers=headers, reason=b"OK"))
        self.out += http.send(h11.Data(data=body)) + http.send(h11.EndOfMessage())
        http.start_next_cycle()

    def step(self):
        worked = super().step()
        if not self.closed and self.http.their_state is h11.CLOSED and not self.out:
            self.close()
        return worked


class Origin:
    """A server."""

    def __init__(self, server, mode, posts):
        self._listener = server._listener
        self._mode = mode
        self._posts = posts
        self._open = []

    def step(self):
        worked = False
        try:
            skt, _ = self._listener.accept()
            self._open.append(Serving(skt, self._mode, self._posts))
            worked = True
        except BlockingIOError:
            pass
        for one in self._open:
            worked = one.step() or worked
        self._open = [one for one in self._open if not one.closed]
        return worked

    def stop(self):
        for one in self._open:
            one.close()
        self._open = []


class Ask:
    """
    One request, and what answers it.

    @ivar tunnel: what is said after it, and comes back after a greeting.
    @ivar waits: the body is held until a 100 comes.
    """

    def __init__(self, method, target, wanted, body=b"", chunked=False, version="1.1",
                 waits=False, tunnel=b"", fields=()):  # fmt: skip
        self.method = method
        self.wanted = wanted
        self.tunnel = tunnel
        lines = [f"{method} {target} HTTP/{version}", "Host: h", *fields]
        if waits:
            lines.append("Expect: 100-continue")
        if body and chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif body:
            lines.append(f"Content-Length: {len(body)}")
        self.head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
        self.body = body
        self.waits = waits


class Client(Speaker):
    """
    Sends requests and understands the answers.

    @ivar answers: C{(status, body)} of those that were whole, and in a tunnel
        C{("tunnel", bytes)}.
    """

    def __init__(self, skt, asks, pipelined=False):
        super().__init__(skt)
        self.answers = []
        self.broken = False
        self._asks = list(asks)
        self._pipelined = pipelined
        self._early = b""
        self._tunnel = None
        if pipelined:
            self.out = b"".join(ask.head + ask.body for ask in asks)
        self._next()

    def _next(self):
        if not self._asks:
            self.ending = True
            self._ask = None
            return
        self._ask = ask = self._asks.pop(0)
        self._status, self._body = 0, b""
        self._http = http = h11.Connection(h11.CLIENT)
        # What it must know to understand the answer.
        fields = [("Host", "h")]
        if ask.tunnel and ask.method != "CONNECT":
            fields += [("Connection", "Upgrade"), ("Upgrade", "echo")]
        http.send(h11.Request(method=ask.method, target="/", headers=fields))
        http.send(h11.EndOfMessage())
        if not self._pipelined:
            self.out += ask.head
            if not ask.waits:
                self.out += ask.body
            if ask.tunnel:
                self.out += ask.tunnel
                self.ending = True

    def received(self, data):
        if self._tunnel is not None:
            self._tunnel += data
            return
        assert self._ask is not None or not data, "more than was asked for"
        http = self._http
        try:
            http.receive_data(data)
            while True:
                event = http.next_event()
                if isinstance(event, (h11.InformationalResponse, h11.Response)):
                    self._status = status = event.status_code
                    if status == 100:
                        self.out += self._ask.body
                    elif self._ask.tunnel and status < 300:
                        self.answers.append((status, b""))
                        self._tunnel = http.trailing_data[0]
                        return
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.answers.append((self._status, self._body))
                    rest = http.trailing_data[0]
                    if http.their_state is not h11.DONE or self._ask.tunnel:
                        # It was the last one.
                        self._asks = []
                        self.ending = True
                        self._ask = None
                        return
                    self._next()
                    if rest:
                        self.received(rest)
                    return
                else:
                    return
        except h11.RemoteProtocolError:
            # An answer broken off: the client knows that it is not whole.
            assert not data, "the answer is not HTTP"

    def close(self):
        super().close()
        if self._tunnel is not None:
            self.answers.append(("tunnel", self._tunnel))
            self._tunnel = None


class Talker(Speaker):
    """A client without HTTP."""

    def __init__(self, skt, talk):
        super().__init__(skt)
        self.out = talk
        self.ending = True
        self.answers = []
        self._got = b""

    def received(self, data):
        self._got += data

    def close(self):
        super().close()
        self.answers.append(("tunnel", self._got))
