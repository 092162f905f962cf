"""
Networks held against a look at each of them, and counters against a list of all that came.
"""

import random
from collections import deque
from ipaddress import ip_address, ip_network
from types import SimpleNamespace

import pytest
from asked import exchange
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from lbtwist.rules import tables
from lbtwist.rules.tables import Concurrency, Entries, Networks, Rate, Tables, lines, mapping


def among(address, networks):
    found = ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks if network.version == found.version)


@st.composite
def network(draw):
    found = draw(st.ip_addresses())
    bits = draw(st.integers(0, found.max_prefixlen))
    return (
        ip_network((int(found), bits), strict=False)
        if found.version == 4
        else ip_network((found.packed, bits), strict=False)
    )


@given(st.lists(network(), max_size=8), st.lists(st.ip_addresses(), min_size=1))
def test_networksAreWhatIpaddressSays(networks, addresses):
    if any(one.version == 6 and one.network_address.ipv4_mapped for one in networks):
        return
    found = Networks(map(str, networks))
    inside = [one.network_address for one in networks] + [one.broadcast_address for one in networks]
    for address in (*addresses, *inside):
        for _ in range(2):
            assert (str(address) in found) is among(str(address), networks)


def test_tenThousandNetworks():
    chance = random.Random(4)
    networks = [
        ip_network((chance.getrandbits(32), chance.randint(10, 32)), strict=False)
        for _ in range(8000)
    ] + [
        ip_network((chance.getrandbits(128).to_bytes(16), chance.randint(12, 128)), strict=False)
        for _ in range(2000)
    ]
    found = Networks(map(str, networks))
    addresses = [ip_address(chance.getrandbits(32)) for _ in range(60)]
    addresses += [chance.choice(networks).network_address for _ in range(20)]
    addresses += [ip_address(chance.getrandbits(128).to_bytes(16)) for _ in range(20)]
    answers = {str(one): among(str(one), networks) for one in addresses}
    assert {one: one in found for one in answers} == answers
    assert {True, False} == set(answers.values())


@pytest.mark.parametrize(
    ("networks", "address", "inside"),
    [
        (["10.0.0.0/8"], "10.1.2.3", True), (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], "::ffff:a01:203", True), (["::/0"], "10.1.2.3", False),
        (["0.0.0.0/0"], "::1", False), (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "11.1.2.3", False), (["::ffff:0:0/96"], "192.0.2.1", True),
        (["fe80::/10"], "fe80::1%eth0", True), (["fe80::1"], "fe80::1%eth0", True),
        (["2001:db8::/32"], "2001:DB8::1", True), (["192.0.2.1"], "192.0.2.1", True),
        (["10.0.0.0/255.0.0.0"], "10.1.2.3", True), (["0.0.0.0/0", "::/0"], "unix", False),
        (["0.0.0.0/0", "::/0"], "", False), (["0.0.0.0/0"], "10.0.0.1.", False), ([], "::1", False),
    ],
)  # fmt: skip
def test_networks(networks, address, inside):
    found = Networks(networks)
    assert [address in found, address in found] == [inside, inside]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' has bits of a host: write 10.0.0.0/8"),
        ("2001:db8::1/32", "'2001:db8::1/32' has bits of a host: write 2001:db8::/32"),
        ("example.com", "'example.com' is not a network: write 10.0.0.0/8, 2001:db8::/32 or an"
         " address"),
        ("", "'' is not a network: write 10.0.0.0/8, 2001:db8::/32 or an address"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network: write 10.0.0.0/8, 2001:db8::/32 or an"
         " address"),
        ("fe80::1%eth0", "'fe80::1%eth0' has a zone: write fe80::1/128"),
        ("fe80::%eth0/64", "'fe80::%eth0/64' has a zone: write fe80::/64"),
    ],
)  # fmt: skip
def test_whatIsNoNetwork(written, message):
    with pytest.raises(ValueError) as raised:
        Networks([written])
    assert str(raised.value) == message


def test_whatIsRememberedIsBounded(monkeypatch):
    monkeypatch.setattr(tables, "_REMEMBERED", 100)
    found = Networks(["10.0.0.0/8"])
    for count in range(1000):
        assert f"10.0.0.{count % 256}" in found
        assert f"::{count:x}" not in found
        assert f"fe80::1%{count}" not in found
        assert f"nobody{count}" + "x" * 99 not in found
        assert len(found.known) <= 100
    assert not [one for one in found.known if "%" in one or "nobody" in one]


# files


def test_linesOfAFile():
    assert lines(" a \n\n# b\nc # d\r\n#\n") == ["a", "c # d"]


def test_mappingOfAFile():
    assert mapping("a  b c \n# x y\na d\n\te\tf\n") == {"a": "b c", "e": "f"}
    with pytest.raises(ValueError) as raised:
        mapping("a b\na\n")
    assert str(raised.value) == "'a' has no value: a line is KEY VALUE"


# counters


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ab")), max_size=80),
    st.sampled_from([4.0, 10.0]),
)
def test_ratesAreWhatCameUpToWhatCameInThePeriodBefore(came, period):
    """
    Never less than what came in this period of the clock, never more than what came in it
    and in the one before; what is told is exact where all came evenly.
    """
    clock = Clock()
    rate = Rate(period, clock.seconds)
    all = {"a": deque(), "b": deque()}
    for wait, key in came:
        clock.advance(wait / 4)
        all[key].append(clock.seconds())
        begun = clock.seconds() // period
        periods = [at // period for at in all[key]]
        found = rate.hit(key)
        current, before = periods.count(begun), periods.count(begun - 1)
        assert current <= found <= current + before
        true = sum(1 for at in all[key] if at > clock.seconds() - period)
        assert abs(found - true) <= before


def test_anEvenRateIsExact():
    clock = Clock()
    rate = Rate(10.0, clock.seconds)
    found = []
    for _ in range(400):
        clock.advance(0.1)
        found.append(rate.hit("a"))
    assert all(99 <= one <= 101.1 for one in found[200:])


def test_aKeyThatStaysAwayBeginsAnew():
    clock = Clock()
    rate = Rate(10.0, clock.seconds)
    assert [rate.hit("a") for _ in range(3)] == [1, 2, 3]
    clock.advance(10)
    assert rate.hit("a") == 4
    clock.advance(20)
    assert rate.hit("a") == 1


def test_keysAreBoundedAndTheOldestGoes(monkeypatch):
    monkeypatch.setattr(tables, "MOST_KEYS", 3)
    rate = Rate(10.0, lambda: 5.0)
    for key in "abca":
        rate.hit(key)
    rate.hit("d")
    assert rate.hit("a") == 3
    assert rate.hit("b") == 1
    assert len(rate._counts) == 3


def test_longKeysAreNotKept():
    rate = Rate(10.0, lambda: 5.0)
    assert rate.hit("k" * 100_000) == 1
    assert rate.hit("k" * 100_000) == 2
    assert all(isinstance(one, int) for one in rate._counts)


def connection(number, frontend):
    found = exchange(number=number)
    found.frontend = frontend
    return found


def ended(number, frontend):
    for counting, key in frontend.leaving.pop(number):
        counting.leave(key)


def test_connectionsAreCountedOnceForEachKey():
    count = Concurrency()
    one = exchange()
    other = connection(2, one.frontend)
    long = "k" * 10_000
    assert [count.count(one, "a"), count.count(one, "a"), count.count(other, "a")] == [1, 1, 2]
    assert [count.count(one, long), count.count(other, long), count.count(one, "b")] == [1, 2, 1]
    ended(2, one.frontend)
    assert [count.count(one, "a"), count.count(one, long)] == [1, 1]
    ended(1, one.frontend)
    assert count._counts == {}


def test_keysOfOneConnectionAreBounded():
    """Each request of a connection can bring another one."""
    count = Concurrency()
    one = exchange()
    for number in range(1000):
        assert count.count(one, f"{number}" * 50) == 1
    assert len(one.frontend.leaving[1]) == len(count._counts) == 100
    assert max(map(len, count._counts)) <= 100
    ended(1, one.frontend)
    assert count._counts == {}


def test_keysOfOneTablePushOutNoneOfAnother():
    """Or a client would be rid of what limits it."""
    limit, other = Concurrency(), Concurrency()
    one = exchange()
    limit.count(one, "203.0.113.9")
    for number in range(1000):
        other.count(one, f"{number}")
    assert limit._counts == {"203.0.113.9": 1}
    ended(1, one.frontend)
    assert limit._counts == other._counts == {}


def test_aRehearsalIsNotCounted():
    count = Concurrency()
    one = SimpleNamespace(rehearsal=True, frontend=SimpleNamespace(leaving={}))
    assert [count.count(one, "a"), count.count(one, "a")] == [1, 1]
    assert one.frontend.leaving == {}


@given(st.lists(network(), max_size=8), st.data())
def test_networksThatCameAndWentAreAsIfTheyHadNotBeenThere(networks, data):
    if any(one.version == 6 and one.network_address.ipv4_mapped for one in networks):
        return
    found = Networks(map(str, networks))
    left = list(networks)
    for _ in range(len(networks)):
        gone = data.draw(st.sampled_from(left))
        for address in (gone.network_address, gone.broadcast_address):
            assert str(address) in found
        left.remove(gone)
        found.discard(str(gone))
        for address in (gone.network_address, gone.broadcast_address):
            assert (str(address) in found) is among(str(address), left)


class TestEntries:
    def test_aMap(self):
        found = Entries("a 1\nb 2 and 3\n", True)
        values = found.values
        found.put("a", "4")
        found.put("c", "5")
        found.drop("b")
        assert values is found.values == {"a": "4", "c": "5"}
        found.clear()
        assert values == {}

    def test_aListThatNetworksAreOf(self):
        one, two = Networks(["10.0.0.0/8"]), Networks(())
        found = Entries("10.1.0.0/16\n192.0.2.1\n", False)
        for networks in (one, two):
            found.join(networks)
        assert "10.1.0.1" in two and "192.0.2.1" in one
        found.drop("10.1.0.0/16")
        assert "10.1.0.1" not in two and "10.1.0.1" in one
        found.put("198.51.100.0/24")
        found.put("198.51.100.0/24")
        assert "198.51.100.9" in one and "198.51.100.9" in two
        found.clear()
        assert "198.51.100.9" not in one and "10.9.9.9" in one
        del two
        found.put("198.51.100.0/24")
        assert "198.51.100.9" in one

    @pytest.mark.parametrize("key", ["", " a", "a ", "#a"])
    def test_whatNoFileSays(self, key):
        for entries in (Entries("a 1\n", True), Entries("a\n", False)):
            with pytest.raises(ValueError, match="can be no line"):
                entries.check(key, "x" if entries.isMap else "")

    def test_sizesAreThoseOfWhatIsThere(self, monkeypatch):
        found = Entries("a 1\n", True)
        monkeypatch.setattr(tables, "MOST_BYTES", 12)
        found.put("bbb", "222")
        with pytest.raises(ValueError, match="there are 2 entries"):
            found.check("c", "3")
        found.put("bbb", "2")
        found.drop("bbb")
        found.check("bbb", "222")

    def test_whatIsTheSameIsReadOnce(self):
        known = Tables()
        one = known.find("/m", True, "a 1\n")
        one.put("a", "2")
        assert known.find("/m", True, "a 1\n") is one
        assert known.find("/m", True, "a 3\n").values == {"a": "3"}
        assert known.find("/m", False, "a 1\n").values == {"a 1": ""}
        assert known.find("/n", True, "a 1\n").values == {"a": "1"}
        del one
        # Nobody has it any more.
        assert known.find("/m", True, "a 1\n").values == {"a": "1"}
