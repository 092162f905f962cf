"""
Conversations at random over rules of every kind: clients, servers, verbs that wait, and
time do what they like, in any order. Whatever happens, each exchange ends once, and
nothing is left of any.
"""

import base64
from contextlib import suppress
from random import Random

import attr
import pytest
from spoken import OK
from test_passwords import SHA1
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist import authentication
from lbtwist.errors import Undecided
from lbtwist.exchange import Exchange
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule, ITunnelWatcher
from lbtwist.options import Text, option
from lbtwist.registry import Extension, installed
from lbtwist.rules.decisions import ALLOW, Answer, Deny, Refuse, Tunnel, UsePool, UseServer
from lbtwist.testing import Balancer
from lbtwist.testing.network import Pump

CONFIG = """
[global]
grace-period = 3s

[conditions]
tells = header["x-do"] != ""

[rules common]
request =
    set-var seen {uri + header["x-do"]}
    capture uri '"<" + uri' len=8
    set-log no                          if rate(src, "1s") > 100
response =
    set-header X-Seen {var["seen"]}     if "seen" in var

[frontend www]
bind = ${bind}
pool = app
log = ${log}
connect = forward
rules = common
timeout-client = 20s
timeout-request = 10s
max-body = 100k
connection =
    policy                              if src_port % 4 == 1
    limit concurrency=3                 if src_port % 4 == 2
    set-var from {src_port}
    pool chat                           if src_port % 4 == 3
request =
    allow                               if header["x-do"] == "allow"
    answer 200 {var["from"]}            if header["x-do"] == "answer"
    answer 204                          if header["x-do"] == "nothing"
    auth basic users=USERS strip deadline=5s    if path.startswith("/private")
    close                               if header["x-do"] == "close"
    deny 404                            if header["x-do"] == "deny"
    limit concurrency=1 by={path}       if path == "/one"
    limit rate=5/1s by={path}           if path == "/five"
    policy deadline=4s concurrency=3    if header["x-do"] == "policy"
    policy deadline=4s on-error=allow   if "policy" in query
    proxy-pass /mirror/ http://app.example/
    redirect https                      if header["x-do"] == "https"
    redirect prefix /new                if header["x-do"] == "prefix"
    reject                              if header["x-do"] == "reject"
    silent-drop                         if header["x-do"] == "drop"
    server b                            if header["x-do"] == "server"
    set-header X-Forwarded-For {src}    if tells
    set-method PATCH                    if method == "POST" and tells
    set-timeout server 2s               if header["x-do"] == "hurry"
    set-timeout tunnel 2s
    set-uri /other{uri}                 if header["x-do"] == "uri"
    tarpit 5s                           if header["x-do"] == "tarpit"
    tunnel                              if header["x-do"] == "tunnel"
    watch                               if header["x-do"] == "watch"
    pool chat                           if header["x-do"] == "chat"
response =
    policy                              if response_header["x-fail"] != ""
    location auto
    cookie-flags * HttpOnly
    set-status 418                      if status == 200 and "x-teapot" in header
    set-timeout client 3s               if status == 200
    del-header X-Secret

[frontend strict]
bind = ${bind}2
pool = chat
connect = terminate
connect-allow = 127.0.0.1:9
request =
    policy deadline=3s
    tunnel                              if header["x-do"] == "tunnel"

[frontend raw]
mode = tcp
bind = ${bind}3
pool = app
connection =
    reject                              if src_port % 5 == 1
    policy deadline=3s                  if src_port % 5 > 2

[pool app]
timeout-connect = 2s
timeout-server = 6s
timeout-queue = 4s
server a = ${a} maxconn=2
server b = ${b} maxconn=2

[pool chat]
timeout-connect = 2s
timeout-server = 6s
http-reuse = never
request =
    deny                                if header["x-do"] == "deny in chat"
    policy deadline=3s                  if method == "PUT"
response =
    set-header X-Pool chat
server c = ${c}
"""

DOES = (
    "allow", "answer", "nothing", "close", "deny", "policy", "https", "prefix", "reject", "drop",
    "server", "hurry", "uri", "tarpit", "tunnel", "watch", "watch", "chat", "deny in chat", "",
)  # fmt: skip
RESPONSES = (
    OK, OK, OK,
    OK.replace(b"OK", b"OK\r\nX-Fail: 1"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300000),
    b"HTTP/1.1 200 OK\r\n\r\nuntil it closes",
    b"HTTP/1.0 302 Found\r\nLocation: http://app.example/x\r\nSet-Cookie: a=b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConte",
    b"rubbish",
)  # fmt: skip
PATHS = ("/", "/one", "/five", "/mirror/x", "/private", "/?policy", "/a/../b?c=d&e")


@implementer(ITunnelWatcher)
class UntilMark:
    """HTTP goes on after a C{!} of the client."""

    held = 0

    def dataReceived(self, side, data):
        at = data.find(b"!") if side == "client" else -1
        return None if at < 0 else at + 1


class Watch:
    @attr.frozen
    class Options:
        pass

    def __init__(self, options, context):
        pass

    def requestReceived(self, exchange):
        return Tunnel(watcher=UntilMark())


class Policy:
    """
    Waits for the test; not with a response.

    @cvar asked: what it has been asked for, and other things that take their time.
    """

    @attr.frozen
    class Options:
        name: str = option(Text(), "", positional=True)

    asked: list

    def __init__(self, options, context):
        pass

    def connectionAccepted(self, exchange):
        self.asked.append(Deferred())
        return self.asked[-1]

    requestReceived = connectionAccepted

    def responseReceived(self, exchange):
        raise ZeroDivisionError


REGISTRY = installed(
    Extension(IConnectionRule, "policy", f"{__name__}.Policy"),
    Extension(IRequestRule, "policy", f"{__name__}.Policy"),
    Extension(IResponseRule, "policy", f"{__name__}.Policy"),
    Extension(IRequestRule, "watch", f"{__name__}.Watch"),
)

DECISIONS = (
    None, None, None, ALLOW, Answer(200, ((b"X-A", b"b"),), b"answered"), Deny(), Deny(500, 2.0),
    Refuse("close"), Refuse("reject"), Refuse("silent-drop"), Tunnel(),
    Tunnel(watcher=UntilMark()), UsePool("chat"), UsePool("nowhere"), UseServer("b"), "nothing",
)  # fmt: skip


class World:
    """
    Everybody who takes part.

    @ivar steps: what can happen next; each is as likely as any other.
    """

    def __init__(self, balancer, random):
        self.balancer = balancer
        self.random = random
        self.clients = []
        self.servers = []
        self.ports = 0
        self.steps = [
            self.connects, self.connects, self.sends, self.sends, self.sends, self.sends,
            self.accepts, self.accepts, self.accepts, self.responds, self.responds,
            self.responds, self.responds, self.decides, self.decides, self.ends, self.waits,
            self.reads, self.isAborted, self.fails,
        ]  # fmt: skip

    def goesOn(self, steps):
        for _ in range(steps):
            self.random.choice(self.steps)()

    def one(self, peers):
        """@return: one of those that are not closed, mostly one of the last."""
        peers[:] = [peer for peer in peers if peer.socket.fileno() >= 0]
        return self.random.choice(peers[-4:]) if peers else None

    # what can happen

    def connects(self):
        self.ports += 1
        frontend = self.random.choice(("www", "www", "www", "strict", "raw"))
        self.clients.append(self.balancer.client(port=self.ports, frontend=frontend))

    def sends(self):
        client = self.one(self.clients)
        if client is not None:
            data = b"".join(self.request() for _ in range(self.random.choice((1, 1, 1, 3))))
            if self.random.random() < 0.2:
                data = data[: self.random.randrange(len(data))]
            self.send(client, data)

    def request(self):
        """@return: one, or a part of what is none."""
        random = self.random
        kind = random.randrange(10)
        if kind == 9:
            return b"!"
        if kind == 0:
            return random.choice((b"rubbish\r\n\r\n", b"0\r\n\r\n", b"body", bytes(70000)))
        if kind == 1:
            return b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n"
        method = random.choice(("GET", "GET", "HEAD", "POST", "PUT", "OPTIONS"))
        lines = [f"{method} {random.choice(PATHS)} HTTP/1.{random.choice('1110')}", "Host: h"]
        lines.append(f"X-Do: {random.choice(DOES)}")
        if random.random() < 0.2:
            more = "Connection: close", "Expect: 100-continue", "X-Teapot: 1"
            lines.append(random.choice(more))
        if random.random() < 0.3:
            said = base64.b64encode(b"alice:" + random.choice((b"secret", b"wrong"))).decode()
            lines.append(f"Authorization: Basic {said}")
        body = b""
        if method in ("POST", "PUT"):
            if random.random() < 0.5 and lines[0][-1] == "1":
                lines.append("Transfer-Encoding: chunked")
                body = b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"
            else:
                lines.append("Content-Length: 8")
                body = b"12345678"
        elif random.random() < 0.15:
            lines += ["Connection: Upgrade", "Upgrade: websocket"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def accepts(self):
        for name in "abc":
            with suppress(AssertionError):
                self.servers.append(self.balancer.server(name).accepts())

    def responds(self):
        server = self.one(self.servers)
        if server is not None:
            self.send(server, self.random.choice(RESPONSES))

    def send(self, peer, data):
        """As much of it as there is room for."""
        with suppress(BlockingIOError, ConnectionError):
            peer.socket.send(data)
        self.balancer.pump.turn()

    def decides(self):
        """A verb that has waited says something, if it still matters to somebody."""
        waiting = [one for one in Policy.asked if not one.called]
        Policy.asked[:] = waiting
        if waiting:
            one = self.random.choice(waiting)
            if self.random.random() < 0.2:
                one.errback(self.random.choice((Undecided("no"), ZeroDivisionError())))
            else:
                one.callback(self.random.choice(DECISIONS))
            self.balancer.pump.turn()

    def ends(self):
        peer = self.one(self.random.choice((self.clients, self.clients, self.servers)))
        if peer is not None:
            kind = self.random.choice(("ends", "ends", "closes", "resets"))
            if kind == "resets" and peer._ours is None:
                kind = "closes"
            with suppress(OSError):
                getattr(peer, kind)()

    def waits(self):
        self.balancer.advance(self.random.choice((0.1, 1.0, 1.0, 3.0, 6.0, 15.0)))

    def reads(self):
        """Whoever is there reads all that has come."""
        for peer in (self.one(self.clients), self.one(self.servers)):
            if peer is not None:
                peer.receives(rb".*")

    def isAborted(self):
        """Now and then somebody ends a connection from within, or drains it."""
        if self.random.random() < 0.3:
            frontend = self.random.choice(list(self.balancer.running.frontends.values()))
            found = sorted(frontend.inbound.connections, key=lambda one: one.number)
            if found:
                one = self.random.choice(found)
                one.drain() if self.random.random() < 0.5 else one.abortSession("K")
                self.balancer.pump.turn()

    def fails(self):
        """Now and then a server goes away or takes its time, and comes back later."""
        server = self.balancer.server(self.random.choice("abc"))
        if self.random.random() < 0.3:
            server.goesAway()
            self.balancer.advance(self.random.choice((0.0, 3.0)))
            server.comesBack()
        elif self.random.random() < 0.3:
            server.hesitates()
            self.balancer.advance(self.random.choice((0.0, 3.0)))
            server.goesOn()


def counting(balancer):
    """@return: what verbs count that is under way."""
    found = []
    for frontend in balancer.running.frontends.values():
        inbound = frontend.inbound
        found += inbound.leaving.values()
        books = [inbound.rules.connection, inbound.rules.request]
        books += [pool.rules.request for pool in balancer.running.pools.values()]
        for book in books:
            for rule in () if book is None else book.rules:
                verb = getattr(rule.ask, "__self__", None)
                found += [getattr(verb, "underWay", 0), getattr(verb, "_counts", {})]
    return [one for one in found if one]


@pytest.mark.parametrize("seed", range(40))
def test_whateverHappens(seed, tmp_path, monkeypatch):
    users = tmp_path / "users"
    users.write_text(f"alice:{SHA1}\n")
    begun = []
    usual = Exchange.__init__

    def begins(exchange, *args):
        begun.append(exchange)
        usual(exchange, *args)

    def compares(reactor, pool, function, *arguments):
        found = Deferred()
        found.addBoth(lambda _: function(*arguments))
        Policy.asked.append(found)
        return found

    monkeypatch.setattr(Policy, "asked", [], raising=False)
    monkeypatch.setattr(Exchange, "__init__", begins)
    monkeypatch.setattr(authentication, "deferToThreadPool", compares)
    monkeypatch.setattr(Pump, "getThreadPool", lambda self: None, raising=False)
    with Balancer(CONFIG.replace("USERS", str(users)), *"abc", registry=REGISTRY) as balancer:
        World(balancer, Random(seed)).goesOn(400)
        # Those of verbs that were made to fail are told of, as they should be.
        failures = balancer.failures
        failures[:] = [one for one in failures if not one.check(ZeroDivisionError)]
    assert len(begun) > 20
    # That of a connection whose rules let it go on ends with them, in mode = http.
    begun = [one for one in begun if one.request or one.frontend.config.mode == "tcp"]
    assert [one for one in begun if not one.cause] == []
    assert counting(balancer) == []
