"""
The file of a configuration is read again: what becomes of the balancer, and how it goes back.
"""

import re

import pytest
from renewed import CONFIG, THEN, Reloaded
from twisted.internet.defer import CancelledError
from twisted.logger import formatEvent, globalLogPublisher

from lbtwist.errors import BalancerError
from lbtwist.guards import LEAST_REQUESTS, MOST_GUARDS, SETTLING, GuardError
from lbtwist.renewing import (
    APPLIED,
    CONFIRMED,
    MOST_LINES,
    MOST_PROBLEMS,
    PARTLY,
    READING,
    REFUSED,
    REPLACED,
    RETURNED,
    STATES,
    STUCK,
    UNCHANGED,
    WAITING,
    NotNow,
)

MORE = "server c = 127.0.0.1:8003\n"
OTHER = "server d = 127.0.0.1:8004\n"


@pytest.fixture
def reloaded(tmp_path):
    reloaded = Reloaded(tmp_path)
    yield reloaded
    assert reloaded.renewal.waiting is not None or not reloaded.clock.calls, "a timer is left"


@pytest.fixture
def logged():
    """What is logged, as text."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events]
    globalLogPublisher.removeObserver(events.append)


# without a net


@pytest.mark.parametrize("more", [MORE, ""])
def test_workersThatCannotGoByIt(reloaded, logged, more):
    """What runs stays, and it is said who does not do it."""
    reloaded.balancer.behind = ["worker 1 goes on with what it had: no key"]
    reload = reloaded.renews(more)
    assert (reload.state, reload.reason) == (PARTLY, reloaded.balancer.behind[0])
    assert reload.problems == reloaded.balancer.behind
    assert f": {STATES[PARTLY]}: worker 1 goes on" in logged()[0]


def test_aNewFile(reloaded, logged):
    reload = reloaded.renews(MORE)
    assert reloaded.servers == ["a", "b", "c"]
    assert (reload.number, reload.by, reload.state, reload.at) == (1, "me", APPLIED, THEN)
    assert [line for line in reload.difference.lines if "c" in line]
    assert reloaded.renewal.last is reload
    assert not reloaded.renewal.differs
    [line] = logged()
    assert line.startswith(f"reload 1 of {reloaded.path} by me: it runs\n  + server app/c = ")


def test_theSameFile(reloaded):
    """It is given to the balancer all the same: files that it names may have changed."""
    reload = reloaded.renew()
    assert reload.state == UNCHANGED
    assert len(reloaded.balancer.applied) == 1


def test_aFileWithFaults(reloaded, logged):
    """All of them are told, with their places, and nothing changes."""
    reload = reloaded.renews("colour = red\nsize = 3\n")
    assert reload.state == REFUSED
    assert reload.reason == f"2 errors in {reloaded.path}"
    assert [problem.split(": ")[0] for problem in reload.problems] == [
        f"{reloaded.path}:8:1", f"{reloaded.path}:9:1"
    ]  # fmt: skip
    assert reloaded.balancer.applied == []
    assert reloaded.renewal.differs
    [line] = logged()
    assert f"{reloaded.path}:9:1: error: " in line


def test_aFileWithManyFaults(reloaded, logged):
    reload = reloaded.renews("".join(f"colour{n} = red\n" for n in range(MOST_PROBLEMS + 5)))
    assert reload.reason.startswith(f"{MOST_PROBLEMS + 5} errors in ")
    assert len(reload.problems) == MOST_PROBLEMS + 1
    assert reload.problems[-1] == "and 5 more"
    assert logged()[0].count("\n") == MOST_LINES + 1


def test_aFileThatIsNotThere(reloaded):
    reloaded.path.unlink()
    reload = reloaded.renew()
    assert reload.state == REFUSED
    assert "lb.ini" in reload.problems[0]
    assert reloaded.balancer.applied == []


def test_warningsDoNotKeepItFromRunning(reloaded, logged):
    reload = reloaded.renews("[pool spare]\nserver x = 127.0.0.1:8009\n")
    assert reload.state == APPLIED
    assert "warning" in reload.problems[0]
    assert "warning" in logged()[0]


def test_whatCannotBePutInPlace(reloaded):
    reloaded.balancer.failing = "127.0.0.1:80: Permission denied"
    reload = reloaded.renews(MORE)
    assert (reload.state, reload.reason) == (REFUSED, "127.0.0.1:80: Permission denied")
    assert reloaded.renewal.differs
    reloaded.balancer.failing = ""
    assert reloaded.renew().state == APPLIED
    assert not reloaded.renewal.differs


def test_aFaultOfTheBalancer(reloaded, logged):
    """It is in the log, and the next one is read."""
    reloaded.balancer.failing = ZeroDivisionError("oops")
    reload = reloaded.renews(MORE)
    assert (reload.state, reload.reason) == (REFUSED, "an error, which is in the log")
    assert "a reload by me has failed" in logged()
    reloaded.balancer.failing = ""
    assert reloaded.renew().state == APPLIED


def test_notAtTheEnd(reloaded):
    reloaded.balancer.leaving = True
    with pytest.raises(NotNow, match="about to end"):
        reloaded.renews(MORE)
    reloaded.balancer.leaving = False
    reloaded.balancer.running = False
    with pytest.raises(NotNow, match="about to end"):
        reloaded.renews(MORE)
    assert reloaded.renewal.last is None


def test_whatHasChangedInOne(reloaded, logged):
    """Below it, set in; and nothing in it that a terminal would do."""
    reloaded.says(text=CONFIG.replace("server a = 127.0.0.1:8001", "server a = h:80 weight=7"))
    reloaded.renew()
    assert re.search(r"\n  ~ server app/a:\n      .*\n      weight 1 -> 7", logged()[-1])
    reloaded.renews("col\x1bour = red\n")
    assert "\x1b" not in logged()[-1]


def test_notTooManyLines(reloaded, logged):
    reloaded.renews("".join(f"server s{n} = 127.0.0.1:{n + 9000}\n" for n in range(150)))
    [line] = logged()
    assert line.count("\n") == MOST_LINES + 1
    assert line.endswith("\n  and 50 more")


def test_itTakesItsTime(reloaded):
    """Who asks while a file is read waits for that, and gets what the file says then."""
    reloaded.slow = []
    told = []
    reloaded.says(MORE)
    for _ in range(2):
        reloaded.renewal.renew("me").addBoth(told.append)
    assert len(reloaded.slow) == 1
    reloaded.isRead()
    assert [one.state for one in told] == [APPLIED]
    reloaded.says(OTHER)
    reloaded.isRead()
    assert [one.number for one in told] == [1, 2]
    assert reloaded.servers == ["a", "b", "d"]


def test_itTakesTooLong(reloaded):
    """What hangs does not keep the next one from being read."""
    reloaded.slow = []
    told = []
    reloaded.renewal.renew("me").addBoth(told.append)
    reloaded.passes(READING)
    [reload] = told
    assert (reload.state, reload.reason) == (REFUSED, f"{reloaded.path} was not read in 60 s")
    reloaded.slow = None
    assert reloaded.renews(MORE).state == APPLIED


def test_whoHasAskedIsGone(reloaded):
    """What was asked for is done."""
    reloaded.slow = []
    reloaded.says(MORE)
    asked = reloaded.renewal.renew("me")
    asked.addErrback(lambda gone: gone.trap(CancelledError))
    asked.cancel()
    reloaded.isRead()
    assert reloaded.renewal.last.state == APPLIED
    assert reloaded.servers == ["a", "b", "c"]


def test_theEndComesWhileItIsRead(reloaded):
    reloaded.slow = []
    told = []
    reloaded.says(MORE)
    reloaded.renewal.renew("me").addBoth(told.append)
    reloaded.balancer.running = False
    reloaded.isRead()
    [failure] = told
    assert failure.check(NotNow)
    assert reloaded.servers == ["a", "b"]


def test_nobodyCanReadNow(reloaded, logged):
    reloaded.slow = []
    told = []
    reloaded.renewal.renew("me").addBoth(told.append)
    reloaded.slow.pop().errback(BalancerError("Other files are being read."))
    assert (told[0].state, told[0].reason) == (REFUSED, "Other files are being read.")
    assert len(logged()) == 1


def test_readingFails(reloaded, logged):
    reloaded.slow = []
    told = []
    reloaded.renewal.renew("me").addBoth(told.append)
    reloaded.slow.pop().errback(ZeroDivisionError())
    assert told[0].reason == "an error, which is in the log"
    assert "a reload by me has failed" in logged()


# confirmed


def test_confirmed(reloaded, logged):
    reload = reloaded.renews(MORE, confirm=60.0)
    assert reload.state == WAITING
    assert reloaded.servers == ["a", "b", "c"], "it runs already"
    reloaded.passes(59)
    assert reloaded.renewal.left == pytest.approx(1)
    assert reloaded.renewal.confirm("boss") is reload
    assert (reload.state, reload.reason) == (CONFIRMED, "by boss")
    reloaded.passes(100)
    assert reloaded.servers == ["a", "b", "c"]
    assert logged()[-1] == "reload 1 was confirmed by boss"
    assert reload.endedAt == THEN + 59


def test_notConfirmed(reloaded, logged):
    reload = reloaded.renews(MORE, confirm=60.0)
    reloaded.passes(59)
    assert reload.state == WAITING
    reloaded.passes(1)
    assert reloaded.servers == ["a", "b"]
    assert (reload.state, reload.reason) == (RETURNED, "it was not confirmed in time")
    assert reloaded.renewal.waiting is None
    assert reloaded.renewal.differs
    assert f"{reloaded.path} is not what runs\n  - server app/c" in logged()[-1]
    assert [line for line in reload.difference.lines if "+ server app/c" in line]


def test_lessThanASecond(reloaded):
    reloaded.renews(MORE, confirm=0.25)
    reloaded.passes(0.25)
    assert reloaded.servers == ["a", "b"]


def test_nothingToConfirm(reloaded):
    """What has changed nothing need not be confirmed."""
    reload = reloaded.renew(confirm=60.0)
    assert reload.state == UNCHANGED
    with pytest.raises(NotNow, match="No reload waits"):
        reloaded.renewal.confirm("me")


def test_confirmedTooLate(reloaded):
    reloaded.renews(MORE, confirm=60.0)
    reloaded.passes(61)
    with pytest.raises(NotNow, match="No reload waits"):
        reloaded.renewal.confirm("me")


def test_aSecondOneIsRefused(reloaded):
    first = reloaded.renews(MORE, confirm=60.0)
    reloaded.passes(20)
    with pytest.raises(NotNow, match="Reload 1, by me, waits to be confirmed for 40 s more"):
        reloaded.renews(OTHER)
    assert reloaded.servers == ["a", "b", "c"]
    assert reloaded.renewal.last is reloaded.renewal.waiting is first


def test_unlessItIsForced(reloaded):
    """What there is to go back to is what was known to be good."""
    first = reloaded.renews(MORE, confirm=60.0)
    reloaded.passes(30)
    second = reloaded.renews(OTHER, confirm=60.0, force=True)
    assert (first.state, first.reason) == (REPLACED, "by reload 2")
    assert reloaded.servers == ["a", "b", "d"]
    reloaded.passes(59)
    assert reloaded.servers == ["a", "b", "d"]
    reloaded.passes(1)
    assert reloaded.servers == ["a", "b"]
    assert second.state == RETURNED


def test_forcedWithTheSameFile(reloaded):
    first = reloaded.renews(MORE, confirm=60.0)
    second = reloaded.renew(force=True)
    assert (first.state, second.state) == (REPLACED, APPLIED)
    reloaded.passes(100)
    assert reloaded.servers == ["a", "b", "c"]
    reloaded.renewal.rollback("me")
    assert reloaded.servers == ["a", "b"]


def test_forcedWithABadFile(reloaded):
    """The one that waits goes on waiting."""
    first = reloaded.renews(MORE, confirm=60.0)
    reload = reloaded.renews("colour = red\n", force=True)
    assert reload.state == REFUSED
    assert reloaded.renewal.waiting is reloaded.renewal.last is first
    reloaded.passes(61)
    assert reloaded.servers == ["a", "b"]


# taken back


def test_rolledBack(reloaded):
    reload = reloaded.renews(MORE, confirm=60.0)
    assert reloaded.renewal.rollback("boss") is reload
    assert (reload.state, reload.reason) == (RETURNED, "by boss")
    assert reloaded.servers == ["a", "b"]
    with pytest.raises(NotNow, match="nothing to go back to"):
        reloaded.renewal.rollback("boss")


def test_rolledBackThoughNothingWaits(reloaded):
    """Which is a reload of its own."""
    reloaded.renews(MORE)
    reloaded.renew()
    reload = reloaded.renewal.rollback("boss")
    assert (reload.number, reload.state, reload.reason) == (3, RETURNED, "by boss")
    assert reload.difference.lines == ["- server app/c"]
    assert reloaded.renewal.last is reload
    assert reloaded.servers == ["a", "b"]
    assert reloaded.renewal.differs


def test_theFileIsReadAgainAfterThat(reloaded):
    reloaded.renews(MORE)
    reloaded.renewal.rollback("me")
    assert reloaded.renew().state == APPLIED
    assert reloaded.servers == ["a", "b", "c"]
    assert not reloaded.renewal.differs


def test_goingBackFails(reloaded, logged):
    """It can be tried again, when what was in the way has gone."""
    reload = reloaded.renews(MORE, confirm=60.0)
    reloaded.balancer.failing = "port 80 is taken"
    reloaded.passes(60)
    assert reload.state == STUCK
    assert reload.reason == (
        "it was not confirmed in time; going back has failed: port 80 is taken"
    )
    assert reloaded.servers == ["a", "b", "c"]
    assert "going back has failed" in logged()[-1]
    reloaded.balancer.failing = ""
    assert reloaded.renewal.rollback("me").state == RETURNED
    assert reloaded.servers == ["a", "b"]


def test_goingBackFailsByAFault(reloaded, logged):
    reload = reloaded.renews(MORE, confirm=60.0)
    reloaded.balancer.failing = ZeroDivisionError("oops")
    reloaded.passes(60)
    assert reload.state == STUCK
    assert reload.reason.endswith("an error, which is in the log")
    assert "going back has failed" in logged()


def test_nothingIsGoneBackToAtTheEnd(reloaded, logged):
    """It would open what was closed."""
    reload = reloaded.renews(MORE, confirm=60.0)
    reloaded.balancer.leaving = True
    with pytest.raises(NotNow, match="about to end"):
        reloaded.renewal.rollback("me")
    reloaded.passes(100)
    assert reloaded.servers == ["a", "b", "c"]
    assert reload.state == APPLIED
    assert "was not confirmed" in logged()[-1]


def test_theEnd(reloaded, logged):
    reload = reloaded.renews(MORE, confirm=60.0)
    reloaded.renewal.stop()
    assert reload.state == APPLIED
    assert "was not confirmed" in logged()[-1]
    reloaded.passes(100)
    assert reloaded.servers == ["a", "b", "c"]
    reloaded.renewal.stop()


# guards


def test_aGuardHolds(reloaded):
    reload = reloaded.renews(MORE, confirm=60.0, guards=["errors < 1%", "5xx < 2%"])
    reloaded.balancer.ends(1000)
    reloaded.passes(30)
    assert reload.state == WAITING
    reloaded.renewal.confirm("me")


def test_aGuardIsBroken(reloaded, logged):
    """It goes back at the next look, and says why."""
    reloaded.balancer.ends(1000, 502, failed=1, responseErrors=1)
    reload = reloaded.renews(MORE, confirm=60.0, guards=["servers >= 1", "errors < 1%"])
    reloaded.balancer.ends(2 * LEAST_REQUESTS, 502, failed=1, responseErrors=1)
    reloaded.passes(0.75)
    assert reload.state == WAITING
    reloaded.passes(0.25)
    assert reload.state == RETURNED
    assert reload.reason == "errors < 1% is broken: 40 errors in 40 exchanges, 100%"
    assert reloaded.servers == ["a", "b"]
    assert reload.reason in logged()[-1]


def test_tooFewServers(reloaded):
    """Whose names may still have to be resolved: not at the first look."""
    reload = reloaded.renews(MORE, confirm=60.0, guards=["servers in app >= 2"])
    server = reloaded.balancer.server()
    server.usable = False
    reloaded.passes(SETTLING - 1)
    server.usable = True
    reloaded.passes(1)
    server.usable = False
    reloaded.passes(SETTLING - 1)
    assert reload.state == WAITING
    reloaded.passes(1)
    assert reload.reason == "servers in app >= 2 is broken: 1 usable in app"


def test_aGuardThatFails(reloaded, logged):
    """What cannot be judged is not good."""
    reload = reloaded.renews(MORE, confirm=60.0, guards=["servers >= 2"])
    reloaded.balancer.pools["app"].servers = None
    reloaded.passes(1)
    assert reload.state == RETURNED
    assert "a guard has failed" in logged()


def test_whatIsNoGuard(reloaded):
    for guards, confirm, said in (
        (["error < 1%"], 60.0, "unknown 'error'"),
        (["errors < 1%"], 0.0, "without a time"),
        (["errors < 1%"] * (MOST_GUARDS + 1), 60.0, f"at most {MOST_GUARDS}"),
    ):
        with pytest.raises(GuardError, match=said):
            reloaded.renews(MORE, confirm=confirm, guards=guards)
    assert reloaded.renewal.last is None
    assert reloaded.balancer.applied == []


def test_aGuardOfAPoolThatIsNotThere(reloaded):
    """There is a new one, or there is not: the file decides."""
    reload = reloaded.renews(confirm=60.0, guards=["errors in new < 1%"])
    assert (reload.state, reload.reason) == (
        REFUSED, "'errors in new < 1%': there is no pool 'new'"
    )  # fmt: skip
    reloaded.says("[pool new]\nserver x = 127.0.0.1:8009\n")
    reloaded.balancer.addPool("new")
    reload = reloaded.renew(confirm=60.0, guards=["errors in new < 1%"])
    assert reload.state == WAITING


def test_workersThatCannotGoByWhatWaits(reloaded):
    """Nobody has to confirm what is not everywhere: it goes back."""
    reloaded.balancer.behind = ["worker 1 goes on with what it had: no key"]
    reload = reloaded.renews(MORE, confirm=60.0)
    assert (reload.state, reload.reason) == (RETURNED, reloaded.balancer.behind[0])
    assert reloaded.servers == ["a", "b"]
    assert reloaded.renewal.waiting is None and reloaded.renewal.differs


def test_everyStateHasAMeaning(reloaded):
    assert set(STATES) == {
        APPLIED, CONFIRMED, PARTLY, REFUSED, REPLACED, RETURNED, STUCK, UNCHANGED, WAITING
    }  # fmt: skip
    assert repr(reloaded.renewal) == f"<Renewal of {reloaded.path} ->"
