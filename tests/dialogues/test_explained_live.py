"""
C{LoadBalancer.explainNext}: one real exchange explained, while it happens and after it has
ended; who waits for it, and that nothing is left when nobody does.
"""

import json

import attr
import pytest
from spoken import GET, OK, asks, www
from twisted.internet.defer import CancelledError, Deferred

from lbtwist.errors import NothingSeen
from lbtwist.explaining.watched import MOST
from lbtwist.explaining.words import asText
from lbtwist.interfaces import IConnectionRule, IRequestRule
from lbtwist.registry import Extension, installed
from lbtwist.rules.decisions import Deny, UsePool


class Asks:
    """Waits for what a test says."""

    Options = attr.make_class("Options", {})
    waiting = None

    def __init__(self, options, context):
        pass

    def requestReceived(self, exchange):
        Asks.waiting = Deferred()
        return Asks.waiting

    connectionAccepted = requestReceived


REGISTRY = installed(
    *(Extension(one, "asks", f"{__name__}.Asks") for one in (IRequestRule, IConnectionRule))
)


class Told:
    """What has come of waiting."""

    def __init__(self, balancer, *given, frontend="www", **more):
        self.said = self.failure = None
        self.deferred = balancer.running.explainNext(frontend, *given, **more)
        self.deferred.addCallbacks(self._came, self._failed)

    def _came(self, said):
        self.said = said

    def _failed(self, failure):
        self.failure = failure


def came(said):
    """@return: of each rule that was looked at what came of it."""
    return [(rule["text"].split()[0], rule["came"], rule["decision"]) for rule in said.of("rule")]


def answers(client, server):
    server.sends(OK)
    client.receives(rb"HTTP/1.1 200 .*")


def untouched(balancer):
    """Nothing is left in the frontend of having been watched."""
    inbound = balancer.running.frontend("www").inbound
    assert inbound.watch is None
    if inbound.config.mode == "http":
        assert inbound.shared.observers == inbound.observers
        deciding = inbound.shared.deciding
        assert deciding is None or deciding.watch is None
    assert not any("Frontend" in repr(one) for one in inbound.observers)


def test_anExchangeOfAFrontendWithoutRules():
    with www() as balancer:
        told = Told(balancer)
        client, server = asks(balancer)
        assert told.said is None
        answers(client, server)
        said = told.said
        assert [step["kind"] for step in said.steps] == [
            "request", "frontend", "tls", "departure", "pool", "persistence", "server",
            "timeouts", "response", "outcome",
        ]  # fmt: skip
        assert said.action == attr.evolve(
            said.action, what="sent", pool="app", server="a", status=200
        )
        assert balancer.running.frontend("www").inbound.shared.deciding is None
        untouched(balancer)


RULES = """
connection =
    set-var seen "str(src)"
request =
    deny if path == "/no"
    set-header X-Seen "{var[\\"seen\\"]}"
    limit rate=1/10s
    deny 404 if rate(src, "10s") > 5
response =
    del-header Server
    set-header X-Status "{status}" if status == 200
"""


def test_everyRuleAndBothHeads():
    with www(frontend=RULES) as balancer:
        told = Told(balancer)
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nhi")
        client.receives(rb".*X-Status: 200.*")
        said = told.said
        assert came(said) == [
            ("set-var", "done", None), ("deny", "does not hold", None),
            ("set-header", "done", None), ("limit", "done", None),
            ("deny", "does not hold", None), ("del-header", "done", None),
            ("set-header", "done", None),
        ]  # fmt: skip
        # What was counted was counted once.
        [rate] = [rule for rule in said.of("rule") if "rate(" in rule["text"] and rule["condition"]]
        assert rate["condition"]["parts"][0]["value"] == 1
        changes = [
            (one["change"], one["name"]) for step in ("departure", "response")
            for one in said.of(step)[0]["fields"] if one["change"] != " "
        ]  # fmt: skip
        assert changes[0] == ("+", "X-Seen")
        assert changes[-2:] == [("-", "Server"), ("+", "X-Status")]
        json.loads(said.asJSON())
        assert "X-Status" in asText(said)
        untouched(balancer)


def test_theFirstThatMatches():
    with www() as balancer:
        told = Told(balancer, lambda exchange: exchange.request.target == b"/this")
        answers(*asks(balancer))
        assert told.said is None
        client = balancer.client()
        client.sends(b"GET /this HTTP/1.1\r\nHost: h\r\n\r\n")
        client.resets()
        assert told.said.of("request")[0]["target"] == "/this"
        assert told.said.of("outcome")[0]["ended"] == "CH"


def test_aRuleThatWaits():
    """And the rules after it."""
    rules = "request =\n    asks\n    set-header X-Y z\n    asks\n    deny"
    with www(frontend=rules, registry=REGISTRY) as balancer:
        told = Told(balancer)
        client = balancer.client()
        client.sends(GET)
        Asks.waiting.callback(None)
        assert told.said is None
        Asks.waiting.callback(Deny(404))
        client.receives(rb"HTTP/1.1 404 .*")
        assert came(told.said) == [
            ("asks", "done", None), ("set-header", "done", None),
            ("asks", "decided", "denied with 404"), ("deny", "not reached", None),
        ]  # fmt: skip
        assert [rule.get("waited") for rule in told.said.of("rule")] == [True, None, True, None]
        action = told.said.action
        assert (action.what, action.status) == ("answered", 404)


def test_aRuleForConnectionsThatWaits():
    rules = "connection =\n    asks\n    asks\n    allow"
    with www(frontend=rules, registry=REGISTRY) as balancer:
        told = Told(balancer)
        client = balancer.client()
        Asks.waiting.callback(None)
        Asks.waiting.callback(UsePool("app"))
        client.sends(GET)
        answers(client, balancer.server("a").accepts())
        assert came(told.said) == [
            ("asks", "done", None), ("asks", "decided", "pool app"),
            ("allow", "not reached", None),
        ]  # fmt: skip


def test_aRuleThatHasFailed():
    def fails(exchange):
        raise ZeroDivisionError

    with www(frontend="request =\n    deny if path == \"/\"") as balancer:
        book = balancer.running.frontend("www").inbound.rules.request
        rule = attr.evolve(book.rules[0], ask=fails)
        book.rules = (rule,)
        told = Told(balancer)
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 500 .*")
        assert came(told.said) == [("deny", "failed", "has failed: ZeroDivisionError")]
        [logged] = balancer.failures
        logged.check(ZeroDivisionError)
        assert book.named(logged.value) is rule
        balancer.failures.clear()


def test_aServerThatHasFailed():
    """The one that has answered is chosen, and the other one was tried."""
    with www("a", "b") as balancer:
        balancer.server("a").goesAway()
        told = Told(balancer)
        answers(*asks(balancer, server="b"))
        [outcome] = told.said.of("outcome")
        assert (outcome["server"], outcome["retries"], outcome["tried"]) == ("b", 1, ["a"])
        assert outcome["redispatched"]
        assert [server["chosen"] for server in told.said.of("server")] == [False, True]


def test_whatTheTimersSay():
    with www() as balancer:
        told = Told(balancer)
        client, server = asks(balancer)
        balancer.advance(0.25)
        answers(client, server)
        assert told.said.of("outcome")[0]["timers"] == {
            "TR": 0, "Tw": 0, "Tc": 0, "Tr": 250, "Ta": 250
        }


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"GET / HTTP/3.0\r\n\r\n", 505), (b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 405)],
)
def test_whatNoRuleWasAskedFor(sent, status):
    with www() as balancer:
        told = Told(balancer)
        client = balancer.client()
        client.sends(sent)
        client.receives(rb"HTTP/1.1 .*")
        action = told.said.action
        assert (action.what, action.status) == ("answered", status)
        assert told.said.of("outcome")[0]["reason"] in action.text
        untouched(balancer)


def test_aConnectionThatIsRefused():
    with www(frontend='connection =\n    reject if src == "203.0.113.9"') as balancer:
        told = Told(balancer)
        balancer.client().isReset()
        assert told.said.action.what == "reset"
        assert came(told.said) == [("reject", "decided", "the connection is reset")]


def test_aSession():
    with www(mode="tcp", frontend="connection =\n    allow") as balancer:
        told = Told(balancer)
        client = balancer.client()
        server = balancer.server("a").accepts()
        client.sends(b"hello")
        server.receives(b"hello")
        client.ends()
        server.ends()
        assert [step["kind"] for step in told.said.steps] == [
            "session", "frontend", "tls", "rule", "pool", "persistence", "server", "timeouts",
            "outcome",
        ]  # fmt: skip
        assert told.said.of("outcome")[0]["bytesIn"] == 5
        assert told.said.action.server == "a"
        untouched(balancer)


# who waits


def test_severalWaitForOne():
    with www() as balancer:
        all_ = [Told(balancer) for _ in range(3)]
        answers(*asks(balancer))
        assert len({id(told.said) for told in all_}) == 1
        untouched(balancer)


def test_tooManyWait():
    with www() as balancer:
        waiting = [Told(balancer) for _ in range(MOST)]
        told = Told(balancer)
        assert told.failure.check(NothingSeen)
        assert "already" in told.failure.getErrorMessage()
        waiting[0].deferred.cancel()
        assert Told(balancer).failure is None
        for one in waiting[1:]:
            one.deferred.cancel()


def test_nothingHasCome():
    with www() as balancer:
        told = Told(balancer, limit=5.0)
        balancer.advance(4.9)
        assert told.failure is None
        balancer.advance(0.2)
        assert told.failure.check(NothingSeen)
        assert told.failure.getErrorMessage() == "no such exchange has come within 5 s"
        untouched(balancer)


def test_oneThatHasNotEnded():
    with www() as balancer:
        told = Told(balancer, limit=5.0)
        client, server = asks(balancer)
        balancer.advance(5.1)
        action = told.said.action
        assert (action.what, action.pool, action.server) == ("under way", "app", "a")
        untouched(balancer)
        # It goes on as if nothing had been.
        answers(client, server)
        assert not told.said.of("outcome")


def test_oneThatHadBegunBefore():
    with www() as balancer:
        client, server = asks(balancer)
        told = Told(balancer)
        answers(client, server)
        assert told.said is None
        client.sends(GET)
        server.receives(rb"GET .*")
        answers(client, server)
        assert told.said is not None


def test_cancelled():
    with www() as balancer:
        told = Told(balancer)
        told.deferred.cancel()
        assert told.failure.check(CancelledError)
        untouched(balancer)
        answers(*asks(balancer))


def test_cancelledMeanwhile():
    with www() as balancer:
        told = Told(balancer)
        client, server = asks(balancer)
        told.deferred.cancel()
        answers(client, server)
        assert told.failure.check(CancelledError)
        untouched(balancer)


def test_whoCannotSayWhatMatches():
    """It is told so, and nobody else notices."""
    with www() as balancer:
        told = Told(balancer, lambda exchange: 1 / 0)
        other = Told(balancer)
        answers(*asks(balancer))
        assert told.failure.check(ZeroDivisionError)
        assert other.said is not None
        untouched(balancer)


def test_theBalancerStops():
    with www() as balancer:
        told = Told(balancer)
    assert told.failure.check(NothingSeen)
    assert told.failure.getErrorMessage() == "the balancer stops"


def test_noSuchFrontend():
    with www() as balancer, pytest.raises(KeyError):
        balancer.running.explainNext("other")
