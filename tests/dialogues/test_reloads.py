"""
What administrators say about reloads, by the socket, and what becomes of the balancer.
"""

from types import SimpleNamespace

import pytest
from spoken import OK, asks, toldOf
from twisted.internet.defer import Deferred, succeed

from lbtwist.errors import ConfigError
from lbtwist.guards import LEAST_REQUESTS
from lbtwist.renewing import MOST_LINES, Renewal
from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}, ${admin}.look level=user, ${admin}.watch level=operator
[frontend www]
bind = ${bind}
pool = app
[pool app]
server a = ${a}
"""
MORE = CONFIG + "server b = ${b} weight=3\n"


class Reloading:
    """
    A balancer in memory with a file that is in memory as well.

    @ivar text: of the file.
    @ivar slow: who waits for the file to be read; L{None} where it is read at once.
    """

    def __init__(self, balancer):
        self.balancer = balancer
        self.text = CONFIG
        self.slow = None
        running = balancer.running
        running.renewal = Renewal(
            running, "/etc/lb.ini", self._read, balancer.pump, running.wallclock
        )

    def _read(self, before):
        if self.slow is not None:
            self.slow.append(Deferred())
            return self.slow[-1]
        return succeed(self.read())

    def read(self):
        try:
            return SimpleNamespace(config=self.balancer.reads(self.text), problems=())
        except ConfigError as broken:
            return SimpleNamespace(config=None, problems=broken.problems)

    def asks(self, command, text=None):
        """An administrator says something; the file may say something else before."""
        self.text = text or self.text
        return self.balancer.asks(command)

    def value(self, command="show reload"):
        """@return: what a command says to programs."""
        return toldOf(self.balancer, command)["value"]

    @property
    def servers(self):
        """The names of those that are not about to go."""
        servers = self.balancer.running.pool("app").servers
        return [server.name for server in servers if not server.leaving]

    def exchanges(self, count, answer=OK):
        """So many clients have an answer."""
        for _ in range(count):
            client, server = asks(self.balancer)
            server.sends(answer)
            client.receives(rb"HTTP/1.1 .*")
            client.closes()
            server.closes()


@pytest.fixture
def reloading():
    with Balancer(CONFIG, "a", "b") as balancer:
        reloading = Reloading(balancer)
        yield reloading
        balancer.running.renewal.stop()


def test_reload(reloading):
    said = reloading.asks("reload", MORE)
    assert said.splitlines()[0] == "Reload 1: it runs"
    assert said.splitlines()[1].startswith("  + server app/b = ")
    assert reloading.servers == ["a", "b"]


def test_whatRunsGoesOn(reloading):
    client, server = asks(reloading.balancer)
    reloading.asks("reload", MORE)
    server.sends(OK)
    client.receivesExactly(OK)


def test_nothingHasChanged(reloading):
    assert reloading.asks("reload") == "Reload 1: the file says what ran already\n"


def test_aBadFile(reloading):
    said = reloading.asks("reload", CONFIG + "colour = red\nsize = 3\n")
    lines = said.splitlines()
    assert lines[0] == "Reload 1: nothing was changed: 2 errors in /etc/lb.ini"
    assert [line.split(": ")[1] for line in lines[1:]] == ["error", "error"]
    assert lines[1].startswith("  lb.ini:")
    assert reloading.servers == ["a"]
    value = reloading.value()
    assert (value["state"], value["differs"], len(value["problems"])) == ("refused", True, 2)
    assert '{"severity":"error","value":{"number":2,' in reloading.asks("set output json; reload")


def test_notTooManyLines(reloading):
    text = CONFIG + "".join(f"server s{n} = 127.0.0.1:{n + 9000}\n" for n in range(MOST_LINES + 9))
    lines = reloading.asks("reload", text).splitlines()
    assert len(lines) == MOST_LINES + 2
    assert lines[-1] == "  and 9 more"


def test_confirm(reloading):
    said = reloading.asks("reload confirm 60s", MORE)
    assert said.startswith("Reload 1: it runs, and waits to be confirmed for 60 s\n")
    reloading.balancer.advance(59)
    assert reloading.asks("confirm").startswith("Reload 1: it runs, and was confirmed: by uid ")
    reloading.balancer.advance(60)
    assert reloading.servers == ["a", "b"]
    assert reloading.asks("confirm") == "No reload waits to be confirmed.\n"


def test_notConfirmed(reloading):
    reloading.asks("reload confirm 60s", MORE)
    reloading.balancer.advance(61)
    assert reloading.servers == ["a"]
    said = reloading.asks("show reload")
    assert "Reload 1: it has gone back to what ran before: it was not confirmed in time\n" in said
    assert "/etc/lb.ini is not what runs\n" in said


def test_aGuard(reloading):
    """Once a second it is looked at what has come since."""
    words = r"reload confirm 60s guard 5xx\ <\ 10% guard p99<10s"
    reloading.asks(words, CONFIG + "server b = ${b} weight=3 backup\n")
    assert reloading.value()["guards"] == ["5xx < 10%", "p99<10s"]
    reloading.exchanges(LEAST_REQUESTS)
    reloading.balancer.advance(2)
    assert reloading.value()["state"] == "waiting"
    reloading.exchanges(5, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    reloading.balancer.advance(1.1)
    assert reloading.value()["state"] == "returned"
    said = reloading.asks("show reload")
    assert "5xx < 10% is broken: 5 answers 5xx in 25 exchanges, 20%" in said
    assert reloading.servers == ["a"]


def test_whatIsNoGuard(reloading):
    said = reloading.asks(r"reload confirm 60s guard 6xx\ <\ 1%", MORE)
    assert said.startswith("'6xx < 1%': unknown '6xx': write errors < 1%")
    assert reloading.asks(r"reload guard 5xx\ <\ 1%") == (
        "A guard says nothing without a time in which it has to hold.\n"
    )
    assert reloading.servers == ["a"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("reload now", "Unknown word 'now': write confirm, guard or force.\n"),
        ("reload confirm", "'confirm' expects one more word.\n"),
        ("reload confirm 0", "'confirm' expects a time of more than 0, up to 1d.\n"),
        ("reload confirm 2d", "'confirm' expects a time of more than 0, up to 1d.\n"),
        ("reload guard", "'guard' expects one more word.\n"),
        ("confirm", "No reload waits to be confirmed.\n"),
        ("rollback", "There is nothing to go back to.\n"),
        ("show reload", "There was no reload.\n"),
    ],
)
def test_whatMakesNoSense(reloading, command, said):
    assert reloading.asks(command, MORE) == said
    assert reloading.servers == ["a"]


def test_aTimeThatIsNone(reloading):
    assert "soon" in reloading.asks("reload confirm soon", MORE)
    assert reloading.servers == ["a"]


def test_aSecondOne(reloading):
    reloading.asks("reload confirm 60s", MORE)
    said = reloading.asks("reload", CONFIG)
    assert said.startswith("Reload 1, by uid ")
    assert said.endswith("confirm it or roll it back first, or force another.\n")
    assert reloading.servers == ["a", "b"]
    assert reloading.asks("reload force").startswith("Reload 2: it runs\n")
    assert reloading.servers == ["a"]


def test_rollback(reloading):
    reloading.asks("reload", MORE)
    said = reloading.asks("rollback")
    assert said.startswith("Reload 2: it has gone back to what ran before: by uid ")
    assert said.splitlines()[1:] == ["  - server app/b"]
    assert reloading.servers == ["a"]


def test_toPrograms(reloading):
    reloading.asks("reload confirm 60s", MORE)
    reloading.balancer.advance(15)
    value = reloading.value()
    assert (value["number"], value["state"], value["left"]) == (1, "waiting", 45.0)
    assert value["summary"] == "1 added"
    assert value["path"] == "/etc/lb.ini"
    assert not value["differs"]
    assert reloading.value("confirm")["state"] == "confirmed"


def test_whoMayDoWhat(reloading):
    """To look everybody, to change only who may change everything."""
    for suffix, refused in ((".look", True), (".watch", True), ("", False)):
        for command in ("reload", "confirm", "rollback"):
            peer = reloading.balancer.administrator(suffix)
            peer.sends(f"{command}\n".encode())
            said = peer.receives(rb"(.*)")[1]
            assert (said == b"Permission denied\n\n") == refused
        peer = reloading.balancer.administrator(suffix)
        peer.sends(b"show reload\n")
        assert peer.receives(rb"(.*)")[1] != b"Permission denied\n\n"


def test_whoMayReadTheFile(reloading):
    """What is wrong quotes it."""
    reloading.asks("reload", CONFIG + "colour = secret\n")
    for suffix, seen in ((".look", False), (".watch", True)):
        for form in (b"text", b"json"):
            peer = reloading.balancer.administrator(suffix)
            peer.sends(b"set output " + form + b"; show reload\n")
            said = peer.receives(rb"(.*)")[1]
            assert (b"colour" in said) == seen
            assert b"1 error in /etc/lb.ini" in said


def test_othersAreServedWhileTheFileIsRead(reloading):
    reloading.slow = []
    reloading.text = MORE
    peer = reloading.balancer.administrator()
    peer.sends(b"reload\n")
    peer.receivesNothing()
    reloading.exchanges(1)
    assert reloading.asks("show reload") == "There was no reload.\n"
    reloading.slow.pop().callback(reloading.read())
    peer.receives(rb"Reload 1: it runs\n.*")
    assert reloading.servers == ["a", "b"]


def test_whoHasAskedIsGone(reloading):
    reloading.slow = []
    reloading.text = MORE
    peer = reloading.balancer.administrator()
    peer.sends(b"reload\n")
    peer.closes()
    reloading.balancer.advance(5)
    reloading.slow.pop().callback(reloading.read())
    assert reloading.servers == ["a", "b"]
    assert reloading.value()["state"] == "applied"


def test_aBalancerThatWasNotMadeOfAFile():
    with Balancer(CONFIG, "a") as balancer:
        for command in ("reload", "confirm", "rollback", "show reload"):
            assert balancer.asks(command) == "This balancer was not made of a file.\n"
