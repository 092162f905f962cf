"""Events by mail, to a real SMTP server and to some that are none."""

from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from loopback.running import freePorts
from told import event, until
from twisted.internet import reactor
from twisted.internet.defer import fail, inlineCallbacks, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.basic import FileSender
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from lbtwist.discovery import Answer, NotResolved
from lbtwist.health import Result
from lbtwist.interfaces import IEnding, IHealthObserver
from lbtwist.notices import mail, outbox
from lbtwist.notices.mail import Mail, mailOf
from lbtwist.registry import Context


class Mailbox:
    """
    What aiosmtpd asks what to do with a mail.

    @ivar answer: to a whole mail.
    """

    def __init__(self):
        self.answer = "250 OK"
        self.mails = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such\x1b[31m user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answer.startswith("250"):
            self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return self.answer


class Lookups:
    def lookup(self, host):
        if host == "mail.test":
            return succeed(Answer(("127.0.0.1",), 60.0))
        return fail(NotResolved(f"{host} is not known"))


class Mailing(TestCase):
    timeout = 30

    def setUp(self):
        self.patch(outbox, "PAUSE", 0.01)
        self.logged = self.enterContext(capturedLogs())

    @property
    def log(self):
        ours = [one for one in self.logged if "outbox" in one.get("log_namespace", "")]
        return [formatEvent(one) for one in ours]

    def observer(self, port, host="127.0.0.1", to=("ops@example.org",), **options):
        options = {"wait": 0.05, "every": 0.0, **options}
        found = Mail(
            Mail.Options(to, "lb@example.org", (host, port), **options),
            Context(reactor=reactor, names=Lookups()),
        )
        self.addCleanup(found.end)
        return found


class RealTests(Mailing):
    """With aiosmtpd."""

    def setUp(self):
        super().setUp()
        self.box = Mailbox()
        [self.port] = freePorts(1)
        controller = Controller(self.box, hostname="127.0.0.1", port=self.port)
        controller.start()
        self.addCleanup(controller.stop)

    @inlineCallbacks
    def test_oneMailForABurst(self):
        observer = self.observer(self.port, host="mail.test", to=("a@example.org", "b@example.org"))
        verifyObject(IHealthObserver, observer)
        verifyObject(IEnding, observer)
        observer.healthChanged(event("a"))
        observer.healthChanged(event("b"))
        yield until(lambda: self.box.mails)
        yield observer.end()
        [(sender, to, content)] = self.box.mails
        assert (sender, to) == ("lb@example.org", ["a@example.org", "b@example.org"])
        found = message_from_bytes(content, policy=default)
        assert found["From"] == "lb@example.org"
        assert found["To"] == "a@example.org, b@example.org"
        assert found["Subject"].endswith(": app/a DOWN, app/b DOWN")
        assert found["Auto-Submitted"] == "auto-generated"
        assert found["Message-ID"].endswith("@example.org>")
        lines = found.get_content().splitlines()
        assert lines == [
            f"2023-11-14 22:13:20Z  {event(name).text}" for name in "ab"
        ]

    @inlineCallbacks
    def test_whatServersSay(self):
        """They cannot write a field, end the mail early, or say a word to the mail server."""
        self.patch(mail, "HOST", "here\r\nBcc: all@example.org")
        said = "x\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<v@example.org>\r\nBcc: y"
        observer = self.observer(self.port)
        result = Result(False, "L7RSP", said)
        hostile = event("a\r\nBcc: all@example.org", reason=said, result=result)
        observer.healthChanged(hostile)
        yield until(lambda: self.box.mails)
        yield observer.end()
        [(_, to, content)] = self.box.mails
        assert to == ["ops@example.org"]
        found = message_from_bytes(content, policy=default)
        assert found["Bcc"] is None and len(found.keys()) == 9
        assert "MAIL FROM:<evil@example.org>" in found.get_content()

    @inlineCallbacks
    def test_dots(self):
        """A dot that begins a line is the end of a mail, wherever Twisted cuts what it sends."""
        self.patch(FileSender, "CHUNK_SIZE", 1)
        observer = self.observer(self.port)
        events = [event(reason="." * (100 + number)) for number in range(3)]
        for one in events:
            observer.healthChanged(one)
        yield until(lambda: self.box.mails)
        yield observer.end()
        [(_, _, content)] = self.box.mails
        lines = message_from_bytes(content, policy=default).get_content().splitlines()
        assert [line.partition("  ")[2] for line in lines] == [one.text for one in events]

    @inlineCallbacks
    def test_refusedForAMoment(self):
        self.box.answer = "451 try later"
        observer = self.observer(self.port)
        observer.healthChanged(event())
        yield until(lambda: observer._outbox._failures)
        self.box.answer = "250 OK"
        yield until(lambda: self.box.mails)
        yield observer.end()
        assert len(self.box.mails) == 1 and self.log == []

    @inlineCallbacks
    def test_refused(self):
        self.observer(self.port, to=("nobody@example.org",)).healthChanged(event())
        yield until(lambda: self.log)
        [line] = self.log
        assert line.startswith(f"mail by 127.0.0.1:{self.port} fails: 550 ")
        assert "\x1b" not in line and "\n" not in line

    @inlineCallbacks
    def test_refusedForOneOfTwo(self):
        observer = self.observer(self.port, to=("nobody@example.org", "ops@example.org"))
        observer.healthChanged(event())
        yield until(lambda: self.box.mails)
        yield observer.end()
        assert len(self.box.mails) == 1 and self.log == []

    @inlineCallbacks
    def test_theEndSendsIt(self):
        observer = self.observer(self.port, wait=60.0)
        observer.healthChanged(event())
        yield observer.end()
        assert len(self.box.mails) == 1

    @inlineCallbacks
    def test_noSuchHost(self):
        self.observer(25, host="gone.test").healthChanged(event())
        yield until(lambda: self.log)
        assert "fails: gone.test is not known;" in self.log[0]

    @inlineCallbacks
    def test_nobodyListens(self):
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        yield port.stopListening()
        self.observer(number).healthChanged(event())
        yield until(lambda: self.log)
        assert "refused" in self.log[0]


class Saying(Protocol):
    """Says what it is made for, one line for each that comes, and then no more."""

    inData = False

    def connectionMade(self):
        self.factory.open.append(self)
        self.lines = list(self.factory.lines)
        self.say()

    def say(self):
        line = self.lines.pop(0) if self.lines else None
        if line == "close":
            self.transport.loseConnection()
        elif line is not None:
            self.transport.write(line.encode() + b"\r\n")

    def dataReceived(self, data):
        if not self.inData:
            self.inData = data == b"DATA\r\n"
            self.say()
        elif data.endswith(b".\r\n"):
            self.inData = False
            self.say()

    def connectionLost(self, reason):
        self.factory.open.remove(self)


class FaultyTests(Mailing):
    """With servers that do it wrong."""

    def serve(self, *lines):
        factory = Factory.forProtocol(Saying)
        factory.lines = lines
        factory.open = []
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(until, lambda: not factory.open)
        self.addCleanup(port.stopListening)
        return port.getHost().port

    @inlineCallbacks
    def reasonOf(self, *lines):
        self.observer(self.serve(*lines)).healthChanged(event())
        yield until(lambda: self.log)
        return self.log[0].partition("fails: ")[2].partition("; ")[0]

    @inlineCallbacks
    def test_closes(self):
        reason = yield self.reasonOf("close")
        assert "Connection was closed cleanly" in reason

    @inlineCallbacks
    def test_isNoMailServer(self):
        reason = yield self.reasonOf("HTTP/1.1 400 Bad Request\x1b")
        assert reason.startswith("Invalid response from SMTP server") and "\x1b" not in reason

    @inlineCallbacks
    def test_silent(self):
        self.patch(mail, "TIMEOUT", 0.1)
        assert (yield self.reasonOf()) == "it was not taken within 0.1 s"

    @inlineCallbacks
    def test_takesItAndDoesNotPart(self):
        """It has the mail: it must not get it again."""
        self.patch(mail, "TIMEOUT", 0.3)
        port = self.serve("220 x", "250 x", "250 x", "250 x", "354 x", "250 taken")
        observer = self.observer(port)
        observer.healthChanged(event())
        yield until(lambda: observer._outbox._delivery is not None)
        yield until(lambda: observer._outbox._delivery is None)
        assert self.log == [] and observer.end().called and observer._outbox.lost == 0


def test_howMany():
    """A subject names few of them, and a mail says how many could not be told."""
    found = mailOf([event(name) for name in "abcde"], 7, "lb@x.test", ("ops@x.test",), 0.0)
    assert found["Subject"].endswith(": app/a DOWN, app/b DOWN, app/c DOWN and 2 more")
    assert found.get_content().splitlines()[-1] == "7 events before these could not be told."
    assert found["Date"] == "Thu, 01 Jan 1970 00:00:00 +0000"


@pytest.mark.parametrize("name", ["Zoë", "x" * 300, "\udc80", "=?utf-8?q?x?="])
def test_anyName(name):
    sent = mailOf([event(name, reason=name)], 0, "lb@x.test", ("ops@x.test",), 0.0).as_bytes()
    assert max(map(len, sent.split(b"\n"))) <= 998
    sent.decode("ascii")
