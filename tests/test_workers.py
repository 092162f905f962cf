"""
What workers and their parent say to each other, without a process: messages with descriptors,
what was counted, how servers are, shares of limits, what all of them know together.
"""

import json
import os
import pickle
import socket

import attr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from lbtwist.config.load import loadText
from lbtwist.errors import StartError
from lbtwist.failures import Failed
from lbtwist.histogram import Histogram, Times
from lbtwist.interfaces import ICounts, IPersistenceStore, ISharedStore
from lbtwist.registry import Context, installed
from lbtwist.server import Endpoint, Server
from lbtwist.stats import FrontendTraffic, PoolTraffic, ServerTraffic
from lbtwist.stores.memory import MemoryOptions, MemoryStore
from lbtwist.testing import Balancer
from lbtwist.testing.network import Pump
from lbtwist.workers import states, tally
from lbtwist.workers.asked import PATIENCE, Asked, AskedCounts, AskedStore, Asking
from lbtwist.workers.board import NOBODY, Board
from lbtwist.workers.channel import Channel, asJSON, asPickle
from lbtwist.workers.doing import Doing
from lbtwist.workers.kept import Kept
from lbtwist.workers.shares import Share
from lbtwist.workers.worker import PERIOD, Worker


class Ends:
    """Both ends of a channel, and what each has heard."""

    def __init__(self):
        self.pump = Pump()
        self.heard = []
        self.lost = []
        ours, theirs = socket.socketpair()
        self.parent = Channel(
            ours, self.pump, lambda *said: self.heard.append(("parent", *said)),
            lambda: self.lost.append("parent"), asPickle, json.loads,
        )  # fmt: skip
        self.worker = Channel(
            theirs, self.pump, lambda *said: self.heard.append(("worker", *said)),
            lambda: self.lost.append("worker"), asJSON, pickle.loads,
        )  # fmt: skip

    def close(self):
        self.parent.close()
        self.worker.close()


@pytest.fixture
def ends():
    found = Ends()
    yield found
    found.close()


def test_messagesInTheirOrder(ends):
    ends.parent.send("one", 1, {"a": (2,)})
    ends.parent.send("two")
    ends.worker.send("three", [1, "x"])
    ends.pump.turn()
    assert [said for said in ends.heard if said[0] == "worker"] == [
        ("worker", "one", [1, {"a": (2,)}], []), ("worker", "two", [], []),
    ]  # fmt: skip
    assert [said for said in ends.heard if said[0] == "parent"] == [
        ("parent", "three", [[1, "x"]], [])
    ]


def test_moreThanTheKernelTakesAtOnce(ends):
    ends.parent.send("much", "x" * 5_000_000)
    assert ends.parent.unsent
    for _ in range(200):
        ends.pump.turn()
    assert [len(values[0]) for _, _, values, _ in ends.heard] == [5_000_000]
    assert not ends.parent.unsent


def test_descriptorsWithTheirMessage(ends):
    files = [os.memfd_create(str(number)) for number in range(3)]
    for number, file in enumerate(files):
        os.write(file, b"%d" % number)
    ends.parent.send("big", "x" * 300_000)
    ends.parent.send("two", descriptors=files[:2])
    ends.parent.send("one", descriptors=files[2:])
    for file in files:
        os.close(file)
    for _ in range(20):
        ends.pump.turn()
    assert [(name, len(found)) for _, name, _, found in ends.heard] == [
        ("big", 0), ("two", 2), ("one", 1)
    ]  # fmt: skip
    received = [one for _, _, _, found in ends.heard for one in found]
    assert [os.pread(one, 9, 0) for one in received] == [b"0", b"1", b"2"]
    for one in received:
        os.close(one)


def test_theOtherSideGoes(ends):
    ends.worker.close()
    ends.pump.turn()
    assert ends.lost == ["parent"]
    ends.parent.send("nobody", 1)
    assert not ends.parent.unsent


# what was counted


def filled(cls):
    """Traffic in which every counter is another number."""
    traffic = cls()
    for number, field in enumerate(attr.fields(cls), 1):
        value = getattr(traffic, field.name)
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            setattr(traffic, field.name, number)
        elif isinstance(value, list):
            value[2] = number
        elif isinstance(value, Histogram):
            value.observe(number / 10)
    if hasattr(traffic, "routes"):
        times = traffic.routes["www"] = Times()
        times.pending += [0.5, 0.25]
        times.queued.observe(0.1)
        times.connected.observe(0.2)
    return traffic


@pytest.mark.parametrize("cls", [FrontendTraffic, PoolTraffic, ServerTraffic])
def test_allThatIsCountedArrives(cls):
    expected, twice = filled(cls), cls()
    for _ in range(2):
        counted = json.loads(json.dumps(tally.taken(filled(cls))))
        tally.add(twice, counted)
    for field in attr.fields(cls):
        one, both = getattr(expected, field.name), getattr(twice, field.name)
        if isinstance(one, int):
            assert both == 2 * one, field.name
        elif isinstance(one, list):
            assert both == [2 * number for number in one]
        elif isinstance(one, Histogram):
            assert both.count == 2 * one.count
            assert both.sum == pytest.approx(2 * one.sum)
    if hasattr(expected, "routes"):
        times = twice.routes["www"]
        assert [getattr(times, name).count for name in tally._TIMES] == [2, 2, 2, 2]


def test_whatWasSaidIsNotSaidAgain():
    traffic = filled(ServerTraffic)
    assert tally.taken(traffic)
    assert tally.taken(traffic) == {}


def test_exemplarsArrive():
    here, there = FrontendTraffic(), FrontendTraffic()
    here.exemplars.note("1f", 0.25, 7.0)
    tally.add(there, json.loads(json.dumps(tally.taken(here))))
    assert there.exemplars.within((1.0,)) == [("1f", 0.25, 7.0), None]


def test_failuresArrive():
    failed = Failed(
        1.5, 7, "www", ("203.0.113.9", 4), "app", "a", "S", "H", 502, "GET /", "", "", "why", 1, 2
    )
    here, there = FrontendTraffic(), FrontendTraffic()
    here.failures.note(failed)
    tally.add(there, json.loads(json.dumps(tally.taken(here))))
    assert list(there.failures.recent) == [failed]


# how servers are


def test_statesAreTaken():
    server = Server("app", "a", Endpoint(2, ("127.0.0.1", 1)))
    server.health.up = False
    server.capacity.weight = 7
    server.role = "primary"
    state = states.ServerState.of(server)
    assert states.changes({"a": state}, {"a": state}) == {}
    again = pickle.loads(pickle.dumps(state))
    assert states.changes({"a": state}, {"a": attr.evolve(again, up=True)}) != {}


@given(st.integers(0, 500), st.integers(1, 16))
def test_sharesAreTheWhole(limit, count):
    shares = [Share(index, count)(limit) for index in range(count)]
    if limit >= count:
        assert sum(shares) == limit
        assert max(shares) - min(shares) <= 1
    else:
        # Nought is no limit, and nobody may have none.
        assert set(shares) == ({1} if limit else {0})


def test_ofAConfiguration():
    config, _ = loadText(
        "[global]\nmaxconn = 101\nmax-handshakes = 9\n"
        "[frontend f]\nbind = :1\npool = app\nmaxconn = 11\n"
        "[pool app]\nmaxconn = 7\nmaxqueue = 3\nserver a = 127.0.0.1:1 maxconn=5 minconn=3\n",
        installed(),
    )
    first, second = (Share(index, 2).of(config) for index in range(2))
    assert (first.settings.maxconn, second.settings.maxconn) == (51, 50)
    assert (first.settings.max_handshakes, second.settings.max_handshakes) == (5, 4)
    assert (first.frontends["f"].maxconn, second.frontends["f"].maxconn) == (6, 5)
    assert (first.pools["app"].maxconn, second.pools["app"].maxconn) == (4, 3)
    assert (first.pools["app"].maxqueue, second.pools["app"].maxqueue) == (2, 1)
    assert [one.pools["app"].servers[0].maxconn for one in (first, second)] == [3, 2]


# whose turn it is


def test_whoTakesNobodyIsNotWaitedForAgain():
    descriptor, board = Board.make(2)
    os.close(descriptor)
    board.active[1] = 3
    mine = board.turn(0, lambda: 100)
    assert [mine() for _ in range(6)] == [False, False, True, True, True, True]
    board.active[1] = 4
    assert [mine() for _ in range(3)] == [False, False, True]


def test_whoHasMoreLeavesTheNext():
    descriptor, board = Board.make(3)
    other = Board(descriptor, 3)
    os.close(descriptor)
    counts = [0, 0]
    mine = board.turn(0, lambda: counts[0])
    theirs = other.turn(1, lambda: counts[1])
    assert list(board.active) == [0, 0, NOBODY]
    assert mine()
    counts[0] = 2
    # Those who are not there are not waited for, and nobody waits for ever.
    assert [mine(), mine(), mine()] == [False, False, True]
    counts[1] = 1
    assert theirs()
    assert mine()


# what all of them know


class Together:
    """Two workers and what their parent keeps."""

    def __init__(self):
        self.clock = Clock()
        store = MemoryStore(MemoryOptions(), Context(clock=self.clock.seconds))
        self.kept = Kept(lambda pool: store if pool == "app" else None, self.clock.seconds)
        self.asking = [Asking(self._sender(index), self.clock.seconds) for index in range(2)]
        self.shared = [Asked(one) for one in self.asking]

    def _sender(self, index):
        def send(name, number, what, *values):
            # As it would come over the channel.
            what, *values = json.loads(json.dumps([what, *values]))
            self.kept.asked(index, what, values).addCallback(
                lambda value: number and self.asking[index].answered(number, value)
            )

        return send


def now(deferred):
    found = []
    deferred.addCallback(found.append)
    return found[0]


def test_theyProvideWhatStoresDo():
    shared = Together().shared[0]
    verifyObject(ISharedStore, shared)
    verifyObject(IPersistenceStore, shared.persistence("app"))
    verifyObject(ICounts, shared.counts(b"x"))
    assert isinstance(shared.persistence("app"), AskedStore)
    assert isinstance(shared.counts(b"x"), AskedCounts)


def test_clientsAreKnownToBoth():
    one, two = (shared.persistence("app") for shared in Together().shared)
    key = b"s:\xff\x00"
    assert now(one.claim(key, "a", 60.0, "")) == "a"
    assert now(two.claim(key, "b", 60.0, "")) == "a"
    assert now(two.get(key, 60.0)) == "a"
    two.drop(key, "a")
    assert now(one.get(key, 60.0)) is None
    one.put(key, "c", 60.0)
    assert now(two.get(key, 60.0)) == "c"


def test_whatHasNoStoreIsNotKnown():
    assert now(Together().shared[0].persistence("other").get(b"k", 1.0)) is None


def test_ratesAreCountedTogether():
    together = Together()
    one, two = (shared.counts(b"rate") for shared in together.shared)
    # Three in three seconds.
    taken = [now(who.take(b"k", 1.0, 2.0, True)) for who in (one, two, one)]
    assert taken == [0.0, 0.0, 0.0]
    assert now(two.take(b"k", 1.0, 2.0, True)) == pytest.approx(1.0, abs=1e-5)
    together.clock.advance(1.0)
    assert now(two.take(b"k", 1.0, 2.0, False)) == 0.0
    assert now(one.take(b"k", 1.0, 2.0, True)) == 0.0
    assert now(one.take(b"k", 1.0, 2.0, True)) > 0


def test_leasesAreCountedTogether():
    together = Together()
    one, two = (shared.counts(b"at once") for shared in together.shared)
    first, second = now(one.enter(b"k", 2)), now(two.enter(b"k", 2))
    assert (first.held, second.held) == (True, True)
    assert now(one.enter(b"k", 2)).held is False
    one.leave(first)
    assert now(two.enter(b"k", 2)).held
    # What a worker had ends with it.
    together.kept.gone(1)
    assert [now(one.enter(b"k", 2)).held for _ in range(3)] == [True, True, False]


def test_nobodyAnswersAnyMore():
    asking = Asking(lambda *said: None, Clock().seconds)
    waiting = Asked(asking).persistence("app").get(b"k", 1.0)
    lease = Asked(asking).counts(b"c").enter(b"k", 1)
    asking.lost()
    assert now(waiting) is None
    assert now(lease).held is None


def test_nobodyIsAskedInVain():
    asking = Asking(lambda *said: None, Clock().seconds)
    asking.lost()
    assert now(Asked(asking).persistence("app").get(b"k", 1.0)) is None


def test_aBusyParentIsNotWaitedForForEver():
    clock, said = Clock(), []
    asking = Asking(lambda *what: said.append(what), clock.seconds)
    found = []
    Asked(asking).counts(b"c").enter(b"k", 1).addCallback(found.append)
    asking.look()
    assert not found
    clock.advance(PATIENCE)
    asking.look()
    assert found[0].held is None
    # What it gives too late is given back.
    asking.answered(1, 17)
    assert said[-1] == ("ask", 0, "leave", 17)


def test_whatNobodyWantsAnyMoreIsGivenBack():
    said = []
    asking = Asking(lambda *what: said.append(what), Clock().seconds)
    waiting = asking.ask("enter", "c", "k", 1)
    waiting.addErrback(lambda failure: None)
    waiting.cancel()
    asking.answered(1, 5)
    assert said[-1] == ("ask", 0, "leave", 5)


def test_whoHasGivenUpIsNotTold():
    asking = Asking(lambda *said: None, Clock().seconds)
    waiting = asking.ask("get", "app", "k", 1.0)
    waiting.addErrback(lambda failure: None)
    waiting.cancel()
    asking.answered(1, "a")
    assert "0 wait" in repr(asking)


# a worker


class Reactor(Pump):
    ended = False

    def stop(self):
        self.ended = True


class Led:
    """
    A worker, and what its parent has heard.

    @ivar text: a configuration with a frontend and a server.
    """

    def __init__(self, directory):
        self.reactor = Reactor()
        ours, theirs = socket.socketpair()
        self.heard = []
        self.parent = Channel(
            ours, self.reactor, lambda name, values, _: self.heard.append((name, values)),
            lambda: None, asPickle, json.loads,
        )  # fmt: skip
        self.worker = Worker(theirs, self.reactor)
        self.text = (
            f"[frontend f]\nbind = unix:{directory}/f\npool = app\n"
            "[pool app]\nserver a = 127.0.0.1:1\n"
        )
        self.state = states.ServerState.of(Server("app", "a", Endpoint(2, ("127.0.0.1", 1))))
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(f"{directory}/f")
        self.listening.listen()

    def configure(self, text, places=(("f", 0),), **state):
        config, _ = loadText(text, installed())
        if places:
            self.parent.send("sockets", list(places), descriptors=[self.listening.fileno()])
        said = {"app": {"a": attr.evolve(self.state, **state)}}
        self.parent.send("configure", config, 0, 2, said, b"secret", None)
        self.reactor.turn()
        found, self.heard = [one for one in self.heard if one[0] in ("ready", "refused")], []
        return found

    @property
    def server(self):
        return self.worker.balancer.pools["app"].servers[0]

    def close(self):
        self.parent.close()
        self.reactor.turn()
        self.reactor.advance(10)
        self.listening.close()


@pytest.fixture
def led(tmp_path):
    found = Led(tmp_path)
    yield found
    found.close()
    assert found.reactor.ended


def test_aWorkerGoesByWhatItIsTold(led):
    before = len(os.listdir("/proc/self/fd"))
    assert led.configure(led.text, weight=7) == [("ready", [])]
    assert led.server.capacity.weight == 7
    listening = len(os.listdir("/proc/self/fd"))
    assert listening > before
    for weight in range(20):
        assert led.configure(led.text, weight=weight) == [("ready", [])]
    assert led.server.capacity.weight == 19
    assert len(os.listdir("/proc/self/fd")) == listening


def test_aWorkerThatCannotBeginEnds(led):
    [(name, (why, ends))] = led.configure(led.text, places=())
    assert name == "refused"
    assert "has not passed on the socket" in why
    assert ends
    led.reactor.advance(0.1)
    assert led.reactor.ended


def test_aWorkerThatCannotGoOnDoesSoAsBefore(led):
    led.configure(led.text)
    more = led.text.replace("[pool", "[frontend g]\nbind = :1\npool = app\n[pool")
    [(name, (_, ends))] = led.configure(more, up=False)
    assert (name, ends) == ("refused", False)
    # How servers are counts all the same.
    assert not led.server.health.up
    assert led.configure(led.text) == [("ready", [])]


def test_aWorkerThatCannotReadItsParentEnds(led):
    led.configure(led.text)
    led.parent._encode = lambda message: b"cbroken\nbroken\n."
    led.parent.send("states", {})
    led.reactor.turn()
    [why, ends] = next(values for name, values in led.heard if name == "refused")
    assert "No module named 'broken'" in why
    assert ends


def test_whatIsLostIsSaidOnce(led):
    led.configure(led.text + "[global]\notlp = http://127.0.0.1:9/v1/traces\n")
    led.worker.balancer.lost({"file:a": 3, "file:b": 0}, 2)
    led.reactor.advance(PERIOD)
    led.reactor.turn()
    led.worker.balancer.lost({"file:a": 1}, 0)
    led.reactor.advance(PERIOD)
    led.reactor.turn()
    reports = [values[0] for name, values in led.heard if name == "report"]
    assert [one["l"] for one in reports if "l" in one] == [
        [{"file:a": 3}, 2], [{"file:a": 1}, 0],
    ]  # fmt: skip


# what one does because the parent asks for it


ASKED = """
[frontend www]
bind = ${bind}
pool = app
log = off
[pool app]
server a = ${a}
"""


@pytest.fixture
def doing():
    """What a worker has to do, its balancer, and a list of what it says."""
    said = []
    with Balancer(ASKED, "a") as balancer:
        doing = Doing(lambda *values: said.append(json.loads(json.dumps(values))))
        yield doing, balancer, said


def test_whatRunsIsSaid(doing):
    doing, balancer, said = doing
    for port in (1, 2):
        balancer.client("203.0.113.9", port)
    doing.do(balancer.running, 7, "running", None)
    doing.do(balancer.running, 8, "running", 1)
    [[*head, found], [_, _, first]] = said
    assert head == ["done", 7]
    assert [one["client"] for one in found] == [["203.0.113.9", 1], ["203.0.113.9", 2]]
    assert len(first) == 1


def test_theNextExchangeIsSaid(doing):
    doing, balancer, said = doing
    doing.do(balancer.running, 7, "explain", ["match", 'path == "/x"'])
    client = balancer.client()
    client.sends(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert not said
    server = balancer.server("a").accepts()
    server.receives(rb"GET /x .*")
    server.sends(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.receives(rb"HTTP/1.1 204 .*")
    [[_, number, told]] = said
    assert number == 7 and "GET /x" in told["text"] and told["value"]["steps"]


def test_whyNothingWasSeenIsSaid(doing):
    doing, balancer, said = doing
    doing.do(balancer.running, 7, "explain", ["limit", "1s"])
    doing.do(balancer.running, 8, "explain", ["frontend", "gone"])
    balancer.advance(1.1)
    assert said == [
        ["done", 8, {"why": "No such frontend."}],
        ["done", 7, {"why": "no such exchange has come within 1 s"}],
    ]


def test_whatIsOfNoUseIsLeft(doing):
    doing, balancer, said = doing
    doing.do(balancer.running, 7, "explain", [])
    assert balancer.running.frontend("www").inbound.watch is not None
    doing.leave(7)
    doing.leave(8)
    assert balancer.running.frontend("www").inbound.watch is None
    balancer.advance(100)
    assert not said


def test_whatFailsIsSaidToBeNothing(doing, monkeypatch):
    doing, balancer, said = doing
    events = []
    globalLogPublisher.addObserver(events.append)
    doing.do(balancer.running, 7, "end", "no number", "and more")
    doing.do(None, 8, "end", 1)
    balancer.failures.clear()
    globalLogPublisher.removeObserver(events.append)
    assert said == [["done", 7, None], ["done", 8, None]]
    assert formatEvent(events[0]) == "end has failed"


def test_certificatesThatCannotBeUsedHere(doing):
    """As where the parent's file is another one: it is said, and what is shown stays."""
    doing, balancer, said = doing
    events = []
    globalLogPublisher.addObserver(events.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balancer.running.tlsFiles, "give", _cannot)
        doing.do(balancer.running, 7, "give", {"a.pem": b"x"})
    globalLogPublisher.removeObserver(events.append)
    assert said == [["done", 7, None]]
    assert formatEvent(events[0]) == "certificates without files cannot be used here: no key"


def _cannot(texts):
    raise StartError("no key")
