"""
A connection of the administration until TLS stands: the ClientHello is looked at, so that the
section chooses a certificate by the name that is asked for, and then hands are shaken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbtwist.errors import BadClientHello
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.handshake import HandshakeFailed, HandshakeRefused, refuse
from lbtwist.net.preamble import HelloAwaited
from lbtwist.net.tcp import Accepted
from lbtwist.net.tls import TLSAccepted
from lbtwist.sansio.clienthello import ClientHello


class Securing:
    """One connection, as long as nothing of it is HTTP."""

    def __init__(
        self, plain: Accepted, tls: ServerTLS, reactor: Any, patience: float,
        done: Callable[[Securing, TLSAccepted], object], failed: Callable[[Securing], object],
    ) -> None:  # fmt: skip
        """
        @param patience: seconds that all of it may take.
        @param done: called when TLS stands.
        @param failed: called when it never will; the socket is closed, or will be.
        """
        self._plain = plain
        self._tls = tls
        self._reactor = reactor
        self._done = done
        self._failed = failed
        self._secured: TLSAccepted | None = None
        self._timer = reactor.callLater(patience, self.abort)
        self._awaited: HelloAwaited | None = HelloAwaited(
            plain.socket, reactor, self._helloRead, self._notHello, self._helloRefused
        )

    def __repr__(self) -> str:
        return f"<Securing {self._plain.client}>"

    def start(self) -> None:
        """Begin; what is called in the end may be called before this returns."""
        if self._awaited is not None:
            self._awaited.start()

    def abort(self) -> None:
        """It is not to be, or took too long."""
        awaited, secured = self._awaited, self._secured
        if awaited is not None:
            awaited.stop()
            self._close()
        elif secured is not None:
            secured.giveUp(HandshakeFailed("it was given up"))

    def _notHello(self, bad: BadClientHello) -> None:
        self._close()

    def _helloRefused(self, cause: str, reason: str) -> None:
        self._close()

    def _close(self) -> None:
        self._plain.socket.close()
        self._end()

    def _end(self) -> None:
        self._awaited = self._secured = None
        self._still()
        self._failed(self)

    def _still(self) -> None:
        if self._timer.active():
            self._timer.cancel()

    def _helloRead(self, hello: ClientHello) -> None:
        self._awaited = None
        plain = self._plain
        try:
            context = self._tls.context(hello)
        except HandshakeRefused as refused:
            refuse(plain.socket, self._reactor, refused.alert)
            self._end()
            return
        self._secured = TLSAccepted(
            plain.socket, plain.client, self._reactor, context, self._shaken, self._notShaken
        )
        self._secured.startHandshake()

    def _shaken(self, secured: TLSAccepted) -> None:
        self._still()
        self._done(self, secured)

    def _notShaken(self, secured: TLSAccepted, failed: HandshakeFailed) -> None:
        self._end()
