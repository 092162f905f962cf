"""
The n-th operation of a whole conversation fails, is put off or takes one byte, for
every n: each connect, read and write, and each splice.

Whatever fails, a client gets a correct answer, one of our own that says what
happened, or a close; never half an answer that looks whole. Every exchange ends
once, and nothing is left behind: no slot, no descriptor, no deadline. What is only
put off or taken in pieces changes nothing at all.
"""

import os

import attr
import pytest
from anomaly.faults import AGAIN, CUT, DRIP, ERROR, SHORT, Faults
from anomaly.peers import BIG, GREETING, TALK, UPLOAD, Ask, Client, Origin, Talker

import lbtwist.http.front
import lbtwist.inbound
import lbtwist.net.splice
from lbtwist.exchange import Exchange
from lbtwist.testing import Balancer

CONFIG = """
[frontend www]
bind = ${{bind}}
pool = app
log = ${{log}} format=http
mode = {mode}
{connect}
[pool app]
balance = first
server a = ${{a}}
server b = ${{b}}
{reuse}
"""

OURS = (400, 408, 502, 503, 504)
"""Answers of the balancer's own that say what happened."""

LENGTH = b"%d" % len(UPLOAD)


@attr.frozen
class Scene:
    """
    One conversation.

    @ivar asks: the requests; none is a session without HTTP.
    @ivar reuse: values of C{http-reuse} that make a difference.
    @ivar long: there is so much of something that it goes through the kernel.
    """

    asks: tuple = ()
    pipelined: bool = False
    reuse: tuple = ("always",)
    long: bool = True

    @property
    def wanted(self):
        """What a client gets if all goes well."""
        if not self.asks:
            return [("tunnel", GREETING + TALK)]
        found = []
        for ask in self.asks:
            status, body = ask.wanted
            found.append((status, body))
            if ask.tunnel:
                found.append(("tunnel", GREETING + ask.tunnel))
        return found


def get(target="/small", body=b"small", **options):
    return Ask("GET", target, (200, body), **options)


def post(**options):
    return Ask("POST", "/up", (200, LENGTH), UPLOAD, **options)


UPGRADE = ("Connection: Upgrade", "Upgrade: echo")
BOTH = ("never", "always")

SCENES = {
    "get": Scene((get(),), reuse=BOTH, long=False),
    "keep-alive": Scene((get(), get("/chunked")), reuse=BOTH, long=False),
    "big": Scene((get("/big", BIG), get()), reuse=BOTH),
    "upload": Scene((post(), get()), reuse=BOTH),
    "chunked-upload": Scene(
        (Ask("POST", "/up", (200, b"200000"), bytes(200_000), chunked=True), get()), long=False
    ),
    "upload-after-get": Scene((get(), post())),
    "small-post-after-get": Scene(
        (get(), Ask("POST", "/up", (200, b"4"), b"body"), get()), long=False
    ),
    "100-continue": Scene((post(waits=True), get()), reuse=BOTH),
    "pipelined": Scene((get(), get("/chunked"), post(), get()), pipelined=True, reuse=BOTH),
    "until-close": Scene((get("/until-close", BIG), get()), long=False),
    "HTTP/1.0": Scene((get(version="1.0"),), long=False),
    "HTTP/1.0-big": Scene((get("/big", BIG, version="1.0"),)),
    "HTTP/1.0-until-close": Scene((get("/until-close", BIG, version="1.0"),), long=False),
    "upgrade": Scene((Ask("GET", "/upgrade", (101, b""), tunnel=TALK, fields=UPGRADE),)),
    "upgrade-after-get": Scene(
        (get(), Ask("GET", "/upgrade", (101, b""), tunnel=TALK, fields=UPGRADE))
    ),
    "connect": Scene((Ask("CONNECT", "h:443", (200, b""), tunnel=TALK),)),
    "tcp": Scene(),
}
CASES = [(name, reuse) for name, scene in SCENES.items() for reuse in scene.reuse]
cases = pytest.mark.parametrize("name, reuse", CASES, ids=[" ".join(case) for case in CASES])


@pytest.fixture
def exchanges(monkeypatch):
    """All exchanges that were made."""
    made = []

    class Counted(Exchange):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(lbtwist.http.front, "Exchange", Counted)
    monkeypatch.setattr(lbtwist.inbound, "Exchange", Counted)
    yield made
    while lbtwist.net.splice._spare:
        for fd in lbtwist.net.splice._spare.pop():
            os.close(fd)


def descriptors():
    """How many there are, but for the pipes that are kept."""
    return len(os.listdir("/proc/self/fd")) - 2 * len(lbtwist.net.splice._spare)


class Conversation:
    """
    One whole conversation in which an operation may not go well.

    @ivar answers: what the client has got.
    @ivar faults: the operations.
    @ivar lines: the log.
    @ivar broken: the client's connection was reset, by either side.
    """

    def __init__(self, name, reuse, kind, at):
        scene = SCENES[name]
        mode = "http" if scene.asks else "tcp"
        self.faults = faults = Faults(kind, at)
        self.posts = []
        text = CONFIG.format(
            mode=mode,
            connect="connect = forward" if mode == "http" else "",
            reuse=f"http-reuse = {reuse}",
        )
        before = descriptors()
        with pytest.MonkeyPatch.context() as patch:
            faults.install(patch)
            with Balancer(text, "a", "b") as balancer:
                self.hold(balancer, scene, mode)
        # Garbage of tests before this one may have gone meanwhile, with its own.
        assert descriptors() <= before, "descriptors are left"

    def hold(self, balancer, scene, mode):
        ends = []

        def wrap(fd):
            ends.append(self.faults.accepted(fd))
            return ends[0]

        origins = [Origin(balancer.server(name), mode, self.posts) for name in "ab"]
        peer = balancer.client(wrap=wrap)
        skt = peer.socket.dup()
        client = Client(skt, scene.asks, scene.pipelined) if scene.asks else Talker(skt, TALK)
        peer.socket.close()
        for _ in range(20_000):
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
        self.answers = client.answers
        self.broken = ends[0].dead or ends[0].aborted
        for _ in range(100):
            # Servers come to their end as well.
            worked = [origin.step() for origin in origins]
            balancer.pump.turn()
            if not any(worked):
                break
        running = balancer.running
        pool = running.pool("app")
        for server in pool.servers:
            assert server.active == 0, "a slot is left"
            assert not server.sessions, "a session is left"
        assert pool.active == pool.queued == 0
        assert running.process.active == 0
        assert not running.frontend("www").inbound.connections
        self.lines = balancer.lines
        for origin in origins:
            origin.stop()
        balancer.pump.turn()
        for server in pool.servers:
            assert not server.idle, "an idle connection is left"
        assert len(running.deadlines) == 0, "a deadline is left"


def isRight(conversation, scene):
    """Each answer is the right one, one of ours, or a close."""
    asks = {status for ask in scene.asks if ask.tunnel for status in [ask.wanted[0]]}
    for got, wanted in zip(conversation.answers, scene.wanted, strict=False):
        if got == wanted:
            continue
        if got[0] == "tunnel":
            # What has come is right, and whoever got it knows that it is not all.
            assert wanted[1].startswith(got[1]), "other bytes than were sent"
            assert conversation.broken or not got[1], "half of it looks whole"
        elif wanted[0] == got[0] and got[0] not in asks:
            # The end of a body that only a close ends: a reset says that it is not.
            assert conversation.broken and wanted[1].startswith(got[1])
        else:
            assert got[0] in OURS, got[0]
        return
    assert len(conversation.answers) <= len(scene.wanted)


@cases
def test_allGoesWell(name, reuse, exchanges):
    scene = SCENES[name]
    found = Conversation(name, reuse, ERROR, -1)
    assert found.answers == scene.wanted
    assert len(found.lines) == len(exchanges) == max(len(scene.asks), 1)
    assert all(" ---- " in line for line in found.lines), found.lines
    assert not found.broken
    seen = set(found.faults.seen)
    assert {"socket", "connect", "recv", "send"} <= seen
    assert ({"pipe", "splice in", "splice out"} <= seen) == scene.long


def failsWell(name, pool, kind, exchanges):
    """Whatever operation of a conversation fails, all of it ends as it has to."""
    scene = SCENES[name]
    uploads = [ask for ask in scene.asks if ask.method == "POST"]
    seen = Conversation(name, pool, ERROR, -1).faults.seen
    for at, what in enumerate(seen):
        exchanges.clear()
        try:
            found = Conversation(name, pool, kind, at)
            isRight(found, scene)
            assert all(exchange.cause for exchange in exchanges), "an exchange is open"
            assert len(found.lines) == len(exchanges), found.lines
            assert len(found.posts) <= len(uploads), "a POST was sent twice"
        except AssertionError as wrong:
            raise AssertionError(f"{what}, operation {at} of {len(seen)}: {wrong}") from wrong


@cases
@pytest.mark.parametrize("kind", [ERROR, CUT], ids=["at once", "after one byte"])
def test_oneOperationFails(name, reuse, kind, exchanges):
    failsWell(name, reuse, kind, exchanges)


@cases
@pytest.mark.parametrize("kind", [AGAIN, SHORT], ids=["again", "one byte"])
def test_oneOperationIsPutOff(name, reuse, kind, exchanges):
    """Or takes a single byte: nobody notices."""
    scene = SCENES[name]
    seen = Conversation(name, reuse, kind, -1).faults.seen
    for at, what in enumerate(seen):
        exchanges.clear()
        try:
            found = Conversation(name, reuse, kind, at)
            assert found.answers == scene.wanted
            assert len(found.lines) == len(exchanges) == max(len(scene.asks), 1)
            assert not found.broken
        except AssertionError as wrong:
            raise AssertionError(f"{what}, operation {at} of {len(seen)}: {wrong}") from wrong


@cases
def test_everyOperationTakesLittle(name, reuse, exchanges):
    """A kernel that takes and gives a thousand bytes at a time."""
    scene = SCENES[name]
    found = Conversation(name, reuse, DRIP, None)
    assert found.answers == scene.wanted
    assert len(found.lines) == len(exchanges) == max(len(scene.asks), 1)
