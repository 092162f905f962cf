"""
Several kinds of persistence together: who is asked, who wins, who learns, and what becomes of a
server that was claimed. Whole exchanges are conversations: tests/dialogues/test_persistence.py.
"""

import pytest
from bonds import World, letters
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from lbtwist.interfaces import IClaiming, IPersistence, IResponseRule
from lbtwist.persistence.bond import Bond
from lbtwist.persistence.chain import Chain
from lbtwist.testing import fakeExchange, makeServers


@implementer(IPersistence)
class Kind:
    """
    Says what the test says, and keeps what it is told.

    @ivar knows: what it recalls; a Deferred as well.
    """

    def __init__(self, knows=None):
        self.knows = knows
        self.told = []

    def recall(self, exchange):
        self.told.append("recall")
        return self.knows

    def remember(self, exchange, name):
        self.told.append(f"remember {name}")

    def serversChanged(self, servers):
        self.servers = [server.name for server in servers]


@implementer(IClaiming)
class Claiming(Kind):
    """@ivar holds: what it says to a claim; by default what is claimed."""

    def __init__(self, knows=None, holds=""):
        super().__init__(knows)
        self.holds = holds

    def claim(self, exchange, name, instead):
        self.told.append(f"claim {name}" + (f" instead of {instead}" if instead else ""))
        return name if self.holds == "" else self.holds

    def confirm(self, exchange, name):
        self.told.append(f"confirm {name}")

    def release(self, exchange, name):
        self.told.append(f"release {name}")


@implementer(IResponseRule)
class Responding(Kind):
    def responseReceived(self, exchange):
        self.told.append("response")


def chained(*kinds, weights=(1, 1, 1)):
    """@return: a chain, and its servers by name."""
    chain = Chain(kinds)
    servers = makeServers(*weights)
    chain.serversChanged(servers)
    return chain, {server.name: server for server in servers}


def fails(chain, exchange, server):
    """It could not be connected to, as the pool tells it."""
    chain.failed(exchange, server)
    exchange.tried += (server,)


# who is asked


def test_nobodyIsKnown():
    kinds = Kind(), Claiming()
    chain, _ = chained(*kinds)
    exchange = fakeExchange()
    assert chain.recall(exchange) is None
    assert [one.told for one in kinds] == [["recall"], ["recall"]]
    assert (exchange.bond.by, letters(exchange)) == (None, "--")


def test_theFirstThatKnowsWinsAndTheOthersLearn():
    kinds = Kind(), Kind("b"), Kind("c")
    chain, servers = chained(*kinds)
    exchange = fakeExchange()
    assert chain.recall(exchange) is servers["b"]
    assert [one.told for one in kinds] == [["recall", "remember b"], ["recall"], ["remember b"]]
    assert exchange.bond.by is kinds[1]


def test_aServerThatIsDownIsPassedOver():
    """And the kinds that have named it learn the other one, if a later kind knows one."""
    kinds = Kind("a"), Kind("b")
    chain, servers = chained(*kinds)
    servers["a"].health.up = False
    chain.serversChanged(servers.values())
    exchange = fakeExchange()
    assert chain.recall(exchange) is servers["b"]
    assert kinds[0].told == ["recall", "remember b"]
    assert exchange.bond.unusable == ((kinds[0], "a"),)
    assert chain.redispatched == 1


@pytest.mark.parametrize(
    ("change", "recalled"),
    [
        ({"weight": 0}, True), ({"admin": "drain"}, True), ({"backup": True}, True),
        ({"full": True}, True), ({"up": False}, False), ({"admin": "maint"}, False),
        ({"ejected": True}, False), ({"leaving": True}, False), ({"endpoint": None}, False),
        ({"admin": "drain", "up": False}, False),
    ],
)  # fmt: skip
def test_whichServersCanBeHad(change, recalled):
    """A server that drains, or has no weight, keeps its own; one in maintenance does not."""
    chain, servers = chained(Kind("a"))
    server = servers["a"]
    if change.pop("full", None):
        server.maxconn = server.active = 1
    for name, value in change.items():
        setattr(server.health if hasattr(server.health, name) else server, name, value)
    chain.serversChanged(servers.values())
    exchange = fakeExchange()
    assert (chain.recall(exchange) is server) is recalled
    assert chain.redispatched == (not recalled)


@pytest.mark.parametrize("tried", [False, True])
def test_aServerThatWasTriedIsNotRecalled(tried):
    chain, servers = chained(Kind("a"))
    exchange = fakeExchange()
    exchange.tried = (servers["a"],) if tried else (servers["b"],)
    assert chain.recall(exchange) is (None if tried else servers["a"])


def test_inAPanicWhoeverIsOfferedKeepsItsOwn():
    chain, servers = chained(Kind("a"))
    for server in servers.values():
        server.health.up = False
    chain.serversChanged(servers.values(), [servers["a"], servers["b"]])
    assert chain.recall(fakeExchange()) is servers["a"]
    chain.serversChanged(servers.values(), [servers["b"]])
    assert chain.recall(fakeExchange()) is None


def test_aNameThatIsNoServers():
    chain, _ = chained(Kind("z"), Kind("a"))
    exchange = fakeExchange()
    assert chain.recall(exchange).name == "a"
    assert chain.redispatched == 1


def test_kindsAreToldOfServers():
    kind = Kind()
    chain, _ = chained(kind)
    assert kind.servers == ["a", "b", "c"]
    chain.serversChanged([])
    assert kind.servers == []


def test_representations():
    chain, _ = chained(Kind())
    assert repr(chain).startswith("<Chain <test_persistence_chain.Kind object at ")
    assert repr(Bond()) == "<Bond -- by None>"
    assert Chain([Kind(), Responding()]).names == ("kind", "responding")
    assert Chain([Kind()], ["source"]).names == ("source",)


# rules


def ruled(chain, **settings):
    exchange = fakeExchange()
    exchange.settings = settings
    return chain.recall(exchange), exchange


def test_ignorePersist():
    """Nothing is recalled, nothing claimed, nothing learnt."""
    kind = Claiming("a")
    chain, servers = chained(kind)
    found, exchange = ruled(chain, persist="ignore")
    assert found is None
    assert chain.claim(exchange, servers["b"]) is servers["b"]
    chain.connected(exchange)
    chain.failed(exchange, servers["b"])
    assert kind.told == []


@pytest.mark.parametrize("change", [("up", False), ("admin", "maint"), ("ejected", True)])
def test_forcePersist(change):
    chain, servers = chained(Kind("a"))
    setattr(servers["a"].health, *change)
    chain.serversChanged(servers.values())
    assert ruled(chain, persist="force")[0] is servers["a"]


@pytest.mark.parametrize("change", [("endpoint", None), ("leaving", True)])
def test_forcePersistFindsNoServerThatIsNotThere(change):
    chain, servers = chained(Kind("a"))
    setattr(servers["a"], *change)
    chain.serversChanged(servers.values())
    assert ruled(chain, persist="force")[0] is None


def test_aRuleThatNamesAServerBeatsPersistence():
    """All kinds learn what became of it."""
    kinds = Kind("a"), Claiming("a")
    chain, servers = chained(*kinds)
    found, exchange = ruled(chain, server="b")
    assert found is None, "the pool chooses it"
    assert chain.claim(exchange, servers["b"]) is servers["b"]
    assert [one.told for one in kinds] == [["remember b"]] * 2


@pytest.mark.parametrize("change", [("up", False), ("admin", "drain"), ("admin", "maint")])
def test_aRuleThatNamesAServerWhichIsNotOffered(change):
    """Then it says nothing, as everywhere, and persistence counts."""
    chain, servers = chained(Kind("a"))
    setattr(servers["b"].health, *change)
    chain.serversChanged(servers.values())
    assert ruled(chain, server="b")[0] is servers["a"]
    assert ruled(chain, server="z")[0] is servers["a"]


def test_byForceARuleNamesAnyServer():
    """As HAProxy's C{use-server} with C{force-persist}."""
    kind = Kind("a")
    chain, servers = chained(kind)
    servers["b"].health.up = False
    chain.serversChanged(servers.values())
    assert ruled(chain, server="b", persist="force")[0] is servers["b"]
    assert kind.told == ["remember b"]
    assert ruled(chain, server="c", persist="force")[0] is None, "the pool chooses it"


# claims


def test_aClaimIsConfirmed():
    kind = Claiming()
    chain, servers = chained(kind)
    exchange = fakeExchange()
    chain.recall(exchange)
    exchange.server = chain.claim(exchange, servers["b"])
    chain.connected(exchange)
    chain.connected(exchange)
    assert kind.told == ["recall", "claim b", "confirm b"]


def test_aClaimIsTakenBack():
    """The next server is claimed as if there had been none."""
    kind = Claiming()
    chain, servers = chained(kind)
    exchange = fakeExchange()
    chain.recall(exchange)
    fails(chain, exchange, chain.claim(exchange, servers["b"]))
    exchange.server = chain.claim(exchange, servers["c"])
    chain.connected(exchange)
    assert kind.told == ["recall", "claim b", "release b", "claim c", "confirm c"]
    assert chain.redispatched == 0


def test_aParallelExchangeWasFirst():
    kinds = Claiming(holds="c"), Claiming()
    chain, servers = chained(*kinds)
    exchange = fakeExchange()
    chain.recall(exchange)
    assert chain.claim(exchange, servers["b"]) is servers["c"]
    assert kinds[0].told == ["recall", "claim b"], "nothing of it is ours to confirm"
    assert kinds[1].told == ["recall", "claim c"]


def test_kindsThatComeFirstDecide():
    """What is claimed by the first stands, and the second learns it."""
    kinds = Claiming(), Claiming(holds="c")
    chain, servers = chained(*kinds)
    exchange = fakeExchange()
    chain.recall(exchange)
    assert chain.claim(exchange, servers["b"]) is servers["b"]
    assert kinds[1].told == ["recall", "claim b", "remember b"]


def test_theServerOfTheOtherExchangeIsDown():
    kind = Claiming(holds="c")
    chain, servers = chained(kind)
    servers["c"].health.up = False
    chain.serversChanged(servers.values())
    exchange = fakeExchange()
    chain.recall(exchange)
    assert chain.claim(exchange, servers["b"]) is servers["b"]
    assert kind.told == ["recall", "claim b", "remember b"]


def test_aKindThatCannotSay():
    kind = Claiming(holds=None)
    chain, servers = chained(kind)
    exchange = fakeExchange()
    chain.recall(exchange)
    exchange.server = chain.claim(exchange, servers["b"])
    assert exchange.server is servers["b"]
    chain.connected(exchange)
    assert kind.told == ["recall", "claim b"]


def test_whatCouldNotBeHadIsReplaced():
    kinds = Claiming("a"), Claiming()
    chain, servers = chained(*kinds)
    servers["a"].health.up = False
    chain.serversChanged(servers.values())
    exchange = fakeExchange()
    assert chain.recall(exchange) is None
    chain.claim(exchange, servers["b"])
    assert kinds[0].told == ["recall", "claim b instead of a"]
    assert kinds[1].told == ["recall", "claim b"]


def test_theServerThatWasRecalledRefuses():
    kind = Claiming("a")
    chain, servers = chained(kind)
    exchange = fakeExchange()
    fails(chain, exchange, chain.recall(exchange))
    assert chain.redispatched == 1
    assert chain.claim(exchange, servers["b"]) is servers["b"]
    assert kind.told == ["recall", "claim b instead of a"]


def test_failuresBeforeAnythingIsKnown():
    """An exchange that was never asked about."""
    chain, servers = chained(Kind())
    exchange = fakeExchange()
    chain.failed(exchange, servers["a"])
    chain.connected(exchange)
    assert exchange.bond is None


def test_whoMayGoOnWaiting():
    chain, servers = chained(Kind("a"))
    exchange = fakeExchange()
    assert chain.keeps(exchange, servers["a"])
    servers["a"].health.up = False
    chain.serversChanged(servers.values())
    assert not chain.keeps(exchange, servers["a"])
    exchange.settings = {"persist": "force"}
    assert chain.keeps(exchange, servers["a"])


# stores that take their time


def test_whatIsRecalledLater():
    waits = Deferred()
    kinds = Kind(waits), Kind("c")
    chain, servers = chained(*kinds)
    exchange = fakeExchange()
    found = []
    chain.recall(exchange).addCallback(found.append)
    assert kinds[1].told == []
    waits.callback("b")
    assert found == [servers["b"]]
    assert kinds[1].told == ["remember b"]


@pytest.mark.parametrize("said", [None, "a"])
def test_whatIsNotKnownLater(said):
    """The next kind is asked, and may take its time as well."""
    first, second = Deferred(), Deferred()
    chain, servers = chained(Kind(first), Kind(second))
    servers["a"].health.up = False
    chain.serversChanged(servers.values())
    found = []
    chain.recall(fakeExchange()).addCallback(found.append)
    first.callback(said)
    assert found == []
    second.callback("b")
    assert found == [servers["b"]]


def test_claimsThatTakeTheirTime():
    first, second = Deferred(), Deferred()
    kinds = Claiming(holds=first), Claiming(holds=second)
    chain, servers = chained(*kinds)
    exchange = fakeExchange()
    chain.recall(exchange)
    found = []
    chain.claim(exchange, servers["a"]).addCallback(found.append)
    assert kinds[1].told == ["recall"]
    first.callback("b")
    assert kinds[1].told == ["recall", "claim b"]
    second.callback("b")
    assert found == [servers["b"]]


def test_whatIsGivenUpIsGivenUpEverywhere():
    """A client that goes away cancels what the store was asked."""
    cancelled = []
    chain, _ = chained(Kind(Deferred(cancelled.append)))
    waits = chain.recall(fakeExchange())
    waits.addErrback(lambda failure: failure.trap(CancelledError))
    waits.cancel()
    assert len(cancelled) == 1


# responses, and what is foreseen


def test_thoseThatLookAtResponses():
    kinds = Kind(), Responding()
    chain, _ = chained(*kinds)
    assert chain.responds and not chained(Kind())[0].responds
    chain.respond(fakeExchange())
    assert [one.told for one in kinds] == [[], ["response"]]


def test_howManyAreBound():
    chain, servers = chained(Kind())
    assert chain.bound(servers["a"]) == -1
    world = World(("cookie", {"name": b"S"}), ("source", {}))
    for number in range(3):
        world.passes(fakeExchange(client=f"192.0.2.{number}"), "a")
    assert world.chain.bound(world.server("a")) == 3
    assert world.chain.bound(world.server("b")) == 0


def foreseen(chain, **settings):
    exchange = fakeExchange()
    exchange.settings = settings
    server, known, certain = chain.foresee(exchange)
    assert exchange.bond is None
    return server and server.name, known, certain


class Foreseeing(Kind):
    def foresee(self, exchange):
        return self.knows


def test_whatIsForeseen():
    kinds = Foreseeing("a"), Foreseeing("b")
    chain, servers = chained(*kinds)
    assert foreseen(chain) == ("a", "foreseeing", True)
    servers["a"].health.up = False
    chain.serversChanged(servers.values())
    assert foreseen(chain) == ("b", "foreseeing", True)
    assert foreseen(chain, persist="force") == ("a", "foreseeing", True)
    assert foreseen(chain, persist="ignore")[::2] == (None, True)
    assert foreseen(chain, server="a", persist="force") == ("a", "a rule", True)
    assert foreseen(chain, server="b") == (None, "a rule", True)
    assert [one.told for one in kinds] == [[], []]
    assert chain.redispatched == 0


def test_whatIsNotForeseen():
    waits = Deferred()
    assert foreseen(chained(Kind("a"))[0]) == (
        None, "kind does not foresee what it will say", False,
    )  # fmt: skip
    assert foreseen(chained(Foreseeing(waits))[0]) == (
        None, "foreseeing has to ask its store", False,
    )  # fmt: skip
    # It was given up, and nobody else has to hear of that.
    given = []
    waits.addBoth(given.append)
    assert given == [None]
    assert foreseen(chained(Foreseeing())[0]) == (None, "", True)
