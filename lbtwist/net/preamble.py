"""
What an accepted socket is asked for before it has a protocol: a PROXY header, the
ClientHello of TLS.

A L{HeaderAwaited} takes a header out of the socket, exactly; a L{HelloAwaited} only
looks at the hello, so that OpenSSL or a server behind a tunnel reads the same bytes.
Both look as soon as they begin and wait for more only if they must, without spinning
on a reactor that is told of input for as long as there is any.

Not here: deadlines, who may send a header, and what follows.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from lbtwist.errors import BadClientHello, BadProxyHeader
from lbtwist.exchange import Cause
from lbtwist.sansio import proxyheader
from lbtwist.sansio.clienthello import LIMIT, ClientHello, HelloReader
from lbtwist.sansio.proxyheader import ProxyHeader

MAX_HEADER = 4096
"""The most bytes of a PROXY header."""

PAUSE = 0.05
"""Seconds between two looks at a socket that cannot wait for a number of bytes."""

_READ_HANG_UP = getattr(select, "POLLRDHUP", 0)

Refused = Callable[[str, str], object]


class Awaited:
    """
    A socket that is watched until it is known what came first.

    One of C{done} and C{refused} is called, once, perhaps before C{start} returns, and
    the socket is not watched any more by then; neither is called after C{stop}.

    @ivar refused: called with one of L{Cause} and the reason. The socket is still open.
    @ivar nonsense: what came and was not acceptable; C{b""} as long as nothing was not.
    """

    what: str

    def __init__(self, skt: socket.socket, reactor: Any, refused: Refused) -> None:
        self.socket = skt
        self.fileno = skt.fileno
        self.refused = refused
        self.nonsense = b""
        self._reactor = reactor
        self._watching = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.socket.fileno()}>"

    def logPrefix(self) -> str:
        return type(self).__name__

    def start(self) -> None:
        """Look, and wait if there is not enough."""
        if self._looks():
            self._watching = True
            self._reactor.addReader(self)

    def stop(self) -> None:
        """Leave the socket alone."""
        if self._watching:
            self._watching = False
            self._reactor.removeReader(self)

    def timedOut(self) -> None:
        """It took too long."""
        self.stop()
        self.refused(Cause.CLIENT_TIMEOUT, f"no {self.what} in time")

    def doRead(self) -> None:
        self._looks()

    def connectionLost(self, reason: Failure) -> None:
        """Some reactors report an error before it is read."""
        if not self._watching:
            return
        self._refuse(Cause.CLIENT, f"the connection was lost: {reason.getErrorMessage()}")

    def _looks(self) -> bool:
        """@return: whether more has to come."""
        try:
            data = self.socket.recv(self._most(), socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError as failed:
            return self._refuse(Cause.CLIENT, f"the client is lost: {failed.strerror}")
        if not data:
            return self._closed()
        return self._look(data)

    def _most(self) -> int:
        raise NotImplementedError

    def _look(self, data: bytes) -> bool:
        raise NotImplementedError

    def _closed(self) -> bool:
        return self._refuse(Cause.CLIENT, f"the client closed before its {self.what}")

    def _refuse(self, cause: str, reason: str) -> bool:
        self.stop()
        self.refused(cause, reason)
        return False


class HeaderAwaited(Awaited):
    """
    A socket that a PROXY header comes from, or may come from.

    Nobody has to wait for a number of bytes here: of a header that is not complete
    everything that has come belongs to it, and is taken.
    """

    what = "PROXY header"

    def __init__(
        self,
        skt: socket.socket,
        reactor: Any,
        optional: bool,
        done: Callable[[ProxyHeader | None, bytes], object],
        refused: Refused,
    ) -> None:
        """
        @param optional: a connection may begin otherwise, or with silence.
        @param done: called with the header and C{b""}, or with L{None} and what was
            taken of a beginning that could have been one's.
        """
        super().__init__(skt, reactor, refused)
        self._optional = optional
        self._done = done
        self._taken = b""

    def timedOut(self) -> None:
        if self._optional and not proxyheader.begins(self._taken):
            # A client may wait for the server to speak first.
            self._finish(None, self._taken)
        else:
            super().timedOut()

    def _most(self) -> int:
        # One more than is allowed shows what is too long.
        return MAX_HEADER + 1 - len(self._taken)

    def _look(self, data: bytes) -> bool:
        whole = self._taken + data
        if self._optional and proxyheader.begins(whole) is False:
            return self._finish(None, self._taken)
        try:
            header = proxyheader.read(whole, MAX_HEADER)
        except BadProxyHeader as bad:
            self.nonsense = whole
            return self._refuse(Cause.REFUSED, f"PROXY: {bad}")
        size = len(data) if header is None else header.size - len(self._taken)
        try:
            while size:
                taken = len(self.socket.recv(size))
                if not taken:
                    return self._closed()
                size -= taken
        except OSError as failed:
            return self._refuse(Cause.CLIENT, f"the client is lost: {failed.strerror}")
        if header is None:
            self._taken = whole
            return True
        return self._finish(header, b"")

    def _closed(self) -> bool:
        if self._optional and self._taken and not proxyheader.begins(self._taken):
            # The few bytes that it sent were not meant for us.
            return self._finish(None, self._taken)
        return super()._closed()

    def _finish(self, header: ProxyHeader | None, taken: bytes) -> bool:
        self.stop()
        self._done(header, taken)
        return False


class HelloAwaited(Awaited):
    """
    A socket on which TLS has to begin. Nothing is taken out of it: what a hello still
    needs is told to the kernel (SO_RCVLOWAT, socket(7)), which then is silent until
    it is there. A kind of socket that does not know it is looked at now and then.
    """

    what = "ClientHello"

    def __init__(
        self,
        skt: socket.socket,
        reactor: Any,
        done: Callable[[ClientHello], object],
        bad: Callable[[BadClientHello], object],
        refused: Refused,
    ) -> None:
        """
        @param bad: called instead of the others for what is no hello.
        """
        super().__init__(skt, reactor, refused)
        self._bad = bad
        self._done = done
        self._reader = HelloReader()
        self._seen = 0
        self._pause: Any = None

    def stop(self) -> None:
        super().stop()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _most(self) -> int:
        return LIMIT + 1

    def _look(self, data: bytes) -> bool:
        try:
            hello = self._reader.read(data)
        except BadClientHello as bad:
            self.nonsense = data
            self.stop()
            self._bad(bad)
            return False
        if hello is not None:
            self.stop()
            self._wait(1)
            self._done(hello)
            return False
        if self._endsHere():
            return self._closed()
        if len(data) > self._seen:
            self._seen = len(data)
            self._wait(self._reader.wanted)
        elif self._watching:
            self.stop()
            self._pause = self._reactor.callLater(PAUSE, self._again)
        return True

    def _again(self) -> None:
        self._pause = None
        self.start()

    def _wait(self, size: int) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _endsHere(self) -> bool:
        """Whether the client has ended its side: peeking does not come to the end."""
        poller = select.poll()
        poller.register(self.socket, _READ_HANG_UP)
        return bool(poller.poll(0))
