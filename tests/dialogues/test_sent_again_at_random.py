"""
Clients and servers that do whatever they like, in whatever order, while requests are sent again
and to two servers at once: no slot is lost, no client gets two answers or half of one, and every
exchange is told of once.
"""

import json
import random
import re
from contextlib import suppress

import pytest
from spoken import www

POOL = """
balance = leastconn
retry-on = all-retryable-errors
retry-budget = 50% min 1/s
hedge-after = 100ms
http-reuse = always
timeout-server = 2s
timeout-queue = 3s
retries = 2
"""
SUSPECTED = """
check = tcp interval=1s fast=300ms rise=1 fall=2
observe = layer7
error-limit = 2
on-error = mark-down
on-marked-down = shutdown-sessions
"""
"""What fails takes its server down, and what else runs there ends with it."""

ANSWER = re.compile(
    rb"HTTP/1\.1 200 OK\r\nContent-Length: (\d+)\r\n\r\n(n\d+)|"
    rb"HTTP/1\.1 (503 Busy)\r\nContent-Length: 4\r\n\r\nbusy|"
    rb"HTTP/1\.1 (50[0234]) [^\r]*\r\n(?:[^\r]+\r\n)*\r\n<.*</html>\n", re.DOTALL
)  # fmt: skip
REQUEST = re.compile(rb"(GET|PUT|POST) /(n\d+) HTTP/1\.1\r\n(?:[^\r]+\r\n)*\r\n(body)?")


class Asked:
    """A server's connection, and what it has been asked and has not answered."""

    def __init__(self, peer):
        self.peer = peer
        self.pending = b""
        self.dead = False

    def look(self):
        if not self.dead:
            self.dead = self.peer._take()
            self.pending += self.peer._read
            self.peer._read = b""
            if self.dead:
                self.peer.closes()

    @property
    def posted(self):
        """The POST that it has got and not answered, if it is one."""
        found = re.match(rb"POST /(n\d+) ", self.pending)
        return found and found[1]

    def answer(self, how):
        found = REQUEST.fullmatch(self.pending)
        if self.dead or found is None:
            return
        self.pending = found[0] if how == "slowly" else b""
        said = b"" if how == "closed" else SAYS[how]
        if how == "well":
            said = said % (len(found[2]), found[2])
        for piece in said.splitlines(True) if how == "busily" else [said]:
            # It may have been let go of by now.
            with suppress(OSError):
                self.peer.sends(piece)
        if how in ("half a head", "closed"):
            self.peer.closes()
            self.dead = True


SAYS = {
    "well": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b",
    "slowly": b"",
    "busy": b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
    "busily": b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
    "half a head": b"HTTP/1.1 200",
    "nonsense": b"nonsense\r\n\r\n",
}
HOW = ("well", "well", "slowly", "slowly", "busy", "busily", "half a head", "nonsense", "closed")


class Scene:
    """
    One conversation of many.

    @ivar clients: those that wait for an answer, by what they asked for.
    @ivar posts: who has got each POST.
    """

    def __init__(self, balancer, seed):
        self.balancer = balancer
        self.draw = random.Random(seed)
        self.clients = {}
        self.servers = []
        self.posts = {}
        self.asked = 0

    def step(self):
        draw = self.draw
        kind = draw.random()
        if kind < 0.3 and len(self.clients) < 8:
            self.asks()
        elif kind < 0.75 and self.servers:
            draw.choice(self.servers).answer(draw.choice(HOW))
        elif kind < 0.8 and self.clients:
            name = draw.choice(sorted(self.clients))
            self.clients.pop(name).resets()
        elif kind < 0.83:
            self.refuse(draw.choice("abc"))
        else:
            self.balancer.advance(draw.choice([0.05, 0.15, 0.5, 1.1]))
        self.look()

    def asks(self):
        self.asked += 1
        name = b"n%d" % self.asked
        client = self.balancer.client()
        method = self.draw.choice([b"GET", b"GET", b"PUT", b"POST"])
        more = b"" if method == b"GET" else b"Content-Length: 4\r\n"
        head = b"%b /%b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (method, name, more)
        client.sends(head if method == b"GET" else head + b"bo")
        if method != b"GET":
            client.sends(b"dy")
        self.clients[name] = client

    def refuse(self, name):
        server = self.balancer.server(name)
        if server._listener is None:
            server.comesBack()
        else:
            server.goesAway()

    def look(self):
        """Everybody sees what has come; what is counted is true."""
        for name in "abc":
            server = self.balancer.server(name)
            while server._listener is not None:
                try:
                    self.servers.append(Asked(server.accepts()))
                except AssertionError:
                    break
        for one in self.servers:
            one.look()
            if one.posted:
                assert self.posts.setdefault(one.posted, one) is one, "a POST was sent twice"
        self.servers = [one for one in self.servers if not one.dead]
        for name, client in list(self.clients.items()):
            ended = client._take()
            if not client._read and not ended:
                continue
            found = ANSWER.fullmatch(client._read)
            if found is None:
                # Of a response that was cut short after its head.
                assert ended and client._wasReset, client._read
            elif found[2]:
                assert found[2] == name, "somebody else's answer"
            client.closes()
            del self.clients[name]
        pool = self.balancer.running.pool("app")
        assert pool.active == sum(server.active for server in pool.servers)
        for server in pool.servers:
            assert 0 <= server.active <= 2
            assert len(server.sessions) <= server.active

    def end(self):
        """All servers come back and answer."""
        for name in "abc":
            if self.balancer.server(name)._listener is None:
                self.balancer.server(name).comesBack()
        for _ in range(200):
            if not self.clients:
                break
            for one in list(self.servers):
                one.answer("well")
            self.balancer.advance(0.5)
            self.look()
        assert not self.clients, "a client waits for ever"
        pool = self.balancer.running.pool("app")
        assert pool.active == pool.queued == 0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("more", ["", SUSPECTED], ids=["plain", "suspected"])
def test_whateverHappens(more, seed):
    servers = (f"{name} maxconn=2" for name in "abc")
    with www(*servers, pool=POOL + more, log="json") as balancer:
        scene = Scene(balancer, seed)
        for _ in range(600):
            scene.step()
        scene.end()
        lines = [json.loads(line) for line in balancer.lines]
        assert len(lines) == scene.asked
        app = balancer.running.pool("app")
        traffic = app.traffic
        assert traffic.exchanges == scene.asked
        assert traffic.retries == sum(line["retries"] for line in lines)
        assert traffic.hedges >= traffic.hedgesWon
        assert traffic.hedgesWon or more
        assert traffic.retries > 0
        assert any(server.traffic.wentDown for server in app.servers) == bool(more)
        assert max(line["retries"] for line in lines) <= 2
