"""
The queue of a pool: who waits, in which order they are served, and that nobody's crowd delays
anybody else.
"""

from collections import Counter
from contextlib import contextmanager
from itertools import count
from random import Random

import pytest
from pooled import Client, pooled

from lbtwist import queueing
from lbtwist.exchange import Cause, Stage
from lbtwist.queueing import LONGEST_KEY, Queue

FULL = (Cause.SERVER, Stage.QUEUE, 503)


def tenant(exchange):
    """A tenant is the first letters of a name, as C{gold} of C{gold-1}."""
    return exchange.requestId.partition("-")[0].encode()


def fair(**weights):
    return Queue(tenant, {name.encode(): weight for name, weight in weights.items()})


class Desk:
    """
    One slot, and who waits for it.

    @ivar pool: its pool.
    @ivar served: the names of those who got it, in that order.
    """

    def __init__(self, pool):
        self.pool = pool
        self.served = []
        self.holder = self.comes("holder")

    def comes(self, name, priority=None, role=None):
        client = Client(self.pool, self._told, None)
        client.idle = dict.fromkeys("abc", "a connection")
        client.exchange.requestId = name
        if priority is not None:
            client.exchange.settings = {"priority": priority}
        if role is not None:
            client.exchange.settings = {"role": role}
        return client.connects()

    def come(self, *names):
        return [self.comes(*(one if isinstance(one, tuple) else (one,))) for one in names]

    def _told(self, client):
        if client.exchange.holding:
            self.holder = client
            self.served.append(client.exchange.requestId)

    def serves(self, times):
        """@return: the names of so many who are served one after the other."""
        self.served.clear()
        for _ in range(times):
            self.holder.finishes()
        return list(self.served)


@contextmanager
def counter(line=None, **options):
    with pooled(maxconn=1, line=line, timeout_queue=1e6, **options) as pool:
        yield Desk(pool)


# in order, and by priority


def test_inTheOrderInWhichTheyCame():
    with counter() as at:
        at.come("one", "two", "three")
        assert at.serves(3) == ["one", "two", "three"]


def test_theLowestClassFirst():
    with counter() as at:
        at.come("usual", ("bulk", (10, 0.0)), ("urgent", (-10, 0.0)), "usual too")
        assert at.serves(4) == ["urgent", "usual", "usual too", "bulk"]


def test_theOffsetShiftsTheArrival():
    """Within a class: two seconds later is after whoever comes within two seconds."""
    with counter() as at:
        at.comes("late", (0, 2.0))
        at.pool.reactor.advance(1.0)
        at.comes("soon")
        at.pool.reactor.advance(1.5)
        at.come("last", ("early", (0, -10.0)), ("another class", (1, -500.0)))
        assert at.serves(5) == ["early", "soon", "late", "last", "another class"]


def test_prioritiesCountWithinATenant():
    """And not between two: all of somebody's would be urgent."""
    with counter(fair()) as at:
        at.come("a-2", "a-3", ("a-1", (-5, 0.0)), ("b-2", (1, 0.0)), ("b-1", (-2047, 0.0)))
        assert at.serves(5) == ["a-1", "b-1", "a-2", "b-2", "a-3"]


# fair between tenants


def test_aCrowdDelaysNobodyElse():
    """Ten thousand wait, and one who comes after them is among the next two."""
    with counter(fair()) as at:
        crowd = [at.comes(f"crowd-{number}") for number in range(10_000)]
        at.comes("single")
        assert sorted(at.serves(2)) == ["crowd-0", "single"]
        assert at.serves(1) == ["crowd-1"]
        for client in crowd[2:]:
            client.leaves()
        assert at.pool.queued == 0


@pytest.mark.parametrize("seed", range(3))
def test_sharesAreTheWeights(seed):
    """All want more than they get: within 5 % of the weights, whoever asks how often."""
    weights = {"gold": 4, "silver": 2, "bronze": 1}
    random = Random(seed)
    served = Counter()
    with counter(fair(gold=4, silver=2)) as at:
        numbers = count()
        waiting = Counter()
        for _ in range(7000):
            for name in weights:
                # Bursts of different size; nobody is ever without somebody who waits.
                while waiting[name] < 1 or (random.random() < 0.3 and waiting[name] < 200):
                    at.comes(f"{name}-{next(numbers)}")
                    waiting[name] += 1
            [name] = at.serves(1)
            served[name.partition("-")[0]] += 1
            waiting[name.partition("-")[0]] -= 1
    for name, weight in weights.items():
        assert served[name] == pytest.approx(7000 * weight / 7, rel=0.05)


def test_nobodySavesUp():
    """Who comes late has no claim to what others had before, and who was there keeps none."""
    with counter(fair()) as at:
        at.come(*[f"a-{number}" for number in range(60)])
        at.serves(50)
        at.come(*[f"b-{number}" for number in range(10)])
        assert Counter(one[0] for one in at.serves(10)) == {"a": 5, "b": 5}


def test_whoAskedMuchIsRememberedWhileOthersWait():
    """To leave and come again is no way to get more."""
    with counter(fair(slow=1, other=1)) as at:
        at.come(*[f"other-{number}" for number in range(20)])
        order = []
        for _ in range(10):
            # It has never more than one who waits.
            at.comes("slow")
            order += at.serves(1)
            if "slow" not in order[-1:]:
                order += at.serves(1)
    assert 8 <= order.count("slow") <= 10
    assert abs(order.count("slow") - sum(one != "slow" for one in order)) <= 2


def test_whoLeavesWasNotServed():
    """A crowd that gives up has not used what it would have got."""
    with counter(fair()) as at:
        for client in [at.comes("a") for _ in range(1000)]:
            client.leaves()
        at.come("b-1", "b-2", "a", "b-3", "b-4")
        assert "a" in at.serves(2)


def test_nothingIsRememberedOfAnEmptyQueue():
    with counter(fair()) as at:
        for _ in range(3):
            at.come("a-1", "a-2", "b-1", "b-2")
            assert Counter(one[0] for one in at.serves(4)) == {"a": 2, "b": 2}
            queue = at.pool._queue
            assert (len(queue), queue._tenants, queue._kept, queue._groups) == (0, {}, [], {})


def test_tooManyTenantsShareALine(monkeypatch):
    """Their number is bounded, and nobody is forgotten; the others keep their shares."""
    monkeypatch.setattr(queueing, "MOST_TENANTS", 3)
    with counter(fair()) as at:
        at.come("a-1", "b-1", "c-1", "d-1", "e-1", "f-1", "a-2")
        assert len(at.pool._queue._tenants) == 3
        first = at.serves(4)
        assert sorted(first) == ["a-1", "b-1", "c-1", "d-1"]
        assert sorted(at.serves(3)) == ["a-2", "e-1", "f-1"]


def test_theEndOfALongKeyDoesNotCount():
    with counter(fair()) as at:
        at.come("x" * LONGEST_KEY + "1", "x" * LONGEST_KEY + "2", "b")
        assert at.serves(3)[1] == "b"


def test_whatIsKeptOfThoseWhoLeftIsBounded():
    """They come and go, and nobody is served."""
    with counter(fair()) as at:
        at.comes("always")
        for number in range(5000):
            at.comes(f"t{number % 7}").leaves()
            at.comes("always").leaves()
        queue = at.pool._queue
        [group] = queue._groups.values()
        assert len(queue._tenants) == 1
        assert len(group._heap) < 100
        assert len(group.first().line._heap) < 100


# limits


def test_tooManyOfOneKey():
    with counter(fair(), maxqueue_per_key=2, maxqueue=4) as at:
        at.come("a-1", "a-2")
        refused = at.comes("a-3")
        assert refused.told == [FULL]
        assert refused.exchange.reason == "too many of the same key are in the queue"
        assert at.comes("b-1").told == []
        assert at.comes("c-1").told == []
        assert at.comes("d-1").exchange.reason == "the queue is full"
        at.serves(1)
        assert at.comes("a-4").told == []


# waiting for what is not free does not hold up anybody


def test_whoWantsARoleHoldsUpNobody():
    """The slot that is free is not for whoever is first: the next one gets it."""
    with pooled(1, 1, maxconn=1, timeout_queue=60.0) as pool:
        primary, replica = pool.servers
        primary.role, replica.role = "primary", "replica"
        at = Desk(pool)
        other = at.comes("other")
        at.comes("writes-1", None, "primary")
        at.comes("writes-2", None, "primary")
        at.comes("reads")
        assert pool.queued == 3
        other.finishes()
        assert at.served[-1:] == ["reads"]
        assert pool.queued == 2


def test_repr():
    with counter() as at:
        at.comes("one")
        assert repr(at.pool._queue) == "<Queue 1 wait 0 bound>"
