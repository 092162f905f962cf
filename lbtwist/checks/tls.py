"""
The check C{tls}: a TLS handshake succeeds, and the certificate is good for some time yet.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.checks.probe import Probe
from lbtwist.config.model import ServerConfig
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.net.clienttls import ClientTLS
from lbtwist.options import HostName, Time, option

if TYPE_CHECKING:
    from OpenSSL import SSL

    from lbtwist.registry import Context
    from lbtwist.server import Server

_DAY = 86400.0


class _Anew:
    """
    The TLS of a server, for a whole handshake: a session that is resumed would show the
    certificate of the handshake it is from.
    """

    def __init__(self, side: ClientTLS) -> None:
        self._side = side

    def start(self, skt: socket.socket) -> SSL.Connection:
        return self._side.start(skt, resume=False)

    def verify(self, connection: SSL.Connection) -> None:
        self._side.verify(connection)

    def ended(self, connection: SSL.Connection) -> None:
        """Its session is not for others."""


class _Shakes(Probe):
    """Is content with a handshake, and a certificate that does not end too soon."""

    def __init__(self, expiry: float, now: float) -> None:
        super().__init__()
        self._expiry = expiry
        self._now = now

    def connected(self) -> None:
        transport = self.transport
        detail = str(transport.tls.get_protocol_version_name())
        passed = True
        if self._expiry:
            try:
                ends = transport.getPeerCertificate().not_valid_after_utc.timestamp()
            except ValueError:
                passed, detail = False, "the certificate cannot be read"
            else:
                left = ends - self._now
                passed = left >= self._expiry
                detail = f"the certificate ends in {left / _DAY:.1f} days"
                if left < 0:
                    detail = f"the certificate has ended {-left / _DAY:.1f} days ago"
        if self._close(politely=True):
            self.verdict.callback(Result(passed, "L6OK" if passed else "L6RSP", detail))


@implementer(IHealthCheck)
class TLSCheck:
    """
    C{check = tls}: passes where a handshake succeeds. A server with C{tls} is verified as
    it is for requests; of another, which speaks TLS with its clients, only the handshake
    and the certificate's end are looked at.
    """

    @attr.frozen
    class Options:
        """What is asked for, and how long the certificate has to be good."""

        name: str = option(
            HostName(), "", "The name asked for, of a server without tls; empty is none."
        )
        expiry: float = option(
            Time(), 0.0, "Fail when the certificate ends sooner than this; 0 is any time."
        )

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self._reactor = context.reactor
        self._side: ClientTLS | None = None

    def check(self, server: Server) -> Deferred[Result]:
        side: Any = server.tls
        if side is None:
            side = self._plain()
        anew = attr.evolve(server, tls=_Anew(side))
        return _Shakes(self.options.expiry, time.time()).start(anew, self._reactor)

    def _plain(self) -> ClientTLS:
        if self._side is None:
            self._side = ClientTLS(
                ServerConfig("check", "tcp", self.options.name, tls=True, verify="none")
            )
        return self._side
