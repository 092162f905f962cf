"""Failures that are remembered, those that are only counted, and why they were."""

import json
import tracemalloc

import attr
import pytest

from lbtwist.events import DOWN, UP, HealthEvent
from lbtwist.explaining.blame import KINDS, ServerThen, causeOf, groupsOf, kindOf
from lbtwist.failures import (
    HOUR,
    LONGEST,
    MOST_BYTES,
    MOST_FAILURES,
    MOST_SUMS,
    Failed,
    Failures,
    Sum,
)


def failed(at=0.0, cause="S", stage="C", **more):
    return attr.evolve(
        Failed(at, 1, "www", ("192.0.2.1", 1), "app", "", cause, stage, 503, "GET / HTTP/1.1",
               "", "", "", 0, 0),
        **more,
    )  # fmt: skip


def counted(failures, since=0.0):
    return sum(one.count for one in failures.since(since))


# what is remembered


def test_theLastOneByOne():
    failures = Failures()
    for number in range(5):
        failures.note(failed(number))
    assert [one.first for one in failures.since(2)] == [2, 3, 4]
    assert [one.count for one in failures.since(2)] == [1, 1, 1]


def test_thoseBeforeAreCountedByTheMinute():
    failures = Failures()
    for number in range(MOST_FAILURES + 150):
        failures.note(failed(float(number)))
    assert len(failures.recent) == MOST_FAILURES
    sums = list(failures.since(0))[:3]
    assert [(one.count, one.first, one.last) for one in sums] == [
        (60, 0, 59), (60, 60, 119), (30, 120, 149)
    ]  # fmt: skip
    assert counted(failures) == MOST_FAILURES + 150
    # A minute that has begun before counts as a whole.
    assert counted(failures, 100) == MOST_FAILURES + 60 + 30
    assert counted(failures, 150) == MOST_FAILURES


def test_whatDiffersIsToldApart():
    failures = Failures()
    for number in range(MOST_FAILURES + 10):
        failures.note(failed(0.0, server="ab"[number % 2]))
    assert {one.example.server: one.count for one in failures.since(0) if one.count > 1} == {
        "a": 5, "b": 5
    }  # fmt: skip


def test_anHourIsEnough():
    failures = Failures()
    for number in range(MOST_FAILURES + 1):
        failures.note(failed(number / 10))
    for number in range(MOST_FAILURES + 1):
        failures.note(failed(HOUR + 200 + number, server="a"))
    assert counted(failures) == MOST_FAILURES + 1


@pytest.mark.parametrize("many", [MOST_SUMS + MOST_FAILURES + 10, 3 * MOST_SUMS])
def test_whateverComesItIsBoundedAndTheCountIsRight(many):
    failures = Failures()
    for number in range(many):
        failures.note(failed(0.0, reason=f"no {number}", pool=f"p{number}", status=number))
    assert counted(failures) == many
    assert len(failures._sums) <= 2 * MOST_SUMS + 1
    whole = [one for one in failures.since(0) if not one.whole]
    assert whole
    assert {one.example.reason for one in whole} == {""}


def test_whateverComesTheMemoryIsBounded():
    failures = Failures()
    tracemalloc.start()
    try:
        for number in range(3000):
            text = f"{number}".ljust(LONGEST, "x")
            failures.note(failed(
                float(number), number=number, pool=f"p{number}", request=f"{text}."[1:],
                reason=f"{text}!"[1:], where=f"lb.ini:{number}", status=100 + number % 500,
            ))  # fmt: skip
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counted(failures) == 3000
    assert MOST_BYTES / 2 < size < MOST_BYTES


def test_whatIsFoldedKeepsItsPoolAndItsStatus():
    failures = Failures()
    for number in range(MOST_SUMS + 200):
        failures.note(failed(0.0, reason=f"no {number}"))
    [one] = [one for one in failures.since(0) if not one.whole]
    assert (one.example.pool, one.example.status, one.count) == ("app", 503, 100)


def test_thoseOfAWorkerComeToItsParent():
    theirs, ours = Failures(), Failures()
    for number in range(MOST_FAILURES + 150):
        theirs.note(failed(float(number), client=("192.0.2.9", number)))
    for number in range(MOST_SUMS + MOST_FAILURES + 10):
        theirs.note(failed(300.0 + number, reason=f"no {number}"))
    ours.note(failed(0.5))
    ours.absorb(json.loads(json.dumps(theirs.plain())))
    assert counted(ours) == counted(theirs) + 1
    assert ours.recent == theirs.recent
    assert [one.whole for one in ours.since(0)].count(False) >= 1
    assert counted(ours, 150) >= MOST_FAILURES


# why


@pytest.mark.parametrize(
    ("cause", "stage", "more", "kind"),
    [
        ("S", "C", {}, "no-server"),
        ("S", "C", {"reason": "no usable server has the role that a rule asks for"}, "no-role"),
        ("S", "R", {"reason": "no pool"}, "no-pool"),
        ("S", "C", {"server": "a", "reason": "app/a: Connection refused"}, "connect"),
        ("s", "C", {"server": "a"}, "connect-timeout"),
        ("S", "Q", {"reason": "the queue is full"}, "queue-full"),
        ("s", "Q", {}, "queue-timeout"),
        ("S", "H", {"server": "a"}, "server-closed"),
        ("s", "H", {"server": "a"}, "server-slow"),
        ("S", "D", {"server": "a"}, "server-aborted"),
        ("s", "D", {"server": "a"}, "server-stalled"),
        ("P", "H", {"status": 502, "reason": "bad"}, "response"),
        ("P", "H", {"status": 502, "reason": "bad", "rule": "pool app"}, "response"),
        ("P", "D", {"status": 200, "reason": "bad"}, "response"),
        ("P", "H", {"status": 400, "reason": "bad"}, "request"),
        ("P", "R", {"status": 400, "reason": "bad"}, "request"),
        ("P", "R", {"status": 403, "rule": "deny"}, "rule"),
        ("P", "R", {"status": 502, "rule": "deny 502"}, "rule"),
        ("P", "R", {"status": 0, "rule": "reject", "reason": "by a rule"}, "rule"),
        ("P", "R", {"status": 0, "reason": "PROXY: no"}, "proxy"),
        ("P", "R", {"status": 0, "reason": "TLS: no"}, "tls"),
        ("-", "-", {"server": "a", "status": 500}, "server-answered"),
        ("C", "D", {}, "client-left"),
        ("c", "R", {"status": 408}, "client-slow"),
        ("D", "D", {}, "marked-down"),
        ("K", "D", {}, "ended"),
        ("R", "C", {"reason": "Too many open files"}, "resources"),
        ("I", "R", {"reason": "a rule has failed"}, "fault"),
        ("?", "?", {}, "fault"),
    ],
)
def test_kinds(cause, stage, more, kind):
    one = failed(1.0, cause, stage, **more)
    assert kindOf(one) == kind
    [group] = groupsOf([Sum(one, 1, 1.0, 1.0)], [], lambda pool: ())
    assert group.text == causeOf(one)
    assert group.kind == kind
    assert "{" not in group.text
    assert group.advice


def test_everyKindSaysSomething():
    for kind in KINDS.values():
        assert not kind.says.endswith(".")
        assert kind.advice.endswith(".")


def event(at, server, what, active, **more):
    before, after = ("UP", "DOWN") if what == DOWN else ("DOWN", "UP")
    return HealthEvent("app", server, what, before, after, "L4CON refused", at, active=active,
                       **more)  # fmt: skip


EVENTS = [
    event(100, "a", DOWN, 1), event(103, "b", DOWN, 0), event(155, "a", UP, 1),
    event(160, "b", UP, 2),
]  # fmt: skip
SERVERS = [ServerThen("a", "UP"), ServerThen("b", "UP"), ServerThen("c", "MAINT")]


def group(*ats, events=EVENTS, **more):
    sums = [Sum(failed(at, **more), 1, at, at) for at in ats]
    [found] = groupsOf(sums, events, lambda pool: SERVERS)
    return found


def test_whenNoServerWasUsable():
    found = group(110.0, 150.0)
    assert found.unusable == [(103, 155)]
    assert [(one.name, one.state, one.since) for one in found.then] == [
        ("a", "DOWN", 100), ("b", "DOWN", 103), ("c", "MAINT", None)
    ]  # fmt: skip
    assert [one.at for one in found.events] == [100, 103]


def test_itStillIsUnusable():
    assert group(110.0, 150.0, events=EVENTS[:2]).unusable == [(103, 150)]


def test_whatHappenedAtAnotherTimeIsNotShown():
    assert group(1000.0).unusable == []
    assert group(1000.0).events == []
    assert [one.state for one in group(50.0).then] == ["UP", "UP", "MAINT"]
    assert [one.state for one in group(157.0).then] == ["UP", "DOWN", "MAINT"]


def test_backupServersCount():
    events = [event(100, "a", DOWN, 0, backup=1), event(120, "b", DOWN, 0)]
    assert group(110.0, events=events).unusable == []


def test_theClockIsSetToThatOfTheWall():
    [found] = groupsOf([Sum(failed(5.0), 1, 5.0, 5.0)], [], lambda pool: (), offset=1000.0)
    assert (found.first, found.last) == (1005, 1005)


def test_groupsAreOfTheSameKindPoolServerRuleAndReason():
    sums = [
        Sum(failed(1.0, "P", "R", rule="deny", where="lb.ini:1:1", status=403), 3, 1.0, 4.0),
        Sum(failed(2.0, "P", "R", rule="deny", where="lb.ini:2:1", status=403), 1, 2.0, 2.0),
        Sum(failed(0.5, "P", "R", rule="deny", where="lb.ini:1:1", status=404, pool=""), 1, 0.5,
            0.5),
    ]  # fmt: skip
    first, second = groupsOf(sums, [], lambda pool: ())
    assert (first.text, first.count, first.first, first.last) == (
        "refused by a rule: lb.ini:1:1 deny", 4, 0.5, 4.0
    )  # fmt: skip
    assert first.statuses == {403: 3, 404: 1}
    assert second.text == "refused by a rule: lb.ini:2:1 deny"


def test_whatCouldNotBeToldApart():
    [found] = groupsOf([Sum(failed(1.0), 9, 1.0, 2.0, whole=False)], [], lambda pool: ())
    assert (found.kind, found.count, found.pool) == ("many", 9, "app")
