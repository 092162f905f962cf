"""Sources of servers, asked again and again: who comes, who goes, and what is told of it."""

from itertools import pairwise

import pytest
from pooled import Choosing
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Invalid, implementer

from lbtwist.config.model import Part, PoolConfig, ServerConfig, ServersConfig
from lbtwist.deadlines import Deadlines
from lbtwist.errors import BalancerError, Nobody, StartError
from lbtwist.interfaces import IServerSource
from lbtwist.members import SHOWN
from lbtwist.membership import MOST, MOST_PAUSE, Memberships
from lbtwist.pool import Pool
from lbtwist.roster import LOOK, Roster
from lbtwist.server import Found, Member, Server


@implementer(IServerSource)
class Source:
    """
    Answers what the test says.

    @ivar answer: a L{Found}, a Deferred, anything else, or an exception to raise.
    @ivar asked: when.
    """

    interval = 10.0
    limit = 4.0

    def __init__(self, clock):
        self.clock = clock
        self.answer = Found(())
        self.asked = []

    def discover(self):
        self.asked.append(self.clock.seconds())
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Joins:
    """Makes servers that need nothing, and notes what is done with them."""

    def __init__(self):
        self.done = []
        self.refused = {}

    def verify(self, pool, options):
        self.done.append(("verify", options.name))

    def join(self, pool, options, key):
        if options.host in self.refused:
            raise self.refused[options.host]
        self.done.append(("join", options.name))
        server = Server(
            pool.name, options.name, (options.host, options.port), options.weight, options.backup,
            key=key, options=options,
        )  # fmt: skip
        return server

    def joinAgain(self, pool, server, options):
        self.done.append(("joinAgain", server.name))

    def weigh(self, server, weight):
        server.weight = weight

    def came(self, pool, server):
        assert server.leaving is False
        self.done.append(("came", server.name))

    def leave(self, pool, server):
        self.done.append(("leave", server.name))

    def forget(self, pool, server):
        assert server not in pool.servers
        self.done.append(("forget", server.name))


def found(*hosts, again=None, left=()):
    """@return: what names these hosts, or L{Member}s."""
    members = [one if isinstance(one, Member) else Member(one, 80) for one in hosts]
    return Found(tuple(members), again, left)


class MembershipTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.joins = Joins()
        self.source = Source(self.clock)
        self.captured = self.enterContext(capturedLogs())
        self.made()

    def made(self, template=None, written=(), **options):
        """Have a pool whose servers come from the source."""
        template = template or ServerConfig("web", "tcp")
        config = ServersConfig("web", Part("dns", None), "dns:x:80", template, **options)
        deadlines = Deadlines(self.clock, self.clock.seconds)
        self.pool = Pool(
            PoolConfig("app", templates=(config,)), written, Choosing(), self.clock, deadlines
        )
        self.memberships = Memberships(
            self.clock, self.clock.seconds, self.joins, Roster(self.clock, self.joins)
        )
        self.memberships.watch(self.pool, config, self.source)
        (self.membership,) = self.pool.memberships

    def starts(self, answer):
        self.source.answer = answer
        self.memberships.start()
        return self.names

    def says(self, answer, seconds=10):
        """The source answers so from now on, and is asked."""
        self.source.answer = answer
        self.passes(seconds)
        return self.names

    def passes(self, seconds):
        self.clock.pump([0.5] * int(seconds * 2))

    @property
    def names(self):
        return [server.name for server in self.pool.servers]

    def events(self, level=None):
        """@return: what was logged since the last call."""
        events = [
            formatEvent(event)
            for event in self.captured
            if level is None or event["log_level"] == level
        ]
        self.captured.clear()
        return events

    def done(self):
        done, self.joins.done = self.joins.done, []
        return done

    # who comes and goes

    def test_theyCome(self):
        assert self.starts(found("10.0.0.1", "10.0.0.2")) == ["web-10.0.0.1:80", "web-10.0.0.2:80"]
        assert self.pool.usable == self.pool.servers
        assert [server.key for server in self.pool.servers] == [
            "app/10.0.0.1:80", "app/10.0.0.2:80",
        ]  # fmt: skip
        assert self.events() == [
            "app/web (dns:x:80) names 2 servers; new: web-10.0.0.1:80, web-10.0.0.2:80"
        ]

    def test_theyGo(self):
        """Who has something to do is there until it has not, and gets nobody new."""
        self.starts(found("10.0.0.1", "10.0.0.2", "10.0.0.3"))
        one, two, three = self.pool.servers
        one.active = 1
        two.sessions.add("a tunnel")
        self.events()
        self.done()
        self.says(found("10.0.0.4"))
        (four,) = self.pool.usable
        assert set(self.pool.servers) == {one, two, three, four}
        assert [server.leaving for server in (one, two, three, four)] == [True] * 3 + [False]
        assert self.events() == [
            "app/web (dns:x:80) names 1 server; new: web-10.0.0.4:80;"
            " gone: web-10.0.0.1:80, web-10.0.0.2:80, web-10.0.0.3:80"
        ]
        self.passes(LOOK)
        assert set(self.pool.servers) == {one, two, four}
        one.active = 0
        self.passes(LOOK)
        assert set(self.pool.servers) == {two, four}
        two.sessions.clear()
        self.passes(LOOK)
        assert self.pool.servers == (four,)
        assert self.done() == [
            ("join", four.name), ("leave", one.name), ("leave", two.name), ("leave", three.name),
            ("came", four.name), ("forget", three.name), ("forget", one.name), ("forget", two.name),
        ]  # fmt: skip
        assert self.events() == []

    def test_theyStay(self):
        """Whatever their order is; the tuple is the same while it says the same."""
        self.starts(found("10.0.0.1", "10.0.0.2"))
        one, two = usable = self.pool.usable
        self.says(found("10.0.0.1", "10.0.0.2"))
        assert self.pool.usable is usable
        self.says(found("10.0.0.2", "10.0.0.1"))
        assert self.pool.servers == (two, one)
        assert len(self.done()) == 2 and len(self.events()) == 1

    def test_theyComeBack(self):
        """Before they were forgotten they are the same, afterwards they are not."""
        self.starts(found("10.0.0.1", "10.0.0.2"))
        one, two = self.pool.servers
        one.active = 1
        self.says(found("10.0.0.2"))
        assert one.leaving
        self.says(found("10.0.0.1", "10.0.0.2"))
        assert self.pool.servers == (one, two) and not one.leaving
        assert self.done()[2:] == [
            ("leave", one.name), ("joinAgain", one.name), ("came", one.name),
        ]  # fmt: skip
        one.active = 0
        self.says(found("10.0.0.2"))
        self.says(found("10.0.0.1", "10.0.0.2"))
        assert self.pool.servers[0] is not one and self.pool.servers[1] is two

    def test_writtenOnesComeFirst(self):
        written = Server("app", "a", ("127.0.0.1", 1))
        self.made(written=(written,))
        self.starts(found("10.0.0.1"))
        assert self.names == ["a", "web-10.0.0.1:80"]
        self.memberships.stop()
        assert self.pool.servers == (written,)

    def test_namedTwice(self):
        assert self.starts(found("10.0.0.1", Member("10.0.0.1", 80, weight=9))) == [
            "web-10.0.0.1:80"
        ]
        assert self.pool.servers[0].weight == 1

    # how they are called

    def test_names(self):
        """What the source calls them, if that can be and nobody else has it."""
        self.starts(
            found(
                Member("10.0.0.1", 80, name="blue"),
                Member("10.0.0.2", 80, name="blue"),
                Member("10.0.0.3", 80, name="not a name\r\n"),
                Member("2001:db8::1", 80),
                Member("fe80::1%eth0", 80),
                Member("x.example", 80, name="y" * 300),
                Member(path="/run/a b"),
                Member(path="/run/a"),
            )
        )
        assert self.names == [
            "web-blue", "web-10.0.0.2:80", "web-10.0.0.3:80", "web-2001:db8::1:80",
            "web-fe80::1.eth0:80", "web-x.example:80", "web-2", "web-unix:.run.a",
        ]  # fmt: skip

    def test_aNameThatIsStillInUse(self):
        """Of a server that is leaving; the new one is another one."""
        self.starts(found(Member("10.0.0.1", 80, name="blue")))
        self.pool.servers[0].active = 1
        assert self.says(found(Member("10.0.0.2", 80, name="blue"))) == [
            "web-10.0.0.2:80", "web-blue",
        ]  # fmt: skip

    def test_aNameThatIsWrittenDown(self):
        self.made(written=(Server("app", "web-10.0.0.1:80", ("127.0.0.1", 1)),))
        assert self.starts(found("10.0.0.1")) == ["web-10.0.0.1:80", "web-2"]

    # what is said of them

    def test_weights(self):
        """The source's, or else the line's. What somebody sets in between stays."""
        self.made(ServerConfig("web", "tcp", weight=7))
        self.starts(found("10.0.0.1", Member("10.0.0.2", 80, weight=3)))
        one, two = self.pool.servers
        assert (one.weight, two.weight) == (7, 3)
        one.weight = two.weight = 50
        self.says(found("10.0.0.1", Member("10.0.0.2", 80, weight=3)))
        assert (one.weight, two.weight) == (50, 50)
        usable = self.pool.usable
        self.says(found("10.0.0.1", Member("10.0.0.2", 80, weight=4)))
        assert (one.weight, two.weight) == (50, 4)
        assert self.pool.usable is not usable
        self.says(found("10.0.0.1", "10.0.0.2"))
        assert two.weight == 7

    def test_priorities(self):
        """The lowest are used, the others are backups, one after the other."""
        third, second, first = (Member(f"10.0.0.{n}", 80, priority=30 - n) for n in (1, 2, 3))
        self.starts(found(third, second, first))
        assert [server.name for server in self.pool.usable] == ["web-10.0.0.3:80"]
        assert [server.backup for server in self.pool.servers] == [False, True, True]
        self.pool.servers[0].health.up = False
        self.pool.serversChanged()
        assert [server.name for server in self.pool.usable] == ["web-10.0.0.2:80"]
        self.says(found(third, second))
        self.passes(LOOK)
        assert [server.backup for server in self.pool.servers] == [False, True]

    def test_options(self):
        """All that the line says is theirs."""
        template = ServerConfig("web", "tcp", maxconn=3, tls=True, sni="a.example", backup=True)
        self.made(template)
        self.starts(found(Member("10.0.0.1", 80, sni="b.example"), Member(path="/run/x")))
        assert [(s.options.sni, s.options.maxconn, s.backup) for s in self.pool.servers] == [
            ("a.example", 3, True), ("a.example", 3, True),
        ]  # fmt: skip
        assert [str(server.options) for server in self.pool.servers] == [
            "10.0.0.1:80", "unix:/run/x",
        ]  # fmt: skip

    def test_theNameOfACertificate(self):
        self.starts(found(Member("10.0.0.1", 80, sni="b.example")))
        assert self.pool.servers[0].options.sni == "b.example"

    # what is not taken

    def test_tooMany(self):
        """Those that are there stay, in whatever order they are named."""
        self.made(count=3)
        hosts = [f"10.0.0.{number}" for number in range(1, 9)]
        self.starts(found(*hosts))
        assert len(self.names) == 3
        before = set(self.names)
        self.events()
        for turn in range(1, 8):
            assert set(self.says(found(*hosts[turn:], *hosts[:turn]))) == before
        assert self.membership.left == ("5 more than count=3",)
        assert self.events() == []
        self.says(found(*hosts[1:]))
        self.passes(LOOK)
        assert len(self.names) == 3 and len(before & set(self.names)) == 2

    def test_whatCannotBeAServer(self):
        bad = [
            Member("10.0.0.1", 0), Member("10.0.0.1", 65536), Member("no host", 80),
            Member("", 80), Member("10.0.0.1", 80, weight=257), Member("x" * 300, 80),
        ]  # fmt: skip
        self.starts(found(*bad, "10.0.0.9", left=("a thing:\n no port",)))
        assert self.names == ["web-10.0.0.9:80"]
        assert len(self.membership.left) == 7
        [warning] = self.events(LogLevel.warn)
        assert warning.startswith("app/web (dns:x:80): not taken: a thing: no port, 10.0.0.1:0: ")
        self.says(found(*bad, "10.0.0.9", left=("a thing:\n no port",)))
        assert self.events() == []

    def test_nothingOfItCanBeAServer(self):
        """Then it is not empty, but wrong, whatever is said of empty answers."""
        self.made(allow_empty=True)
        self.starts(found("10.0.0.1"))
        self.events()
        self.says(found(Member("10.0.0.1", 0)))
        assert self.names == ["web-10.0.0.1:80"]
        assert "fails: it names no server: 10.0.0.1:0: its port is not" in self.events()[0]

    def test_oneThatCannotJoin(self):
        """It is tried again with each answer; the others are not kept waiting."""
        self.joins.refused = {"10.0.0.1": StartError("no such interface")}
        assert self.starts(found("10.0.0.1", "10.0.0.2")) == ["web-10.0.0.2:80"]
        assert self.membership.left == ("10.0.0.1:80: no such interface",)
        self.joins.refused = {}
        assert self.says(found("10.0.0.1", "10.0.0.2")) == ["web-10.0.0.1:80", "web-10.0.0.2:80"]
        assert self.membership.left == ()

    def test_noneCanJoin(self):
        self.joins.refused = {"10.0.0.1": RuntimeError("no")}
        assert self.starts(found("10.0.0.1")) == []
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        assert self.membership.reason == "10.0.0.1:80: an error"

    def test_manyAreNotAllLogged(self):
        self.starts(found(*(f"10.0.0.{number}" for number in range(SHOWN + 5))))
        [event] = self.events()
        assert event.endswith(" and 5 more") and event.count("web-") == SHOWN

    # failures

    def test_theLastGoodAnswerIsKept(self):
        """However long; it begins and ends with one line in the log, and its age is known."""
        self.starts(found("10.0.0.1", "10.0.0.2"))
        before = self.pool.servers
        assert self.membership.age(self.clock.seconds()) == 0
        self.events()
        self.says(BalancerError("no route\nto host"), 600)
        assert self.pool.servers == before
        assert self.membership.age(self.clock.seconds()) == 600
        assert self.membership.reason == "no route to host"
        assert repr(self.membership) == "<Membership app/web (dns:x:80) fails: no route to host>"
        assert [event["log_level"] for event in self.captured] == [LogLevel.warn]
        assert self.events() == [
            "app/web (dns:x:80) fails: no route to host;"
            " what it said 10 s ago is kept, 2 servers"
        ]
        failures = self.membership.failures
        self.says(found("10.0.0.1", "10.0.0.2"), 60)
        assert self.events() == [f"app/web (dns:x:80) answers again, after {failures} failures"]
        assert self.pool.servers == before
        assert (self.membership.failures, self.membership.reason) == (0, "")
        assert self.membership.age(self.clock.seconds()) < 60
        assert repr(self.membership) == "<Membership app/web (dns:x:80) 2 servers>"

    def test_failuresFromTheStart(self):
        self.starts(BalancerError("nobody there"))
        assert self.membership.age(self.clock.seconds()) is None
        assert self.events() == [
            "app/web (dns:x:80) fails: nobody there; it has named none yet"
        ]
        assert self.says(found("10.0.0.1")) == ["web-10.0.0.1:80"]
        assert self.events()[1] == "app/web (dns:x:80) answers again, after 1 failure"

    def test_pausesGrow(self):
        """Up to eight intervals, or a minute."""
        for interval, pauses in (
            (10.0, [10, 20, 40, 60, 60]), (1.0, [1, 2, 4, 8, 8]), (90.0, [60, 60]),
        ):  # fmt: skip
            self.made(interval=interval)
            self.source.asked.clear()
            self.starts(BalancerError("no"))
            self.passes(MOST_PAUSE * 6)
            found = [after - before for before, after in pairwise(self.source.asked)]
            assert found[: len(pauses)] == pauses
            self.memberships.stop()

    def test_wrongAnswers(self):
        """Of a source that somebody else has written."""
        self.starts(found("10.0.0.1"))
        for wrong, reason in (
            (None, "it has answered None, which is not a Found"),
            (["10.0.0.1"], "it has answered ['10.0.0.1'], which is not a Found"),
            (Found(("10.0.0.1",)), "AttributeError: 'str' object has no attribute 'weight'"),
            (Found(None), "TypeError: 'NoneType' object is not iterable"),
            (found(Member("10.0.0.1", "80")), "TypeError: '<' not supported"),
            (found("10.0.0.2", again="soon"), "TypeError: '<' not supported"),
            (ZeroDivisionError("division"), "ZeroDivisionError: division"),
        ):
            self.says(wrong, 60)
            assert self.membership.reason.startswith(reason)
            assert self.names == ["web-10.0.0.1:80"]
        assert self.says(found("10.0.0.2"), 60)[0] == "web-10.0.0.2:80"

    def test_empty(self):
        """Is a failure, unless it is allowed."""
        self.starts(found("10.0.0.1"))
        assert self.says(found()) == ["web-10.0.0.1:80"]
        assert self.membership.reason == "it names no server"
        assert self.says(Nobody("there is no such name"), 60) == ["web-10.0.0.1:80"]
        assert self.membership.reason == "there is no such name"

    def test_allowEmpty(self):
        self.made(allow_empty=True)
        for empty in (found(), Nobody("there is no such name")):
            self.starts(found("10.0.0.1"))
            self.says(empty)
            self.passes(LOOK)
            assert self.names == [] and self.membership.failures == 0
            assert self.says(BalancerError("away")) == []
            self.memberships.stop()

    def test_late(self):
        """It is cancelled, and has failed."""
        cancelled = []
        self.starts(Deferred(cancelled.append))
        self.passes(3.5)
        assert cancelled == [] and self.membership.failures == 0
        self.passes(0.5)
        assert len(cancelled) == 1
        assert self.membership.reason == "no answer within 4 s"

    # when it is asked

    def test_intervals(self):
        """That of the answer, or else the source's; that of the line if it is shorter."""
        for again, interval, pause in (
            (None, 0.0, 10), (None, 3.0, 3), (25, 0.0, 25), (25, 5.0, 5), (2, 5.0, 2), (0, 0.0, 0.5)
        ):  # fmt: skip
            self.made(interval=interval)
            self.source.asked.clear()
            self.starts(found("10.0.0.1", again=again))
            self.passes(2 * pause)
            assert self.source.asked[1] - self.source.asked[0] == pause
            self.memberships.stop()

    def test_notLaterThanTomorrow(self):
        self.starts(found("10.0.0.1", again=float("inf")))
        assert self.clock.getDelayedCalls()[0].getTime() == MOST

    def test_whatIsNoSource(self):
        """Is told of when it is made use of, not when it is asked."""
        with pytest.raises(Invalid, match="interval"):
            self.source = type("Other", (Source,), {})(self.clock)
            del Source.interval
            self.addCleanup(setattr, Source, "interval", 10.0)
            self.made()

    def test_neverTwoQuestionsAtOnce(self):
        waiting = Deferred()
        self.starts(waiting)
        self.passes(3)
        assert len(self.source.asked) == 1
        self.source.answer = found("10.0.0.1")
        waiting.callback(found("10.0.0.2"))
        assert self.names == ["web-10.0.0.2:80"]
        self.passes(10)
        assert len(self.source.asked) == 2

    def test_coroutines(self):
        async def discover():
            return found("10.0.0.1")

        self.source.discover = discover
        self.memberships.start()
        assert self.names == ["web-10.0.0.1:80"]

    def test_stopped(self):
        """While it waits, and while it asks: no timer is left, and nobody is."""
        self.starts(found("10.0.0.1", "10.0.0.2"))
        self.pool.servers[0].active = 1
        self.says(found("10.0.0.2"))
        self.memberships.stop()
        assert self.clock.calls == [] and self.pool.servers == ()
        assert self.membership.age(self.clock.seconds()) is None
        waiting = Deferred()
        self.starts(waiting)
        self.memberships.stop()
        assert waiting.called and self.clock.calls == [] and self.membership.failures == 0
        assert [one for one in self.done() if one[0] == "forget"] == [
            ("forget", "web-10.0.0.1:80"), ("forget", "web-10.0.0.2:80"),
        ]  # fmt: skip

    def test_anAnswerThatComesTooLate(self):
        """From a source that cannot be cancelled."""
        inner = Deferred(lambda _: None)
        self.starts(inner.addErrback(lambda _: found("10.0.0.1")))
        self.memberships.stop()
        assert self.pool.servers == () and self.clock.calls == []

    def test_verified(self):
        self.memberships.verify()
        assert self.done() == [("verify", "web")]

    def test_several(self):
        """Two sources for one pool: each has its own servers."""
        other = Source(self.clock)
        other.answer = found("10.1.0.1")
        config = ServersConfig("more", Part("file", None), "file:x", ServerConfig("more", "tcp"))
        self.memberships.watch(self.pool, config, other)
        assert self.starts(found("10.0.0.1")) == ["web-10.0.0.1:80", "more-10.1.0.1:80"]
        other.answer = found("10.1.0.2")
        self.passes(10 + LOOK)
        assert self.names == ["web-10.0.0.1:80", "more-10.1.0.2:80"]
        assert repr(self.memberships) == "<Memberships 2 sources>"


def test_repr():
    server = Server("app", "a", leaving=True)
    assert repr(server) == "<Server app/a leaving 0>"
    assert not server.usable


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (Member("10.0.0.1", 80), "10.0.0.1:80"),
        (Member("2001:db8::1", 80), "[2001:db8::1]:80"),
        (Member(path="/run/a"), "unix:/run/a"),
    ],
)
def test_addresses(member, text):
    assert str(member) == text
