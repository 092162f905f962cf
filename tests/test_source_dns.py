"""Servers as the DNS names them: from answers as they may be, and from a real name server."""

import pytest
from sourced import SourcedTestCase
from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.names import dns, error
from twisted.names.common import ResolverBase
from twisted.names.dns import DNSDatagramProtocol
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import SynchronousTestCase

from lbtwist import discovery
from lbtwist.discovery import (
    LEAST_TTL,
    MOST_TTL,
    Answer,
    NoSuchName,
    Service,
    ServiceAnswer,
)
from lbtwist.errors import Nobody
from lbtwist.registry import Context
from lbtwist.server import Found, Member
from lbtwist.sources import names
from lbtwist.sources.names import DNSAddresses, DNSService


class Book:
    """A resolver with one answer, or one reason why there is none."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def lookupAll(self, name):
        self.asked.append(name)
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)

    lookupService = lookupAll


class AnswersTests(SynchronousTestCase):
    def addresses(self, answer):
        self.book = Book(answer)
        source = DNSAddresses(
            DNSAddresses.Options(("app.example", 8000)), Context(names=self.book)
        )
        return Deferred.fromCoroutine(source.discover())

    def service(self, *records, ttl=30):
        book = Book(ServiceAnswer(tuple(Service(*one) for one in records), ttl))
        source = DNSService(DNSService.Options("_http._tcp.example"), Context(names=book))
        return self.successResultOf(Deferred.fromCoroutine(source.discover()))

    def test_addresses(self):
        """In an order that is not the name server's; the name is that of the certificate."""
        found = self.successResultOf(
            self.addresses(Answer(("10.0.0.2", "2001:db8::1", "10.0.0.1"), 30))
        )
        assert found == Found(
            tuple(
                Member(host, 8000, sni="app.example")
                for host in ("10.0.0.1", "10.0.0.2", "2001:db8::1")
            ),
            again=30,
        )
        assert self.book.asked == ["app.example"]

    def test_howLongItIsGood(self):
        """As the DNS says, within bounds."""
        for ttl, again in ((0, LEAST_TTL), (17, 17), (1 << 31, MOST_TTL)):
            answer = Answer(("10.0.0.1",), ttl)
            assert self.successResultOf(self.addresses(answer)).again == again
            assert self.service(("a.example", 80, 0, 0), ttl=ttl).again == again

    def test_noSuchName(self):
        """Is not the same as no answer."""
        self.failureResultOf(self.addresses(NoSuchName("there is no such name")), Nobody)
        failed = self.failureResultOf(self.addresses(discovery.NotResolved("no")))
        assert not failed.check(Nobody)

    def test_service(self):
        """Those of the lowest priority come first, then as they sort."""
        found = self.service(
            ("c.example", 82, 20, 5), ("b.example", 81, 10, 2), ("a.example", 80, 10, 1)
        )
        assert found.members == (
            Member("a.example", 80, weight=1, priority=10),
            Member("b.example", 81, weight=2, priority=10),
            Member("c.example", 82, weight=5, priority=20),
        )

    def test_weights(self):
        """From 0 to 65535 there, from 1 to 256 here; what they are to each other stays."""
        for said, weights in (
            ((0, 0), (1, 1)), ((0, 10), (1, 10)), ((256, 1), (256, 1)),
            ((65535, 65535), (256, 256)), ((1000, 500), (256, 128)), ((65535, 1), (256, 1)),
        ):  # fmt: skip
            records = [
                (f"{chr(97 + at)}.example", 80, 0, weight) for at, weight in enumerate(said)
            ]
            found = self.service(*records)
            assert tuple(one.weight for one in found.members) == weights


@pytest.mark.parametrize("family", ["lookupAll", "lookupService"])
def test_theResolverHasBoth(family):
    assert hasattr(discovery.Resolver, family)


class Trouble(Exception):
    """Of a name server, which tells nobody but its log what it is."""


class Zone(ResolverBase):
    """
    What a name server of Twisted says.

    @ivar records: by name and type; whatever is not in it is there without such records.
    @ivar wrong: whether it is in trouble, which it says; L{None} for no answer at all.
    """

    def __init__(self):
        super().__init__()
        self.records = {}
        self.wrong = False
        self.asked = []

    def query(self, query, timeout=None):
        name, kind = query.name.name.decode(), dns.QUERY_TYPES[query.type]
        self.asked.append((name, kind))
        if self.wrong is None:
            return Deferred()
        if self.wrong:
            return defer.fail(Trouble())
        found = self.records.get((name, kind))
        if found is None and not any(known == name for known, _ in self.records):
            return defer.fail(error.DomainError(name))
        answers = [
            dns.RRHeader(name.encode(), one.TYPE, dns.IN, one.ttl, one) for one in found or ()
        ]
        return succeed((answers, [], []))


class RealTests(SourcedTestCase):
    """From a name server of Twisted, over UDP and TCP."""

    def setUp(self):
        super().setUp()
        self.zone = Zone()
        self.factory = DNSServerFactory(clients=[self.zone])
        self.factory.noisy = False
        self.protocol = DNSDatagramProtocol(self.factory)
        self.protocol.noisy = False
        # Ports of TCP are rarer: others keep theirs for a while after they have ended.
        tcp = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(tcp.stopListening)
        self.port = self.comes(tcp.getHost().port)
        self.nameServers = [("127.0.0.1", self.port)]
        # The shortest time that an answer is good, and how long a name server is waited for.
        self.patch(names, "LEAST_TTL", 0.05)
        self.patch(discovery, "TIMEOUTS", (0.1,))

    def comes(self, port):
        self.listening = reactor.listenUDP(port, self.protocol, "127.0.0.1")
        self.addCleanup(self.goes)
        return port

    def goes(self):
        listening, self.listening = self.listening, None
        return listening.stopListening() if listening is not None else None

    def a(self, *addresses, name="app.example"):
        self.zone.records[name, "A"] = [dns.Record_A(one, 0) for one in addresses]

    @inlineCallbacks
    def test_theyComeAndGo(self):
        """As often as the DNS is to be asked, each address of both families."""
        self.a("127.0.0.2", "127.0.0.1")
        self.zone.records["app.example", "AAAA"] = [dns.Record_AAAA("::1", 0)]
        self.starts("dns:app.example:8000 count=10")
        yield self.has("127.0.0.1:8000", "127.0.0.2:8000", "[::1]:8000")
        assert self.servers["web-127.0.0.1:8000"] == "127.0.0.1:8000"
        before = self.pool.find("web-127.0.0.1:8000")
        self.a("127.0.0.3", "127.0.0.1")
        yield self.has("127.0.0.1:8000", "127.0.0.3:8000", "[::1]:8000")
        assert self.pool.find("web-127.0.0.1:8000") is before
        self.zone.records["app.example", "AAAA"] = []
        yield self.has("127.0.0.1:8000", "127.0.0.3:8000")

    @inlineCallbacks
    def test_half(self):
        """Where one family is not answered the other one is not taken for all."""
        self.a("127.0.0.1")
        self.zone.records["app.example", "AAAA"] = [dns.Record_AAAA("::1", 0)]
        self.starts("dns:app.example:8000 interval=50ms")
        yield self.has("127.0.0.1:8000", "[::1]:8000")
        query = self.zone.query

        def half(asked, timeout=None):
            return Deferred() if asked.type == dns.AAAA else query(asked, timeout)

        self.patch(self.zone, "query", half)
        yield self.fails("no name server answers")
        assert self.addresses == ["127.0.0.1:8000", "[::1]:8000"]

    @inlineCallbacks
    def test_itFailsAndComesBack(self):
        """Whatever it says or does not say: the last good answer stays."""
        self.a("127.0.0.1")
        self.starts("dns:app.example:8000 interval=50ms")
        yield self.has("127.0.0.1:8000")
        self.events()
        self.zone.wrong = True
        yield self.fails("a name server answered DNSServerError")
        assert self.flushLoggedErrors(Trouble)
        self.zone.wrong = None
        yield self.fails("no name server answers")
        yield self.goes()
        self.zone.wrong = False
        assert self.addresses == ["127.0.0.1:8000"]
        self.a("127.0.0.5")
        self.comes(self.port)
        yield self.has("127.0.0.5:8000")
        begins, news, ends = self.events()
        assert " fails: a name server answered DNSServerError; what it said " in begins
        assert news.endswith("new: web-127.0.0.5:8000; gone: web-127.0.0.1:8000")
        assert "answers again" in ends

    @inlineCallbacks
    def test_theNameIsGone(self):
        """That is an empty answer: good only where it is allowed to be."""
        for option, left in (("", ["127.0.0.1:8000"]), ("allow-empty", [])):
            self.a("127.0.0.1")
            self.starts(f"dns:app.example:8000 interval=50ms {option}")
            yield self.has("127.0.0.1:8000")
            self.zone.records["app.example", "A"] = []
            asked = len(self.zone.asked)
            yield self.until(lambda: len(self.zone.asked) > asked + 4)  # noqa: B023
            assert self.addresses == left
            yield self.balancer.stopService()

    @inlineCallbacks
    def test_service(self):
        """Targets are names, each resolved by itself; the others are backups."""
        self.a("127.0.0.1", name="one.example")
        self.a("127.0.0.2", name="two.example")
        self.zone.records["_http._tcp.example", "SRV"] = [
            dns.Record_SRV(10, 3, 8001, "One.Example", 0),
            dns.Record_SRV(20, 9, 8002, "two.example", 0),
        ]
        self.starts("srv:_http._tcp.example interval=50ms")
        yield self.has("127.0.0.1:8001")
        yield self.until(lambda: all(one.endpoint for one in self.pool.servers))
        assert [(one.name, one.weight, one.backup) for one in self.pool.servers] == [
            ("web-one.example:8001", 3, False), ("web-two.example:8002", 9, True),
        ]  # fmt: skip
        self.zone.records["_http._tcp.example", "SRV"] = [
            dns.Record_SRV(20, 9, 8002, "two.example", 0),
        ]
        yield self.has("127.0.0.2:8002")

    @inlineCallbacks
    def test_aServiceThatIsNotThere(self):
        """Its only target is the root (RFC 2782)."""
        self.zone.records["_http._tcp.example", "SRV"] = [dns.Record_SRV(0, 0, 0, "", 0)]
        self.starts("srv:_http._tcp.example interval=50ms")
        yield self.fails("the name has no service")

    @inlineCallbacks
    def test_targetsOfNoUse(self):
        self.a("127.0.0.1", name="one.example")
        self.zone.records["_http._tcp.example", "SRV"] = [
            dns.Record_SRV(0, 0, 8001, "one.example", 0),
            dns.Record_SRV(0, 0, 0, "one.example", 0),
            dns.Record_SRV(0, 0, 8001, b"\xffx.example", 0),
            dns.Record_SRV(0, 0, 8001, "a b.example", 0),
        ]
        self.starts("srv:_http._tcp.example interval=50ms")
        yield self.has("127.0.0.1:8001")
        assert len(self.membership.left) == 3

    @inlineCallbacks
    def test_thoseThatGoAreResolvedNoMore(self):
        self.a("127.0.0.1", name="one.example")
        self.a("127.0.0.2", name="two.example")
        records = self.zone.records
        records["_http._tcp.example", "SRV"] = [dns.Record_SRV(0, 0, 1, "one.example", 0)]
        self.starts("srv:_http._tcp.example interval=50ms")
        yield self.has("127.0.0.1:1")
        records["_http._tcp.example", "SRV"] = [dns.Record_SRV(0, 0, 1, "two.example", 0)]
        yield self.has("127.0.0.2:1")
        yield self.until(lambda: len(self.pool.servers) == 1)
        assert set(self.balancer._names._names) == {"two.example"}

    @inlineCallbacks
    def test_moreThanADatagramHolds(self):
        """Is asked for again over TCP."""
        self.a(*(f"127.0.1.{number}" for number in range(1, 120)))
        self.starts("dns:app.example:80 count=200")
        yield self.until(lambda: len(self.addresses) == 119)
        yield self.balancer.stopService()
