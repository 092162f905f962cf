"""What has to be told to somebody who is slow, away, or back again."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbtwist.errors import BalancerError
from lbtwist.notices.outbox import LAST, PAUSE, RETRIES, Outbox


class Away(BalancerError):
    pass


class TestOutbox(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.sent = []
        self.open = []
        self.cancelled = []
        self.logged = self.enterContext(capturedLogs())

    def outbox(self, most=5, **options):
        return Outbox("somebody", self.deliver, self.clock, most, **options)

    def deliver(self, events, lost):
        self.sent.append((self.clock.seconds(), list(events), lost))
        self.open.append(Deferred(self.cancelled.append))
        return self.open[-1]

    def takes(self):
        self.open.pop(0).callback(None)

    def refuses(self, error=None):
        self.open.pop(0).errback(error or Away("nobody is there"))

    def passes(self, seconds, step=0.25):
        self.clock.pump([step] * int(seconds / step))

    @property
    def log(self):
        events, self.logged[:] = list(self.logged), []
        return [(one["log_level"], formatEvent(one)) for one in events]

    def refusedForGood(self):
        for _ in range(RETRIES + 1):
            self.passes(PAUSE * 2**RETRIES)
            self.refuses()

    def test_nothingIsWaitedFor(self):
        """Who tells goes on before anything is sent."""
        self.outbox().put(1)
        assert self.sent == []
        self.clock.advance(0)
        assert self.sent == [(0, [1], 0)]

    def test_oneAfterTheOther(self):
        outbox = self.outbox()
        for number in range(3):
            outbox.put(number)
        for number in range(3):
            self.clock.advance(0)
            assert [events for _, events, _ in self.sent] == [[n] for n in range(number + 1)]
            self.takes()
        self.clock.advance(0)
        assert self.clock.calls == [] and self.log == []

    def test_againAndAgain(self):
        """After pauses that are doubled, and then it is lost."""
        self.outbox().put(1)
        for _ in range(RETRIES + 1):
            self.passes(PAUSE * 2**RETRIES)
            self.refuses()
        at = [seconds for seconds, _, _ in self.sent]
        assert len(at) == RETRIES + 1
        self.passes(100)
        assert self.open == [] and self.clock.calls == []

    def test_pauses(self):
        self.outbox().put(1)
        self.clock.advance(0)
        for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE):
            self.refuses()
            self.passes(pause - 0.25)
            assert self.open == []
            self.passes(0.25)
            assert len(self.open) == 1

    def test_saidOnce(self):
        outbox = self.outbox()
        outbox.put(1)
        outbox.put(2)
        self.refusedForGood()
        self.refusedForGood()
        words = "somebody fails: nobody is there; what it should tell is lost until it works again"
        assert self.log == [(LogLevel.warn, words)]
        outbox.put(3)
        self.clock.advance(0)
        assert self.sent[-1][1:] == ([3], 2)
        self.takes()
        assert self.log == [(LogLevel.info, "somebody works again; events lost: 2")]
        outbox.put(4)
        self.clock.advance(0)
        assert self.sent[-1][1:] == ([4], 0)

    def test_reasonsOfStrangers(self):
        outbox = self.outbox()
        outbox.put(1)
        for _ in range(RETRIES + 1):
            self.passes(PAUSE * 2**RETRIES)
            self.refuses(ValueError("two\r\nlines \x1b[31m"))
        [(_, line)] = self.log
        assert line.startswith("somebody fails: ValueError: two lines ?[31m; what")

    def test_aRetryThatIsTaken(self):
        self.outbox().put(1)
        self.clock.advance(0)
        self.refuses()
        self.passes(PAUSE)
        self.takes()
        assert [events for _, events, _ in self.sent] == [[1], [1]]
        assert self.log == [] and self.clock.calls == []

    def test_raisesInsteadOfFailing(self):
        outbox = Outbox("somebody", lambda events, lost: 1 / 0, self.clock, 5)
        outbox.put(1)
        self.passes(20)
        [(level, line)] = self.log
        assert line.startswith("somebody fails: ZeroDivisionError")

    def test_tooMany(self):
        """The oldest are lost, not those that are under way."""
        outbox = self.outbox(most=3)
        outbox.put(0)
        self.clock.advance(0)
        for number in range(1, 7):
            outbox.put(number)
        assert (outbox.lost, repr(outbox)) == (3, "<Outbox somebody 3 wait 3 lost>")
        for _ in range(4):
            self.takes()
            self.clock.advance(0)
        assert [events for _, events, _ in self.sent] == [[0], [4], [5], [6]]

    def test_asManyAsAreSentTogetherWaitForNoOthers(self):
        outbox = self.outbox(atOnce=2, wait=5.0, hurries=True, most=9)
        for number in range(5):
            outbox.put(number)
        self.passes(5)
        at = self.clock.seconds()
        self.takes()
        self.passes(0.25)
        assert [events for _, events, _ in self.sent] == [[0, 1], [2, 3]]
        assert self.sent[-1][0] == pytest.approx(at, abs=1)
        self.takes()
        self.passes(5)
        assert self.sent[-1][1] == [4]

    def test_together(self):
        outbox = self.outbox(atOnce=3, wait=5.0)
        outbox.put(1)
        self.passes(4)
        outbox.put(2)
        self.passes(1)
        assert self.sent == [(5, [1, 2], 0)]
        for number in range(3, 8):
            outbox.put(number)
        self.takes()
        self.passes(5)
        assert self.sent[1:] == [(10, [3, 4, 5], 0)]
        self.takes()
        self.passes(5)
        assert self.sent[2:] == [(15, [6, 7], 0)]

    def test_notTooOften(self):
        outbox = self.outbox(most=100, atOnce=100, wait=1.0, every=60.0)
        outbox.put(0)
        self.passes(1)
        self.takes()
        for number in range(1, 31):
            outbox.put(number)
            self.passes(1)
        assert len(self.sent) == 1
        self.passes(30)
        assert [(at, len(events)) for at, events, _ in self.sent] == [(1, 1), (61, 30)]
        self.refuses()
        self.passes(PAUSE)
        assert self.sent[2][0] == 62, "it is not sent yet, so it may be tried again"

    # the end

    def test_theEndOfOneThatHasNothing(self):
        self.successResultOf(self.outbox().end())
        assert self.clock.calls == []

    def test_theEndSendsWhatWaits(self):
        outbox = self.outbox(wait=5.0, every=60.0)
        outbox.put(1)
        self.passes(5)
        self.takes()
        outbox.put(2)
        outbox.put(3)
        ended = outbox.end()
        self.takes()
        self.clock.advance(0)
        self.assertNoResult(ended)
        self.takes()
        self.successResultOf(ended)
        assert [events for _, events, _ in self.sent] == [[1], [2], [3]]
        assert self.clock.calls == [] and self.log == []

    def test_theEndOfOneWhereNobodyIs(self):
        outbox = self.outbox()
        outbox.put(1)
        outbox.put(2)
        self.clock.advance(0)
        self.refuses()
        ended = outbox.end()
        self.refuses()
        self.clock.advance(0)
        self.refuses()
        self.successResultOf(ended)
        assert self.clock.calls == [] and len(self.log) == 1 and len(self.sent) == 3

    def test_theEndWaitsForNobody(self):
        outbox = self.outbox()
        for number in range(3):
            outbox.put(number)
        self.clock.advance(0)
        ended = outbox.end()
        self.passes(LAST - 0.25)
        self.assertNoResult(ended)
        self.passes(0.25)
        self.successResultOf(ended)
        assert self.clock.calls == []
        assert self.log == [(LogLevel.warn, "somebody: events not sent before the end: 3")]
        assert self.cancelled == self.open

    def test_anotherBeginning(self):
        outbox = self.outbox(wait=1.0)
        outbox.put(1)
        outbox.end()
        self.takes()
        outbox.put(2)
        self.passes(1)
        assert self.sent == [(0, [1], 0), (1, [2], 0)]
