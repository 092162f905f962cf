"""
What comes before the frontend's mode on the binds that have it: a PROXY header, the
ClientHello, the handshake.

An L{Arrival} is a connection until all that is done; then, and only then, it becomes
one of its frontend's. What it comes to is L{lbtwist.inbound}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from lbtwist.captures import HELLO, PROXY
from lbtwist.config.model import Bind
from lbtwist.deadlines import Timed
from lbtwist.errors import BadClientHello
from lbtwist.exchange import Cause, TLSInfo
from lbtwist.net.handshake import HandshakeFailed, HandshakeRefused, describe, refuse
from lbtwist.net.preamble import MAX_HEADER, Awaited, HeaderAwaited, HelloAwaited
from lbtwist.net.tcp import Accepted
from lbtwist.net.tls import TLSAccepted
from lbtwist.options import Network
from lbtwist.sansio import proxyheader
from lbtwist.sansio.clienthello import ClientHello, HelloReader
from lbtwist.sansio.proxyheader import ProxyHeader
from lbtwist.sansio.refused import whereRefused

if TYPE_CHECKING:
    from lbtwist.inbound import Inbound

DECODE_ERROR = 50
"""The alert that says that a message was not well formed (RFC 8446 section 6.2)."""


def among(host: str, networks: Iterable[Network]) -> bool:
    """
    Whether an address is in one of some networks; who comes over a UNIX socket always
    is, since the access to its path says who may.

    @param host: as L{pair} makes it.
    """
    if host == "unix":
        return True
    address = ip_address(host.partition("%")[0])
    return any(address in network for network in networks)


PATIENCE = 1.0
"""Seconds that a handshake may take while others wait for theirs: on most lines three
round trips, which is more than a full one of TLSv1.2 needs."""

_PER_TURN = 16


class Handshakes:
    """
    TLS handshakes under way; too many would leave no time for anything else.

    Who comes when there are too many waits. Whoever is the oldest then has to be done
    within L{PATIENCE}, and of those who wait the newest is the next: clients that send
    a hello and nothing more cannot keep others out until they have timed out.

    @ivar most: so many at once; 0 is no limit.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._active: dict[Arrival, float] = {}
        self._waiting: dict[Arrival, None] = {}
        self._planned: Any = None

    @property
    def active(self) -> int:
        """How many there are now."""
        return len(self._active)

    def ask(self, arrival: Arrival) -> None:
        """Have C{arrival.shake} called, now or when it is its turn."""
        if self.most and (self._waiting or self.active >= self.most):
            self._waiting[arrival] = None
            self._plan(arrival.reactor)
        else:
            self._begin(arrival)

    def _begin(self, arrival: Arrival) -> None:
        self._active[arrival] = arrival.reactor.seconds()
        arrival.shake()

    def leave(self, arrival: Arrival) -> bool:
        """@return: whether it was still waiting, and does not any more."""
        if arrival not in self._waiting:
            return False
        del self._waiting[arrival]
        if not self._waiting and self._planned is not None:
            self._planned.cancel()
            self._planned = None
        return True

    def ended(self, arrival: Arrival) -> None:
        """One has succeeded or failed."""
        del self._active[arrival]
        if self._planned is not None:
            # Not at once: those who time out together must not begin one after another.
            self._planned.reset(0)

    def _plan(self, reactor: Any) -> None:
        if self._planned is None and self._waiting:
            delay = 0.0
            if self.active >= self.most:
                began = next(iter(self._active.values()))
                delay = max(0.0, began + PATIENCE - reactor.seconds())
            self._planned = reactor.callLater(delay, self._turn, reactor)

    def _turn(self, reactor: Any) -> None:
        self._planned = None
        latest = reactor.seconds() - PATIENCE
        for _ in range(_PER_TURN):
            if self._waiting and self.active >= self.most:
                oldest, began = next(iter(self._active.items()))
                if began > latest:
                    break
                oldest.makeRoom()
            if not self._waiting:
                break
            self._begin(self._waiting.popitem()[0])
        self._plan(reactor)


class Entrance:
    """One bind where something comes before the frontend's mode."""

    def __init__(self, bind: Bind, inbound: Inbound, reactor: Any, tls: Any = None) -> None:
        """@param tls: what C{bind.tls} names."""
        self.bind = bind
        self.inbound = inbound
        self.reactor = reactor
        self.tls = tls

    def __repr__(self) -> str:
        return f"<Entrance {self.bind} of {self.inbound.name}>"

    def accepted(self, transport: Accepted) -> None:
        """A client is there."""
        Arrival(self, transport).start()

    def believes(self, host: str) -> bool:
        """Whether a PROXY header of this peer is believed."""
        networks = self.bind.accept_proxy_from
        return not networks or among(host, networks)


class Arrival(Timed):
    """
    A connection on its way into its frontend: PROXY header, ClientHello, handshake.

    @ivar peer: who has connected.
    @ivar local: the address of the socket.
    @ivar header: the PROXY header, once it is there.
    """

    __slots__ = (
        "_alert", "_awaited", "_cause", "_early", "_entrance", "_hello", "_inbound",
        "_secured", "_shakesSince", "_transport", "acceptedAt", "header", "local", "number", "peer",
    )  # fmt: skip

    peer: tuple[str, int]
    local: tuple[str, int]
    number: int
    acceptedAt: float
    _shakesSince: float

    def __init__(self, entrance: Entrance, transport: Accepted) -> None:
        super().__init__()
        self._entrance = entrance
        self._inbound = entrance.inbound
        self._transport = transport
        self._awaited: Awaited | None = None
        self._early = b""
        self._alert = 0
        self._cause = Cause.REFUSED
        self._hello: ClientHello | None = None
        self._secured: TLSAccepted | None = None
        self.header: ProxyHeader | None = None

    def __repr__(self) -> str:
        return f"<Arrival {self.peer[0]} {self._awaited!r}>"

    @property
    def reactor(self) -> Any:
        """Who tells of events, and of the time."""
        return self._entrance.reactor

    def start(self) -> None:
        """Begin with what has to come first."""
        inbound = self._inbound
        inbound.arrived(self, self._transport)
        entrance = self._entrance
        bind = entrance.bind
        if bind.accept_proxy == "no":
            self._headerRead(None, b"")
        elif entrance.believes(self.peer[0]):
            self._awaitHeader(self._headerRead)
        elif bind.accept_proxy == "yes":
            self._headerRefused(Cause.REFUSED, "PROXY: a peer outside accept-proxy-from")
        elif inbound.config.mode == "tcp" and not self._expectsHello:
            # No parser comes after this that would refuse a header.
            self._awaitHeader(self._headerForbidden)
        else:
            self._headerRead(None, b"")

    @property
    def _expectsHello(self) -> bool:
        bind = self._entrance.bind
        return bool(bind.tls) or bind.tls_passthrough

    def _await(self, awaited: Awaited, timeout: float) -> None:
        inbound = self._inbound
        self._awaited = awaited
        inbound.deadlines.arm(self, timeout, inbound.seconds())
        awaited.start()

    # the PROXY header

    def _awaitHeader(self, done: Callable[[ProxyHeader | None, bytes], object]) -> None:
        entrance = self._entrance
        optional = entrance.bind.accept_proxy == "optional"
        self._await(
            HeaderAwaited(
                self._transport.socket, entrance.reactor, optional, done, self._headerRefused
            ),
            self._inbound.config.timeout_proxy,
        )

    def _capture(self, kind: str, reason: str, read: Callable[[bytes], object]) -> None:
        """Keep what was refused, if anything had come."""
        awaited = self._awaited
        if awaited is None or not awaited.nonsense:
            return
        inbound = self._inbound
        inbound.traffic.captures.take(
            inbound.seconds(), kind, inbound.name, "", "", self.peer, reason, awaited.nonsense,
            lambda data: whereRefused(data, read),
        )  # fmt: skip

    def _headerRefused(self, cause: str, reason: str) -> None:
        self._capture(PROXY, reason, lambda data: proxyheader.read(data, MAX_HEADER))
        self._inbound.traffic.proxyRefused += 1
        self._refuse(cause, reason)

    def _headerForbidden(self, header: ProxyHeader | None, early: bytes) -> None:
        if header is not None:
            self._headerRefused(Cause.REFUSED, "PROXY: a header from outside accept-proxy-from")
        else:
            self._headerRead(None, early)

    def _headerRead(self, header: ProxyHeader | None, early: bytes) -> None:
        self.header = header
        self._early = early
        if not self._expectsHello:
            self._enter(self._transport, None, self._transport.startProtocol)
        elif early:
            # It could have been a PROXY header, and so it is no hello.
            self._helloRefused(Cause.REFUSED, "TLS: no ClientHello")
        else:
            self._await(
                HelloAwaited(
                    self._transport.socket, self._entrance.reactor, self._helloRead,
                    self._notHello, self._helloRefused,
                ),
                self._inbound.config.timeout_handshake,
            )  # fmt: skip

    # TLS

    def _notHello(self, bad: BadClientHello) -> None:
        self._capture(HELLO, f"TLS: {bad.reason}", lambda data: HelloReader().read(data))
        if bad.looksLike == "tls":
            self._alert = DECODE_ERROR
        self._helloRefused(Cause.REFUSED, f"TLS: {bad.reason}")

    def _helloRefused(self, cause: str, reason: str) -> None:
        self._inbound.traffic.handshakesFailed += 1
        self._refuse(cause, reason)

    def _helloRead(self, hello: ClientHello) -> None:
        self._awaited = None
        if self._entrance.tls is None:
            offered = TLSInfo(hello.sni, hello.alpn, hello.versions, session=hello.session)
            self._enter(self._transport, offered, self._transport.startProtocol)
            return
        self._hello = hello
        self._inbound.process.handshakes.ask(self)

    def shake(self) -> None:
        """It is our turn to shake hands."""
        entrance = self._entrance
        hello = self._hello
        assert hello is not None
        plain = self._transport
        self._shakesSince = self._inbound.seconds()
        try:
            context = entrance.tls.context(hello, entrance.bind.alpn)
        except HandshakeRefused as refused:
            self._alert = refused.alert
            self._helloRefused(Cause.REFUSED, f"TLS: {refused.reason}")
            self._inbound.process.handshakes.ended(self)
            return
        self._secured = transport = TLSAccepted(
            plain.socket, plain.client, entrance.reactor, context, self._shaken, self._notShaken
        )
        transport.startHandshake()

    def _shaken(self, transport: TLSAccepted) -> None:
        hello = self._hello
        assert hello is not None
        inbound = self._inbound
        info = self._entrance.tls.guarding(describe(transport.tls, hello))
        inbound.traffic.handshakes += 1
        inbound.traffic.shaken.observe(inbound.seconds() - self._shakesSince)
        inbound.process.handshakes.ended(self)
        self._enter(transport, info, transport.startTLSProtocol)

    def _notShaken(self, _transport: TLSAccepted, failed: HandshakeFailed) -> None:
        cause, self._cause = self._cause, Cause.REFUSED
        if failed.byPeer:
            cause = Cause.CLIENT
        self._helloRefused(cause, f"TLS: {failed.reason}")
        self._inbound.process.handshakes.ended(self)

    def makeRoom(self) -> None:
        """It is in its handshake for long, and others wait."""
        self._giveUp(Cause.CLIENT_TIMEOUT, "no handshake in time for those who wait")

    def _giveUp(self, cause: str, reason: str) -> None:
        """End what waits for its handshake, or is in it."""
        if self._secured is not None:
            self._cause = cause
            self._secured.giveUp(HandshakeFailed(reason))
        elif self._inbound.process.handshakes.leave(self):
            self._helloRefused(cause, f"TLS: {reason}")

    # what follows

    def _enter(
        self, transport: Any, tls: TLSInfo | None, begin: Callable[[Any], object]
    ) -> None:
        inbound = self._inbound
        inbound.deadlines.forget(self)
        # A circle would keep both until the collector comes.
        self._awaited = None
        protocol = inbound.enter(self, tls)
        begin(protocol)
        if self._early and transport.connected:
            protocol.dataReceived(self._early)

    def _refuse(self, cause: str, reason: str) -> None:
        inbound = self._inbound
        inbound.deadlines.forget(self)
        self._awaited = None
        skt = self._transport.socket
        if self._alert:
            refuse(skt, self._entrance.reactor, self._alert)
        elif self._secured is None:
            skt.close()
        inbound.refuse(self, cause, reason)

    def expired(self) -> None:
        if self._awaited is not None:
            self._awaited.timedOut()
        else:
            self._giveUp(Cause.CLIENT_TIMEOUT, "no handshake in time")

    def retire(self) -> None:
        """Who has come is served."""

    def drain(self) -> None:
        """It has not begun anything: it ends."""
        self.abortSession(Cause.KILLED)

    def abortSession(self, cause: str) -> None:
        """End it at once."""
        reason = "ended before a connection was ready"
        if self._awaited is not None:
            self._awaited.stop()
            self._refuse(cause, reason)
        else:
            self._giveUp(cause, reason)
