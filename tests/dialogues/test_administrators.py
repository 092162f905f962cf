"""
What an administrator says to a balancer that runs, by its socket, and what becomes of it: in
HAProxy's words.
"""

import json
import os
import socket
from contextlib import suppress
from types import SimpleNamespace

import pytest
from spoken import GET, OK, toldOf

from lbtwist.admin.commands import ALL, commandsFor
from lbtwist.admin.socket import LONGEST_LINE, MOST_AT_ONCE
from lbtwist.admin.verbs import Answer, Level, Verb
from lbtwist.events import stateOf
from lbtwist.service import Frontend
from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}, ${admin}.look level=user, ${admin}.watch level=operator
[frontend www]
bind = ${bind}
pool = app
request = deny if path == "/no"
[frontend raw]
mode = tcp
bind = ${bind}.raw
pool = tcp
[pool app]
check = tcp
persist = source
server a = ${a} weight=4 maxconn=10
server b = ${b} weight=4
[pool tcp]
mode = tcp
server c = ${c}
[pool away]
check = tcp
server d = 127.0.0.1:1
"""


@pytest.fixture
def balancer():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        yield balancer


def serverOf(balancer, name="a", pool="app"):
    return balancer.running.pool(pool).find(name)


def exchanged(balancer, path=b"/"):
    """A client asks for something, and gets it."""
    client = balancer.client()
    client.sends(GET.replace(b"/", path, 1))
    return client


# one question, one answer


def test_oneExchangeThenTheEnd(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"show version\n")
    administrator.receivesExactly(b"0.1.0\n\n")
    administrator.isEnded()


def test_severalCommandsInALine(balancer):
    assert balancer.asks("show version;get weight app/a ; ; show backend") == (
        "0.1.0\n\n4 (initial 4)\n\n# name\napp\ntcp\naway\n"
    )


def test_aSemicolonAfterABackslashIsOrdinary(balancer):
    assert balancer.asks("get weight app/\\;") == "No such server.\n"


def test_aLineInPiecesAndWithACarriageReturn(balancer):
    administrator = balancer.administrator()
    administrator.sendsPieces(b"show version\r\n")
    administrator.receivesExactly(b"0.1.0\n\n")


def test_whoEndsTheirSideStillGetsTheirAnswer(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"show version")
    administrator.ends()
    administrator.receivesExactly(b"0.1.0\n\n")
    administrator.isEnded()


def test_aLineWithNothingInIt(balancer):
    assert balancer.asks("") == ""
    assert balancer.asks(" ; ") == ""


def test_onlyTheFirstLineCounts(balancer):
    assert balancer.asks("show version\nshow backend") == "0.1.0\n"


# several


def test_aPrompt(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"prompt\n")
    administrator.receivesExactly(b"\n> ")
    administrator.sends(b"show version\n")
    administrator.receivesExactly(b"0.1.0\n\n> ")
    administrator.sends(b"\nshow cli level\n")
    administrator.receivesExactly(b"\n> admin\n\n> ")
    administrator.sends(b"quit\n")
    administrator.isEnded()


def test_severalWithoutAPrompt(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"prompt i\nshow version\n")
    administrator.receivesExactly(b"\n0.1.0\n\n")
    administrator.sends(b"prompt n\n")
    administrator.receivesExactly(b"\n")
    administrator.isEnded()


def test_whoSaysNothing(balancer):
    administrator = balancer.administrator()
    balancer.advance(9.5)
    administrator.receivesNothing()
    balancer.advance(1)
    administrator.isEnded()


def test_whoSendsAByteNowAndThen(balancer):
    administrator = balancer.administrator()
    for _ in range(4):
        balancer.advance(2)
        administrator.sends(b"s")
    balancer.advance(2.5)
    administrator.isEnded()


def test_thePatienceOfASocket():
    """Row 002.7: C{stats timeout 30s}; each socket has its own."""
    text = CONFIG.replace("${admin},", "${admin} timeout=30s,", 1)
    with Balancer(text, "a", "b", "c") as balancer:
        patient, usual = balancer.administrator(), balancer.administrator(".look")
        balancer.advance(10.5)
        usual.isEnded()
        balancer.advance(19)
        patient.receivesNothing()
        balancer.advance(1)
        patient.isEnded()


def test_thePatienceThatIsAskedFor(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"prompt i; set timeout cli 60\n")
    administrator.receivesExactly(b"\n\n")
    balancer.advance(59)
    administrator.sends(b"show version\n")
    administrator.receivesExactly(b"0.1.0\n\n")
    balancer.advance(61)
    administrator.isEnded()


def test_aLineWithoutAnEnd(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"x" * (LONGEST_LINE + 1))
    administrator.receivesExactly(b"The command is too long.\n\n")
    administrator.isEnded()


def test_manyLinesAtOnce(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"prompt i\n" + b"show version\n" * 5000)
    assert len(administrator.receives(b"\n((0.1.0\n\n)+)")[1]) == 5000 * len(b"0.1.0\n\n")


def test_tooManyWords(balancer):
    assert balancer.asks("x " * 65) == "Too many words in a command.\n"


def test_moreAtOnceThanThereMayBe(balancer):
    first, *others = [balancer.administrator() for _ in range(MOST_AT_ONCE)]
    late = balancer.administrator()
    late.sends(b"show version\n")
    late.receivesNothing()
    first.sends(b"show version\n")
    first.receives(b".*")
    first.closes()
    late.receivesExactly(b"0.1.0\n\n")
    for one in others:
        one.closes()


def test_whoDoesNotReadGetsNothingMore(balancer):
    """Answers that nobody reads are not made."""
    administrator = balancer.administrator()
    administrator.sends(b"prompt i\n" + b"show stat\n" * 1000 + b"set weight app/a 9\n")
    assert serverOf(balancer).weight == 4
    assert len(administrator.receives(b"(\n(# (.|\n)*,\n\n)+\n)")[1]) > 1_000_000
    assert serverOf(balancer).weight == 9


def test_whoNeverReadsIsLetGo(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"prompt i\n" + b"show stat\n" * 1000 + b"set weight app/a 9\n")
    balancer.advance(21)
    assert len(administrator.receives(b"(.*)")[1]) < 1_000_000
    administrator.isEnded()
    assert serverOf(balancer).weight == 4


def test_whoReadsSlowlyGetsItAll(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"show stat;" * 500 + b"show version\n")
    read = 0
    while data := administrator.socket.recv(30_000):
        balancer.advance(1)
        read += len(data)
        last = data
    assert last.endswith(b"\n\n0.1.0\n\n")
    assert read > 500_000


def test_othersHaveTheirTurn(balancer):
    first, second = balancer.administrator(), balancer.administrator()
    for one, name in ((first, b"a"), (second, b"b")):
        one.socket.send(b";".join(b"set weight app/%b %d" % (name, n) for n in (1, 2, 3)) + b"\n")
    balancer.pump.turn()
    events = [one["server"] for one in toldOf(balancer, "show events")["value"]]
    assert events == ["a", "b"] * 3


def test_whoAsksForMoreThanIsDoneMeanwhile(balancer):
    """Commands wait in the kernel, and not here."""
    administrator = balancer.administrator()
    administrator.sends(b"prompt i\n")
    administrator.socket.setblocking(False)
    sent = 0
    for _ in range(40):
        with suppress(BlockingIOError):
            sent += administrator.socket.send(b"wait 100\n" * 7000)
        balancer.advance(0.1)
    assert sent < 1_000_000


def test_whatABrowserSaysIsNoCommand(balancer):
    """Of a site that knows the port of a TCP socket: nothing of it is done."""
    administrator = balancer.administrator()
    administrator.sends(
        b"POST /;prompt;x HTTP/1.1\r\nHost: localhost\r\n\r\ndisable server app/a\n"
    )
    administrator.receivesExactly(b"This is not HTTP.\n\n")
    administrator.isEnded()
    assert stateOf(serverOf(balancer)) == "UP"


@pytest.mark.parametrize(
    "said",
    [b"\xff\xfe\x00\n", b"show\x00stat\n", b"\\\n", b";;;;\n", b"GET / HTTP/1.1\r\n", b"\x1b[2J\n",
     b"get weight ../../\n", b"get weight /\n", b"show stat 1e9 x 99999999999999999999\n",
     b"show sess 0xzz\n", b"shutdown session -1\n", b"show table app key \xff\n",
     b"set server app/a weight \xc2\xb2\n", b"set maxconn global " + b"9" * 5000 + b"\n",
     b"set maxconn global " + b"0" * 12 + b"9" * 5000 + b"\n",
     b"wait " + b"9" * 400 + b"\n"],
)  # fmt: skip
def test_nonsense(balancer, said):
    """Whatever comes: one line, nothing of it unprintable, and nothing in the log."""
    administrator = balancer.administrator()
    administrator.sends(said)
    answer = administrator.receives(b"(.*)\n")[1].decode()
    assert answer.replace("\n", "").isprintable()
    assert answer.startswith("# ") or answer.count("\n") <= 1
    administrator.isEnded()


# what is not known


def test_whatNobodyKnows(balancer):
    assert balancer.asks("make coffee") == "Unknown command: 'make coffee'. See 'help'.\n"
    assert balancer.asks("show stats") == (
        "Unknown command: 'show stats', but maybe one of these is a better match: show stat,"
        " show sess, show table. See 'help'.\n"
    )


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("get weight", "Require 'backend/server'."),
        ("get weight app", "Require 'backend/server'."),
        ("get weight x/a", "No such backend."),
        ("get weight app/x", "No such server."),
        ("set server app/a state away", "'set server <srv> state' expects 'ready', 'drain' and"
         " 'maint'."),
        ("set server app/a weight x", "Empty weight string empty or preceded by garbage"),
        ("set server app/a weight 257", "Absolute weight can only be between 0 and 256 inclusive."),
        ("set server app/a weight 99999%", "Relative weight can only be between 0 and 25600%"
         " inclusive."),
        ("set server app/a maxconn -1", "maxconn string empty or preceded by garbage"),
        ("set server app/a maxconn 99999999", "99999999 is out of bounds: from 0 to 10000000 is"
         " accepted."),
        ("set server app/a health maybe", "'set server <srv> health' expects 'up' or 'down'."),
        ("set server app/a agent up", "agent checks are not enabled on this server."),
        ("set server app/a addr 127.0.0.1", "Only an address of TCP can be changed."),
        ("set server away/d addr here", "Invalid addr 'here' by 'stats socket command'"),
        ("set server away/d addr fe80::1%4294967296", "Invalid addr 'fe80::1%4294967296' by 'stats"
         " socket command'"),
        ("set server away/d addr", "set server <b>/<s> addr requires an address and optionally a"
         " port."),
        ("set server away/d addr 127.0.0.1 port 0", "0 is out of bounds: from 1 to 65535 is"
         " accepted."),
        ("set server app/a", "usage: set server <backend>/<server> addr | agent | health | maxconn"
         " | state | weight"),
        ("enable health tcp/c", "Health check was not configured on this server, cannot enable."),
        ("disable frontend x", "No such frontend."),
        ("disable frontend", "A frontend name is expected."),
        ("enable frontend www", "All sockets are already enabled."),
        ("set maxconn frontend www", "Integer value expected."),
        ("set maxconn global x", "Integer value expected."),
        ("set maxconn global 99999999", "Value out of range."),
        ("set maxconn global 00000000000099999999", "Value out of range."),
        ("shutdown session", "Session pointer expected (use 'show sess')."),
        ("shutdown session 0x99", "No such session (use 'show sess')."),
        ("shutdown sessions server app/x", "No such server."),
        ("show sess 0x99", "Session not found."),
        ("show table tcp", "No such table"),
        ("show table app server a", 'Optional argument only supports "key" <key>'),
        ("clear table", "Required arguments: <table> [key <key>]"),
        ("show servers state x", "Can't find backend."),
        ("show errors x", "No such proxy."),
        ("show errors www answer", "Only 'request' or 'response' may follow."),
        ("show failures x", "No such proxy."),
        ("show stat nobody -1 -1", "No such proxy."),
        ("prompt x", "Unknown mode: write n, i or p."),
        ("set timeout cli 0", "A time from 1s to 1h is accepted."),
        ("set severity-output loud", "one of 'none', 'number', 'string' is a required argument"),
        ("set output xml", "'set output' expects 'text' or 'json'."),
        ("wait", "Expects a duration in milliseconds."),
        ("wait 2d", "Nobody waits for longer than 1d."),
        ("wait 1s rain", "Unknown condition; there are srv-drained, srv-removable, srv-up,"
         " srv-down."),
        ("wait 1s srv-up", "Require 'backend/server'."),
        ("wait 1s srv-drained app/a", "Failed: app/a is not drained."),
    ],
)  # fmt: skip
def test_whatCannotBeDone(balancer, command, answer):
    assert balancer.asks(command) == f"{answer}\n"
    assert stateOf(serverOf(balancer)) == "UP"


# what somebody may


def test_whatALevelMay(balancer):
    refused = "Permission denied\n"
    for command in ("disable server app/a", "clear counters all", "set maxconn global 5"):
        assert balancer.asks(f"operator; {command}") == f"\n{refused}"
    for command in ("show sess", "show errors", "show failures", "clear counters", "operator"):
        assert balancer.asks(f"user; {command}") == f"\n{refused}"
    assert balancer.asks("user; show cli level") == "\nuser\n"
    assert balancer.asks("user; get weight app/a") == "\n4 (initial 4)\n"
    assert stateOf(serverOf(balancer)) == "UP"


def test_theLevelOfASocket(balancer):
    for suffix, level in ((".look", b"user"), (".watch", b"operator")):
        administrator = balancer.administrator(suffix)
        administrator.sends(b"show cli level; disable server app/a\n")
        administrator.receivesExactly(level + b"\n\nPermission denied\n\n")
    assert stateOf(serverOf(balancer)) == "UP"


def test_theLevelIsOnlyLowered(balancer):
    administrator = balancer.administrator(".watch")
    administrator.sends(b"prompt i; user; operator; show cli level\n")
    administrator.receivesExactly(b"\n\nPermission denied\n\nuser\n\n")


def test_helpNamesWhatMayBeSaid(balancer):
    for suffix, least in ((".look", 0), (".watch", 1), ("", 2)):
        administrator = balancer.administrator(suffix)
        administrator.sends(b"set output json; help\n")
        answer = administrator.receives(rb".*\n\n(.*)\n\n")[1]
        usages = [one["usage"] for one in json.loads(answer)["value"]]
        assert usages == sorted(usages, key=lambda usage: usage.split("<")[0].split("[")[0].split())
        assert set(usages) == {verb.usage for verb in ALL if verb.level <= least}


def test_helpForSomeWords(balancer):
    assert balancer.asks("help show servers") == (
        "The following commands are valid at this level:\n"
        "  show servers conn [<pool>]              : connections to each server, used and idle\n"
        "  show servers state [<pool>]             : state, weight and address of each server\n"
    )


# servers


def test_aServerIsTakenOutOfServiceAndComesBack(balancer):
    assert balancer.asks("disable server app/a") == ""
    assert stateOf(serverOf(balancer)) == "MAINT"
    assert balancer.running.pool("app").usable == (serverOf(balancer, "b"),)
    exchanged(balancer)
    balancer.server("b").accepts().receives(rb"GET.*")
    assert balancer.asks("enable server app/a") == ""
    assert stateOf(serverOf(balancer)) == "UP"


def test_aServerIsDrained(balancer):
    client = exchanged(balancer)
    peer = balancer.server("a").accepts()
    peer.receives(rb"GET.*")
    assert balancer.asks("set server app/a state drain") == ""
    assert stateOf(serverOf(balancer)) == "DRAIN"
    peer.sends(OK)
    client.receivesExactly(OK)
    # It is bound by its address, and comes back to it.
    client.sends(GET)
    peer.receives(rb"GET.*")
    peer.sends(OK)
    balancer.asks("set server app/a state ready")
    assert stateOf(serverOf(balancer)) == "UP"


def test_theLastWordAboutAServerCounts(balancer):
    for state in ("drain", "maint", "drain", "ready", "maint", "drain", "maint", "ready", "drain"):
        assert balancer.asks(f"set server app/a state {state}") == ""
        assert serverOf(balancer).health.admin == state
    # An agent may not take it back, whoever has had the word before.
    serverOf(balancer).health.held = False
    balancer.asks("set server app/a state drain")
    assert serverOf(balancer).health.held


def test_whatAnAdministratorSaysHoldsAgainstChecks(balancer):
    balancer.asks("set server app/a state maint")
    balancer.advance(30)
    assert stateOf(serverOf(balancer)) == "MAINT"
    assert serverOf(balancer).health.held


def test_maintenanceEndsWhatItsPoolSays():
    config = CONFIG.replace("persist = source", "on-marked-down = shutdown-sessions")
    with Balancer(config, "a", "b", "c") as balancer:
        client = exchanged(balancer)
        balancer.server("a").accepts().receives(rb"GET.*")
        balancer.asks("set server app/a state maint")
        client.receives(rb"HTTP/1.1 503 .*")


def test_weights(balancer):
    balancer.asks("set server app/a weight 50%")
    assert (serverOf(balancer).weight, balancer.asks("get weight app/a")) == (
        2, "2 (initial 4)\n",
    )  # fmt: skip
    balancer.asks("set weight app/a 256")
    assert serverOf(balancer).weight == 256
    balancer.asks("set server app/a weight 0")
    assert balancer.running.pool("app").usable == (serverOf(balancer, "b"),)


def test_theLimitOfAServer(balancer):
    balancer.asks("set server app/b state maint; set server app/a maxconn 1")
    clients = [exchanged(balancer) for _ in range(2)]
    peer = balancer.server("a").accepts()
    peer.receives(rb"GET.*")
    assert balancer.running.pool("app").queued == 1
    balancer.asks("set maxconn server app/a 2")
    balancer.server("a").accepts().receives(rb"GET.*")
    assert balancer.running.pool("app").queued == 0
    assert len(clients) == 2


def test_anotherAddress(balancer):
    server = serverOf(balancer, "d", "away")
    assert balancer.asks("set server away/d addr 127.0.0.1 port 1") == (
        "no need to change the addr, no need to change the port by 'stats socket command'\n"
    )
    assert balancer.asks("set server away/d addr ::1 port 2") == (
        "IP changed from '127.0.0.1' to '::1', port changed from '1' to '2' by"
        " 'stats socket command'\n"
    )
    assert str(server.endpoint) == "[::1]:2"
    balancer.asks("set server away/d addr 192.0.2.9")
    assert str(server.endpoint) == "192.0.2.9:2"


def test_healthUntilAChecksSaysOtherwise(balancer):
    assert balancer.asks("set server app/a health down") == ""
    assert stateOf(serverOf(balancer)) == "DOWN"
    balancer.advance(7)
    assert stateOf(serverOf(balancer)) == "UP"


def test_checksThatAreStopped(balancer):
    balancer.advance(3)
    balancer.asks("disable health app/a")
    checks = serverOf(balancer).traffic.checks
    balancer.server("a").goesAway()
    balancer.advance(30)
    assert (serverOf(balancer).traffic.checks, stateOf(serverOf(balancer))) == (checks, "UP")
    assert toldOf(balancer, "show servers state app")["value"][0]["checking"] is False
    balancer.asks("enable health app/a")
    balancer.advance(10)
    assert stateOf(serverOf(balancer)) == "DOWN"


def test_aServerThatFollowsIsNotDecidedUpon():
    config = CONFIG.replace("server c = ${c}", "server c = ${c} track=app/a")
    with Balancer(config, "a", "b", "c") as balancer:
        assert balancer.asks("set server tcp/c health down") == (
            "cannot change health on a tracking server.\n"
        )
        balancer.asks("set server app/a health down")
        assert stateOf(serverOf(balancer, "c", "tcp")) == "DOWN"


def test_everyChangeIsTold(balancer):
    balancer.asks("set server app/a state drain; set server app/a weight 9; disable server app/b")
    balancer.asks("set server app/a state ready")
    events = [(one["server"], one["what"]) for one in toldOf(balancer, "show events")["value"]]
    assert events == [("a", "drain"), ("a", "weight"), ("b", "maint"), ("a", "ready")]
    assert len(toldOf(balancer, "show events app/b")["value"]) == 1
    assert "Server app/b is MAINT, reason: by an administrator." in balancer.asks("show events app")


# frontends and the process


def test_aFrontendThatIsDisabled(balancer):
    assert balancer.asks("disable frontend www") == ""
    assert balancer.asks("disable frontend www") == "All sockets are already disabled.\n"
    client = balancer.connects()
    client.sends(GET)
    client.receivesNothing()
    assert toldOf(balancer, "show stat www 1 -1")["value"][0]["state"] == "PAUSED"
    assert balancer.asks("enable frontend www") == ""
    balancer.pump.turn()
    balancer.server("a").accepts().receives(rb"GET.*")


def test_aFrontendThatIsDisabledBeforeItAccepts():
    done = []
    listener = SimpleNamespace(
        startListening=lambda: done.append("begun"), shut=lambda: done.append("shut")
    )
    frontend = Frontend(SimpleNamespace(config=None, name="www", listeners=[listener]), None)
    frontend.pause()
    frontend.start()
    assert done == ["shut", "begun", "shut"]


def test_aFrontendThatIsShutDown(balancer):
    client = exchanged(balancer)
    peer = balancer.server("a").accepts()
    assert balancer.asks("shutdown frontend www") == ""
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        balancer.connects()
    peer.receives(rb"GET.*")
    peer.sends(OK)
    client.receivesExactly(OK)
    assert balancer.asks("enable frontend www") == (
        "Frontend was previously shut down, cannot enable.\n"
    )
    assert toldOf(balancer, "show stat www 1 -1")["value"][0]["state"] == "STOP"


def test_theLimitOfAFrontend(balancer):
    balancer.asks("set maxconn frontend www 1")
    first, second = balancer.connects(), balancer.connects()
    second.sends(GET)
    assert balancer.running.process.active == 1
    assert toldOf(balancer, "show stat www 1 -1")["value"][0]["state"] == "FULL"
    balancer.asks("set maxconn frontend www 2")
    balancer.pump.turn()
    balancer.server("a").accepts().receives(rb"GET.*")
    first.closes()


def test_theLimitOfTheProcess(balancer):
    balancer.asks("set maxconn global 1")
    first, second = balancer.connects(), balancer.connects(".raw")
    assert balancer.running.process.active == 1
    balancer.asks("set maxconn global 0")
    balancer.pump.turn()
    assert balancer.running.process.active == 2
    first.closes()
    second.closes()


# what runs


def test_whatIsUnderWay(balancer):
    exchanged(balancer, b"/path")
    balancer.server("a").accepts().receives(rb"GET.*")
    balancer.client(port=40001)
    balancer.client(port=40002, frontend="raw").sends(b"hello")
    balancer.server("c").accepts().receives(b"hello")
    assert balancer.asks("show sess").splitlines() == [
        "0x1: proto=tcpv4 src=203.0.113.9:40000 fe=www be=app srv=a st=H age=0s"
        " rq=GET /path HTTP/1.1",
        "0x2: proto=tcpv4 src=203.0.113.9:40001 fe=www be=<NONE> srv=<none> st=- age=0s",
        "0x3: proto=tcpv4 src=203.0.113.9:40002 fe=raw be=tcp srv=c st=D age=0s",
    ]
    balancer.advance(3)
    one = toldOf(balancer, "show sess 0x3")["value"]
    assert (one["number"], one["server"], one["age"]) == (3, "c", 3)


def test_anExchangeIsEnded(balancer):
    client = exchanged(balancer)
    peer = balancer.server("a").accepts()
    peer.receives(rb"GET.*")
    assert balancer.asks("shutdown session 0x1") == ""
    client.receives(rb"HTTP/1.1 503 .*")
    assert balancer.running.process.active == 0
    assert balancer.asks("shutdown session 0x1") == "No such session (use 'show sess').\n"


def test_itsNumberAsItIsShownToPrograms(balancer):
    clients = [balancer.client(port=40000 + number) for number in range(17)]
    wanted = toldOf(balancer, "show sess 0x10")["value"]
    assert toldOf(balancer, f"show sess {wanted['number']}")["value"] == wanted
    balancer.asks("shutdown session 16")
    clients[15].isReset()
    assert balancer.running.process.active == 16


def test_aSessionIsEndedOnBothSides(balancer):
    client = balancer.client(frontend="raw")
    client.sends(b"hello")
    peer = balancer.server("c").accepts()
    peer.receives(b"hello")
    assert balancer.asks("shutdown session 0x1") == ""
    client.isReset()
    assert toldOf(balancer, "show failures raw")["value"][0]["cause"] == "K"


def test_allThatRunsWithAServer(balancer):
    clients = [exchanged(balancer) for _ in range(3)]
    for _ in clients:
        balancer.server("a").accepts().receives(rb"GET.*")
    assert balancer.asks("shutdown sessions server app/b") == ""
    assert len(serverOf(balancer).sessions) == 3
    assert balancer.asks("shutdown sessions server app/a") == ""
    for client in clients:
        client.receives(rb"HTTP/1.1 503 .*")


def test_whatPersistenceKnows(balancer):
    exchanged(balancer)
    balancer.server("a").accepts().receives(rb"GET.*")
    assert balancer.asks("show table") == "# table: app, type: string, size:1000000, used:1\n"
    assert balancer.asks("show table app").splitlines()[1:] == [
        "0x1: key=203.0.113.9 use=0 exp=1800000 server=a"
    ]
    assert balancer.asks("show table app key 203.0.113.8").splitlines()[1:] == []
    assert balancer.asks("clear table app key 203.0.113.8; clear table app key 203.0.113.9") == "\n"
    assert balancer.asks("show table") == "# table: app, type: string, size:1000000, used:0\n"


def test_onlyTheClientThatIsMeantIsForgotten(balancer):
    for host in ("10.0.0.1", "110.0.0.1", "0.0.1"):
        balancer.client(host).sends(GET)
    balancer.asks("clear table app key 10.0.0.1")
    assert {one["key"] for one in toldOf(balancer, "show table app")["value"]} == {
        "110.0.0.1", "0.0.1",
    }  # fmt: skip


def test_whatAClientIsKnownByEndsWhereTheNextFieldBegins():
    config = CONFIG.replace("persist = source", "persist = header X-User")
    said = rb"1 use=9 server=b\\", "é".encode("latin-1"), b"x" * 99
    with Balancer(config, "a", "b", "c") as balancer:
        for user in said:
            exchanged(balancer, b"/ HTTP/1.1\r\nX-User: " + user + b"\r\nX-Rest:")
        keys = [one["key"] for one in toldOf(balancer, "show table app")["value"]]
        assert {r"1 use=9 server=b\\", r"\xe9"} < set(keys)
        assert r" key=1\ use\=9\ server\=b\\\\ use=0 " in balancer.asks("show table app")
        for key in (r"1\ use=9\ server=b\\\\", r"\\xe9", "x" * 99):
            assert balancer.asks(f"show table app key {key}").count("\n") == 2, key
            balancer.asks(f"clear table app key {key}")
        assert toldOf(balancer, "show table app")["value"] == []


# what was


def test_whatHasFailed(balancer):
    exchanged(balancer, b"/no\x1b[2J")
    client = balancer.client(port=40001)
    client.sends(b"GET /no HTTP/1.1\r\nHost: h\r\n\r\n")
    client.receives(b"HTTP/1.1 403 .*")
    found = toldOf(balancer, "show failures")["value"]
    assert [(one["status"], one["request"], one["rule"]) for one in found] == [
        (400, "", ""), (403, "GET /no HTTP/1.1", 'deny if path == "/no"'),
    ]  # fmt: skip
    assert balancer.asks("show failures").count("\n") == 3


def test_countersBeginAnew(balancer):
    balancer.advance(1.5)
    client = exchanged(balancer)
    peer = balancer.server("a").accepts()
    peer.sends(OK)
    client.receives(rb".*")
    balancer.advance(1.5)

    def first(name):
        return toldOf(balancer, "show stat www 1 -1")["value"][0]["values"][name]

    assert (first("req_tot"), first("rate_max")) == (1, 1)
    balancer.asks("clear counters")
    assert (first("req_tot"), first("rate_max")) == (1, 0)
    balancer.asks("clear counters all")
    assert (first("req_tot"), first("stot"), first("scur")) == (0, 0, 1)
    assert serverOf(balancer).traffic.exchanges == 0


# the forms of answers


def test_statistics(balancer):
    header, *rows, end = balancer.asks("show stat").split("\n")
    assert header.startswith("# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,")
    assert [row.split(",")[:2] for row in rows] == [
        ["www", "FRONTEND"], ["raw", "FRONTEND"], ["app", "a"], ["app", "b"], ["app", "BACKEND"],
        ["tcp", "c"], ["tcp", "BACKEND"], ["away", "d"], ["away", "BACKEND"],
    ]  # fmt: skip
    assert end == ""


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("-1 1 -1", ["FRONTEND", "FRONTEND"]),
        ("-1 2 -1", ["BACKEND", "BACKEND", "BACKEND"]),
        ("app -1 -1", ["a", "b", "BACKEND"]),
        ("3 4 2", ["b"]),
        ("1 7 -1", ["FRONTEND"]),
        ("99 -1 -1", []),
        ("-1 4 -1 no-maint", ["b", "c", "d"]),
        ("-1 4 -1 up", ["b", "c"]),
        ("nonsense", ["FRONTEND", "FRONTEND", "a", "b", "BACKEND", "c", "BACKEND", "d", "BACKEND"]),
    ],
)
def test_someOfTheStatistics(balancer, which, names):
    balancer.asks("disable server app/a; set server away/d health down")
    rows = balancer.asks(f"show stat {which}").splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == names


def test_statisticsAsHAProxyTypesThem(balancer):
    assert balancer.asks("show stat app 4 2 typed").splitlines()[:4] == [
        "S.3.2.0.pxname.1:KNS:str:app",
        "S.3.2.1.svname.1:KNS:str:b",
        "S.3.2.2.qcur.1:MGP:u32:0",
        "S.3.2.3.qmax.1:MMP:u32:0",
    ]
    [[first, *_]] = json.loads(balancer.asks("show stat app 4 2 json"))
    assert first == {
        "objType": "Server", "proxyId": 3, "id": 2, "processNum": 1,
        "field": {"pos": 0, "name": "pxname"},
        "tags": {"origin": "Key", "nature": "Name", "scope": "Service"},
        "value": {"type": "str", "value": "app"},
    }  # fmt: skip


def test_theProcess(balancer):
    balancer.advance(3723)
    balancer.client()
    lines = dict(line.split(": ", 1) for line in balancer.asks("show info").splitlines())
    assert lines | {"Uptime": "0d 1h02m03s", "Uptime_sec": "3723", "CurrConns": "1"} == lines
    assert lines | {"Name": "HAProxy", "description": "lbtwist", "Version": "0.1.0"} == lines
    assert "8.Uptime_sec.1:MDP:u32:3723" in balancer.asks("show info typed").splitlines()
    listed = json.loads(balancer.asks("show info json"))
    found = {one["field"]["name"]: one["value"] for one in listed}
    assert found["Uptime_sec"] == {"type": "u32", "value": 3723}
    assert list(found) == list(lines)


def test_theStateOfServers(balancer):
    balancer.asks("set server app/a state drain; set server away/d state maint")
    balancer.advance(1)
    version, header, *rows, _ = balancer.asks("show servers state").split("\n")
    names = header.removeprefix("# ").split()
    assert (version, len(names)) == ("1", 25)
    found = [dict(zip(names, row.split(), strict=True)) for row in rows]
    assert [(one["srv_name"], one["srv_op_state"], one["srv_admin_state"]) for one in found] == [
        ("a", "2", "8"), ("b", "2", "0"), ("c", "2", "0"), ("d", "0", "1"),
    ]  # fmt: skip
    first = found[0]
    assert first | {"be_id": "3", "srv_id": "1", "srv_uweight": "4", "srv_iweight": "4"} == first
    assert found[3] | {"srv_addr": "127.0.0.1", "srv_port": "1"} == found[3]
    balancer.asks("set server away/d addr 127.0.0.2")
    # An address is no name, whatever was written down.
    assert balancer.asks("show servers state away").split()[-8:-6] == ["-", "1"]


def test_theConnectionsOfServers(balancer):
    client = exchanged(balancer)
    peer = balancer.server("a").accepts()
    peer.sends(OK)
    client.receives(rb".*")
    [row] = [one for one in balancer.asks("show servers conn app").splitlines() if "app/a" in one]
    assert row.split()[:2] + row.split()[5:] == [
        "app/a", "3/1", "30000", "0", "0", "0", "0", "1", "256", "1", "1",
    ]  # fmt: skip


def test_howAnAnswerIsMeant(balancer):
    unknown = "Unknown command: 'x'. See 'help'."
    assert balancer.asks("set severity-output number; x") == f"\n[3]: {unknown}\n"
    assert balancer.asks("set severity-output string; x") == f"\n[err]: {unknown}\n"
    assert balancer.asks("set severity-output number; show version") == "\n0.1.0\n"


def test_answersForPrograms(balancer):
    assert toldOf(balancer, "get weight app/a") == {
        "severity": "output", "value": {"weight": 4, "initial": 4},
    }  # fmt: skip
    assert toldOf(balancer, "x") == {
        "severity": "error", "text": "Unknown command: 'x'. See 'help'.",
    }  # fmt: skip
    assert toldOf(balancer, "disable server app/a") == {"severity": "output", "text": ""}
    for verb in ALL:
        if verb.words[0] == "show":
            assert "value" in toldOf(balancer, " ".join(verb.words)), verb


def test_anAnswerThatCannotBeWritten(balancer):
    verb = Verb("make odd", "", Level.USER, lambda asked, words: Answer("odd", {1, 2}))
    [door, *_] = balancer.running.doors
    door.commands = commandsFor(balancer.running, verb)
    administrator = balancer.administrator()
    administrator.sends(b"set output json; make odd; show version\n")
    administrator.receives(rb'{"severity":"output","text":""}\n\n')
    administrator.isEnded()
    assert [failure.type for failure in balancer.failures] == [TypeError]
    balancer.failures.clear()


# waiting


def test_aWhile(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"wait 2500; show version\n")
    balancer.advance(2.4)
    administrator.receivesNothing()
    balancer.advance(0.2)
    administrator.receivesExactly(b"Done.\n\n0.1.0\n\n")
    administrator.isEnded()


def test_untilAServerIsDrained(balancer):
    client = exchanged(balancer)
    peer = balancer.server("a").accepts()
    peer.receives(rb"GET.*")
    administrator = balancer.administrator()
    administrator.sends(b"set server app/a state drain; wait 1h srv-drained app/a\n")
    balancer.advance(40)
    administrator.receivesExactly(b"\n")
    peer.sends(OK)
    client.receivesExactly(OK)
    client.closes()
    balancer.advance(60)
    # Its client is known by its address, for half an hour.
    administrator.receivesNothing()
    balancer.advance(1800)
    administrator.receivesExactly(b"Done.\n\n")
    administrator.isEnded()


def test_untilNothingRunsWithAServer(balancer):
    exchanged(balancer)
    peer = balancer.server("a").accepts()
    balancer.asks("set server app/a state maint")
    administrator = balancer.administrator()
    administrator.sends(b"wait 1h srv-removable app/a\n")
    balancer.advance(2)
    administrator.receivesNothing()
    peer.sends(OK)
    balancer.advance(1)
    administrator.receivesExactly(b"Done.\n\n")


def test_untilAServerIsUp(balancer):
    balancer.asks("set server app/a health down")
    administrator = balancer.administrator()
    administrator.sends(b"wait 1h srv-up app/a\n")
    administrator.receivesNothing()
    balancer.advance(8)
    administrator.receivesExactly(b"Done.\n\n")
    assert balancer.asks("set server app/a health down; wait 1s srv-down app/a") == "\nDone.\n"


def test_inVain(balancer):
    exchanged(balancer)
    balancer.server("a").accepts()
    administrator = balancer.administrator()
    administrator.sends(b"set server app/a state drain; wait 1s srv-drained app/a\n")
    balancer.advance(1.1)
    administrator.receivesExactly(
        b"\nWait delay expired: app/a is DRAIN, has 1 sessions and 1 clients that may come"
        b" back.\n\n"
    )


def test_aDrainThatIsTakenBack(balancer):
    exchanged(balancer)
    balancer.server("a").accepts()
    administrator = balancer.administrator()
    administrator.sends(b"set server app/a state drain; wait 1h srv-drained app/a\n")
    balancer.advance(1)
    balancer.asks("set server app/a state ready")
    balancer.advance(1)
    administrator.receivesExactly(b"\nFailed: app/a is not drained.\n\n")


def test_whoWaitsAndGoesAway(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"wait 1h\n")
    administrator.closes()
    balancer.advance(1.5)
    timers = [call for call in balancer.pump.getDelayedCalls() if "_Wait" in str(call)]
    assert timers == []


def test_whoSaysMuchAndGoesAwayWhileTheyWait(balancer):
    """Of what is not read nobody hears that it ends."""
    administrator = balancer.administrator()
    administrator.sends(b"prompt i\nwait 1h\n" + b"show version\n" * 2000)
    balancer.advance(3)
    administrator.receives(b"\n")
    administrator.closes()
    balancer.advance(1.5)
    assert [call for call in balancer.pump.getDelayedCalls() if "_Wait" in str(call)] == []


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [("srv-up", b"Failed: app/a is gone.\n"), ("srv-down", b"Failed: app/a is gone.\n"),
     ("srv-drained", b"Done.\n"), ("srv-removable", b"Done.\n")],
)  # fmt: skip
def test_aServerThatGoesMeanwhile(balancer, wanted, answer):
    pool, server = balancer.running.pool("app"), serverOf(balancer)
    server.health.up, server.active = wanted == "srv-down", 1
    balancer.asks("set server app/a state drain")
    administrator = balancer.administrator()
    administrator.sends(f"wait 1h {wanted} app/a\n".encode())
    balancer.advance(2)
    administrator.receivesNothing()
    before, server.active = pool.servers, 0
    pool.setServers(before[1:])
    balancer.advance(1)
    administrator.receivesExactly(answer + b"\n")
    pool.setServers(before)


def test_whoEndsTheirSideAndWaits(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"wait 5s; wait 5s\n")
    administrator.ends()
    balancer.advance(10.1)
    administrator.receivesExactly(b"Done.\n\nDone.\n\n")
    administrator.isEnded()


def test_whoWaitsWhileTheBalancerEnds():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        balancer.administrator().sends(b"prompt i; wait 1h\n")


# the socket


def test_whatHasTakenItsPlaceIsLeftAlone(balancer, tmp_path):
    [door, *_] = balancer.running.doors
    path = door.address
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        door.close()
        assert os.path.exists(path)


def test_nobodyIsAskedWhereThereIsNoSocket():
    with Balancer(CONFIG.replace("admin =", "; admin ="), "a", "b", "c") as balancer:
        with pytest.raises(FileNotFoundError):
            balancer.administrator()
        balancer.advance(5)
        assert repr(balancer.running.looking) == "<Looking at 0, off>"
