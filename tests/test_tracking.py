"""Servers that follow another one (C{track}), and what checks say of the role of servers."""

from random import Random

import pytest
from told import THEN, Told
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from lbtwist.announcing import Announcer
from lbtwist.config.load import loadText
from lbtwist.config.model import CheckOptions, PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.errors import ConfigError
from lbtwist.events import EVENTS
from lbtwist.health import Admin, Health, Result, roleOf
from lbtwist.monitor import Monitor
from lbtwist.pool import Pool
from lbtwist.registry import installed
from lbtwist.testing import makeServers

PASSES = Result(True, "L7OK", "200 OK", 0.0008)
FAILS = Result(False, "L4CON", "connection refused", 0.0008)
AT_ONCE = CheckOptions(interval=1.0, rise=1, fall=1, jitter=0)


class Says:
    """A check that finds what the test says."""

    result = PASSES

    def check(self, server):
        return succeed(self.result)


class Idle:
    """What a pool whose connections nobody asks for has in place of them."""

    def __init__(self):
        self.dropped = []

    def drop(self, server):
        self.dropped.append(server.name)


class World:
    """
    A monitor and the pools C{app}, C{web} and C{api}, each of one server C{a}.

    @ivar check: that of C{app/a}, once a second.
    """

    def __init__(self):
        self.clock = Clock()
        self.monitor = Monitor(self.clock, self.clock.seconds, Random(7))
        self.check = Says()
        self.told = Told()
        self.pools = []
        for name in ("app", "web", "api"):
            servers = makeServers(1)
            servers[0].pool = name
            deadlines = Deadlines(self.clock, self.clock.seconds)
            pool = Pool(PoolConfig(name), servers, None, self.clock, deadlines)
            pool.reuse = Idle()
            pool.announcer = Announcer([(self.told, EVENTS)], lambda: THEN)
            self.pools.append(pool)
        app = self.pools[0]
        app.servers[0].health = Health(1, 1)
        self.monitor.watch(app, app.servers[0], self.check, AT_ONCE)

    def follow(self, pool, followed):
        pools = {one.name: one for one in self.pools}
        self.monitor.follow(pools[pool], pools[pool].servers[0], pools[followed].servers[0])

    def finds(self, result):
        self.check.result = result
        if self.clock.seconds() == 0:
            self.monitor.start()
            self.clock.advance(0)
        self.clock.advance(1)

    @property
    def usable(self):
        return [pool.name for pool in self.pools if pool.usable]

    @property
    def said(self):
        events, self.told.events = self.told.events, []
        return [(one.pool, one.what, one.reason) for one in events]


# Followers.


def test_upAndDownWithTheOther():
    """So does who follows one that follows; each pool is told, and lets go of connections."""
    world = World()
    world.follow("web", "app")
    world.follow("api", "web")
    world.finds(FAILS)
    assert world.usable == []
    assert world.said == [
        ("app", "down", "L4CON connection refused"),
        ("web", "down", "L4CON via app/a: connection refused"),
        ("api", "down", "L4CON via web/a: via app/a: connection refused"),
    ]
    assert [pool.reuse.dropped for pool in world.pools] == [["a"]] * 3
    assert [pool.servers[0].traffic.wentDown for pool in world.pools] == [1, 1, 1]
    world.finds(PASSES)
    assert world.usable == ["app", "web", "api"]
    assert [one[:2] for one in world.said] == [("app", "up"), ("web", "up"), ("api", "up")]


def test_aFollowerHasNoCheck():
    world = World()
    world.monitor.watch(world.pools[1], world.pools[1].servers[0], Says(), AT_ONCE)
    world.follow("web", "app")
    world.finds(FAILS)
    assert world.usable == ["api"]
    assert world.pools[1].servers[0].traffic.checks == 0


def test_whoComesLater():
    """It is as the other one is by then."""
    world = World()
    world.finds(FAILS)
    world.follow("web", "app")
    world.pools[1].serversChanged()
    assert world.usable == ["api"]


def test_outOfServiceWithTheOther():
    """As in HAProxy: "Changes are propagated to tracking servers if any"."""
    world = World()
    world.follow("web", "app")
    world.follow("api", "web")
    for admin in (Admin.DRAIN, Admin.MAINT):
        world.finds(Result(True, "L7OK", admin=admin))
        assert world.usable == []
        api = world.pools[2].servers[0]
        assert api.health.inForce == admin and api.health.admin == Admin.READY
        assert api.recallable == (admin == Admin.DRAIN)
    world.finds(Result(True, "L7OK", admin=Admin.READY))
    assert world.usable == ["app", "web", "api"]


def test_upAndOutOfServiceAtOnce():
    """Those that follow are told of both."""
    world = World()
    world.follow("web", "app")
    world.finds(FAILS)
    world.finds(Result(True, "L7OK", admin=Admin.DRAIN))
    assert [one[:2] for one in world.said[2:]] == [
        ("app", "drain"), ("app", "up"), ("web", "up"), ("web", "drain"),
    ]  # fmt: skip


def test_howeverManyFollowTheirPoolIsToldOnce():
    """It looks at all of its servers each time."""
    world = World()
    app, web, _ = world.pools
    web.setServers(makeServers(*[1] * 9))
    for server in web.servers:
        world.monitor.follow(web, server, app.servers[0])
    changed, usable = [], []
    web.serversChanged = lambda: changed.append(web.name)
    world.told.healthChanged = lambda event: usable.append((event.what, event.active))
    for result in (FAILS, PASSES, Result(True, "L7OK", admin=Admin.DRAIN)):
        world.finds(result)
    assert changed == ["web"] * 3
    assert usable == [
        ("down", 0), *[("down", 0)] * 9, ("up", 1), *[("up", 9)] * 9,
        ("drain", 0), *[("drain", 0)] * 9,
    ]  # fmt: skip


def test_byAnAdministrator():
    """He may take out of service one that is followed, or one that follows, alone."""
    world = World()
    world.follow("web", "app")
    app, web, _ = (pool.servers[0] for pool in world.pools)
    for server, usable in ((app, ["api"]), (web, ["app", "api"])):
        server.health.admin = Admin.MAINT
        world.monitor.administered({app: world.pools[0], web: world.pools[1]}[server], server)
        assert world.usable == usable
        server.health.admin = Admin.READY
        world.monitor.administered(world.pools[0], app)
    web.health.admin = Admin.MAINT
    app.health.admin = Admin.DRAIN
    assert web.health.inForce == Admin.MAINT, "its own is the stronger"


def test_weightAndRoleAreNotFollowed():
    world = World()
    world.follow("web", "app")
    world.finds(Result(True, "L7OK", weight=0, role="primary"))
    web = world.pools[1].servers[0]
    assert (web.weight, web.role, world.usable) == (1, "", ["web", "api"])


def test_aFollowerThatGoes():
    world = World()
    world.follow("web", "app")
    world.monitor.forget(world.pools[1].servers[0])
    world.finds(FAILS)
    assert world.usable == ["web", "api"]
    assert [one[0] for one in world.said] == ["app"]


def test_howManyInARow():
    """Each is as the next says: who could follow without end would meet the end of the stack."""
    text = "[frontend www]\nbind = :80\npool = app\n[pool app]\ncheck = tcp\nserver s0 = h:1"
    lines = [f"server s{i} = h:1 track=s{i - 1}" for i in range(1, 18)]
    loadText("\n".join([text, *lines[:15]]), installed())
    with pytest.raises(ConfigError) as caught:
        loadText("\n".join([text, *lines]), installed())
    assert [str(one) for one in caught.value.problems] == [
        f"lb.ini:{line}:14: error: [pool app] server {name}: track: more than 16 in a row: "
        f"app/{name} -> app/{then} and so on; track the last"
        for line, name, then in ((22, "s16", "s15"), (23, "s17", "s16"))
    ]


# Roles.


def test_aServerHasTheRoleThatItsCheckSays():
    """Its pool is told, because who wants the role may be waiting."""
    world = World()
    server = world.pools[0].servers[0]
    changes = []
    world.pools[0].serversChanged = lambda: changes.append(server.role)
    world.finds(Result(True, "L7OK", "it is", role="standby"))
    world.finds(Result(True, "L7OK", "it is", role="primary"))
    world.finds(Result(True, "L7OK", "it is", role="primary"))
    world.finds(PASSES)
    world.finds(Result(True, "L7OK", "it is", role=""))
    assert changes == ["standby", "primary", ""], "what is not said stays"
    assert world.said == [("app", "role", "L7OK it is")] * 3


def test_aRoleAndUpAtOnce():
    world = World()
    server = world.pools[0].servers[0]
    world.finds(FAILS)
    world.finds(Result(True, "L7OK", role="primary"))
    assert (server.role, server.health.up) == ("primary", True)
    assert [one[1] for one in world.said] == ["down", "role", "up"]


def test_wordsForRoles():
    for word, role in (
        ("Primary", "primary"), ("db_1.west-2", "db_1.west-2"), ("a" * 32, "a" * 32),
        ("a" * 33, None), ("", None), ("a b", None), ("-a", None), ("\xe4", None), ("a\n", None),
    ):  # fmt: skip
        assert roleOf(word) == role
