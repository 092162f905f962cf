"""
What the checks of protocols make of every server: good ones in all pieces, bad ones, and
those that never come to an end.
"""

import hashlib
import re
import socket
from random import Random

import pytest
from talking import Heard
from twisted.internet.error import ConnectionLost

from lbtwist.checks import CheckCancelled, Exactly, Line, Unfit
from lbtwist.checks.agent import AgentCheck
from lbtwist.checks.dns import DNSCheck
from lbtwist.checks.ldap import LDAPCheck
from lbtwist.checks.mysql import MySQLCheck
from lbtwist.checks.postgresql import PostgreSQLCheck
from lbtwist.checks.redis import RedisCheck
from lbtwist.checks.smtp import SMTPCheck
from lbtwist.checks.talk import MOST, Want
from lbtwist.checks.tcp import Expecting, Sent, TCPCheck
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.health import Result
from lbtwist.registry import Context, installed
from lbtwist.server import Endpoint, Server
from lbtwist.testing import inPieces

SERVER = Server("app", "a", Endpoint(socket.AF_INET, ("127.0.0.1", 1)))
HALF = 2**15


class Chosen(Random):
    """Chooses what the answers of the tests are made for."""

    def getrandbits(self, count):
        return 0x1234


def make(kind, **options):
    return kind(kind.Options(**options), Context(random=Chosen()))


def hold(check):
    """Begin the talk of a check."""
    return Heard(check.talk() if isinstance(check, TCPCheck) else check.talk(SERVER))


def steps(*written):
    """A tcp check of steps as C{("send", TEXT)} or C{("expect", TEXT)}."""
    kinds = {"send": Sent(), "expect": Expecting()}
    values = {"send": (), "expect": ()}
    for name, text in written:
        values[name] += kinds[name].parse(text)
    return make(TCPCheck, order=tuple(name for name, _ in written), **values)


def packet(number, data):
    return len(data).to_bytes(3, "little") + bytes([number]) + data


def readOnly(value):
    """The one row, in one column, that a query is answered with."""
    end = b"\xfe\0\0\2\0"
    rows = (b"\1", b"\3def" + bytes(20), end, bytes([len(value)]) + value, end)
    return b"".join(packet(number, data) for number, data in enumerate(rows, 1))


def message(kind, data):
    return kind + (len(data) + 4).to_bytes(4, "big") + data


def md5(data):
    return hashlib.md5(data).hexdigest().encode()


def bound(code, text=b"", tag=0x61):
    """An LDAPMessage with a result."""
    inner = bytes([10, 1, code, 4, 0, 4, len(text)]) + text
    body = b"\2\1\1" + bytes([tag, len(inner)]) + inner
    return b"\x30" + bytes([len(body)]) + body


HANDSHAKE = packet(0, b"\x0a8.0.36\0" + bytes(60))
LOGIN = packet(
    1, bytes.fromhex("01a20800 00000001 21") + bytes(23) + b"u\0\0mysql_native_password\0"
)
TRUSTED = message(b"R", bytes(4))
READY = TRUSTED + message(b"S", b"TimeZone\0UTC\0") + message(b"K", bytes(8)) + message(b"Z", b"I")
ROW = message(b"T", bytes(30)) + message(b"D", b"\0\1\0\0\0\1f")
ANSWER = bytes.fromhex("0021 1234 8180 0001 0001 0000 0000") + bytes(21)

GOOD = [
    (steps(("expect", "OK")), b"are you OK?", Result(True, "L7OK"), b""),
    (steps(("expect", "hex:00ff"), ("send", "a"), ("expect", "b")), b"b\0\xffxb",
     Result(True, "L7OK"), b"a"),
    (steps(("expect", "re:^[0-9]+$"), ("expect", "!x")), b"a1\r\n23\r\n45\r\n",
     Result(True, "L7OK"), b""),
    (make(RedisCheck), b"+PONG\r\n", Result(True, "L7OK", "PONG"), b"*1\r\n$4\r\nPING\r\n"),
    (make(RedisCheck, role="replica", password="p"),
     b"+OK\r\n+PONG\r\n*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n",
     Result(True, "L7OK", "its role is slave", role="replica"),
     b"*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nROLE\r\n"),
    (make(RedisCheck, role="tell"), b"+PONG\r\n*3\r\n$6\r\nmaster\r\n",
     Result(True, "L7OK", "its role is master", role="primary"),
     b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nROLE\r\n"),
    (make(RedisCheck, role="tell"), b"+PONG\r\n*1\r\n$3\r\nnew\r\n",
     Result(True, "L7OK", "its role is new", role=""),
     b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nROLE\r\n"),
    (make(MySQLCheck), HANDSHAKE, Result(True, "L7OK", "8.0.36"), b""),
    (make(MySQLCheck, user="u", role="tell"),
     HANDSHAKE + packet(2, b"\0\0\0\2\0\0\0") + readOnly(b"0"),
     Result(True, "L7OK", "8.0.36, its role is primary", role="primary"),
     LOGIN + b"\x1a\0\0\0\3select @@global.read_only\1\0\0\0\1"),
    (make(MySQLCheck, user="u", role="replica"),
     HANDSHAKE + packet(2, b"\0\0\0\2\0\0\0") + readOnly(b"ON"),
     Result(True, "L7OK", "8.0.36, its role is replica", role="replica"),
     LOGIN + b"\x1a\0\0\0\3select @@global.read_only\1\0\0\0\1"),
    (make(MySQLCheck, user="u"),
     HANDSHAKE + packet(2, b"\xfecaching_sha2_password\0salt") + packet(4, b"\0\0\0\2\0\0\0"),
     Result(True, "L7OK", "8.0.36"), LOGIN + packet(3, b"") + b"\1\0\0\0\1"),
    (make(PostgreSQLCheck), message(b"R", b"\0\0\0\5salt"), Result(True, "L7OK"),
     message(b"", b"\0\3\0\0user\0lbtwist\0application_name\0lbtwist\0\0")),
    (make(PostgreSQLCheck, user="u", password="p", role="primary"),
     message(b"R", b"\0\0\0\5salt") + READY + ROW,
     Result(True, "L7OK", "primary", role="primary"),
     message(b"", b"\0\3\0\0user\0u\0database\0postgres\0application_name\0lbtwist\0\0")
     + message(b"p", b"md5" + md5(md5(b"pu") + b"salt") + b"\0")
     + message(b"Q", b"select pg_catalog.pg_is_in_recovery()\0") + b"X\0\0\0\4"),
    (make(SMTPCheck, hello="me.test"),
     b"220-a\r\n220 b\r\n250-mail.test\r\n250-SIZE 1\r\n250 HELP\r\n221\r\n",
     Result(True, "L7OK", "220-a"), b"EHLO me.test\r\nQUIT\r\n"),
    (make(LDAPCheck), bound(0), Result(True, "L7OK", "success"),
     bytes.fromhex("300c0201016007020103040080003005020102 4200")),
    (make(DNSCheck, name="a.test"), ANSWER, Result(True, "L7OK", "NOERROR"),
     bytes.fromhex("0018 1234 0100 0001 0000 0000 0000 01 61 04 74657374 00 0001 0001")),
    (make(AgentCheck), b"up role=Primary\n", Result(True, "L7OK", "up role=Primary",
                                                     role="primary"), b""),
    (make(AgentCheck, send="hi\\n"), b"up 75% # well\r\n",
     Result(True, "L7OK", "up 75% # well", weight=75), b"hi\n"),
]  # fmt: skip


def named(rows):
    return [pytest.param(*row, id=f"{number} {type(row[0]).__name__}")
            for number, row in enumerate(rows)]  # fmt: skip


@pytest.mark.parametrize(("check", "said", "result", "asked"), named(GOOD))
def test_goodServersInAllPieces(check, said, result, asked):
    for pieces in inPieces(said):
        heard = hold(check)
        heard.says(*pieces)
        assert heard.found == [result]
        assert heard.wire.sent == asked
        assert heard.wire.closed == "closed"


BAD = [
    (steps(("expect", "!421")), b"421 no\r\n", "L7RSP", "there is what must not be: '421'"),
    (steps(("expect", "re:^b")), b"a" * 4097, "L7RSP", "a line of more than 4096 bytes"),
    (make(RedisCheck), b"-LOADING the dataset\r\n", "L7STS", "PING: LOADING the dataset"),
    (make(RedisCheck), b"HTTP/1.1 400 Bad\r\n", "L7RSP", "PING is not answered as Redis does"),
    (make(RedisCheck, password="p"), b"+NO\r\n", "L7RSP", "AUTH is not answered"),
    (make(RedisCheck, role="master"), b"+PONG\r\n*3\r\n$5\r\nslave\r\n", "L7STS", "slave"),
    (make(RedisCheck, role="master"), b"+PONG\r\n*3\r\n$999999\r\n", "L7RSP", "ROLE is not"),
    (make(RedisCheck, role="master"), b"+PONG\r\n*3\r\n$-1\r\n", "L7RSP", "ROLE is not"),
    (make(MySQLCheck), packet(0, b"\xff\x69\x04Host is blocked"), "L7STS", "1129 Host is blocked"),
    (make(MySQLCheck), packet(0, b"\xff\x69\x04#HY000Host"), "L7STS", "1129 Host"),
    (make(MySQLCheck), packet(0, b"\xff"), "L7STS", "0"),
    (make(MySQLCheck), packet(0, b"\x098.0\0"), "L7RSP", "this is not the handshake of MySQL"),
    (make(MySQLCheck), packet(0, b"\x0a8.0"), "L7RSP", "this is not the handshake of MySQL"),
    (make(MySQLCheck), packet(0, b""), "L7RSP", "a packet of 0 bytes"),
    (make(MySQLCheck), b"\xff\xff\xff\0", "L7RSP", "a packet of 16777215 bytes"),
    (make(MySQLCheck, user="u"), HANDSHAKE + packet(2, b"\2"), "L7RSP", "not answered as MySQL"),
    (make(MySQLCheck, user="u", role="primary"),
     HANDSHAKE + packet(2, b"\0\0\0\2\0\0\0") + readOnly(b"1"), "L7STS", "its role is replica"),
    (make(MySQLCheck, user="u", role="tell"),
     HANDSHAKE + packet(2, b"\0\0\0\2\0\0\0") + packet(1, b"\2") * 4, "L7RSP",
     "the query is not answered as MySQL does"),
    (make(MySQLCheck, user="u", role="tell"),
     HANDSHAKE + packet(2, b"\0\0\0\2\0\0\0") + readOnly(b"1")[:-15] + packet(4, b"\xfb") * 2,
     "L7RSP", "the query is not answered as MySQL does"),
    (make(PostgreSQLCheck), message(b"E", b"SFATAL\0C57P03\0Mstarting up\0\0"), "L7STS",
     "57P03 starting up"),
    (make(PostgreSQLCheck), message(b"E", b""), "L7STS", ""),
    (make(PostgreSQLCheck), b"HTTP/1.1 400", "L7RSP", "this is not PostgreSQL"),
    (make(PostgreSQLCheck), b"R\0\0\0\3", "L7RSP", "this is not PostgreSQL"),
    (make(PostgreSQLCheck), b"R\xff\xff\xff\xff", "L7RSP", "this is not PostgreSQL"),
    (make(PostgreSQLCheck, user="u"), message(b"E", b"C28000\0Mno\0\0"), "L7STS", "28000 no"),
    (make(PostgreSQLCheck, user="u", password="p"), message(b"R", b"\0\0\0\7"), "L7RSP",
     "a way of authentication that is not known: 7"),
    (make(PostgreSQLCheck, user="u", password="p"), message(b"R", b"\0\0\0\5"), "L7RSP",
     "a way of authentication that is not known: 5"),
    (make(PostgreSQLCheck, user="u", password="p"), message(b"R", b"\0\0\0\x0aPLAIN\0\0"),
     "L7RSP", "a way of authentication that is not known: 10"),
    (make(PostgreSQLCheck, user="u", password="p"),
     message(b"R", b"\0\0\0\3") + message(b"R", b"\0\0\0\3"), "L7RSP",
     "the password is not answered"),
    (make(PostgreSQLCheck, user="u", password="p"),
     message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0") + TRUSTED, "L7RSP",
     "the password is not answered"),
    (make(PostgreSQLCheck, user="u", password="p"),
     message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0") + message(b"R", b"\0\0\0\x0br=x,s=QUJD,i=1"),
     "L7RSP", "the server's challenge is not SCRAM"),
    (make(PostgreSQLCheck, user="u", role="primary"), READY + message(b"D", b"\0\1\0\0\0\1x"),
     "L7RSP", "the query is not answered"),
    (make(PostgreSQLCheck, user="u", role="standby"), READY + ROW, "L7STS",
     "its role is primary"),
    (make(SMTPCheck), b"421 too busy\r\n", "L7STS", "421 too busy"),
    (make(SMTPCheck), b"220-a\r\n250 b\r\n", "L7RSP", "the banner is not SMTP: '250 b'"),
    (make(SMTPCheck), b"220x\r\n", "L7RSP", "the banner is not SMTP"),
    (make(SMTPCheck), b"220 a\r\n550 who?\r\n", "L7STS", "550 who?"),
    (make(SMTPCheck), b"SSH-2.0-x\r\n", "L7RSP", "the banner is not SMTP"),
    (make(LDAPCheck), bound(49, b"go away"), "L7STS", "invalidCredentials (49) go away"),
    (make(LDAPCheck), bound(99), "L7STS", "result (99)"),
    (make(LDAPCheck), bound(52, b"bye", 0x78), "L7STS", "unavailable (52) bye"),
    (make(LDAPCheck), bound(0, b"", 0x78), "L7RSP", "no answer to a bind"),
    (make(LDAPCheck), bound(0, b"", 0x65), "L7RSP", "no answer to a bind"),
    (make(LDAPCheck), b"\x30\x80\0\0", "L7RSP", "this is not LDAP"),
    (make(LDAPCheck), b"\x30\x85\0\0\0\0\0", "L7RSP", "this is not LDAP"),
    (make(LDAPCheck), b"\x30\x84\xff\xff\xff\xff", "L7RSP", "a message of 4294967295 bytes"),
    (make(LDAPCheck), b"\x30\x05\x02\x7f\x01\x61\x00", "L7RSP", "longer than the message"),
    (make(LDAPCheck), b"\x30\x05\x02\x80\x01\x61\x00", "L7RSP", "a length that is not LDAP's"),
    (make(LDAPCheck), b"\x30\x05\x02\xff\x01\x61\x00", "L7RSP", "longer than the message"),
    (make(LDAPCheck), b"\x30\x00", "L7RSP", "no answer to a bind"),
    (make(DNSCheck, name="a.test"), bytes.fromhex("0021 1234 8182") + bytes(8), "L7STS",
     "SERVFAIL"),
    (make(DNSCheck, name="a.test"), bytes.fromhex("0021 1234 818f") + bytes(8), "L7STS",
     "RCODE 15"),
    (make(DNSCheck, name="a.test"), bytes.fromhex("0021 4321 8180") + bytes(8), "L7RSP",
     "this is no answer to the query"),
    (make(DNSCheck, name="a.test"), bytes.fromhex("0021 1234 0180") + bytes(8), "L7RSP",
     "this is no answer to the query"),
    (make(DNSCheck, name="a.test"), b"\0\x0b", "L7RSP", "an answer shorter than its head"),
    (make(AgentCheck), b"stopped # for the night\n", "L7STS", "stopped # for the night"),
    (make(AgentCheck), b"HTTP/1.1 400\n", "L7RSP", "no word of an agent: 'HTTP/1.1'"),
    (make(AgentCheck), b"up role=(x)\n", "L7RSP", "no word of an agent: 'role=(x)'"),
    (make(AgentCheck), b"# up\n", "L7RSP", "the agent has said nothing"),
    (make(AgentCheck), b"u" * 1025, "L7RSP", "a line of more than 1024 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "said", "status", "detail"), named(BAD))
def test_badServersInAllPieces(check, said, status, detail):
    # The long ones are long in one way only.
    for pieces in inPieces(said) if len(said) < 1000 else [[said], [said[:-1], said[-1:]]]:
        heard = hold(check)
        heard.says(*pieces)
        [result] = heard.found
        assert (result.passed, result.status) == (False, status)
        assert detail in result.detail
        assert heard.wire.closed == "reset"


CHECKS = [
    steps(("expect", "never")),
    steps(("expect", "re:^never$")),
    make(RedisCheck, password="p", role="master"),
    make(MySQLCheck, user="u"),
    make(MySQLCheck, user="u", role="tell"),
    make(PostgreSQLCheck, user="u", password="p", role="primary"),
    make(SMTPCheck),
    make(LDAPCheck),
    make(DNSCheck, name="a.test"),
    make(AgentCheck),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: type(check).__name__)
@pytest.mark.parametrize("said", [
    b"\0", b"\xff", b"a\r\n", b"220-a\r\n", b"+OK\r\n", message(b"N", b""), packet(0, b"\xfe"),
    message(b"R", b"\0\0\0\3"), b"\x30\x81", Random(7).randbytes(4096),
], ids=repr)  # fmt: skip
def test_nobodySpeaksWithoutEnd(check, said):
    """Whatever is said again and again: there is a verdict before much has come."""
    heard = hold(check)
    piece = said * (HALF // len(said))
    for _ in range(MOST // len(piece) + 2):
        heard.says(piece)
    [result] = heard.found
    assert not result.passed and heard.wire.closed


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: type(check).__name__)
def test_silentServers(check):
    heard = hold(check)
    assert not heard.ended
    heard.check.verdict.cancel()
    [failure] = heard.failed
    assert failure.check(CheckCancelled)
    assert failure.value.status == "L7TOUT" and failure.value.detail.startswith("no ")
    assert heard.wire.closed == "reset"


@pytest.mark.parametrize(("check", "said", "result", "asked"), named(GOOD))
def test_cancelledAtAnyMoment(check, said, result, asked):
    for cut in range(len(said)):
        heard = hold(check)
        heard.says(said[:cut])
        if not heard.ended:
            heard.check.verdict.cancel()
            assert heard.failed[0].check(CheckCancelled)
        assert heard.wire.closed


@pytest.mark.parametrize(("check", "said", "result", "asked"), named(GOOD))
@pytest.mark.parametrize("reason", [None, ConnectionLost()])
def test_closedAtAnyMoment(check, said, result, asked, reason):
    for cut in range(len(said)):
        heard = hold(check)
        heard.says(said[:cut])
        heard.ends(reason)
        [found] = heard.found
        if not found.passed:
            # The end of the connection ends the line of an agent, which then is none.
            assert re.search("the connection ended before the |no word of", found.detail)


# A talk.


class Asks:
    """A talk of the test's."""

    def __init__(self, *wants):
        self.wants = wants
        self.got = []
        self.left = False

    def talk(self):
        try:
            for want in self.wants:
                self.got.append((yield want))
        finally:
            self.left = True
        return Result(True, "L7OK")


def test_whatIsSaidAtOnceIsTakenInTurn():
    asks = Asks(Line("a"), b"more", Exactly("b", 3), Line("c", orEnd=True))
    heard = Heard(asks.talk())
    heard.says(b"one\r\ntwothr")
    heard.ends()
    assert asks.got == [b"one", None, b"two", b"thr"]
    assert heard.found == [Result(True, "L7OK")]


def test_anEndIsALineOnlyWhereItIsWanted():
    for reason, orEnd, said in ((None, False, b"a"), (ConnectionLost(), True, b"a"),
                                (None, True, b"")):  # fmt: skip
        heard = Heard(Asks(Line("answer", orEnd=orEnd)).talk())
        heard.says(said)
        heard.ends(reason)
        assert heard.found == [Result(False, "L7RSP", "the connection ended before the answer")]


def test_moreThanMayBeHeard():
    heard = Heard(Asks(Exactly("answer", MOST + 1)).talk())
    heard.says(b"a")
    assert "too many for the answer" in heard.found[0].detail


def test_aTalkIsLeftWhenItIsCancelled():
    asks = Asks(Line("answer"))
    heard = Heard(asks.talk())
    heard.check.verdict.cancel()
    assert asks.left


def test_aTalkThatFails():
    """A fault in a talk is an error of the check, and leaves no connection."""

    class Broken(Want):
        what = "answer"

        def take(self, heard, ended):
            raise Unfit("never")

    def fault():
        yield Line("answer")
        raise KeyError("x")

    heard = Heard(fault())
    heard.says(b"a\n")
    assert heard.failed[0].check(KeyError) and heard.wire.closed == "reset"
    heard = Heard(Asks(Broken()).talk())
    heard.says(b"a")
    assert heard.found == [Result(False, "L7RSP", "never")]


# An agent.


@pytest.mark.parametrize(("line", "passed", "changes"), [
    (b"up\n", True, {}),
    (b"UP,ready\t50%\r\n", True, {"admin": "ready", "weight": 50}),
    (b"maint maxconn:0\n", True, {"admin": "maint", "maxconn": 0}),
    (b"drain\n", True, {"admin": "drain"}),
    (b"up role=standby_2\n", True, {"role": "standby_2"}),
    (b"down role=\n", False, {"role": ""}),
    (b"0%\n", True, {"weight": 0}),
    (b"down maxconn:30\n", False, {"maxconn": 30}),
    (b"failed\n", False, {}),
    (b"fail#why up\n", False, {}),
])  # fmt: skip
def test_wordsOfAnAgent(line, passed, changes):
    heard = hold(make(AgentCheck))
    heard.says(line)
    [result] = heard.found
    assert (result.passed, result.status) == (passed, "L7OK" if passed else "L7STS")
    said = {name: getattr(result, name) for name in ("weight", "admin", "maxconn", "role")}
    assert {name: value for name, value in said.items() if value is not None} == changes


def test_anAgentEndsItsLineByClosing():
    heard = hold(make(AgentCheck))
    heard.says(b"up 10%")
    assert not heard.ended
    heard.ends()
    assert heard.found[0].weight == 10


def test_downUntilItIsUp():
    """An agent that says no more than a weight has not said up."""
    check = make(AgentCheck)
    found = []
    for line in (b"5%\n", b"down\n", b"5%\n", b"ready\n", b"up\n", b"5%\n"):
        heard = hold(check)
        heard.says(line)
        found += [result.passed for result in heard.found]
    assert found == [True, False, False, False, True, True]


# As it is written.


def configured(check):
    text = f"[pool app]\nserver a = 127.0.0.1:1\ncheck = {check}\n"
    config, _warnings = loadText(text, registry=installed())
    return config.pools["app"].check.probe.options


def test_stepsInWrittenOrder():
    options = configured(
        r'tcp expect="re:^220[ -]" send="EHLO a\r\n" send=hex:00 expect=!\"x\" send=bye'
    )
    assert options.order == ("expect", "send", "send", "expect", "send")
    assert options.send == (b"EHLO a\r\n", b"\0", b"bye")
    assert [one.written for one in options.expect] == ["re:^220[ -]", '!"x"']
    heard = hold(TCPCheck(options, Context()))
    assert heard.wire.sent == b""
    heard.says(b"220 a\r\n")
    assert heard.wire.sent == b"EHLO a\r\n\0"
    heard.says(b"well\n")
    assert heard.found == [Result(True, "L7OK")]


def test_twoWritingsOfOneAreEqual():
    """Or a reload would take them for a change."""
    assert configured("tcp send=a expect=re:b") == configured("tcp send=a  expect=re:b")
    assert configured("tcp send=a expect=b") != configured("tcp expect=b send=a")


@pytest.mark.parametrize(("text", "data"), [
    (r"a\r\n\t\0\\\x41", b"a\r\n\t\0\\A"), ("hex:00 ff", b"\0\xff"), ("text:hex:00", b"hex:00"),
    ("ü", b"\xc3\xbc"),
])  # fmt: skip
def test_bytesOfText(text, data):
    assert Sent().parse(text) == (data,)
    [expected] = Expecting().parse(text)
    assert expected.data == data
    [expected] = Expecting().parse("!" + text)
    assert expected.data == data and expected.absent


@pytest.mark.parametrize(("check", "complaint"), [
    (r'tcp send="\q"', r"\q is not known; known are \r \n"),
    (r'tcp send="a\\"', r"\ is not known"),
    ("tcp send=hex:0", "'0' is not pairs of hexadecimal digits"),
    ("tcp send=hex:", "0 bytes; from 1 to 4096 are accepted"),
    (f"tcp send={'a' * 4097}", "4097 bytes"),
    ("tcp expect=re:(", "'(' is not a regular expression"),
    ("tcp expect=!", "0 bytes"),
    ("agent send=hex:x", "'x' is not pairs of hexadecimal digits"),
    ("dns", "needs NAME"),
    ("dns a..b", "'a..b' is neither a host name nor an address"),
    ("dns a type=B", "unknown 'B'"),
    ("redis role=slave", "unknown 'slave'"),
    ("redis user=a", "user says nothing without password"),
    ("postgresql role=primary", "role says nothing without user"),
    ("postgresql password=a", "password says nothing without user"),
    ("mysql role=tell", "role says nothing without user"),
    (f"mysql user={'a' * 129}", "is not the name of a user"),
    ("smtp a_b/c", "is neither a host name nor an address"),
    ("ldap user=a", "unknown option 'user'"),
    ("exec", "needs PATH"),
    ("tls expiry=soon", "'soon' is not a time"),
])  # fmt: skip
def test_whatIsNotAccepted(check, complaint):
    with pytest.raises(ConfigError) as caught:
        configured(check)
    assert complaint in str(caught.value)
