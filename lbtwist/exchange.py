"""
The typed context of one request: what every rule, balancer, observer and log
line reads.

A L{Connection} is what is known of an accepted connection and never changes; an
L{Exchange} is one request and its response (in C{mode = tcp} the whole session)
and is filled in on its way. Neither does any I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import attr
from twisted.logger import Logger

from lbtwist.sansio.clientcert import ClientCertificate

if TYPE_CHECKING:
    from lbtwist.persistence.bond import Bond
    from lbtwist.sansio.proxyheader import ProxyHeader
    from lbtwist.sansio.requesthead import RequestHead
    from lbtwist.sansio.responsehead import ResponseHead
    from lbtwist.server import Server

log = Logger()


class Stage:
    """
    How far an exchange has come; the letter is the second letter of the
    termination state in the log, as HAProxy defines it (its manual, 8.5).
    """

    REQUEST = "R"
    """The request is being read, or rules are being asked."""
    TARPIT = "T"
    """Refused, and the client waits for it."""
    QUEUE = "Q"
    """Waiting for a free slot of a server."""
    CONNECT = "C"
    """A connection to the server is being made."""
    RESPONSE = "H"
    """The request was sent; the response head is awaited."""
    DATA = "D"
    """Data flows."""
    LAST = "L"
    """The last bytes are on their way to the client."""
    DONE = "-"
    """Ended in good order."""


class Cause:
    """
    Who ended an exchange and why: the first letter of the termination state in
    the log.
    """

    DONE = "-"
    CLIENT = "C"
    """The client closed or reset the connection."""
    SERVER = "S"
    """The server refused, closed or reset the connection, or there is none."""
    REFUSED = "P"
    """The balancer refused: a rule, a limit, a message that is not acceptable."""
    LOCAL = "L"
    """The balancer answered by itself, as it was told to."""
    RESOURCE = "R"
    """Something in the balancer ran out: sockets, memory, ports."""
    INTERNAL = "I"
    """A fault of the balancer itself."""
    DOWN = "D"
    """The server was marked down and its sessions were ended."""
    KILLED = "K"
    """Ended by an administrator, or by the end of the process."""
    CLIENT_TIMEOUT = "c"
    SERVER_TIMEOUT = "s"


@attr.frozen(slots=True, eq=False)
class TLSInfo:
    """
    What is known of a client's TLS; what is not known is empty.

    Of a connection whose TLS is not ended here it is what the ClientHello offers.

    @ivar sni: the name asked for.
    @ivar alpn: the protocols offered, the preferred first.
    @ivar versions: those offered, such as C{0x0304}, the preferred first.
    @ivar protocol: what ALPN agreed on.
    @ivar version: what is spoken, such as C{"TLSv1.3"}; empty in a passthrough.
    @ivar cipher: OpenSSL's name of it.
    @ivar certificate: the client's, of C{cryptography}; L{None} without one.
    @ivar verify: OpenSSL's code for it; 0 if it is good.
    @ivar resumed: an older session goes on.
    @ivar session: in a passthrough the id of the session that the client would resume.
    @ivar chain: the certificates that C{certificate} was verified by, the nearest
        first, without the root; empty in a resumed session.
    @ivar guard: given a host, as C{Host} has it, whether this connection meets what is
        demanded of clients that ask for it by its name; L{None} where no name demands
        anything of its own.
    """

    sni: str = ""
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()
    protocol: bytes = b""
    version: str = ""
    cipher: str = ""
    certificate: Any = None
    verify: int = 0
    resumed: bool = False
    chain: tuple[Any, ...] = ()
    guard: Callable[[bytes], bool] | None = None
    session: bytes = b""

    @cached_property
    def told(self) -> ClientCertificate | None:
        """The words for the client's certificate, made when first asked for."""
        return None if self.certificate is None else ClientCertificate(self.certificate)

    @property
    def subject(self) -> str:
        """The certificate's subject, as are those below; see L{ClientCertificate}."""
        return "" if self.told is None else self.told.subject

    @property
    def cn(self) -> str:
        return "" if self.told is None else self.told.cn

    @property
    def issuer(self) -> str:
        return "" if self.told is None else self.told.issuer

    @property
    def notBefore(self) -> str:
        return "" if self.told is None else self.told.notBefore

    @property
    def notAfter(self) -> str:
        return "" if self.told is None else self.told.notAfter

    @property
    def serial(self) -> str:
        return "" if self.told is None else self.told.serial

    @property
    def sans(self) -> tuple[tuple[str, str], ...]:
        return () if self.told is None else self.told.sans

    @property
    def sha1(self) -> str:
        return "" if self.told is None else self.told.sha1

    @property
    def sha256(self) -> str:
        return "" if self.told is None else self.told.sha256


@attr.frozen(slots=True, eq=False)
class Connection:
    """
    One accepted connection.

    @ivar number: counted from 1 in this process.
    @ivar client: the client's address: C{(host, port)}; for a UNIX socket the
        host is C{"unix"} and the port 0.
    @ivar local: the address the client connected to.
    @ivar acceptedAt: the clock's seconds at the accept.
    @ivar trusted: whether C{client} is one of C{trusted-proxies}: what it says of clients
        of its own is believed and added to, not replaced. Where there is a PROXY header
        that is whom it names: who has sent the header passes on bytes of others.
    @ivar tls: the client's L{TLSInfo}; L{None} without TLS.
    @ivar proxied: the L{lbtwist.sansio.proxyheader.ProxyHeader} it came with.
    @ivar readyAt: PROXY header and handshake were complete; 0.0 where there are none.
    """

    number: int
    client: tuple[str, int]
    local: tuple[str, int]
    acceptedAt: float
    trusted: bool = False
    tls: TLSInfo | None = None
    proxied: ProxyHeader | None = None
    readyAt: float = 0.0

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS, to us or to who sent the PROXY header."""
        if self.tls is not None:
            return True
        told = None if self.proxied is None else self.proxied.ssl
        return told is not None and told.secure


class Exchange:
    """
    One request and its response, or one whole session in C{mode = tcp}.

    All times are the clock's seconds; 0.0 is a time that was not reached.

    @ivar frontend: the frontend's runtime object, see L{lbtwist.stats.Traffic}.
    @ivar pool: the pool chosen, or L{None}.
    @ivar server: the server it has a slot of, or had when it ended.
    @ivar tried: servers that have failed it, never chosen again.
    @ivar freeAt: the exchange before it on its connection had ended; 0.0 for the first.
    @ivar startedAt: the first byte of the request.
    @ivar requestAt: the request head was complete.
    @ivar assignedAt: a server was chosen; the wait in the queue is over.
    @ivar connectedAt: the connection to the server stood.
    @ivar respondedAt: the response head was complete.
    @ivar finishedAt: the last byte was handed to the kernel.
    @ivar bytesIn: bytes read from the client, heads among them.
    @ivar bytesOut: bytes written to the client, heads among them.
    @ivar retries: how many more attempts were made after the first had failed.
    @ivar source: host and port of our side of the connection to the server, where the log
        asks for it; L{None} otherwise.
    @ivar ahead: how many waited before it in the queues of the server, the pool.
    @ivar captures: text that rules have captured for the log, by C{"request"} and
        C{"response"} and by name; cookies by C{"cookie"} and these two; L{None} for nothing.
    @ivar vars: what rules keep for each other; L{None} for nothing.
    @ivar settings: what rules have set for this exchange alone, by the name of the
        option, such as C{timeout_tunnel}; C{log} is L{False} where no line is wanted.
    @ivar rewrites: what request rules have left to be done with the response, each an
        L{lbtwist.interfaces.IResponseRule}, the first to be asked first and before all
        response rules; L{None} for nothing.
    @ivar clientHost: C{Host} as the client has sent it, where a rule has set another;
        L{None} where none has.
    @ivar early: what the client of a session has sent before a server was chosen, where its
        pool waits for that; C{b""} once it has one.
    @ivar bond: what persistence knows of it; L{None} where its pool has none.
    @cvar rehearsal: whether rules and balancers are asked only to hear what they would
        say: nothing may be counted, kept or moved on its account.
    @ivar rule: the L{lbtwist.rules.rulebook.Rule} that has decided, if one has.
    @ivar trace: what its server is told of the trace it belongs to (W3C Trace Context), with a
        C{-} between: the trace, the parent and the flags, in hexadecimal digits. Where it is
        told to a collector, the span of the balancer and the parent of that, if it has one,
        follow. C{""} for none.
    @ivar passthrough: why its bytes are not parsed any more, in F5's words.
    @ivar reason: a readable sentence for what went wrong, never shown to a peer.
    """

    __slots__ = (
        "connection", "frontend", "pool", "server", "tried", "request", "response",
        "status", "stage", "cause", "startedAt", "requestAt", "assignedAt",
        "connectedAt", "respondedAt", "finishedAt", "bytesIn", "bytesOut", "retries",
        "redispatched", "reused", "ahead", "observers", "vars", "reason", "requestId",
        "captures", "holding", "passthrough", "rule", "settings",
        "rewrites", "clientHost", "freeAt", "source", "bond", "early", "trace",
    )  # fmt: skip

    rehearsal: ClassVar[bool] = False

    def __init__(
        self,
        connection: Connection,
        frontend: Any,
        observers: tuple[Callable[[Exchange], object], ...],
        startedAt: float,
    ) -> None:
        self.connection = connection
        self.frontend = frontend
        self.observers = observers
        self.startedAt = startedAt
        self.pool: Any = None
        self.server: Server | None = None
        self.tried: tuple[Server, ...] = ()
        self.request: RequestHead | None = None
        self.response: ResponseHead | None = None
        self.status = 0
        self.stage = "R"
        self.cause = ""
        self.requestAt = self.assignedAt = self.connectedAt = self.freeAt = 0.0
        self.respondedAt = self.finishedAt = 0.0
        self.bytesIn = self.bytesOut = self.retries = 0
        self.redispatched = self.reused = self.holding = False
        self.ahead = (0, 0)
        self.vars: dict[str, str] | None = None
        self.settings: dict[str, Any] | None = None
        self.captures: dict[str, dict[str, str]] | None = None
        self.rewrites: tuple[Any, ...] | None = None
        self.source: tuple[str, int] | None = None
        self.clientHost: bytes | None = None
        self.early = b""
        self.bond: Bond | None = None
        self.rule: Any = None
        self.reason = self.requestId = self.passthrough = self.trace = ""

    def __repr__(self) -> str:
        where = f" on {self.server!r}" if self.server is not None else ""
        return f"<Exchange {self.connection.client[0]} {self.cause or '.'}{self.stage}{where}>"

    def finish(self, cause: str, now: float) -> None:
        """
        The one exit of every exchange: gives back the server's slot and tells
        every observer. Called exactly once; L{cause} is set from then on.

        @param cause: one of L{Cause}.
        @param now: the clock's seconds.
        """
        assert not self.cause, f"{self!r} is finished twice"
        self.cause = cause
        self.finishedAt = now
        for observer in self.observers:
            try:
                observer(self)
            except Exception:
                log.failure("an observer of exchanges failed: {observer!r}", observer=observer)
        if self.holding:
            self.pool.release(self)


class Rehearsal(Exchange):
    """An exchange that does not take place; see L{Exchange.rehearsal}."""

    __slots__ = ()

    rehearsal = True
