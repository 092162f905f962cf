"""The store of persistence in memory: what it knows, for how long, and how much of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from lbtwist.interfaces import IChangingStore, IPersistenceStore
from lbtwist.registry import Context
from lbtwist.stores import memory
from lbtwist.stores.memory import MemoryOptions, MemoryStore

GRAIN = 1 / 8


def stored(size=1000, clock=None):
    return MemoryStore(MemoryOptions(size), Context(clock=(clock or Clock()).seconds))


def names(store):
    return {key: name for key, name, _ in store.entries()}


def test_interface():
    assert verifyObject(IPersistenceStore, stored())


def test_whatIsPutIsThere():
    store = stored()
    assert store.get(b"k", 60) is None
    store.put(b"k", "a", 60)
    assert store.get(b"k", 60) == "a"
    store.put(b"k", "b", 60)
    assert store.get(b"k", 60) == "b"
    assert (store.size, store.bound("a"), store.bound("b")) == (1, 0, 1)
    assert repr(store) == "<MemoryStore 1 keys>"


# claims


def test_theFirstClaimWins():
    store = stored()
    assert store.claim(b"k", "a", 60, "") == "a"
    assert store.claim(b"k", "b", 60, "") == "a"
    assert store.claim(b"k", "a", 60, "") == "a"


def test_aClaimInsteadOfAServer():
    store = stored()
    store.put(b"k", "a", 60)
    assert store.claim(b"k", "b", 60, "c") == "a"
    assert store.claim(b"k", "b", 60, "a") == "b"
    assert store.claim(b"k", "c", 60, "a") == "b", "another exchange was first"


def test_aClaimOfWhatIsKnownMakesNothingShorter():
    clock = Clock()
    store = stored(clock=clock)
    store.put(b"k", "a", 600)
    assert store.claim(b"k", "a", 60, "") == "a"
    clock.advance(100)
    assert store.claim(b"k", "a", 900, "") == "a"
    clock.advance(800)
    assert store.get(b"k", 0) == "a"


def test_whatIsDroppedIsNotThere():
    store = stored()
    store.put(b"k", "a", 60)
    store.drop(b"k", "b")
    store.drop(b"other", "a")
    assert store.get(b"k", 60) == "a", "it was known by another name"
    store.drop(b"k", "a")
    assert store.get(b"k", 60) is None
    assert (store.size, store.bound("a")) == (0, 0)


# time


def test_keysRunOut():
    clock = Clock()
    store = stored(clock=clock)
    store.put(b"k", "a", 60)
    clock.advance(60 - GRAIN)
    assert store.get(b"k", 0) == "a"
    clock.advance(GRAIN)
    assert store.get(b"k", 60) is None
    assert store.size == 0


def test_lookingMakesLonger():
    clock = Clock()
    store = stored(clock=clock)
    store.put(b"k", "a", 60)
    clock.advance(50)
    assert store.get(b"k", 60) == "a"
    clock.advance(50)
    assert store.get(b"k", 10) == "a", "nothing is shorter for being looked at"
    clock.advance(9)
    assert store.get(b"k", 0) == "a"
    clock.advance(1)
    assert store.get(b"k", 0) is None


def test_whatHasRunOutIsFree():
    clock = Clock()
    store = stored(clock=clock)
    store.put(b"k", "a", 60)
    clock.advance(61)
    assert store.claim(b"k", "b", 60, "") == "b"
    assert (store.bound("a"), store.bound("b")) == (0, 1)


def test_nobodyIsBoundForEver():
    """Those who never come again are not counted any more, little by little."""
    clock = Clock()
    store = stored(200_000, clock)
    for number in range(3000):
        store.put(b"%d" % number, "a" if number % 3 else "b", 60)
    assert (store.bound("a"), store.bound("b")) == (2000, 1000)
    clock.advance(61)
    store.put(b"new", "a", 60)
    # Who asks about a thousand servers at once does not wait until all has been looked at.
    for name in "ab" * 500:
        store.bound(name)
    assert store.size > 2500
    for _ in range(memory._ROUNDS):
        clock.advance(0.5)
        store.bound("b")
    assert (store.size, store.bound("a"), store.bound("b")) == (1, 1, 0)


# bounds


@pytest.mark.parametrize("size", [1, 2, 7, 2048, 2049, 5000])
def test_size(size):
    """Each of its dictionaries has its part, rounded up."""
    store = stored(size)
    shards = len(store._shards)
    for number in range(2 * size + 10):
        store.put(b"%d" % number, "a", 60)
    assert store.size == len(names(store)) == store.bound("a")
    assert size - shards < len(store._shards) * store._most <= size + shards
    assert store.size <= size + shards
    assert all(len(one) == store._most for one in store._shards) or shards > 1


def test_theOldestGoesFirst():
    store = stored(3)
    for key in (b"1", b"2", b"3"):
        store.put(key, "a", 60)
    store.put(b"4", "b", 60)
    assert set(names(store)) == {b"2", b"3", b"4"}


def test_whoIsSeenIsNotTheOldest():
    clock = Clock()
    store = stored(3, clock)
    for key in (b"1", b"2", b"3"):
        store.put(key, "a", 60)
    clock.advance(1)
    store.get(b"1", 60)
    store.put(b"2", "b", 60)
    store.put(b"4", "b", 60)
    assert set(names(store)) == {b"1", b"2", b"4"}


def test_whatHasRunOutMakesRoom():
    """One that is put takes the place of the oldest, where that is of no use any more."""
    clock = Clock()
    store = stored(1000, clock)
    for number in range(10):
        store.put(b"%d" % number, "a", 60)
    clock.advance(61)
    for number in range(10, 20):
        store.put(b"%d" % number, "b", 60)
    assert set(names(store).values()) == {"b"}
    assert store.size == 10


# names


def test_serversThatComeAndGoForYears(monkeypatch):
    """There are so many numbers for names and no more: it begins anew, and counts rightly."""
    monkeypatch.setattr(memory, "_NAME", 3)
    store = stored()
    for number in range(4):
        store.put(b"k%d" % number, f"s{number}", 60)
    assert names(store) == {b"k0": "s0", b"k1": "s1", b"k2": "s2", b"k3": "s3"}
    store.put(b"k4", "s4", 60)
    assert names(store) == {b"k4": "s4"}
    assert [store.bound(f"s{number}") for number in range(5)] == [0, 0, 0, 0, 1]
    store.put(b"k0", "s0", 60)
    assert store.get(b"k0", 0) == "s0" and store.get(b"k4", 0) == "s4"


# who is told


def test_whoIsTold():
    clock = Clock()
    store = stored(clock=clock)
    told = []
    store.changed = lambda *what: told.append(what)
    store.put(b"k", "a", 60)
    store.get(b"k", 60)
    clock.advance(1)
    store.get(b"k", 60)
    store.claim(b"k", "b", 60, "a")
    store.drop(b"k", "a")
    store.drop(b"k", "b")
    assert told == [
        (b"k", "a", 60.0), (b"k", "a", 61.0), (b"k", "b", 61.0), (b"k", "", 0.0),
    ]  # fmt: skip


# all of it, against a dictionary that forgets nothing by itself

KEYS = st.sampled_from([b"%d" % number for number in range(6)])
NAMES = st.sampled_from("abc")
TTL = st.sampled_from([1, 5, 60])
STEPS = st.lists(
    st.tuples(st.just("get"), KEYS, st.sampled_from([0, 1, 60]))
    | st.tuples(st.just("put"), KEYS, NAMES, TTL)
    | st.tuples(st.just("claim"), KEYS, NAMES, TTL, st.sampled_from(["", "a", "b"]))
    | st.tuples(st.just("drop"), KEYS, NAMES)
    | st.tuples(st.just("bound"), NAMES)
    | st.tuples(st.just("wait"), st.sampled_from([0.25, 1, 4.5, 30])),
    max_size=60,
)  # fmt: skip


class Plain:
    """
    What the store should be: a name and a time by key, in the order in which keys were last
    known for longer.
    """

    def __init__(self, clock, most):
        self.clock = clock
        self.most = most
        self.known = {}

    def get(self, key, ttl):
        now = self.clock.seconds()
        name, until = self.known.get(key, ("", 0))
        if until <= now:
            self.known.pop(key, None)
            return None
        if now + ttl > until:
            del self.known[key]
            self.known[key] = name, now + ttl
        return name

    def put(self, key, name, ttl):
        now = self.clock.seconds()
        self.known.pop(key, None)
        if self.known:
            oldest = next(iter(self.known))
            if len(self.known) >= self.most or self.known[oldest][1] <= now:
                del self.known[oldest]
        self.known[key] = name, now + ttl

    def claim(self, key, name, ttl, instead):
        held = self.get(key, 0)
        if held == name:
            return self.get(key, ttl)
        if held in (None, instead):
            self.put(key, name, ttl)
            return name
        return held

    def drop(self, key, name):
        if self.known.get(key, ("",))[0] == name:
            del self.known[key]

    def bound(self, name):
        now = self.clock.seconds()
        self.known = {key: one for key, one in self.known.items() if one[1] > now}
        return sum(one[0] == name for one in self.known.values())


@settings(max_examples=300)
@given(steps=STEPS, size=st.sampled_from([3, 1000]))
def test_itIsADictionaryThatForgets(steps, size):
    clock = Clock()
    clock.advance(1e6)
    store, plain = stored(size, clock), Plain(clock, size)
    for what, *arguments in steps:
        if what == "wait":
            clock.advance(arguments[0])
        else:
            assert getattr(store, what)(*arguments) == getattr(plain, what)(*arguments), what
        assert list(store.entries()) == [(key, *one) for key, one in plain.known.items()]
        assert store.size == len(plain.known) <= size
        counts = [name for name, _ in plain.known.values()]
        assert [store._counts[store._numbers[name]] for name in set(counts)] == [
            counts.count(name) for name in set(counts)
        ]


# other options


def test_roomForMore():
    store = stored(size=3)
    for number in range(3):
        store.put(b"%d" % number, "a", 60 + number)
    assert verifyObject(IChangingStore, store)
    become = store.becomes(MemoryOptions(5))
    assert store.most == 3
    become()
    assert store.most == 5
    for number in range(3, 6):
        store.put(b"%d" % number, "a", 60 + number)
    assert set(names(store)) == {b"1", b"2", b"3", b"4", b"5"}


def test_roomForLess():
    """What is too much is forgotten with the next key, whoever was not seen for longest first."""
    store = stored(size=5)
    for number in range(5):
        store.put(b"%d" % number, "a", 60 + number)
    store.becomes(MemoryOptions(2))()
    assert set(names(store)) == {b"0", b"1", b"2", b"3", b"4"}
    store.put(b"5", "b", 60)
    assert set(names(store)) == {b"4", b"5"}
    assert (store.size, store.bound("a"), store.bound("b")) == (2, 1, 1)
