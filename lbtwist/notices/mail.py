"""
What happens to servers by mail: what happens within a few seconds in one mail, and never
more than one mail in a minute.

Mail goes to one server in plain SMTP, which is a relay on this machine or near it: it is
what knows of TLS, passwords and queues.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime, make_msgid
from io import BytesIO
from ipaddress import ip_address
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.mail.smtp import SMTPClientError, SMTPSenderFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.config.values import tcpAddress
from lbtwist.errors import BalancerError
from lbtwist.events import HealthEvent, plain
from lbtwist.interfaces import IEnding, IHealthObserver
from lbtwist.notices.outbox import HOST, Outbox
from lbtwist.options import HostName, Kind, Time, option
from lbtwist.registry import Context

MOST = 200
"""Events that wait, and that one mail tells of."""

SHOWN = 3
"""The most servers that a subject names."""

TIMEOUT = 20.0
"""Seconds that the server is given for one mail."""


class NotSent(BalancerError):
    """A mail was not taken; it says why, for the log."""


class Addresses(Kind[tuple[str, ...]]):
    """Addresses of mail, without names, separated by commas."""

    form = "ADDRESS,..."
    several = True
    # RFC 5321 section 4.1.2: a Dot-string; what is quoted is for nobody.
    _local = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")

    def parse(self, text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._one(word.strip()) for word in text.split(",")))

    def _one(self, word: str) -> str:
        local, _, domain = word.rpartition("@")
        if len(local) > 64 or not self._local.fullmatch(local) or not HostName.good(domain.lower()):
            raise ValueError(f"{word[:80]!r} is not an address of mail: write NAME@HOST")
        return word


class OneAddress(Kind[str]):
    """One address of mail."""

    form = "ADDRESS"

    def parse(self, text: str) -> str:
        found = Addresses().parse(text)
        if len(found) != 1:
            raise ValueError("needs one address")
        return found[0]


class MailServer(Kind[tuple[str, int]]):
    """C{HOST:PORT}."""

    form = "HOST:PORT"

    def parse(self, text: str) -> tuple[str, int]:
        return tcpAddress(text)


@implementer(IHealthObserver, IEnding)
class Mail:
    """C{mail to=ADDRESS,... from=ADDRESS [server=HOST:PORT] [wait=TIME] [every=TIME]}"""

    @attr.frozen
    class Options:
        to: tuple[str, ...] = option(Addresses(), doc="Who gets it.")
        from_: str = option(OneAddress(), doc="Who it is from.")
        server: tuple[str, int] = option(
            MailServer(), ("127.0.0.1", 25), "Where it is taken, in plain SMTP."
        )
        wait: float = option(Time(), 5.0, "How long a mail waits for what else happens.")
        every: float = option(Time(), 60.0, "From one mail to the next, at least.")

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._reactor = context.reactor
        self._names = context.names
        host, port = options.server
        self._outbox: Outbox[HealthEvent] = Outbox(
            f"mail by {host}:{port}", self._deliver, context.reactor, MOST, MOST,
            options.wait, options.every,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Mail {self._outbox!r}>"

    def healthChanged(self, event: HealthEvent) -> None:
        self._outbox.put(event)

    def end(self) -> Deferred[None]:
        return self._outbox.end()

    def _deliver(self, events: list[HealthEvent], lost: int) -> Deferred[Any]:
        options = self._options
        mail = mailOf(events, lost, options.from_, options.to, events[-1].at)
        # Twisted doubles a dot that begins a line, but not where a piece begins that it sends.
        written = mail.as_bytes().replace(b"\n.", b"\n=2E")
        sending = Deferred.fromCoroutine(self._send(written))
        return sending.addTimeout(TIMEOUT, self._reactor, _late)

    async def _send(self, mail: bytes) -> None:
        host, port = self._options.server
        try:
            address = str(ip_address(host))
        except ValueError:
            address = (await self._names.lookup(host)).addresses[0]
        await _Sender(self._options.from_, self._options.to, mail).send(
            self._reactor, address, port
        )


def _late(answer: Any, seconds: float) -> Any:
    """@return: what a mail has come to whose time is over: it may have been taken even so."""
    if isinstance(answer, Failure):
        return Failure(NotSent(f"it was not taken within {seconds:g} s"))
    return answer


class _Sender(SMTPSenderFactory):
    """Sends one mail, once."""

    noisy = False

    def __init__(self, sender: str, to: Sequence[str], mail: bytes) -> None:
        self._connector: Any = None
        self._taken = False
        self._reason: NotSent | None = None
        self._closed: Deferred[None] = Deferred(self._cancelled)
        answer: Deferred[Any] = Deferred()
        answer.addCallbacks(self._accepted, self._refused)
        # How long it may take is known to who waits for it.
        super().__init__(sender.encode("ascii"), to, BytesIO(mail), answer, 0, None)

    def send(self, reactor: Any, address: str, port: int) -> Deferred[None]:
        """@return: fires when it was taken and the connection has ended; may be cancelled."""
        self._connector = reactor.connectTCP(address, port, self, TIMEOUT)
        return self._closed

    def _cancelled(self, closed: Deferred[None]) -> None:
        if self._taken:
            # Only how to part is left, and whether that is done well is of no interest.
            closed.callback(None)
        self.sendFinished = True
        if self._connector.state == "connected":
            self._connector.transport.abortConnection()
        else:
            self._connector.stopConnecting()

    def _accepted(self, answer: object) -> None:
        self._taken = True

    def _refused(self, failure: Failure) -> None:
        error = failure.value
        words = str(error)
        if isinstance(error, SMTPClientError):
            said = error.resp.decode("latin-1")
            words = f"{error.code} {said}" if error.code > 0 else said
        self._reason = NotSent(plain(words))

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        super().clientConnectionFailed(connector, reason)
        self._end()

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        super().clientConnectionLost(connector, reason)
        self._end()

    def _end(self) -> None:
        if self._closed.called:
            return
        if self._taken:
            self._closed.callback(None)
        else:
            self._closed.errback(self._reason or NotSent("the connection was closed"))


def mailOf(
    events: Sequence[HealthEvent], lost: int, sender: str, to: Sequence[str], at: float
) -> EmailMessage:
    """
    @param lost: how many events before them could not be told.
    @param at: when, in seconds since the epoch.
    @return: what says what has happened. Nothing that a server has said is in its head.
    """
    names = [f"{one.pool}/{one.server} {one.after}" for one in events[:SHOWN]]
    more = f" and {len(events) - SHOWN} more" if len(events) > SHOWN else ""
    mail = EmailMessage(policy=default)
    mail["From"] = Address(addr_spec=sender)
    mail["To"] = tuple(Address(addr_spec=one) for one in to)
    mail["Subject"] = plain(f"lbtwist on {HOST}: {', '.join(names)}{more}")
    mail["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    # RFC 3834 section 5: nobody who is away answers to it.
    mail["Auto-Submitted"] = "auto-generated"
    lines = [f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M:%SZ}  {one.text}"
             for one in events]  # fmt: skip
    if lost:
        lines.append(f"{lost} events before these could not be told.")
    mail.set_content("\n".join(lines) + "\n", cte="quoted-printable")
    return mail
