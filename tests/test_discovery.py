"""Addresses that are written down, names in files and in the DNS, and names that move."""

import shutil
import socket
import tempfile
from itertools import pairwise

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, inlineCallbacks
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lbtwist import discovery
from lbtwist.config.model import ServerConfig
from lbtwist.discovery import (
    HOSTS_TTL,
    QUESTIONS,
    Answer,
    NoNameServer,
    NotResolved,
    Resolver,
    resolve,
)
from lbtwist.errors import StartError
from lbtwist.names import Names
from lbtwist.server import Endpoint
from lbtwist.testing import makeServers
from programs import freePort

# Addresses that are written down.


@pytest.mark.parametrize(
    ("config", "endpoint"),
    [
        (
            ServerConfig("a", "tcp", "127.0.0.1", 80),
            Endpoint(socket.AF_INET, ("127.0.0.1", 80)),
        ),
        (ServerConfig("a", "tcp", "::1", 80), Endpoint(socket.AF_INET6, ("::1", 80))),
        (
            ServerConfig("a", "tcp", "fe80::1%lo", 80),
            Endpoint(socket.AF_INET6, ("fe80::1", 80, 0, 1)),
        ),
        (
            ServerConfig("a", "tcp", "fe80::1%7", 80),
            Endpoint(socket.AF_INET6, ("fe80::1", 80, 0, 7)),
        ),
        (ServerConfig("a", "unix", path="/run/a"), Endpoint(socket.AF_UNIX, "/run/a")),
        (ServerConfig("a", "tcp", "localhost", 80), None),
        (ServerConfig("a", "tcp", "app.example", 80), None),
        (ServerConfig("a", "demo", "one"), None),
    ],
)
def test_written(config, endpoint):
    assert resolve(config) == endpoint


def test_noSuchInterface():
    with pytest.raises(StartError, match=r"^server a: fe80::1%eth99: "):
        resolve(ServerConfig("a", "tcp", "fe80::1%eth99", 80))


# Names, in files and in the DNS.


class NameServer(DatagramProtocol):
    """
    A name server that knows a few records.

    @ivar answers: by name and type: a list of payloads, or a response code, or
        L{None} for no answer at all. Whatever is not in it does not exist.
    @ivar asked: the names and types of all questions.
    """

    noisy = False

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def answer(self, data):
        question = dns.Message()
        question.fromStr(data)
        (query,) = question.queries
        key = (query.name.name.decode(), dns.QUERY_TYPES[query.type])
        self.asked.append(key)
        found = self.answers.get(key, dns.ENAME)
        if found is None:
            return None
        reply = dns.Message(question.id, answer=1, recAv=1)
        reply.queries = question.queries
        if isinstance(found, int):
            reply.rCode = found
        else:
            reply.answers = [
                dns.RRHeader(query.name.name, one.TYPE, dns.IN, one.ttl, one) for one in found
            ]
        return reply

    def datagramReceived(self, data, address):
        reply = self.answer(data)
        if reply is not None:
            self.transport.write(reply.toStr(), address)


class Truncates(NameServer):
    """Has more to say than a datagram holds."""

    def answer(self, data):
        reply = super().answer(data)
        reply.trunc = True
        reply.answers = []
        return reply


class LongAnswers(Int16StringReceiver):
    """A name server over TCP."""

    def stringReceived(self, data):
        reply = self.factory.server.answer(data)
        reply.maxSize = 0
        self.sendString(reply.toStr())

    def connectionLost(self, reason):
        self.factory.lost.callback(None)


class ResolverTests(TestCase):
    def file(self, text):
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        with open(f"{directory}/file", "w", encoding="utf-8") as file:
            file.write(text)
        return f"{directory}/file"

    def listen(self, server, interface="127.0.0.1", port=0):
        """@return: the address of a name server."""
        listening = reactor.listenUDP(port, server, interface)
        self.addCleanup(listening.stopListening)
        return interface, listening.getHost().port

    def resolver(self, *servers, hosts=""):
        return Resolver(reactor, self.file(hosts), servers or [("127.0.0.1", freePort())])

    @inlineCallbacks
    def fails(self, looking, reason):
        with pytest.raises(NotResolved) as caught:
            yield looking
        assert str(caught.value) == reason

    def questions(self):
        """@return: the sockets of questions that are not answered yet."""
        return [one for one in reactor.getReaders() if isinstance(one, discovery._Datagrams)]

    def known(self, answers, **options):
        """@return: a name server and a resolver that asks it."""
        server = NameServer(answers)
        return server, self.resolver(self.listen(server), **options)

    # the hosts file

    def test_aNameOfTheHostsFile(self):
        """At once, and without a name server."""
        resolver = self.resolver(hosts="10.0.0.1 other\n10.0.0.2 App.example app # mine\n")
        for name in ("app", "app.example", "APP", "app."):
            answer = self.successResultOf(resolver.lookup(name))
            assert answer == Answer(("10.0.0.2",), HOSTS_TTL)

    def test_severalAddressesInTheHostsFile(self):
        resolver = self.resolver(hosts="10.0.0.1 app\n::2 app\nfe80::1%eth99 app\n010.0.0.1 app\n")
        assert self.successResultOf(resolver.lookup("app")).addresses == ("10.0.0.1", "::2")

    def test_theHostsFileIsReadEveryTime(self):
        resolver = self.resolver(hosts="10.0.0.1 app\n")
        self.successResultOf(resolver.lookup("app"))
        with open(resolver.hosts, "w") as file:
            file.write("10.0.0.9 app\n")
        assert self.successResultOf(resolver.lookup("app")).addresses == ("10.0.0.9",)

    def test_localhost(self):
        """Whatever the machine's files say, and nobody else is asked."""
        for host in ("localhost", "localhost.", "app.localhost"):
            answer = self.successResultOf(self.resolver().lookup(host))
            assert answer.addresses == ("127.0.0.1",)
        resolver = self.resolver(hosts="::1 localhost\n")
        assert self.successResultOf(resolver.lookup("localhost")).addresses == ("::1",)
        answer = self.successResultOf(Resolver(reactor).lookup("localhost"))
        assert set(answer.addresses) <= {"127.0.0.1", "::1"}

    # the DNS

    @inlineCallbacks
    def test_addresses(self):
        records = [dns.Record_A("10.0.0.1", 30), dns.Record_A("10.0.0.2", 20)]
        server, resolver = self.known({("app.example", "A"): records})
        answer = yield resolver.lookup("app.example.")
        assert answer == Answer(("10.0.0.1", "10.0.0.2"), 20)
        assert server.asked == [("app.example", "A")]

    @inlineCallbacks
    def test_anAlias(self):
        """The addresses come with it; it is good as long as the shortest of both."""
        records = [dns.Record_CNAME("b.example", 7), dns.Record_A("10.0.0.1", 30)]
        _server, resolver = self.known({("a.example", "A"): records})
        assert (yield resolver.lookup("a.example")) == Answer(("10.0.0.1",), 7)

    @inlineCallbacks
    def test_IPv6WhereThereIsNoIPv4(self):
        records = [dns.Record_AAAA("2001:DB8::1", 9)]
        server, resolver = self.known({("a.example", "A"): [], ("a.example", "AAAA"): records})
        assert (yield resolver.lookup("a.example")) == Answer(("2001:db8::1",), 9)
        assert server.asked == [("a.example", "A"), ("a.example", "AAAA")]

    @inlineCallbacks
    def test_noAddress(self):
        _server, resolver = self.known({("a.example", "A"): [], ("a.example", "AAAA"): []})
        yield self.fails(resolver.lookup("a.example"), "the name has no address")

    @inlineCallbacks
    def test_noSuchName(self):
        server, resolver = self.known({})
        yield self.fails(resolver.lookup("a.example"), "there is no such name")
        assert server.asked == [("a.example", "A")]

    @inlineCallbacks
    def test_aNameServerInTrouble(self):
        _server, resolver = self.known({("a.example", "A"): dns.ESERVER})
        yield self.fails(resolver.lookup("a.example"), "a name server answered DNSServerError")

    @inlineCallbacks
    def test_nobodyAnswers(self):
        self.patch(discovery, "TIMEOUTS", (0.01, 0.01))
        server, resolver = self.known({("a.example", "A"): None})
        asking = resolver.lookup("a.example")
        asking.addErrback(lambda failure: failure.trap(NoNameServer) and failure)
        yield self.fails(asking, "no name server answers")
        assert server.asked == [("a.example", "A")] * 2

    @inlineCallbacks
    def test_theNextNameServer(self):
        """Where one is silent, and where there is no way to one at all."""
        silent = NameServer({("a.example", "A"): None})
        speaks = NameServer({("a.example", "A"): [dns.Record_A("10.0.0.1", 9)]})
        self.patch(discovery, "TIMEOUTS", (0.05,))
        nowhere = ("255.255.255.255", 53)
        resolver = self.resolver(self.listen(silent), nowhere, self.listen(speaks))
        assert (yield resolver.lookup("a.example")).addresses == ("10.0.0.1",)

    @inlineCallbacks
    def test_aNameServerOverIPv6(self):
        server = NameServer({("a.example", "A"): [dns.Record_A("10.0.0.1", 9)]})
        resolver = self.resolver(self.listen(server, "::1"))
        assert (yield resolver.lookup("a.example")).addresses == ("10.0.0.1",)

    def overTCP(self, server, truncates):
        """@return: a resolver, and what fires when its connection has ended."""
        factory = Factory.forProtocol(LongAnswers)
        factory.noisy = False
        factory.server = server
        factory.lost = Deferred()
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return self.resolver(self.listen(truncates, port=port.getHost().port)), factory.lost

    @inlineCallbacks
    def test_anAnswerThatDoesNotFit(self):
        """Is asked for again over TCP, and that connection is closed after it."""
        records = [dns.Record_A(f"10.0.0.{number}", 9) for number in range(1, 200)]
        answers = {("a.example", "A"): records}
        resolver, lost = self.overTCP(NameServer(answers), Truncates(answers))
        answer = yield resolver.lookup("a.example")
        assert len(answer.addresses) == 199
        yield lost

    @inlineCallbacks
    def test_anAnswerThatNeverFits(self):
        """A name server that sends one on to TCP there too does not keep us for ever."""
        self.patch(discovery, "LIMIT", 0.05)
        answers = {("a.example", "A"): []}
        resolver, lost = self.overTCP(Truncates(answers), Truncates(answers))
        yield self.fails(resolver.lookup("a.example"), "no name server answers")
        yield lost

    @inlineCallbacks
    def test_nothingRemains(self):
        _server, resolver = self.known({("a.example", "A"): [dns.Record_A("10.0.0.1", 9)]})
        with capturedLogs() as events:
            yield resolver.lookup("a.example")
        assert events == [] and self.questions() == []

    @inlineCallbacks
    def test_cancelled(self):
        """Nothing is left of a question nobody waits for any more; the next is asked."""
        server, resolver = self.known({("a.example", "A"): None, ("b.example", "A"): []})
        looking = [resolver.lookup("a.example") for _ in range(QUESTIONS)]
        waiting = resolver.lookup("c.example")
        while len(server.asked) < QUESTIONS:
            yield deferLater(reactor, 0)
        assert len(self.questions()) == QUESTIONS
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        for one in looking:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        assert self.questions() == []
        yield self.fails(resolver.lookup("b.example"), "there is no such name")
        assert ("c.example", "A") not in server.asked

    @inlineCallbacks
    def test_notTooManyAtOnce(self):
        """More names than may be asked for wait until others are answered."""
        names = [f"n{number}.example" for number in range(QUESTIONS * 3)]
        server = NameServer({(name, "A"): [dns.Record_A("10.0.0.1", 9)] for name in names})
        resolver = self.resolver(self.listen(server))
        answers = yield gatherResults([resolver.lookup(name) for name in names])
        assert len(answers) == len(server.asked) == QUESTIONS * 3

    # who is asked

    def servers(self, text):
        resolver = Resolver(reactor, resolvconf=self.file(text))
        return resolver._nameServers()

    def test_nameServersOfTheMachine(self):
        text = "# mine\nsearch example\nnameserver 10.0.0.53\n\nnameserver 2001:DB8::53\n"
        text += "nameserver\nnameserver app.example\n"
        assert self.servers(text) == [("10.0.0.53", 53), ("2001:db8::53", 53)]

    def test_noNameServers(self):
        assert self.servers("") == [("127.0.0.1", 53)]
        resolver = Resolver(reactor, resolvconf="/nonexistent/resolv.conf")
        assert resolver._nameServers() == [("127.0.0.1", 53)]


# Names that move.


class Book:
    """
    A resolver whose answers the test decides.

    @ivar answer: an L{Answer}, or an exception, or L{None} to keep who asks waiting.
    @ivar asked: C{(time, name)} of every question.
    """

    def __init__(self, clock, answer):
        self.clock = clock
        self.answer = answer
        self.asked = []
        self.waiting = []

    @property
    def times(self):
        return [time for time, _ in self.asked]

    def lookup(self, host):
        self.asked.append((self.clock.seconds(), host))
        result = Deferred()
        if self.answer is None:
            self.waiting.append(result)
        elif isinstance(self.answer, Exception):
            result.errback(self.answer)
        else:
            result.callback(self.answer)
        return result


def at(*hosts, ttl=30.0):
    return Answer(hosts, ttl)


class NamesTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.book = Book(self.clock, at("10.0.0.1"))
        self.changed = []
        self.names = Names(self.clock, self.book, self.changed.append)
        self.servers = makeServers(1, 1)
        for server in self.servers:
            server.endpoint = None
        self.captured = self.enterContext(capturedLogs())

    def watch(self, count=1, start=True):
        for server in self.servers[:count]:
            self.names.watch(server, "app.example", 8000)
        if start:
            self.names.start()

    def passes(self, seconds):
        self.clock.pump([0.5] * int(seconds * 2))

    def events(self):
        """@return: what was logged since the last call."""
        events = [formatEvent(event) for event in self.captured]
        self.captured.clear()
        return events

    def test_theFirstAddress(self):
        self.watch()
        (server, _) = self.servers
        assert server.endpoint == Endpoint(socket.AF_INET, ("10.0.0.1", 8000))
        assert self.changed == [server]
        assert self.events() == ["Server app/a is at 10.0.0.1:8000 (app.example)"]

    def test_itMoves(self):
        self.watch()
        self.events()
        self.book.answer = at("2001:db8::1")
        self.passes(29.5)
        assert len(self.changed) == 1
        self.passes(0.5)
        assert str(self.servers[0].endpoint) == "[2001:db8::1]:8000"
        assert len(self.changed) == 2
        self.passes(100)
        assert self.events() == [
            "Server app/a is at [2001:db8::1]:8000 (app.example), was at 10.0.0.1:8000"
        ]

    def test_itStaysWhereItMay(self):
        """Name servers turn their answers round; that moves nobody."""
        self.watch()
        self.events()
        for answer in (at("10.0.0.2", "10.0.0.1"), at("10.0.0.1", "10.0.0.3")):
            self.book.answer = answer
            self.passes(30)
        assert str(self.servers[0].endpoint) == "10.0.0.1:8000"
        assert len(self.changed) == 1 and self.events() == []
        self.book.answer = at("10.0.0.2", "10.0.0.3")
        self.passes(30)
        assert str(self.servers[0].endpoint) == "10.0.0.2:8000"

    def test_asLongAsAnAnswerIsGood(self):
        for ttl, pause in ((0, 5), (1, 5), (17, 17), (86400, 3600)):
            clock = Clock()
            book = Book(clock, at("10.0.0.1", ttl=ttl))
            names = Names(clock, book, self.changed.append)
            names.watch(self.servers[0], "app.example", 80)
            names.start()
            clock.pump([pause / 4] * 8)
            assert book.times == [0, pause, 2 * pause]

    def test_oneQuestionForAllServersOfAName(self):
        self.watch(2)
        assert [str(server.endpoint) for server in self.servers] == ["10.0.0.1:8000"] * 2
        assert self.book.asked == [(0, "app.example")]
        assert self.changed == list(self.servers)

    def test_failures(self):
        """The last good answer stays; the pauses grow; the log hears of it once."""
        self.watch()
        self.events()
        self.book.answer = NotResolved("no name server answers")
        self.passes(400)
        pauses = [after - before for before, after in pairwise(self.book.times)]
        assert pauses[:7] == [30, 5, 10, 20, 40, 60, 60]
        assert str(self.servers[0].endpoint) == "10.0.0.1:8000"
        assert [event["log_level"] for event in self.captured] == [LogLevel.warn]
        assert self.events() == [
            "app.example cannot be resolved: no name server answers; its last address is kept"
        ]
        self.book.answer = at("10.0.0.1")
        self.passes(60)
        assert self.events() == ["app.example is resolved again"]
        self.book.answer = NotResolved("there is no such name")
        self.passes(30)
        assert len(self.events()) == 1
        assert len(self.changed) == 1

    def test_failuresFromTheStart(self):
        self.book.answer = NotResolved("there is no such name")
        self.watch()
        assert self.events() == [
            "app.example cannot be resolved: there is no such name; it has no address yet"
        ]
        assert self.servers[0].endpoint is None and self.changed == []
        self.book.answer = at("10.0.0.1")
        self.passes(5)
        assert self.events() == ["Server app/a is at 10.0.0.1:8000 (app.example)"]

    def test_manyFailures(self):
        """However many: the pause stays what it is."""
        self.book.answer = NotResolved("no name server answers")
        self.watch()
        self.passes(60 * 1200)
        assert self.book.times[-1] - self.book.times[-2] == 60

    def test_addedLater(self):
        """To a name that is known, and to one that is not."""
        self.watch()
        other = makeServers(1, 1, 1)[2]
        other.endpoint = None
        self.names.watch(self.servers[1], "app.example", 9000)
        assert str(self.servers[1].endpoint) == "10.0.0.1:9000"
        self.names.watch(other, "other.example", 80)
        assert other.endpoint is None
        self.clock.advance(0)
        assert str(other.endpoint) == "10.0.0.1:80"

    def test_forgotten(self):
        self.watch(2)
        self.names.forget(self.servers[0])
        self.book.answer = at("10.0.0.9")
        self.passes(30)
        assert [str(server.endpoint) for server in self.servers] == [
            "10.0.0.1:8000", "10.0.0.9:8000",
        ]  # fmt: skip
        self.names.forget(self.servers[1])
        self.names.forget(self.servers[1])
        assert self.clock.calls == []

    def test_stopped(self):
        """While it waits, and while it asks: nothing is left, and nothing is told."""
        self.watch()
        self.names.stop()
        assert self.clock.calls == []
        self.book.answer = None
        self.names.start()
        (asking,) = self.book.waiting
        self.events()
        self.names.stop()
        assert asking.called and self.clock.calls == [] and self.events() == []

    def test_anAnswerThatComesTooLate(self):
        """From a resolver that cannot be cancelled."""
        self.watch()
        inner = Deferred(lambda _: None)
        self.book.lookup = lambda _host: inner.addErrback(lambda _: at("10.0.0.9"))
        self.passes(30)
        self.names.stop()
        assert str(self.servers[0].endpoint) == "10.0.0.1:8000" and self.clock.calls == []

    def test_whoIsToldMeetsAnError(self):
        """The others are told, and the name is asked for again."""
        self.changed = None
        told = []

        def changed(server):
            told.append(server)
            raise RuntimeError("no")

        self.names = Names(self.clock, self.book, changed)
        self.watch(2)
        assert told == list(self.servers)
        assert len(self.flushLoggedErrors(RuntimeError)) == 2
        self.passes(30)
        assert self.book.times == [0, 30]
