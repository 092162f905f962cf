"""
Verbs of third parties that wait before they decide: what becomes of the exchange while
they do, and when they fail, are late, or are too many.
"""

import re

import attr
import pytest
from spoken import GET, OK, www
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from lbtwist.asking import ASKED, ruleOf
from lbtwist.config.model import Part, RuleLine, RuleOptions
from lbtwist.errors import Position, Undecided
from lbtwist.exchange import Connection, Exchange
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.options import Text, option
from lbtwist.registry import Context, Extension, Registry, installed
from lbtwist.rules.decisions import ALLOW, Answer, Deny, Refuse, UsePool
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage

HELD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld"
FORBIDDEN = rb"HTTP/1.1 403 Forbidden\r\n.*"
UNAVAILABLE = rb"HTTP/1.1 503 Service Unavailable\r\n.*"


class Policy:
    """Does what a test says: C{answers} is called with each exchange."""

    @attr.frozen
    class Options:
        name: str = option(Text(), "", positional=True)

    answers = None

    def __init__(self, options, context):
        self.options = options

    def connectionAccepted(self, exchange):
        return type(self).answers(exchange)

    requestReceived = responseReceived = connectionAccepted


REGISTRY = installed(
    *(
        Extension(stage, "policy", f"{__name__}.Policy")
        for stage in (IConnectionRule, IRequestRule, IResponseRule)
    )
)


class Asked(list):
    """
    The Deferreds that a verb has given, in order.

    @ivar cancelled: those of them that were.
    """

    def __init__(self):
        self.cancelled = []

    def __call__(self, exchange):
        self.append(Deferred(self.cancelled.append))
        return self[-1]


@pytest.fixture
def asked(monkeypatch):
    found = Asked()
    monkeypatch.setattr(Policy, "answers", found)
    return found


@pytest.fixture
def told():
    """The warnings and failures of the log, formatted."""
    said = []

    def observe(event):
        if event["log_level"].name in ("warn", "critical"):
            said.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


def answers(monkeypatch, answer):
    monkeypatch.setattr(Policy, "answers", staticmethod(answer))


def asks(balancer):
    """@return: a client that has sent a request."""
    client = balancer.client()
    client.sends(GET)
    return client


def policed(rule, stage="request", mode="http", more=""):
    return www(frontend=f"{stage} =\n    {rule}\n{more}", registry=REGISTRY, mode=mode)


# waiting


def test_theRequestWaitsForTheDecision(asked):
    with policed("policy") as balancer:
        client = asks(balancer)
        balancer.server("a").acceptsNothing()
        asked[0].callback(None)
        server = balancer.server("a").accepts()
        server.receives(rb"GET / HTTP/1.1\r\n.*")
        server.sends(OK)
        client.receivesExactly(OK)


@pytest.mark.parametrize(
    ("decision", "received"),
    [
        (Deny(), FORBIDDEN),
        (Answer(200, (), b"held"), re.escape(HELD)),
    ],
)
def test_aDecisionThatCameLater(asked, decision, received):
    with policed("policy") as balancer:
        client = asks(balancer)
        client.receivesNothing()
        asked[0].callback(decision)
        client.receives(received)


def test_theRulesAfterItAreAskedThen(asked):
    with policed("policy", more="    policy again\n") as balancer:
        client = asks(balancer)
        assert len(asked) == 1
        asked[0].callback(None)
        assert len(asked) == 2
        asked[1].callback(Deny())
        client.receives(FORBIDDEN)


def test_aBodyThatComesMeanwhileIsNotLost(asked):
    with policed("policy") as balancer:
        client = balancer.client()
        client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nab")
        client.sends(b"cd")
        asked[0].callback(None)
        client.sends(b"ef")
        balancer.server("a").accepts().receives(rb"POST .*\r\n\r\nabcdef")


def test_aCoroutine(monkeypatch):
    service = Asked()

    async def policy(exchange):
        said = await service(exchange)
        return Deny(503) if said == "no" else None

    answers(monkeypatch, policy)
    with policed("policy") as balancer:
        client = asks(balancer)
        client.receivesNothing()
        service[0].callback("no")
        client.receives(UNAVAILABLE)


def test_aCoroutineThatNeedNotWait(monkeypatch):
    async def policy(exchange):
        return Deny()

    answers(monkeypatch, policy)
    with policed("policy") as balancer:
        client = asks(balancer)
        client.receives(FORBIDDEN)


def test_aCoroutineCatchesWhatItHasAwaited(monkeypatch):
    service = Asked()

    async def policy(exchange):
        try:
            await service(exchange)
        except ValueError:
            return await service(exchange)

    answers(monkeypatch, policy)
    with policed("policy") as balancer:
        client = asks(balancer)
        service[0].errback(ValueError("no"))
        client.receivesNothing()
        service[1].callback(Deny(503))
        client.receives(UNAVAILABLE)


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_aConnectionWaits(asked, mode):
    """Nothing of it is read until the rule has decided."""
    with policed("policy", "connection", mode) as balancer:
        asks(balancer)
        balancer.server("a").acceptsNothing()
        asked[0].callback(None)
        balancer.server("a").accepts().receives(rb"GET / HTTP/1.1\r\n.*")


# what is decided otherwise


@pytest.mark.parametrize(
    ("otherwise", "received"), [("", FORBIDDEN), ("on-error=503", UNAVAILABLE)]
)
def test_late(asked, told, otherwise, received):
    with policed(f"policy deadline=2s {otherwise}") as balancer:
        client = asks(balancer)
        balancer.advance(1.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.receives(received)
        assert asked.cancelled == asked
        client.isEnded()
    rule = f"policy deadline=2s {otherwise}".strip()
    assert told == [f"the rule {rule!r} of lb.ini:10:5 has not decided within 2 s"]


def test_lateAndAllowed(asked, told):
    """C{on-error=allow} asks the next rule: it does not let everything pass."""
    with policed("policy deadline=2s on-error=allow", more="    deny 405\n") as balancer:
        client = asks(balancer)
        balancer.advance(2.1)
        client.receives(rb"HTTP/1.1 405 .*")
    assert len(told) == 1


def test_withoutADeadline(asked):
    with policed("policy deadline=0") as balancer:
        client = asks(balancer)
        balancer.advance(600)
        client.receivesNothing()
        asked[0].callback(Deny())
        client.receives(FORBIDDEN)


def test_aVerbThatCannotBeStopped(monkeypatch, told):
    """It goes on after its deadline; the client has its answer."""
    service = Asked()

    async def policy(exchange):
        for _ in range(2):
            try:
                await service(exchange)
            except Exception:
                pass
        return None

    answers(monkeypatch, policy)
    with policed("policy deadline=1s concurrency=1") as balancer:
        client = asks(balancer)
        balancer.advance(1.1)
        client.receives(FORBIDDEN)
        # It is still under way, and counts.
        asks(balancer).receives(FORBIDDEN)
        service[1].callback(None)
        client = asks(balancer)
        client.receivesNothing()
        service[2].callback(None)
        service[3].callback(None)
        balancer.server("a").accepts()
    assert len(told) == 1


def test_tooMany(asked, told):
    with policed("policy concurrency=2 on-error=503") as balancer:
        clients = [balancer.client() for _ in range(3)]
        for client in clients:
            client.sends(GET)
        clients[2].receives(UNAVAILABLE)
        asked[0].callback(Deny())
        clients[0].receives(FORBIDDEN)
        # There is room again.
        client = asks(balancer)
        client.receivesNothing()
        asked[3].callback(Deny())
        client.receives(FORBIDDEN)
    assert asked.cancelled == [asked[2], asked[1]]
    assert told == [
        "the rule 'policy concurrency=2 on-error=503' of lb.ini:10:5"
        " was not asked: 2 are waiting for it already"
    ]


def test_tooManyCoroutinesAreNotBegun(monkeypatch, told):
    begun = []
    service = Asked()

    async def policy(exchange):
        begun.append(exchange)
        await service(exchange)

    answers(monkeypatch, policy)
    with policed("policy concurrency=1") as balancer:
        clients = [balancer.client() for _ in range(2)]
        for client in clients:
            client.sends(GET)
        clients[1].receives(FORBIDDEN)
        assert len(begun) == 1


def test_whatDecidesAtOnceIsNeverTooMuch(monkeypatch, asked):
    with policed("policy concurrency=1") as balancer:
        first, second = balancer.client(), balancer.client()
        first.sends(GET)
        answers(monkeypatch, lambda exchange: Answer(200, (), b"held"))
        second.sends(GET)
        second.receivesExactly(HELD)


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize(
    ("otherwise", "received"), [("deny", FORBIDDEN), ("503", UNAVAILABLE)]
)
def test_anException(monkeypatch, asked, told, when, otherwise, received):
    def fails(exchange):
        raise ZeroDivisionError("no")

    if when == "at once":
        answers(monkeypatch, fails)
    with policed(f"policy on-error={otherwise}") as balancer:
        client = asks(balancer)
        if when == "later":
            asked[0].errback(ZeroDivisionError("no"))
        client.receives(received)
        assert balancer.failures.pop().check(ZeroDivisionError)
    assert told == [
        f"the rule 'policy on-error={otherwise}' of lb.ini:10:5 has failed: ZeroDivisionError"
    ]


def test_aRuleThatCannotDecide(asked, told):
    """That is no fault of its own: there is no traceback."""
    with policed("policy") as balancer:
        client = asks(balancer)
        asked[0].errback(Undecided("the service sleeps"))
        client.receives(FORBIDDEN)
    assert told == ["the rule 'policy' of lb.ini:10:5 cannot decide: the service sleeps"]


@pytest.mark.parametrize("nonsense", [True, "deny", 403, Deny])
def test_noDecision(asked, monkeypatch, told, nonsense):
    """What nobody understands does not let a request pass."""
    with policed("policy") as balancer:
        client = asks(balancer)
        asked[0].callback(nonsense)
        client.receives(FORBIDDEN)
        answers(monkeypatch, lambda exchange: nonsense)
        asks(balancer).receives(FORBIDDEN)
    assert told == [
        f"the rule 'policy' of lb.ini:10:5 has decided nothing that there is: {nonsense!r}"
    ]


def test_aDecisionThatCannotBeDone(asked, told):
    """The client does not wait for ever, and the log says who it was."""
    with policed("policy") as balancer:
        client = asks(balancer)
        asked[0].callback(Answer(200, (), "text, where bytes belong"))
        client.isReset()
        balancer.failures.clear()
    assert told == ["the rule 'policy' of lb.ini:10:5 has failed"]


def test_anAnswerIsNoMoreThanItsFields(asked):
    with policed("policy") as balancer:
        client = asks(balancer)
        asked[0].callback(Answer(204, ((b"Location", b"/a\r\nSet-Cookie: b"),)))
        client.receivesExactly(b"HTTP/1.1 204 No Content\r\nLocation: /a  Set-Cookie: b\r\n\r\n")


@pytest.mark.parametrize("otherwise", ["deny", "503"])
def test_aConnectionIsClosed(asked, told, otherwise):
    with policed(f"policy deadline=1s on-error={otherwise}", "connection") as balancer:
        client = balancer.client()
        balancer.advance(1.1)
        client.isEnded()


def test_aStormIsToldOfOnce(monkeypatch, told):
    def fails(exchange):
        raise Undecided("the service sleeps")

    answers(monkeypatch, fails)
    with policed("policy") as balancer:

        def storms():
            for _ in range(50):
                asks(balancer).receives(FORBIDDEN)

        storms()
        balancer.advance(9.9)
        storms()
        assert len(told) == 1
        balancer.advance(0.2)
        storms()
    assert told[1:] == [f"{told[0]}, as 99 times more before"]


# the client goes away


def test_theClientGoesAway(asked, told):
    """The verb is told, and nothing is left: neither a place nor a deadline."""
    with policed("policy deadline=2s concurrency=1") as balancer:
        asks(balancer).resets()
        assert asked.cancelled == asked
        balancer.advance(3)
        assert told == []
        again = asks(balancer)
        asked[1].callback(Refuse("close"))
        again.isEnded()


def test_theBalancerStops(asked):
    balancer = policed("policy deadline=1h")
    balancer.client().sends(GET)
    balancer.stop()
    assert asked.cancelled == asked


# responses


@pytest.mark.parametrize("decision", [None, ALLOW])
def test_aResponseRule(monkeypatch, decision):
    def marks(exchange):
        exchange.response.fields.set(b"X-Policy", b"yes")
        return decision

    answers(monkeypatch, marks)
    with policed("policy", "response") as balancer:
        client = asks(balancer)
        server = balancer.server("a").accepts()
        server.receives(rb".*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 OK\r\n.*X-Policy: yes\r\n\r\nhi")


async def later(exchange):
    """Never begun."""
    raise AssertionError


@pytest.mark.parametrize("answer", [later, lambda exchange: Deferred(), lambda exchange: Deny()])
def test_aResponseDoesNotWait(monkeypatch, answer):
    answers(monkeypatch, answer)
    with policed("policy", "response") as balancer:
        client = asks(balancer)
        server = balancer.server("a").accepts()
        server.receives(rb".*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 500 .*")
        failure = balancer.failures.pop()
        assert failure.check(TypeError)
        assert "a rule for a response says None or Allow()" in failure.getErrorMessage()


# keeping all else waiting


class Ticks:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


def rule(stage=Stage.REQUEST, registry=REGISTRY, verb="policy", ticks=None):
    options = registry.find(IRequestRule, verb).options()
    line = RuleLine(verb, Part(verb, options), None, RuleOptions(), Position("lb.ini", 7, 5))
    return ruleOf(line, Scope(stage), registry, Context(), clock=ticks or Ticks())


def exchange():
    connection = Connection(1, ("203.0.113.9", 40000), ("192.0.2.1", 80), 0.0)
    return Exchange(connection, None, (), 0.0)


@pytest.mark.parametrize("stage", list(ASKED))
@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, []), (0.07, ["the rule 'policy' of lb.ini:7:5 has kept everything else waiting for"
                         " 70 ms"])],
)  # fmt: skip
def test_aRuleThatBlocks(monkeypatch, told, stage, seconds, said):
    ticks = Ticks()

    def blocks(exchange):
        ticks.now += seconds

    answers(monkeypatch, blocks)
    asked = rule(stage, ticks=ticks)
    asked.ask(exchange())
    asked.ask(exchange())
    assert told == said


def test_eachStepOfACoroutineCounts(monkeypatch, told):
    """The time between its steps is not its own."""
    ticks, service = Ticks(), Asked()

    async def policy(exchange):
        ticks.now += 0.04
        await service(exchange)
        ticks.now += 0.06
        return UsePool("b")

    answers(monkeypatch, policy)
    found = rule(ticks=ticks).ask(exchange())
    ticks.now += 5
    service[0].callback(None)
    assert found.result == UsePool("b")
    assert told == ["the rule 'policy' of lb.ini:7:5 has kept everything else waiting for 60 ms"]


def test_aBuiltInVerbIsNotMeasured():
    def neverAsked():
        raise AssertionError

    found = rule(registry=installed(), verb="allow", ticks=neverAsked)
    assert found.ask(exchange()) == ALLOW


def test_theVerbsOfPluginFilesAreTheirs(monkeypatch, told):
    """They may be in the namespace of the built-in ones."""
    monkeypatch.setattr(Policy, "__module__", "lbtwist.plugins.theirs")
    ticks = Ticks()

    def blocks(exchange):
        ticks.now += 1

    answers(monkeypatch, blocks)
    rule(ticks=ticks).ask(exchange())
    assert len(told) == 1


def test_aPartOfAnotherKind():
    """An extension needs nothing but what L{IExtension} names."""

    class Bare:
        makes, name, options = IRequestRule, "policy", Policy.Options

        def make(self, options, context):
            return Policy(options, context)

    assert rule(registry=Registry([Bare()])).waits
