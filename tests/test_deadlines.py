"""Deadlines: never early, hardly late, in order, and nothing is left of them."""

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbtwist.deadlines import GRAIN, Deadlines, Timed

EXACT = 1e-9
"""What the arithmetic of floats may add."""


class Thing(Timed):
    """Notes when it expires."""

    def __init__(self, clock, notes, then=None):
        super().__init__()
        self.clock = clock
        self.notes = notes
        self.then = then

    def expired(self):
        assert self.expires == 0.0
        self.notes.append((self, self.clock.seconds()))
        if self.then is not None:
            self.then()


class DeadlinesTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.clock.rightNow = 1000.0
        self.deadlines = Deadlines(self.clock, self.clock.seconds)
        self.notes = []

    def thing(self, seconds=None, then=None):
        thing = Thing(self.clock, self.notes, then)
        if seconds is not None:
            self.arm(thing, seconds)
        return thing

    def arm(self, thing, seconds):
        self.deadlines.arm(thing, seconds, self.clock.seconds())

    def advance(self, seconds):
        """Time passes in small steps."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(0.001)

    @property
    def order(self):
        return [thing for thing, _ in self.notes]

    def test_expiresOnce(self):
        self.thing(1.0)
        self.advance(5)
        [(_, when)] = self.notes
        self.assertGreaterEqual(when, 1001.0)
        self.assertLessEqual(when, 1001.0 + GRAIN + 0.001 + EXACT)

    def test_inTheOrderOfTime(self):
        late, early, between = self.thing(3.0), self.thing(1.0), self.thing(2.0)
        self.advance(4)
        self.assertEqual(self.order, [early, between, late])

    def test_zeroIsNoDeadline(self):
        thing = self.thing(1.0)
        self.arm(thing, 0)
        self.advance(5)
        self.assertEqual(self.notes, [])

    def test_takenBackDirectly(self):
        thing = self.thing(1.0)
        thing.expires = 0.0
        self.advance(5)
        self.assertEqual(self.notes, [])
        self.assertEqual(len(self.deadlines), 0)

    def test_takenBackAndArmedAgain(self):
        thing = self.thing(1.0)
        thing.expires = 0.0
        self.advance(0.5)
        self.arm(thing, 2.0)
        self.advance(1.9)
        self.assertEqual(self.notes, [])
        self.advance(0.2)
        self.assertEqual(self.order, [thing])

    def test_laterAgain(self):
        """Moved on and on, it does not expire at the first time it had."""
        thing = self.thing(1.0)
        for _ in range(20):
            self.advance(0.5)
            self.arm(thing, 1.0)
        self.assertEqual(self.notes, [])
        self.assertEqual(len(self.deadlines), 1)
        self.advance(1.1)
        self.assertEqual(self.order, [thing])

    def test_earlierThanBefore(self):
        thing = self.thing(50.0)
        self.arm(thing, 0.5)
        self.assertEqual(len(self.deadlines), 1)
        self.advance(0.6)
        self.assertEqual(self.order, [thing])
        self.advance(60)
        self.assertEqual(len(self.notes), 1)

    def test_movingLaterMakesNoTimer(self):
        """Only the clock of the reactor costs; what is moved on does not touch it."""
        thing = self.thing(1.0)
        [timer] = self.clock.getDelayedCalls()
        due = timer.getTime()
        for _ in range(100):
            self.clock.advance(0.005)
            self.arm(thing, 1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [timer])
        self.assertEqual(timer.getTime(), due)

    def test_oneTimerForAll(self):
        for seconds in range(1, 200):
            self.thing(seconds / 10)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_forgotten(self):
        thing, other = self.thing(1.0), self.thing(1.0)
        self.deadlines.forget(thing)
        self.assertEqual(len(self.deadlines), 1)
        self.advance(2)
        self.assertEqual(self.order, [other])

    def test_forgettingWhatIsNotThere(self):
        thing = self.thing()
        self.deadlines.forget(thing)
        self.deadlines.forget(thing)
        self.assertEqual(len(self.deadlines), 0)

    def test_armsAgainWhenItExpires(self):
        """As a check does that is repeated."""
        thing = self.thing(1.0)
        thing.then = lambda: self.arm(thing, 1.0)
        self.advance(10.5)
        times = [when for _, when in self.notes]
        self.assertEqual(len(times), 10)
        for before, after in pairwise(times):
            self.assertGreaterEqual(after - before, 1.0)

    def test_forgetsAnotherOfTheSameTurn(self):
        """The first that expires takes the second one's deadline away."""
        first = self.thing(1.0)
        second = self.thing(1.0)
        first.then = lambda: self.deadlines.forget(second)
        self.advance(2)
        self.assertEqual(self.order, [first])
        self.arm(second, 1.0)
        self.advance(2)
        self.assertEqual(self.order, [first, second])

    def test_movesAnotherOfTheSameTurn(self):
        first = self.thing(1.0)
        second = self.thing(1.0)
        first.then = lambda: self.arm(second, 1.0)
        self.advance(1.9)
        self.assertEqual(self.order, [first])
        self.advance(0.2)
        self.assertEqual(self.order, [first, second])

    def test_movesAnotherOfTheSameTurnToThePast(self):
        """Whoever arms may have looked at the clock a while ago."""
        first = self.thing(1.0)
        second = self.thing(1.0)
        first.then = lambda: self.deadlines.arm(second, 0.01, 999.0)
        self.advance(2)
        self.assertEqual(self.order, [first, second])
        self.assertEqual(len(self.deadlines), 0)

    def test_movesAnotherToThePastBesideANewOne(self):
        first = self.thing(1.0)
        second = self.thing(1.0)
        third = self.thing()

        def then():
            self.deadlines.arm(third, 1.0, 1000.0)
            self.deadlines.arm(second, 0.01, 999.0)

        first.then = then
        self.advance(2)
        self.assertEqual(self.order, [first, second, third])

    def test_anErrorStopsNothing(self):
        """It is logged, and the others of the same turn expire."""
        broken = self.thing(1.0)
        broken.then = lambda: 1 / 0
        good = self.thing(1.0)
        later = self.thing(2.0)
        self.advance(3)
        self.assertEqual(self.order, [broken, good, later])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_noTimerIsLeft(self):
        self.thing(1.0)
        forgotten = self.thing(1.5)
        self.deadlines.forget(forgotten)
        self.advance(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.deadlines), 0)

    def test_stop(self):
        things = [self.thing(n) for n in (1, 2, 3)]
        self.deadlines.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.deadlines), 0)
        self.arm(things[1], 0.5)
        self.deadlines.forget(things[2])
        self.advance(5)
        self.assertEqual(self.notes, [])
        self.deadlines.stop()

    def test_stopWhenOneExpires(self):
        """The process ends because a deadline has passed."""
        self.thing(1.0, self.deadlines.stop)
        self.thing(2.0)
        self.advance(5)
        self.assertEqual(len(self.notes), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_manyThings(self):
        """Ten thousand, each at its time, with few looks at the queue."""
        things = [self.thing(0.5 + n % 997 / 100) for n in range(10_000)]
        self.assertEqual(len(self.deadlines), 10_000)
        wanted = {thing: thing.expires for thing in things}
        while self.clock.getDelayedCalls():
            [timer] = self.clock.getDelayedCalls()
            self.clock.advance(max(timer.getTime() - self.clock.seconds(), 1e-6))
        self.assertEqual(set(self.order), set(things))
        for thing, when in self.notes:
            self.assertGreaterEqual(when, wanted[thing])
            self.assertLessEqual(when, wanted[thing] + GRAIN + 1e-6 + EXACT)

    def test_aLateReactor(self):
        """Where the process was busy for long, all that is due comes at once, in order."""
        things = [self.thing(seconds) for seconds in (5.0, 1.0, 3.0)]
        self.clock.advance(10)
        self.assertEqual(self.order, [things[1], things[2], things[0]])


class Model(RuleBasedStateMachine):
    """Against a dictionary of times."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.clock.rightNow = 1000.0
        self.deadlines = Deadlines(self.clock, self.clock.seconds)
        self.notes = []
        self.things = [Thing(self.clock, self.notes) for _ in range(4)]
        self.wanted = {}

    which = st.integers(0, 3)
    times = st.one_of(
        st.floats(0.0001, 0.1),
        st.floats(0.1, 100.0),
        st.integers(1, 50).map(lambda n: n * GRAIN),
    )

    @rule(which=which, seconds=times)
    def arm(self, which, seconds):
        thing = self.things[which]
        now = self.clock.seconds()
        self.deadlines.arm(thing, seconds, now)
        self.wanted[thing] = now + seconds

    @rule(which=which)
    def takeBack(self, which):
        self.things[which].expires = 0.0
        self.wanted.pop(self.things[which], None)

    @rule(which=which)
    def forget(self, which):
        self.deadlines.forget(self.things[which])
        self.wanted.pop(self.things[which], None)

    @rule(seconds=times)
    def timePasses(self, seconds):
        before = self.clock.seconds()
        end = before + seconds
        while True:
            due = [c.getTime() for c in self.clock.getDelayedCalls() if c.getTime() < end]
            if not due:
                break
            self.clock.advance(max(min(due) - self.clock.seconds(), 1e-6))
        self.clock.advance(max(end - self.clock.seconds(), 0.0))
        for thing, when in self.notes:
            wanted = self.wanted.pop(thing)
            assert wanted <= when <= wanted + GRAIN + 1e-6 + EXACT, (wanted, when)
        self.notes.clear()
        for wanted in self.wanted.values():
            assert wanted + GRAIN + 1e-6 + EXACT >= self.clock.seconds(), "one was forgotten"

    @precondition(lambda self: not self.wanted)
    @rule()
    def nothingIsLeft(self):
        self.timePasses(1000.0)
        assert not self.clock.getDelayedCalls()
        assert len(self.deadlines) == 0

    @invariant()
    def oneTimerAtMost(self):
        assert len(self.clock.getDelayedCalls()) <= 1


Model.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
ModelTests = Model.TestCase
