"""Rules are asked in written order, until one decides."""

import traceback

import pytest
from asked import exchange, request, scope
from twisted.internet.defer import Deferred

from lbtwist.rules.decisions import ALLOW, Deny, UsePool
from lbtwist.rules.expression import Expression
from lbtwist.rules.rulebook import Rule, Rulebook
from lbtwist.rules.tracing import Traced


class Verb:
    """Decides what it is told to, and counts how often it is asked."""

    def __init__(self, decision=None, does=None):
        self.decision = decision
        self.does = does
        self.asked = 0

    def __call__(self, exchange):
        self.asked += 1
        if self.does is not None:
            self.does(exchange)
        return self.decision


def rule(condition="", verb=None, text="", **more):
    expression = Expression.parse(condition) if condition else None
    typed = None if expression is None else expression.check(scope())
    traced = None if expression is None else Traced(expression, scope())
    return Rule(text or condition, verb or Verb(), typed, traced=traced, **more)


def test_theFirstThatDecidesEndsTheAsking():
    verbs = [Verb(), Verb(), Verb(UsePool("a")), Verb(Deny())]
    conditions = ['path == "/b"', "", 'path == "/a"', ""]
    rules = [rule(*one) for one in zip(conditions, verbs, strict=True)]
    book = Rulebook(rules)
    of = request("/a")
    assert book.ask(of) == UsePool("a")
    assert of.rule is rules[2]
    assert [verb.asked for verb in verbs] == [0, 1, 1, 0]


def test_nothingIsDecided():
    of = request("/a")
    book = Rulebook([rule('path == "/b"', Verb(ALLOW)), rule("", Verb())])
    assert book.ask(of) is None
    assert of.rule is None
    assert repr(book) == "<Rulebook of 2>"
    assert Rulebook([]).ask(of) is None


def test_aDecisionThatIsFalseIsOne():
    class Empty(tuple):
        """Some decision of a third party."""

    assert Rulebook([rule("", Verb(Empty())), rule("", Verb(ALLOW))]).ask(exchange()) == ()


def test_whatAVerbHasChangedIsReadAnew():
    def moves(of):
        of.request.target = b"/b?x=2"
        of.request.fields.set(b"X-A", b"new")

    seen = Verb(ALLOW)
    book = Rulebook(
        [
            rule('path == "/a" and query["x"] == "1" and "x-a" not in header', Verb(does=moves)),
            rule('path == "/a" or path.normal == "/a" or query["x"] == "1"', Verb(Deny())),
            rule('path == "/b" and query["x"] == "2" and header["x-a"] == "new"', seen),
        ]
    )
    assert book.ask(request("/a?x=1")) is ALLOW
    assert book.ask(request("/z")) is None


def test_valuesAreReadOnceForAllRules(monkeypatch):
    read = []
    monkeypatch.setattr(
        "lbtwist.rules.compiling.FUNCTIONS", {"hostOf": lambda head: read.append(head) or ""}
    )
    Rulebook([rule(f'host == "{n}.example.com"') for n in range(20)]).ask(exchange())
    assert len(read) == 1


def test_oneExchangeKnowsNothingOfAnother():
    book = Rulebook([rule('path == "/a"', Verb(ALLOW))])
    assert [book.ask(request(path)) for path in ("/a", "/b", "/a")] == [ALLOW, None, ALLOW]


def test_afterADeferredTheRestIsAsked():
    waiting = Deferred()
    rules = [rule("", Verb(waiting)), rule("", Verb()), rule('path == "/"', Verb(Deny()))]
    book = Rulebook(rules)
    of = exchange()
    assert book.ask(of) is waiting
    assert of.rule is rules[0]
    assert book.after(of.rule)(of) == Deny()
    assert book.after(rules[0]) is book.after(rules[0])
    assert book.after(rules[2])(of) is None
    assert [one.ask.asked for one in rules] == [1, 1, 1]


class Wrong(Exception):
    pass


def fails(exchange):
    raise Wrong


@pytest.mark.parametrize("way", ["ask", "after", "recorded"])
def test_whoHasFailedIsNamed(way):
    rules = [rule("", Verb()), rule("tls or path", Verb()), rule("", fails, "fails"), rule()]
    book = Rulebook(rules)
    asks = {
        "ask": book.ask,
        "after": book.after(rules[0]),
        "recorded": lambda of: book.recorded(of, lambda step: None),
    }
    with pytest.raises(Wrong) as raised:
        asks[way](exchange())
    assert book.named(raised.value) is rules[2]
    if way != "recorded":
        assert "<rules>" in "".join(traceback.format_exception(raised.value))


def test_anErrorFromElsewhereIsNobodys():
    with pytest.raises(Wrong) as raised:
        fails(None)
    assert Rulebook([rule("", fails)]).named(raised.value) is None


def test_recordedIsTheSameAsAsked():
    verbs = [Verb(), Verb(), Verb(Deny()), Verb()]
    conditions = ['tls and path == "/"', 'path == "/a"', "not tls", ""]
    rules = [rule(*one) for one in zip(conditions, verbs, strict=True)]
    steps = []
    of = request("/a")
    assert Rulebook(rules).recorded(of, steps.append) == Deny()
    assert of.rule is rules[2]
    assert [step.rule for step in steps] == rules
    assert [(step.holds, step.asked) for step in steps] == [
        (False, False), (True, True), (True, True), (None, False),
    ]  # fmt: skip
    assert [part.asked for part in steps[0].part.parts] == [True, False]
    assert steps[1].part.parts[0].value == "/a"


def test_recordedCountsWhereAskedCounts():
    """One counter: who is told why is counted like everybody else."""
    expression = Expression.parse('rate(src, "10s") > 2')
    traced = Traced(expression, scope())
    book = Rulebook([Rule("", Verb(Deny()), traced.condition, traced=traced)])
    steps = []
    assert book.ask(exchange()) is None
    assert book.recorded(exchange(), steps.append) is None
    assert book.ask(exchange()) == Deny()
    assert book.recorded(exchange(), steps.append) == Deny()
    assert [step.part.parts[0].value for step in steps] == [2, 4]
