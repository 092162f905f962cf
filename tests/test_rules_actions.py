"""The verbs that decide."""

from unittest import TestCase

import pytest
from twisted.internet.defer import Deferred, fail
from verbs import CONNECTION, RESPONSE, asked, contractOf, verb
from zope.interface import implementer

from lbtwist.http.pages import PAGES
from lbtwist.interfaces import IRequestRule
from lbtwist.rules import actions
from lbtwist.rules.decisions import ALLOW, Answer, Deny, Refuse, Tunnel, UsePool, UseServer
from lbtwist.testing import VerbContract, fakeExchange


def answered(line, exchange=None):
    found = asked(line, exchange)
    assert isinstance(found, Answer)
    return found


@pytest.mark.parametrize(
    ("line", "decision"),
    [
        ("pool chat", UsePool("chat")),
        ('pool {header["X-Pool"]}', UsePool("")),
        ("pool app-{method.lower()}", UsePool("app-get")),
        ("server a", UseServer("a")),
        ("server {method}", UseServer("GET")),
        ("allow", ALLOW),
        ("deny", Deny(403)),
        ("deny 503", Deny(503)),
        ("deny status=400", Deny(400)),
        ("tarpit", Deny(500, 10.0)),
        ("tarpit 5s", Deny(500, 5.0)),
        ("tarpit 250 403", Deny(403, 0.25)),
        ("reject", Refuse("reject")),
        ("close", Refuse("close")),
        ("silent-drop", Refuse("silent-drop")),
        ("tunnel", Tunnel("iRule")),
    ],
)
def test_ofRequests(line, decision):
    assert asked(line) == decision


@pytest.mark.parametrize(
    ("line", "decision"),
    [
        ("pool chat", UsePool("chat")),
        ("pool {src}", UsePool("192.0.2.1")),
        ("allow", ALLOW),
        ("reject", Refuse("reject")),
        ("close", Refuse("close")),
        ("silent-drop", Refuse("silent-drop")),
    ],
)
def test_ofConnections(line, decision):
    assert asked(line, fakeExchange(None), CONNECTION) == decision


def test_ofResponses():
    assert asked("allow", stage=RESPONSE) == ALLOW


def test_everyPageCanBeNamed():
    """The list of the rules is that of the pages, which they may not import."""
    assert set(PAGES) == set(actions.STATUSES)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pool", "needs TEXT"),
        ("pool nowhere", "there is no [pool nowhere]"),
        ("pool a/b", "is not a name"),
        ("pool a b", "unknown word 'b'"),
        ("server a/b", "is not a name"),
        ("server {hots}", "did you mean 'host'?"),
        ("allow me", "unknown word 'me'"),
        ("deny 299", "unknown '299'"),
        ("deny 418", "unknown '418'"),
        ("tarpit 0", "more than 0"),
        ("tarpit 2h", "up to 1h"),
        ("tarpit soon", "is not a time"),
        ("tarpit 1s 200", "unknown '200'"),
        ("reject now", "unknown word 'now'"),
        ("answer", "needs NUMBER"),
        ("answer 199", "from 200 to 599"),
        ("answer 600", "from 200 to 599"),
        ("answer 200 a file=/b", "not both"),
        ("answer 204 a", "has no body"),
        ("answer 205 a", "has no body"),
        ("answer 304 file=/b", "has no body"),
        ("answer 200 file=/no/such/file", "'/no/such/file' cannot be read: No such file"),
        ("answer 200 file=/dev/null", "it is not a plain file"),
        ("answer 200 file=/", "it is not a plain file"),
        ("answer 200 {status}", "status is not known yet"),
        ('answer 200 header="X"', 'write header="NAME: VALUE"'),
        ('answer 200 header="{method}: x"', 'write header="NAME: VALUE"'),
        ('answer 200 header="X Y: x"', "is not the name of a header field"),
        ('answer 200 header="Content-Length: 5"', "says where a message ends"),
        ('answer 200 header="Transfer-Encoding: chunked"', "says where a message ends"),
        ('answer 200 header="connection: close"', "concerns one connection only"),
        ('answer 200 header="Content-Type: a/b"', "is what type= says"),
        ('answer 200 header="X: {status}"', "status is not known yet"),
    ],
)
def test_whatIsRefused(line, wrong):
    with pytest.raises(ValueError) as caught:
        verb(line)
    assert wrong in str(caught.value)


def test_textOfAnAnswer():
    assert answered('answer 200 "Hello {src}"') == Answer(
        200, ((b"Content-Type", b"text/plain"),), b"Hello 192.0.2.1"
    )
    assert answered("answer 404 gone type=text/html").fields == ((b"Content-Type", b"text/html"),)


def test_anAnswerWithoutBody():
    for status in (200, 204, 205, 304, 599):
        assert answered(f"answer {status}") == Answer(status)
    # An empty text is none.
    assert answered('answer 200 {header["X"]}') == Answer(200)


def test_fieldsOfAnAnswer():
    line = "answer 503 header='Retry-After: 5' header='X-Path: <{path}>' header='X-Empty:'"
    exchange = fakeExchange("/a%0d%0aX:y")
    assert answered(line, exchange).fields == (
        (b"Retry-After", b"5"), (b"X-Path", b"</a%0d%0aX:y>"), (b"X-Empty", b""),
    )  # fmt: skip


def test_anAnswerIsOneMessage():
    """What a client has encoded does not end a line."""
    exchange = fakeExchange("/?q=a%0d%0aSet-Cookie:%20x%00%1b%7f%09")
    found = answered("answer 200 header='X: {query[\"q\"]}' header='Y:{query[\"q\"]}'", exchange)
    value = b"a  Set-Cookie: x   \t"
    assert found.fields == ((b"X", value), (b"Y", value))


def test_anAnswerThatIsAlwaysTheSame():
    """It is made once."""
    found = verb("answer 200 hello header='X: y'")
    assert found.requestReceived(fakeExchange()) is found.requestReceived(fakeExchange("/b"))


def test_aFileAsAnswer(tmp_path):
    (tmp_path / "sorry.html").write_bytes(b"<h1>\xff\0</h1>")
    made = verb("answer 503 file=sorry.html type=text/html", file=str(tmp_path / "lb.ini"))
    found = made.requestReceived(fakeExchange())
    assert found == Answer(503, ((b"Content-Type", b"text/html"),), b"<h1>\xff\0</h1>")


def test_aFileThatIsTooLong(tmp_path, monkeypatch):
    monkeypatch.setattr(actions, "LARGEST_FILE", 10)
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").write_bytes(b"x" * 11)
    found = verb(f"answer 200 file={tmp_path}/a").requestReceived(fakeExchange())
    assert found.body == b"x" * 10
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        verb(f"answer 200 file={tmp_path}/b")


PoolContractTests = contractOf("pool {src}")
ServerContractTests = contractOf("server {src}")
AllowContractTests = contractOf("allow")
DenyContractTests = contractOf("deny")
TarpitContractTests = contractOf("tarpit")
RejectContractTests = contractOf("reject")
CloseContractTests = contractOf("close")
SilentDropContractTests = contractOf("silent-drop")
TunnelContractTests = contractOf("tunnel")
AnswerContractTests = contractOf(
    'answer 200 "{query[\'q\']}{header[\'X-User\']}" header=\'X: {header["X-User"]}{uri}\''
)
BareAnswerContractTests = contractOf("answer 204")


@implementer(IRequestRule)
class SplitAnswer:
    """A verb that breaks the contract: its answer is read as two fields."""

    def requestReceived(self, exchange):
        return Answer(200, ((b"X", b"a\r\nY: b"),))


@implementer(IRequestRule)
class FramedAnswer:
    """A verb that breaks the contract: it says where its answer ends."""

    def requestReceived(self, exchange):
        return Answer(200, ((b"Content-Length", b"5"),))


@pytest.mark.parametrize(
    ("broken", "wrong"), [(SplitAnswer, "more fields than it says"), (FramedAnswer, "frames")]
)
def test_theContractFindsIt(broken, wrong):
    case = VerbContract()
    case.makeVerb = broken
    with pytest.raises(AssertionError, match=wrong):
        case.test_ofRequests()


@implementer(IRequestRule)
class Waiting:
    """A verb that has to wait for something."""

    async def requestReceived(self, exchange):
        return await Deferred()


@implementer(IRequestRule)
class Failing:
    """A verb whose Deferred fails."""

    def requestReceived(self, exchange):
        return fail(OSError("nobody answers"))


WaitingContractTests = type("Waiting", (VerbContract, TestCase), {"makeVerb": Waiting})
FailingContractTests = type("Failing", (VerbContract, TestCase), {"makeVerb": Failing})
