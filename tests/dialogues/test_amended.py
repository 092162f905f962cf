"""
An administrator adds servers, pools, frontends and whole sections to a balancer that runs, and
takes them away: what is there already goes on.
"""

from contextlib import suppress
from types import SimpleNamespace

import attr
import pytest
from spoken import GET, OK, request, toldOf

from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}, ${admin}.watch level=operator

[defaults]
timeout-server = 7s

[conditions]
private = path.startswith("/private")

[tcp quick]
keepalive = 9s

[frontend www]
bind = ${bind}
pool = app
request =
    pool chat if path == "/chat"

[pool app]
balance = leastconn
server a = ${a} maxconn=5

[pool chat]
server c = ${c}
"""


@pytest.fixture
def balancer(threads):
    with Balancer(CONFIG, *"abcd") as balancer:
        yield balancer


def at(balancer, name):
    """@return: the address of a server, as it is written."""
    return f"unix:{balancer.server(name).path}"


def servers(balancer, pool="app"):
    return [one.name for one in balancer.running.pool(pool).servers]


def served(balancer, client, name, head=GET):
    client.sends(head)
    server = balancer.server(name).accepts()
    server.receives(rb".*\r\n\r\n")
    server.sends(OK)
    client.receives(rb"HTTP/1.1 .*hi")
    return server


class TestServers:
    def test_addedAsToolsOfHAProxyDo(self, balancer):
        client = balancer.client()
        served(balancer, client, "a")
        said = balancer.asks(f"add server app/b {at(balancer, 'b')} weight 9 maxconn 3")
        assert said == "New server registered.\n"
        b = balancer.running.pool("app").find("b")
        assert (b.capacity.weight, b.capacity.maxconn, b.health.admin) == (9, 3, "maint")
        assert balancer.asks("enable server app/b; disable server app/a") == "\n"
        served(balancer, client, "b")
    def test_whatIsWrongChangesNothing(self, balancer):
        before = balancer.running.config
        b = at(balancer, "b")
        for command, said in {
            f"add server app/a {b}": "Already exists a server with the same name in backend.",
            f"add server nope/b {b}": "Can't find backend.",
            f"add server app/b {b} wieght 3": "did you mean 'weight'?",
            f"add server app/b {b} weight 300": "from 0 to 256 is accepted",
            f"add server app/b {b} weight": "'weight' expects a value.",
            f"add server app/b {b} inter 2s": "is said by the pool: check = in [pool app]",
            f"add server app/b {b} maxconn=1 maxconn 2": "'maxconn' is given twice",
            f"add server app/b {b} tcp=slow": "there is no [tcp slow]",
            f"add server app/b {b} track chat/c": "chat/c is not checked",
            "add server app/b 10.0.0.1": "has no port",
            "add server app/b": "'server' expects <name> and <addr>[:<port>]",
            "add server app": "Require 'backend/server'.",
            f"add server app/b\\ c {b}": "'b c'",
        }.items():
            assert said in balancer.asks(command), command
            assert balancer.running.config is before
            assert servers(balancer) == ["a"]

    def test_oneThatBeginsAtOnce(self, balancer):
        client = balancer.client()
        balancer.asks(f"disable server app/a; add server app/b {at(balancer, 'b')} enabled")
        served(balancer, client, "b")

    def test_whatIsSaidInQuotesInAFile(self, balancer):
        said = balancer.asks("add server app/b unix:/run/a\\ b;c weight=2")
        assert "Unknown command: 'c weight=2'" in said
        assert balancer.running.config.pools["app"].servers[1].path == "/run/a b"

    def test_namesOfTheRunningConfigurationAreKnown(self, balancer):
        balancer.asks("add server app/b 127.0.0.1:9 tcp quick ssl verify none sni str(b.example)")
        [_, b] = balancer.running.config.pools["app"].servers
        assert (b.tcp, b.tls, b.verify, b.sni) == ("quick", True, "none", "b.example")
        # Who names them is not forgotten when something else is added.
        assert balancer.asks("add server app/d 127.0.0.1:9") == "New server registered.\n"

    def test_whatIsThereIsNotReadAgain(self, balancer):
        before = balancer.running.config.pools["app"]
        balancer.asks("add server app/b 127.0.0.1:9")
        after = balancer.running.config.pools["app"]
        assert after.servers[0] is before.servers[0]
        assert after.balance is before.balance

    def test_deletedWhenNothingIsLeft(self, balancer):
        client = balancer.client()
        client.sends(GET)
        a = balancer.server("a").accepts()
        a.receives(rb"GET .*")
        assert "Only servers in maintenance mode can be deleted" in balancer.asks(
            "del server app/a"
        )
        balancer.asks(f"disable server app/a; add server app/b {at(balancer, 'b')} enabled")
        assert "still has connections attached" in balancer.asks("del server app/a")
        a.sends(OK)
        client.receives(rb"HTTP/1.1 .*hi")
        assert balancer.asks("del server app/a") == "Server deleted.\n"
        assert balancer.asks("del server app/a") == "No such server.\n"
        a.isEnded()
        served(balancer, client, "b")

    def test_deletedByForce(self, balancer):
        client = balancer.client()
        client.sends(GET)
        a = balancer.server("a").accepts()
        a.receives(rb"GET .*")
        assert balancer.asks("del server app/a force") == "Server deleted.\n"
        # It is there again, and in maintenance, though it works yet.
        assert balancer.asks(f"add server app/a {at(balancer, 'b')}") == "New server registered.\n"
        assert balancer.running.pool("app").find("a").health.admin == "maint"
        a.sends(OK)
        client.receives(rb"HTTP/1.1 .*hi")

    def test_oneThatIsThereAgainBeginsAsItIsTold(self, balancer):
        client = balancer.client()
        client.sends(GET)
        a = balancer.server("a").accepts()
        balancer.asks("disable server app/a; del server app/a force")
        said = balancer.asks(f"add server app/a {at(balancer, 'b')} enabled")
        assert said == "New server registered.\n"
        assert balancer.running.pool("app").find("a").health.admin == "ready"
        a.sends(OK)
        client.receives(rb"HTTP/1.1 .*hi")

    def test_oneThatIsTrackedStays(self, balancer):
        balancer.asks("add config <<\n[pool app]\ncheck = tcp\n[pool chat]\n"
                      f"server t = {at(balancer, 'd')} track=app/a\n")
        assert "[pool chat] server t: track: [pool app] has no server a" in balancer.asks(
            "del server app/a force"
        )
        assert servers(balancer) == ["a"]
        assert balancer.asks("del server chat/t force") == "Server deleted.\n"

    def test_oneOfASourceStays(self, balancer, tmp_path):
        (tmp_path / "list").write_text("10.0.0.9:80\n")
        balancer.asks(f"add config <<\n[pool app]\nservers web = file:{tmp_path}/list\n")
        balancer.advance(1)
        [name] = [name for name in servers(balancer) if name != "a"]
        said = balancer.asks(f"disable server app/{name}; del server app/{name}")
        assert "Its source says that it is there: servers web in [pool app]." in said

    def test_oneThatTheFileHasInMaintenance(self, balancer):
        balancer.becomes(CONFIG + "[pool more]\nserver d = ${d} disabled\n")
        server = balancer.running.pool("more").find("d")
        assert (server.health.admin, server.health.held) == ("maint", True)
        balancer.asks("enable server more/d")
        # What somebody has said of it since counts.
        balancer.becomes(CONFIG + "[pool more]\nserver d = ${d} disabled weight=2\n")
        assert server.health.admin == "ready"

    def test_theLastOneMayGo(self, balancer):
        client = balancer.client()
        assert balancer.asks("del server app/a force") == "Server deleted.\n"
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        balancer.asks(f"add server app/b {at(balancer, 'b')} enabled")
        served(balancer, balancer.client(), "b")

    def test_whoeverWaitsDoesNotGetToOneInMaintenance(self, balancer):
        balancer.asks("set server app/a maxconn 1")
        clients = [balancer.client(), balancer.client()]
        for client in clients:
            client.sends(GET)
        a = balancer.server("a").accepts()
        assert balancer.running.pool("app").queued == 1
        balancer.asks(f"add server app/b {at(balancer, 'b')}")
        assert balancer.running.pool("app").queued == 1
        balancer.asks("enable server app/b")
        assert balancer.running.pool("app").queued == 0
        balancer.server("b").accepts().sends(OK)
        a.sends(OK)
        for client in clients:
            client.receives(rb"HTTP/1.1 .*hi")


class TestPools:
    def test_oneComesAndGoes(self, balancer):
        said = balancer.asks("add pool fresh like app balance random timeout-server=3s")
        assert said == "New backend registered.\nwarning: [pool fresh] is used by no frontend\n"
        app, fresh = (balancer.running.config.pools[name] for name in ("app", "fresh"))
        assert (fresh.balance.name, fresh.timeout_server, fresh.servers) == ("random", 3.0, ())
        assert (app.balance.name, app.timeout_server) == ("leastconn", 7.0)
        assert "is there already" in balancer.asks("add pool fresh")
        assert "no option of a pool" in balancer.asks("add pool other server=x")
        assert "There is no pool 'nope' to be like." in balancer.asks("add pool other like nope")
        assert balancer.asks("del pool fresh") == "Backend deleted.\n"
        assert list(balancer.running.pools) == ["app", "chat"]
        assert balancer.asks("del pool fresh") == "No such backend.\n"

    def test_wordsOfHAProxy(self, balancer):
        assert "registered" in balancer.asks("add backend be from defaults mode tcp")
        assert balancer.running.config.pools["be"].mode == "tcp"
        assert balancer.asks("del backend be") == "Backend deleted.\n"

    def test_oneThatIsNamedStays(self, balancer):
        assert balancer.asks("del pool chat") == (
            "It is named yet, by lb.ini:18:10: [frontend www] request: pool.\n"
        )
        assert balancer.asks("del pool app") == (
            "It is named yet, by lb.ini:16:8: [frontend www] pool.\n"
        )

    def test_whatRunsGoesOn(self, balancer):
        balancer.asks("add config <<\n[frontend www]\npool = chat\n")
        client = balancer.client()
        balancer.asks("add pool new; add frontend two bind unix:/nowhere/x pool app")
        client.sends(GET)
        c = balancer.server("c").accepts()
        balancer.asks("add config <<\n[frontend www]\npool = app\nrequest =\n")
        assert balancer.asks("del pool chat") == "Backend deleted.\n"
        c.receives(rb"GET .*")
        c.sends(OK)
        client.receives(rb"HTTP/1.1 .*hi")


class TestFrontends:
    def test_oneComesAndGoes(self, balancer, tmp_path):
        client = balancer.client()
        said = balancer.asks(
            f"add frontend two like www bind unix:{tmp_path}/two request deny\\ if\\ private"
        )
        assert said == "New frontend registered.\n"
        other = balancer.client(frontend="two")
        other.sends(request("/private"))
        other.receives(rb"HTTP/1.1 403 .*")
        other = balancer.client(frontend="two")
        other.sends(GET)
        a = balancer.server("a").accepts()
        assert balancer.asks("del frontend two") == (
            "Frontend deleted.\n"
            "lb.ini:9:1: warning: [conditions] private: is asked for by no rule\n"
        )
        assert not (tmp_path / "two").exists()
        a.sends(OK)
        assert b"Connection: close" in other.receives(rb"HTTP/1.1 .*hi")[0]
        other.isEnded()
        assert list(balancer.running.frontends) == ["www"]
        assert balancer.asks("del frontend two") == "No such frontend.\n"
        served(balancer, client, "a", request())

    def test_oneThatCannotListen(self, balancer):
        before = balancer.running.config
        said = balancer.asks("add frontend two bind unix:/nowhere/at/all pool app")
        assert "cannot listen" in said
        assert balancer.running.config is before
        assert list(balancer.running.frontends) == ["www"]
        said = balancer.asks("add frontend two pool app")
        assert said == "[frontend two] has no bind: write bind = HOST:PORT\nNothing was changed.\n"

    def test_addresses(self, balancer, tmp_path):
        one, two = (f"unix:{tmp_path}/{name}" for name in ("one", "two"))
        assert balancer.asks(f"add bind www {one} mode=600") == "New bind registered.\n"
        said = balancer.asks(f"add bind www {two} accept-proxy-from=10.0.0.0/8")
        assert "is of a TCP address only" in said
        assert [str(bind) for bind in balancer.running.config.frontends["www"].bind][1:] == [one]
        assert "Nothing was changed." in balancer.asks(f"add bind www {one}")
        client = balancer.client(bind=1)
        served(balancer, client, "a")
        assert balancer.asks(f"del bind www {one}") == "Bind deleted.\n"
        assert "has no such bind" in balancer.asks(f"del bind www {one}")
        first = balancer.running.config.frontends["www"].bind[0]
        assert "it is the last" in balancer.asks(f"del bind www {first}").lower()


class TestSections:
    def test_whatIsMerged(self, balancer, tmp_path):
        client = balancer.client()
        said = balancer.asks(
            "add config <<END\n"
            "[conditions]\n"
            "odd = path == '/odd'\n"
            "\n"
            "[pool app]\n"
            f"server b = {at(balancer, 'b')} backup\n"
            "server a = " + at(balancer, "a") + "\n"
            "[frontend www]\n"
            "request =\n"
            "    deny if odd or private\n"
            "END"
        )
        assert said.splitlines()[-2:] == [
            "It runs: 2 added, 2 changed.",
            "lb.ini:24:1: warning: [pool chat] is used by no frontend",
        ]
        assert "+ server app/b" in said
        client.sends(request("/odd"))
        client.receives(rb"HTTP/1.1 403 .*")
        app = balancer.running.config.pools["app"]
        assert [(one.name, one.maxconn) for one in app.servers] == [("a", 0), ("b", 0)]
        assert (app.balance.name, app.timeout_server) == ("leastconn", 7.0)

    def test_whatIsWrongIsToldWithItsLine(self, balancer):
        before = balancer.running.config
        assert balancer.asks(
            "add config <<\n[pool app]\nbalance = lestconn\n[frontend two]\nbind = ${bind}\n"
            "pool = ap\n[pol x]\n"
        ).splitlines() == [
            "line 2: [pool app] balance: unknown 'lestconn', did you mean 'leastconn'?",
            "line 4: [frontend two] bind: needs an address: HOST:PORT, :PORT or unix:PATH",
            "line 4: the environment has no 'bind'; ${bind:-DEFAULT} does without it",
            "line 5: [frontend two] pool: there is no [pool ap], did you mean 'app'?",
            "line 6: [pol x] unknown section 'pol', did you mean 'pool'?",
            "Nothing was changed.",
        ]
        assert balancer.running.config is before

    @pytest.mark.parametrize(("text", "said"), [
        ("include = /etc/passwd\n", "no file is read for this"),
        ("nothing\n", "'nothing' is neither [SECTION] nor KEY = VALUE"),
        ("# nothing\n", "There is no [SECTION] in it."),
        ("[pool x]\n[pool x]\n", "is there twice"),
        ("[pool app]\nbalance = random\nbalance = random\n", "is there twice"),
        ("[frontend www]\nmode = tcp\n", "says nothing in mode = tcp"),
        ("[pool app]\nmode = tcp\n", "lb.ini:16:8: error: [frontend www] pool: [pool app] has"),
    ])  # fmt: skip
    def test_whatCannotBe(self, balancer, text, said):
        before = balancer.running.config
        assert said in balancer.asks(f"add config <<\n{text}")
        assert balancer.running.config is before

    def test_itNeedsLines(self, balancer):
        assert "'add config <<'" in balancer.asks("add config")
        assert "Unknown word" in balancer.asks("add config x <<\n[pool x]\n")

    def test_forPrograms(self, balancer):
        said = toldOf(balancer, "add config <<\n[pool app]\nbalance = random\n")
        assert said["severity"] == "info"
        assert said["value"] == {
            "summary": "1 changed", "warnings": [],
            "changes": ["~ pool app: balance leastconn -> random"],
        }  # fmt: skip
        said = toldOf(balancer, "add config <<\n[pool app]\nbalance = rand\n")
        assert said["severity"] == "error"
        assert said["value"]["problems"][0].startswith("line 2: [pool app] balance: unknown")


class TestShown:
    def test_itIsTheSameAgain(self, balancer):
        balancer.asks(f"add server app/b {at(balancer, 'b')} weight=2")
        balancer.asks("add config <<\n[frontend www]\nrequest =\n    deny if private\n"
                      "    pool chat if path == '/#x' ; which\n")
        running = balancer.running
        running.apply(balancer.reads(balancer.asks("show config")))
        assert [one.name for one in running.config.pools["app"].servers] == ["a", "b"]
        shown = balancer.asks("show config")
        assert "server a = ${a} maxconn=5\n" in shown
        assert f"server b = {at(balancer, 'b')} weight=2 disabled\n" in shown
        assert "    deny if private\n    pool chat if path == '/#x'\n" in shown
        assert running.apply(balancer.reads(shown)).empty

    def test_secretsAreNot(self, balancer, monkeypatch):
        monkeypatch.setenv("HUSH", "whisper")
        said = balancer.asks(
            "add config <<\n[pool more]\nserver x = 127.0.0.1:9\n"
            "check = redis password=hush1\n"
            "persist = cookie A secret=hush2hush2hush2hush2\n"
            "request =\n"
            '    set-header Authorization "Basic hush3"\n'
            '    set-header X-Key "${HUSH}"\n'
        )
        assert "It runs" in said
        config = balancer.running.config.pools["more"]
        assert "whisper" in config.request[1].text
        shown = balancer.asks("show config")
        assert "hush" not in shown and "whisper" not in shown
        assert "check = redis password***\n" in shown
        assert '    set-header X-Key "${HUSH}"\n' in shown

    def test_notToEverybody(self, balancer):
        peer = balancer.administrator(".watch")
        peer.sends(b"show config\n")
        peer.receives(rb"Permission denied\n\n")
        peer.isEnded()


class TestPayloads:
    def test_whoMayNot(self, balancer):
        peer = balancer.administrator(".watch")
        peer.sends(b"add config <<\n[pool x]\nbalance = random\n\n")
        peer.receives(rb"Permission denied\n\n")
        peer.isEnded()

    def test_linesAreNoCommands(self, balancer):
        said = balancer.asks("add config <<\ndisable server app/a\n")
        assert "is neither [SECTION]" in said
        assert balancer.running.pool("app").find("a").health.admin == "ready"

    def test_inPieces(self, balancer):
        peer = balancer.administrator()
        for byte in b"show version; add config <<x\r\n[pool app]\n\nbalance = random\r\nx\n":
            peer.sends(bytes([byte]))
        peer.receives(rb"[0-9].*~ pool app: .*It runs: 1 changed\.\n\n")
        peer.isEnded()

    def test_severalInOneConversation(self, balancer):
        peer = balancer.administrator()
        peer.sends(
            b"prompt i\nadd config <<\n[pool app]\nbalance = random\n\nadd config <<\n[pool app]\n"
            b"balance = source\n\nget weight app/a\nquit\n"
        )
        text = peer.receives(rb"(.*)")[1].decode()
        assert text.count("It runs: 1 changed.") == 2
        assert "1 (initial 1)" in text
        peer.isEnded()

    @pytest.mark.parametrize(("sent", "said"), [
        (b"add config <<\n[pool app]\nbalance = random\n", b"The payload has no end."),
        (b"<<\n", b"There is no command"),
        (b"add config <<\n" + b"x" * 20000, b"A line of the payload is too long."),
        (b"add config <<\n" + b"# 23456789\n" * 100000, b"The payload is too long."),
        (b"get weight app/a <<\nx\n\n", b"takes no payload"),
    ])  # fmt: skip
    def test_badOnes(self, balancer, sent, said):
        before = balancer.running.config
        peer = balancer.administrator()
        with suppress(BrokenPipeError):
            for start in range(0, len(sent), 60000):
                peer.sends(sent[start : start + 60000])
            peer.ends()
        assert said in peer.receives(rb"(.*)")[0]
        peer.isEnded()
        assert balancer.running.config is before

    def test_whoIsSilent(self, balancer):
        peer = balancer.administrator()
        peer.sends(b"add config <<\n[pool app]\n")
        balancer.advance(11)
        peer.isEnded()


class TestOthersMeanwhile:
    def test_aReloadThatWaits(self, balancer):
        running = balancer.running
        running.renewal = SimpleNamespace(
            waiting=SimpleNamespace(number=3), left=41.0, differs=False, stop=lambda: None
        )
        assert balancer.asks("del server app/a force") == (
            "Reload 3 waits to be confirmed for 41 s more, and would take this back: confirm it or"
            " roll it back first.\n"
        )
        running.renewal.waiting = None
        assert not running.renewal.differs
        assert balancer.asks("del server app/a force") == "Server deleted.\n"
        assert running.renewal.differs
        running.renewal = None

    def test_twoAtOnce(self, balancer, threads):
        threads.patient = True
        peers = [balancer.administrator() for _ in range(2)]
        for peer, name in zip(peers, "bd", strict=True):
            peer.sends(f"add server app/{name} {at(balancer, name)}\n".encode())
        assert len(threads.waiting) == 1
        threads.work()
        balancer.pump.turn()
        threads.work()
        balancer.pump.turn()
        for peer in peers:
            peer.receives(rb"New server registered.\n\n")
            peer.isEnded()
        assert servers(balancer) == ["a", "b", "d"]

    def test_aReloadMeanwhile(self, balancer, threads):
        threads.patient = True
        peer = balancer.administrator()
        peer.sends(f"add server app/b {at(balancer, 'b')}\n".encode())
        balancer.becomes(CONFIG.replace("maxconn=5", "maxconn=6"))
        threads.work()
        balancer.pump.turn()
        assert servers(balancer) == ["a"]
        threads.work()
        balancer.pump.turn()
        peer.receives(rb"New server registered.\n\n")
        peer.isEnded()
        assert servers(balancer) == ["a", "b"]
        assert balancer.running.pool("app").find("a").capacity.maxconn == 6

    def test_whoGoesHasChangedNothing(self, balancer, threads):
        threads.patient = True
        peer = balancer.administrator()
        peer.sends(f"add server app/b {at(balancer, 'b')}\n".encode())
        peer.socket.close()
        balancer.advance(2)
        threads.work()
        balancer.pump.turn()
        assert servers(balancer) == ["a"]
        threads.patient = False
        assert "registered" in balancer.asks(f"add server app/b {at(balancer, 'b')}")

    def test_aReloadTakesItBack(self, balancer):
        balancer.asks(f"add server app/b {at(balancer, 'b')}")
        found = balancer.becomes(CONFIG)
        assert [line.split(" = ")[0] for line in found.lines] == ["- server app/b"]
        balancer.advance(1.1)
        assert servers(balancer) == ["a"]

    def test_whatAProgramHasMade(self, balancer):
        running = balancer.running
        running.config = attr.evolve(running.config)
        assert balancer.asks("del server app/a force") == (
            "What runs was made by a program, and not of text.\n"
        )
