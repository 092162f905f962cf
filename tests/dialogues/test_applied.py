"""
A configuration that takes the place of another while it runs: what stays the same stays, what
runs goes on, what comes next finds what is new.
"""

import gc
import os
import socket
from weakref import ref

import pytest
from spoken import GET, OK, request
from twisted.internet.defer import Deferred

from lbtwist.discovery import Answer, Resolver
from lbtwist.errors import ConfigError, StartError
from lbtwist.health import Result
from lbtwist.server import Endpoint
from lbtwist.testing import Balancer

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
HEAD = rb"GET / HTTP/1.1\r\n.*\r\n\r\n"


def text(*servers, frontend="", pool="", more="", settings="", mode="http"):
    """
    A configuration with a frontend C{www} and a pool C{app}; a server is its name and options.
    """
    lines = []
    for server in servers or ("a",):
        name, _, options = server.partition(" ")
        lines.append(f"server {name} = ${{{name}}} {options}")
    return "\n".join([
        "[global]", settings, "[frontend www]", "bind = ${bind}", f"mode = {mode}", "pool = app",
        "log = ${log} format=auto", frontend, "[pool app]", pool, *lines, more,
    ])  # fmt: skip


def begun(*servers, **more):
    return Balancer(text(*servers, **more), *"abcd")


def answers(client, server, seen=HEAD, head=GET, said=OK):
    """A client asks, a server that has its connection already answers."""
    client.sends(head)
    server.receives(seen)
    server.sends(said)
    return client.receives(rb"HTTP/1.1 .*hi")[0]


def first(balancer, name="a", **more):
    """A client whose first request goes to this server. @return: both ends."""
    client = balancer.client()
    client.sends(GET)
    server = balancer.server(name).accepts()
    server.receives(HEAD)
    server.sends(OK)
    client.receives(rb"HTTP/1.1 .*hi")
    return client, server


def running(balancer):
    """Every object of which a connection, a counter or a client's memory could depend."""
    pool, frontend = balancer.running.pool("app"), balancer.running.frontend("www")
    return [
        pool, pool.traffic, pool.balancer, pool.persistence, pool.reuse, *pool.servers,
        *(one.health for one in pool.servers), frontend, frontend.inbound, frontend.inbound.shared,
        *frontend.inbound.listeners,
    ]  # fmt: skip


class TestNothing:
    def test_theSameChangesNoObject(self):
        with begun("a", "b") as balancer:
            before = running(balancer)
            found = balancer.becomes(text("a", "b"))
            assert found.empty
            assert all(x is y for x, y in zip(before, running(balancer), strict=True))

    def test_aBadOneChangesNothing(self):
        with begun("a", "b") as balancer:
            before, config = running(balancer), balancer.running.config
            with pytest.raises(ConfigError):
                balancer.becomes(text("a", pool="balance = lestconn"))
            assert all(x is y for x, y in zip(before, running(balancer), strict=True))
            assert balancer.running.config is config

    def test_whatCannotBeOpenedChangesNothing(self, tmp_path):
        with begun("a", "b") as balancer:
            before, config = running(balancer), balancer.running.config
            more = "[frontend new]\npool = fresh\nbind =\n    ${bind}2\n"
            more += f"    unix:{tmp_path}/no/x\n"
            more += "[pool fresh]\nserver c = ${c}\n"
            with pytest.raises(StartError, match="cannot listen"):
                balancer.becomes(text("a", "c", frontend="maxconn = 7", more=more))
            assert all(x is y for x, y in zip(before, running(balancer), strict=True))
            assert balancer.running.config is config
            assert list(balancer.running.pools) == ["app"]
            assert len(balancer.running.process.frontends) == 1
            # Nor is a socket of it left behind.
            balancer.becomes(text("a", "b", more=more.replace(f"unix:{tmp_path}/no/x", "${bind}3")))
            assert len(balancer.running.frontend("new").inbound.listeners) == 2

    def test_nobodyRuns(self):
        with begun() as balancer:
            running = balancer.running
        with pytest.raises(StartError, match="does not run"):
            running.apply(running.config)


class TestServers:
    def test_oneIsAdded(self):
        with begun("a") as balancer:
            client, a = first(balancer)
            found = balancer.becomes(text("a", "b"))
            assert "b" in str(found.lines)
            client.sends(GET)
            b = balancer.server("b").accepts()
            b.receives(HEAD)
            b.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            answers(client, a)

    def test_oneThatIsIdleIsRemoved(self):
        with begun("a", "b") as balancer:
            client, a = first(balancer)
            balancer.becomes(text("b"))
            a.isEnded()
            client.sends(GET)
            b = balancer.server("b").accepts()
            b.receives(HEAD)
            b.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            balancer.advance(1.1)
            assert [one.name for one in balancer.running.pool("app").servers] == ["b"]

    def test_oneThatIsBusyEndsWhatItHas(self):
        with begun("a", "b") as balancer:
            client = balancer.client()
            client.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(HEAD)
            balancer.becomes(text("b"))
            balancer.advance(5)
            assert {one.name for one in balancer.running.pool("app").servers} == {"a", "b"}
            a.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            balancer.advance(1.1)
            a.isEnded()
            assert [one.name for one in balancer.running.pool("app").servers] == ["b"]

    def test_oneThatIsBusyComesBack(self):
        with begun("a", "b") as balancer:
            server = balancer.running.pool("app").find("a")
            client = balancer.client()
            client.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(HEAD)
            balancer.becomes(text("b"))
            balancer.becomes(text("b", "a weight=7"))
            assert balancer.running.pool("app").find("a") is server
            assert (server.leaving, server.weight) == (False, 7)
            a.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            balancer.advance(1.1)
            assert len(balancer.running.pool("app").servers) == 2

    def test_weightAndLimitOfTheSameServer(self):
        with begun("a", "b") as balancer:
            server = balancer.running.pool("app").find("a")
            balancer.becomes(text("a weight=9 maxconn=3 backup", "b"))
            assert balancer.running.pool("app").find("a") is server
            assert (server.weight, server.maxconn, server.backup) == (9, 3, True)

    def test_whatAnAdministratorHasSaidStays(self):
        with begun("a", "b") as balancer:
            pool = balancer.running.pool("app")
            administration = balancer.running.administration
            administration.setWeight(pool, pool.find("a"), 50)
            administration.setState(pool, pool.find("b"), "maint")
            balancer.becomes(text("a", "b", pool="balance = leastconn"))
            assert pool.find("a").weight == 50
            assert pool.find("b").health.admin == "maint"

    def test_anotherAddressIsTheSameServer(self):
        with begun("a", "b") as balancer:
            client, a = first(balancer)
            server = balancer.running.pool("app").find("a")
            balancer.becomes(text("a", "b").replace("server a = ${a}", "server a = ${c}"))
            assert balancer.running.pool("app").find("a") is server
            a.isEnded()
            for name in ("b", "c"):
                client.sends(GET)
                peer = balancer.server(name).accepts()
                peer.receives(HEAD)
                peer.sends(OK)
                client.receives(rb"HTTP/1.1 .*hi")

    def test_healthGoesOn(self):
        check = "check = tcp interval=1s fall=1 rise=2"
        with begun("a", "b", pool=check) as balancer:
            balancer.server("a").stop()
            balancer.advance(3)
            server = balancer.running.pool("app").find("a")
            assert not server.health.up
            balancer.becomes(text("a weight=3", "b", pool=check.replace("1s", "2s")))
            assert not server.health.up
            checks = server.traffic.checks
            balancer.advance(3)
            assert server.traffic.checks > checks

    def test_whoIsNoMoreCheckedIsUp(self):
        check = "check = tcp interval=1s fall=1 rise=2"
        with begun("a", "b", pool=check) as balancer:
            balancer.server("a").stop()
            balancer.advance(3)
            server = balancer.running.pool("app").find("a")
            assert not server.health.up
            balancer.becomes(text("a", "b"))
            assert server.health.up

    def test_oneTracksAnother(self):
        more = "[pool other]\nserver c = ${c} track=app/a\n"
        check = "check = tcp interval=1s fall=1 rise=2"
        with begun("a", "b", pool=check) as balancer:
            balancer.becomes(text("a", "b", pool=check, more=more))
            balancer.server("a").stop()
            balancer.advance(3)
            assert not balancer.running.pool("other").find("c").health.up
            balancer.becomes(text("b", pool=check, more=more.replace("app/a", "app/b")))
            assert balancer.running.pool("other").find("c").health.up


    def test_disabledIsWhatTheFileSaysAnew(self):
        with begun("a", "b", "c disabled") as balancer:
            pool = balancer.running.pool("app")
            balancer.running.administration.setState(pool, pool.find("b"), "drain")
            balancer.becomes(text("a disabled", "b weight=7", "c"))
            assert [one.health.admin for one in pool.servers] == ["maint", "drain", "ready"]
            assert [one.name for one in pool.usable] == ["c"]

    @pytest.mark.parametrize("after", [
        "", "check = tcp interval=9s", "check = http GET / interval=1s",
    ])  # fmt: skip
    def test_whatACheckHasSaidCountsAsLongAsItIsAsked(self, after):
        check = "check = tcp interval=1s"
        with begun("a", "b maxconn=9", pool=check) as balancer:
            monitor = balancer.running._monitor
            server = balancer.running.pool("app").find("b")
            result = Result(True, "L7OK", weight=10, admin="drain", maxconn=3, role="primary")
            monitor._told(result, monitor._watched[server], monitor._watched[server].running)
            said = server.capacity.percent, server.maxconn, server.health.admin, server.role
            assert said == (10, 3, "drain", "primary")
            balancer.becomes(text("a", "b maxconn=9", pool=after))
            now = server.capacity.percent, server.maxconn, server.health.admin, server.role
            assert now == (said if "tcp" in after else (100, 9, "ready", ""))

    def test_anAdministratorHasStoppedItsChecks(self):
        check = "check = tcp interval=1s"
        with begun("a", "b", pool=check) as balancer:
            administration = balancer.running.administration
            server = balancer.running.pool("app").find("a")
            administration.setChecking(server, False)
            balancer.becomes(text("a", "b", pool=check.replace("1s", "2s")))
            assert administration.isChecked(server) is False

    @pytest.mark.parametrize("first", [True, False])
    def test_oneTracksAnotherThatIsAsNew(self, first):
        check = "check = tcp interval=1s fall=1"
        with begun("a", pool=check) as balancer:
            after = text("a track=b", "b", pool=check)
            other = "[pool other]\nserver c = ${c} track=app/a\n"
            at = after.index("[pool app]") if first else len(after)
            balancer.becomes(f"{after[:at]}\n{other}{after[at:]}")
            servers = [balancer.running.pool("app").find("a"),
                       balancer.running.pool("other").find("c")]
            assert all(one.health.up for one in servers)
            balancer.server("b").stop()
            balancer.advance(3)
            assert not any(one.health.up for one in servers)

    def test_whoIsNotTrackedAnyMoreIsForgotten(self):
        check, more = "check = tcp interval=1s", "[pool other]\nserver c = ${c} track=app/NAME\n"
        with begun("a", "b", pool=check, more=more.replace("NAME", "a")) as balancer:
            balancer.becomes(text("b", pool=check, more=more.replace("NAME", "b")))
            assert list(balancer.running._monitor._followers) == [
                balancer.running.pool("app").find("b")
            ]

    @pytest.mark.parametrize("after", ["send-proxy=v2", "send-proxy"])
    @pytest.mark.parametrize("before", ["", "send-proxy"])
    @pytest.mark.parametrize("busy", [True, False])
    def test_whatIsSpokenIsAnother(self, before, after, busy):
        with begun(f"a {before}") as balancer:
            client = balancer.client()
            client.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(b"(PROXY.*\r\n)?" + HEAD)
            if busy:
                balancer.becomes(text(f"a {after}"))
            a.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            if not busy:
                balancer.becomes(text(f"a {after}"))
            client.sends(GET)
            if before == after:
                a.receives(HEAD)
            else:
                # What stands was begun otherwise, whose alone it may be.
                a.isEnded()
                balancer.server("a").accepts().receives(rb".*GET / .*")

    def test_oneThatASourceNamesAgainIsWhatTheFileSaysNow(self, tmp_path):
        listed = tmp_path / "list"

        def config(options):
            return text("b").replace(
                "server b = ${b}", f"servers web = file:{listed} interval=1s {options}"
            )

        listed.write_text("127.0.0.9:81\n")
        with Balancer(config(""), "a", "b") as balancer:
            both = "".join(f"unix:{balancer.server(name).path}\n" for name in "ab")
            listed.write_text(both)
            balancer.advance(2.5)
            pool = balancer.running.pool("app")
            client = balancer.client()
            client.sends(UPGRADE)
            a = balancer.server("a").accepts()
            a.receives(rb"GET /ws .*")
            a.sends(UPGRADED)
            client.receives(rb"HTTP/1.1 101 .*")
            [server] = [one for one in pool.servers if one.active]
            listed.write_text(both.splitlines(True)[1])
            balancer.advance(2)
            assert server.leaving
            balancer.becomes(config("maxconn=7 send-proxy"))
            listed.write_text(both)
            balancer.advance(2)
            assert (server.leaving, server.maxconn, server.proxy is None) == (False, 7, False)
            client.closes()
            a.closes()

    def test_theNameOfOneInAPoolThatHasGone(self, monkeypatch):
        asked = Deferred()
        monkeypatch.setattr(Resolver, "lookup", lambda self, host: asked)
        more = "[pool chat]\nserver c = name.test:80\n"
        rule = "request =\n    pool chat if path == '/chat'\n"
        with begun("a", frontend=rule, more=more) as balancer:
            pool = balancer.running.pool("chat")
            server = pool.find("c")
            server.endpoint = Endpoint(socket.AF_UNIX, balancer.server("c").path)
            pool.serversChanged()
            client = balancer.client()
            client.sends(request("/chat"))
            c = balancer.server("c").accepts()
            balancer.becomes(text("a"))
            # It is found elsewhere while it is at work yet.
            asked.callback(Answer(("127.0.0.9",), 60.0))
            assert str(server.endpoint) == "127.0.0.9:80"
            c.receives(rb"GET /chat .*")
            c.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            c.isEnded()

    def test_oneComesUpSlowlyNoMore(self):
        with begun("a", pool="slowstart = 9s") as balancer:
            balancer.becomes(text("a", "b", "c", pool="slowstart = 9s"))
            b, c = map(balancer.running.pool("app").find, "bc")
            assert b.weight < 1
            balancer.becomes(text("a", "b", "c slowstart=20s"))
            assert b.weight == 1
            # It goes on as it has begun.
            balancer.advance(9.1)
            assert c.weight == 1

    def test_anAttemptIsMadeAgainWhenTheNameIsNotKnownYet(self):
        with begun("a", pool="retries = 2") as balancer:
            balancer.server("a").stop()
            client = balancer.client()
            client.sends(GET)
            after = text("a", pool="retries = 2").replace("${a}", "nowhere.invalid:80")
            balancer.becomes(after)
            balancer.advance(5)
            client.receives(rb"HTTP/1.1 503 .*")
            assert not balancer.running.pool("app").active

    def test_demonstrationsEnd(self, monkeypatch):
        started = []

        class Demo:
            def __init__(self, name):
                self.name = name

            def start(self, reactor):
                started.append(self)
                return Endpoint(socket.AF_UNIX, self.name)

            def stop(self):
                started.remove(self)

        monkeypatch.setattr("lbtwist.building.DemoServer", Demo)
        monkeypatch.setattr("lbtwist.readying.DemoServer", Demo)
        demo = text("a").replace("${a}", "demo:x")
        with Balancer(demo, "a") as balancer:
            for config in (text("a"), demo, demo.replace("demo:x", "demo:y"), text("a")):
                balancer.becomes(config)
                said = "y" if "demo:y" in config else "x"
                assert [one.name for one in started] == ([said] if "demo" in config else [])


class TestPools:
    def test_aClientThatWaitsIsServed(self):
        with begun("a maxconn=1") as balancer:
            one, two = balancer.client(), balancer.client()
            one.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(HEAD)
            two.sends(GET)
            balancer.becomes(text("a maxconn=2"))
            again = balancer.server("a").accepts()
            again.receives(HEAD)
            again.sends(OK)
            two.receives(rb"HTTP/1.1 .*hi")
            a.sends(OK)
            one.receives(rb"HTTP/1.1 .*hi")

    def test_limitsOfAPoolCountAtOnce(self):
        with begun("a maxconn=1", "b maxconn=1") as balancer:
            pool = balancer.running.pool("app")
            for _ in range(4):
                balancer.client().sends(GET)
            balancer.becomes(text("a maxconn=9", "b maxconn=9", pool="maxconn = 2"))
            assert (pool.active, pool.queued, pool.limited) == (2, 2, True)
            balancer.becomes(text("a maxconn=9", "b maxconn=9", pool="maxconn = 3"))
            assert (pool.active, pool.queued, pool.limited) == (3, 1, True)

    def test_aClientThatWaitsTakesANewServer(self):
        with begun("a maxconn=1", pool="queue = fair(src)") as balancer:
            one, two = balancer.client(), balancer.client()
            one.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(HEAD)
            two.sends(GET)
            balancer.becomes(text("a maxconn=1", "b", pool="balance = leastconn"))
            b = balancer.server("b").accepts()
            b.receives(HEAD)
            b.sends(OK)
            two.receives(rb"HTTP/1.1 .*hi")
            a.sends(OK)
            one.receives(rb"HTTP/1.1 .*hi")

    def test_persistenceComesAndGoes(self):
        cookie = "persist = cookie SRV insert plain"
        with begun("a", "b") as balancer:
            early = balancer.client()
            early.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(HEAD)
            balancer.becomes(text("a", "b", pool=cookie))
            a.sends(OK)
            assert b"Set-Cookie" not in early.receives(rb"HTTP/1.1 .*hi")[0]
            early.sends(GET)
            b = balancer.server("b").accepts()
            b.receives(HEAD)
            balancer.becomes(text("a", "b"))
            b.sends(OK)
            early.receives(rb"HTTP/1.1 .*hi")

    def test_whatIsKnownOfClientsStays(self):
        with begun("a", "b", "c", pool="persist = source") as balancer:
            client, a = first(balancer)
            balancer.becomes(text("a", "b", "c", pool="persist = source\nbalance = leastconn"))
            answers(client, a)
            balancer.becomes(text("a", "b", "c", pool="persist = cookie S insert, source"))
            answers(client, a)

    def test_whatIsKnownOfClientsStaysInAStoreOfAnotherSize(self):
        known = "persist = source\npersist-store = memory"
        with begun("a", "b", "c", pool=f"{known} size=10") as balancer:
            client, a = first(balancer)
            store = balancer.running.pool("app").persistence.store
            balancer.becomes(text("a", "b", "c", pool=f"{known} size=20"))
            assert balancer.running.pool("app").persistence.store is store
            assert store.most == 20
            answers(client, a)
            # One that cannot be put in place changes nothing.
            bad = "[frontend bad]\nbind = unix:/nowhere/at/all\npool = app\n"
            with pytest.raises(StartError):
                balancer.becomes(text("a", "b", "c", pool=f"{known} size=30", more=bad))
            assert store.most == 20

    def test_otherTimeoutsForConnectionsThatAreKept(self):
        with begun("a", pool="timeout-server = 50s") as balancer:
            client, a = first(balancer)
            balancer.becomes(text("a", pool="timeout-server = 2s"))
            a.isEnded()
            client.sends(GET)
            balancer.server("a").accepts().receives(HEAD)
            balancer.advance(2.5)
            client.receives(rb"HTTP/1.1 504 .*")

    def test_onesComeAndGo(self):
        more = "[pool chat]\nserver c = ${c}\n"
        rule = "request =\n    pool chat if path == '/chat'\n"
        with begun("a") as balancer:
            client, a = first(balancer)
            balancer.becomes(text("a", frontend=rule, more=more))
            assert list(balancer.running.pools) == ["app", "chat"]
            client.sends(request("/chat"))
            c = balancer.server("c").accepts()
            c.receives(rb"GET /chat .*")
            balancer.becomes(text("a"))
            assert list(balancer.running.pools) == ["app"]
            balancer.advance(5)
            c.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            balancer.advance(1.1)
            c.isEnded()
            assert not balancer.running.roster.retired
            answers(client, a)

    def test_whoWaitsForAPoolThatGoesIsServed(self):
        more = "[pool chat]\nserver c = ${c} maxconn=1\n"
        rule = "request =\n    pool chat if path == '/chat'\n"
        with begun("a", frontend=rule, more=more) as balancer:
            one, two = balancer.client(), balancer.client()
            for client in (one, two):
                client.sends(request("/chat"))
            c = balancer.server("c").accepts()
            c.receives(rb"GET /chat .*")
            balancer.becomes(text("a"))
            balancer.advance(3)
            c.sends(OK)
            one.receives(rb"HTTP/1.1 .*hi")
            c = balancer.server("c").accepts()
            c.receives(rb"GET /chat .*")
            c.sends(OK)
            two.receives(rb"HTTP/1.1 .*hi")


class TestFrontends:
    def test_anotherRuleForTheNextRequest(self):
        with begun("a") as balancer:
            client, a = first(balancer)
            balancer.becomes(text("a", frontend="request =\n    deny if path == '/'\n"))
            client.sends(GET)
            client.receives(rb"HTTP/1.1 403 .*")

    @pytest.mark.parametrize("owner", ["frontend", "pool"])
    def test_whatIsUnderWayEndsAsItHasBegun(self, owner):
        rule = "response =\n    set-header X-Was {path}\n"
        with begun("a", **{owner: rule}) as balancer:
            client = balancer.client()
            client.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(HEAD)
            balancer.becomes(text("a", **{owner: rule.replace("Was", "Is")}))
            a.sends(OK)
            assert b"X-Was: /" in client.receives(rb"HTTP/1.1 .*hi")[0]
            assert b"X-Is: /" in answers(client, a)

    def test_headsInPieces(self):
        with begun("a") as balancer:
            client, a = first(balancer)
            client.sends(GET[:9])
            balancer.becomes(text("a", frontend="request =\n    set-header X-New yes\n"))
            client.sends(GET[9:])
            assert b"X-New: yes" in a.receives(HEAD)[0]
            a.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")

    def test_whatRulesHaveCountedGoesOn(self):
        rule = "request =\n    limit rate=2/1m\n"
        with begun("a", frontend=rule) as balancer:
            client, a = first(balancer)
            answers(client, a)
            balancer.becomes(
                text("a", frontend=f"timeout-client = 9s\n{rule}    set-header X-New yes\n")
            )
            client.sends(GET)
            client.receives(rb"HTTP/1.1 429 .*")

    def test_filesOfRulesAreReadAgain(self, tmp_path):
        names = tmp_path / "names"
        names.write_text("nobody\n")
        rule = f"request =\n    deny if host in one_of('{names}')\n"
        with begun("a", frontend=rule) as balancer:
            client, a = first(balancer)
            names.write_text("h\n")
            answers(client, a)
            balancer.becomes(text("a", frontend=rule))
            client.sends(GET)
            client.receives(rb"HTTP/1.1 403 .*")

    def test_webSocketsLiveOn(self):
        with begun("a", "b") as balancer:
            client = balancer.client()
            client.sends(UPGRADE)
            a = balancer.server("a").accepts()
            a.receives(rb"GET /ws .*\r\n\r\n")
            a.sends(UPGRADED)
            client.receives(rb"HTTP/1.1 101 .*")
            balancer.becomes(text("b", frontend="maxconn = 9", pool="balance = random"))
            balancer.advance(20)
            client.sends(b"ping")
            a.receives(rb"ping")
            a.sends(b"pong")
            client.receives(rb"pong")
            client.closes()
            a.closes()
            balancer.advance(1.1)
            assert [one.name for one in balancer.running.pool("app").servers] == ["b"]

    def test_oneComesAndGoes(self):
        more = "[frontend new]\nbind = ${bind}2\npool = app\n"
        with begun("a") as balancer:
            balancer.becomes(text("a", more=more))
            client = balancer.connects("2")
            client.sends(GET)
            a = balancer.server("a").accepts()
            a.receives(HEAD)
            balancer.becomes(text("a"))
            with pytest.raises(OSError):
                balancer.connects("2")
            assert list(balancer.running.frontends) == ["www"]
            a.sends(OK)
            assert b"Connection: close" in client.receives(rb"HTTP/1.1 .*hi")[0]
            client.isEnded()
            assert not balancer.running.retired
            assert len(balancer.running.process.frontends) == 1
            # What came by it is not forgotten.
            assert balancer.running.pool("app").find("a").traffic.routes.keys() == {""}

    def test_tunnelsOfOneThatGoesLiveOn(self):
        more = "[frontend new]\nbind = ${bind}2\npool = app\n"
        with begun("a", more=more) as balancer:
            client, idle, fresh = (balancer.client(frontend="new") for _ in range(3))
            client.sends(UPGRADE)
            a = balancer.server("a").accepts()
            a.receives(rb"GET /ws .*\r\n\r\n")
            a.sends(UPGRADED)
            client.receives(rb"HTTP/1.1 101 .*")
            idle.sends(GET)
            other = balancer.server("a").accepts()
            other.receives(HEAD)
            other.sends(OK)
            idle.receives(rb"HTTP/1.1 .*hi")
            balancer.becomes(text("a"))
            client.sends(b"ping")
            a.receives(b"ping")
            # Who had come, and had not asked yet, is served.
            fresh.sends(GET)
            server = balancer.server("a").accepts()
            server.receives(HEAD)
            server.sends(OK)
            fresh.receives(rb"HTTP/1.1 .*hi")
            fresh.isEnded()
            # Who asks for nothing more is let go.
            balancer.advance(1.1)
            idle.isEnded()
            assert len(balancer.running.retired) == 1
            client.closes()
            a.closes()
            assert not balancer.running.retired

    def test_aSocketMovesToAnotherFrontend(self):
        more = "[frontend new]\nbind = ${bind}\npool = app\nrequest =\n    deny\n"
        with begun("a") as balancer:
            listener = balancer.running.frontend("www").inbound.listeners[0]
            config = text("a").replace("bind = ${bind}", "bind = ${bind}2")
            balancer.becomes(config + more)
            assert balancer.running.frontend("new").inbound.listeners == [listener]
            client = balancer.connects()
            client.sends(GET)
            client.receives(rb"HTTP/1.1 403 .*")

    def test_theLongestConnectionKeepsNoConfigurationBetween(self):
        with begun("a") as balancer:
            client, a = first(balancer)
            between = []
            for seconds in range(40, 50):
                balancer.becomes(text("a", frontend=f"timeout-client = {seconds}s"))
                between.append(ref(balancer.running.frontend("www").inbound.shared))
            gc.collect()
            assert [one() is None for one in between] == [True] * 9 + [False]
            answers(client, a)

    def test_modeChangesAndBack(self):
        with begun("a") as balancer:
            client, a = first(balancer)
            balancer.becomes(text("a", mode="tcp"))
            balancer.becomes(text("a", frontend="request =\n    deny\n"))
            client.sends(GET)
            client.receives(rb"HTTP/1.1 403 .*")

    def test_anotherOfTheSameNameIsCountedApart(self):
        more = "[frontend new]\nbind = ${bind}2\npool = app\n"
        with begun("a", more=more) as balancer:
            client = balancer.client(frontend="new")
            client.sends(GET)
            a = balancer.server("a").accepts()
            balancer.becomes(text("a"))
            balancer.becomes(text("a", more=more))
            routes = balancer.running.pool("app").find("a").traffic.routes
            a.receives(HEAD)
            a.sends(OK)
            client.receives(rb"HTTP/1.1 .*hi")
            assert not balancer.running.retired
            assert list(routes) == ["new"]

    def test_modeChanges(self):
        with begun("a") as balancer:
            client, a = first(balancer)
            balancer.becomes(text("a", mode="tcp"))
            answers(client, a)
            raw = balancer.client()
            raw.sends(b"hello")
            server = balancer.server("a").accepts()
            server.receives(rb"hello")

    def test_pausedStaysPaused(self):
        with begun("a") as balancer:
            frontend = balancer.running.frontend("www")
            frontend.pause()
            balancer.becomes(text("a", frontend="timeout-client = 5s"))
            assert frontend.paused
            assert all(one.isShut for one in frontend.inbound.listeners)

    def test_limits(self):
        with begun("a", settings="maxconn = 100", frontend="maxconn = 50") as balancer:
            inbound, process = balancer.running.frontend("www").inbound, balancer.running.process
            balancer.becomes(text("a", settings="maxconn = 90", frontend="maxconn = 40"))
            assert (process.maxconn, inbound.maxconn) == (90, 40)
            inbound.maxconn = 7
            balancer.becomes(text("a", settings="maxconn = 80", frontend="maxconn = 40"))
            assert (process.maxconn, inbound.maxconn) == (80, 7)


class TestSockets:
    def test_otherOptionsOfTheSameAddress(self):
        port = free()
        before = text("a").replace("bind = ${bind}", f"bind = 127.0.0.1:{port}")
        with Balancer(before, "a") as balancer:
            waiting = socket.create_connection(("127.0.0.1", port))
            balancer.becomes(before.replace(f":{port}", f":{port} freebind"))
            after = socket.create_connection(("127.0.0.1", port))
            balancer.pump.turn()
            assert balancer.running.frontend("www").inbound.active == 2
            waiting.close()
            after.close()
            balancer.pump.turn()

    def test_logs(self, tmp_path):
        with begun("a") as balancer:
            first(balancer)
            before = balancer.lines
            config = text("a").replace("log = ${log}", f"log = file:{tmp_path}/new")
            balancer.becomes(config)
            first(balancer)
            balancer.advance(0.3)
            assert (tmp_path / "new").read_text().count("\n") == 1
            assert balancer.lines == before
            assert f"{tmp_path}/new" in open_files()
            balancer.becomes(text("a"))
            assert f"{tmp_path}/new" not in open_files()

    def test_administratorsComeInElsewhere(self):
        with begun("a", settings="admin = ${admin}") as balancer:
            assert balancer.asks("show version")
            balancer.becomes(text("a", settings="admin = ${admin} level=user, ${admin}2"))
            assert "ermission" in balancer.asks("disable server app/a")
            assert len(balancer.running.doors) == 2
            balancer.becomes(text("a"))
            assert balancer.running.doors == ()

    def test_administratorsAreNotLockedOut(self):
        """What can be known is asked before; whatever else fails, they come in as before."""
        port = free()
        web = f"admin = ${{admin}}, web:127.0.0.1:{port}"
        with begun("a", settings=web) as balancer:
            with pytest.raises(StartError, match="/nowhere cannot be read"):
                balancer.becomes(text("a", settings=f"{web} tokens=/nowhere"))
            assert balancer.asks("show version")
            socket.create_connection(("127.0.0.1", port)).close()
            other = web.replace("{admin}", "{admin} group=no-such-group")
            balancer.becomes(text("a", settings=other))
            assert balancer.asks("show version")
            balancer.becomes(text("a"))
            assert balancer.running.doors == ()


def free():
    with socket.socket() as skt:
        skt.bind(("127.0.0.1", 0))
        return skt.getsockname()[1]


def open_files():
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return found
