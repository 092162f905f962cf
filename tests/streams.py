"""
Connected streams for tests of transports: of ours and of Twisted's own, over UNIX
sockets and TCP, on a reactor that turns when it is told to.
"""

import select
import socket

from twisted.internet import tcp
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from lbtwist.net.tcp import Accepted
from lbtwist.testing import Pump


class Whole:
    """
    A protocol that notes what it is told, and knows nothing of half-closed
    connections.

    @ivar lost: the reasons of C{connectionLost}.
    """

    def __init__(self):
        self.transport = None
        self.data = b""
        self.lost = []
        self.failed = []

    def makeConnection(self, transport):
        self.transport = transport

    def dataReceived(self, data):
        assert not self.lost
        self.data += data

    def connectionLost(self, reason):
        self.lost.append(reason.value)

    def connectFailed(self, failed):
        self.failed.append(failed)


@implementer(IHalfCloseableProtocol)
class Noting(Whole):
    """
    The same, of each side.

    @ivar ended: how often the peer's end was told.
    """

    def __init__(self):
        super().__init__()
        self.ended = 0

    def readConnectionLost(self):
        self.ended += 1

    def writeConnectionLost(self):
        pass


class Producer:
    """
    Notes what its consumer asks for.

    @ivar then: called with the transport whenever more is asked for.
    """

    def __init__(self, then=None):
        self.asked = []
        self.then = then

    def pauseProducing(self):
        self.asked.append("pause")

    def resumeProducing(self):
        self.asked.append("resume")
        if self.then is not None:
            self.then()

    def stopProducing(self):
        self.asked.append("stop")


def unixPair():
    return socket.socketpair()


def tcpPair():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.socket()
        # Small and fixed, so that it is known what is much.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.connect(listening.getsockname())
        ours = listening.accept()[0]
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        return ours, peer


class Stream:
    """
    One transport with its protocol, and the socket of the peer.

    @ivar twisted: it is Twisted's own and not ours.
    """

    def __init__(self, pair=unixPair, twisted=False, protocol=None, wrap=None, pump=None):
        self.pump = pump or Pump()
        ours, self.peer = pair()
        if wrap is not None:
            ours = wrap(ours.family, ours.type, 0, ours.detach())
        self.peer.setblocking(False)
        ours.setblocking(False)
        self.socket = ours
        self.protocol = protocol or Noting()
        if twisted:
            self.transport = tcp.Server(
                ours, self.protocol, ("127.0.0.1", 1), None, 1, reactor=self.pump
            )
            self.protocol.makeConnection(self.transport)
        else:
            self.transport = Accepted(ours, ("127.0.0.1", 1), self.pump)
            self.transport.startProtocol(self.protocol)

    def close(self):
        self.transport.abortConnection()
        self.pump.turn()
        self.peer.close()

    def turn(self):
        self.pump.turn()

    def fill(self):
        """
        Write until nothing more goes to the kernel.

        @return: how many bytes were written.
        """
        size = 4 << 20
        self.transport.write(bytes(size))
        self.turn()
        return size

    def taken(self, most=1 << 30):
        """What the peer reads, at most so much, until nothing waits to be sent."""
        found = []
        while most:
            self.turn()
            try:
                data = self.peer.recv(min(most, 1 << 20))
            except BlockingIOError:
                waiting = self.pump.getWriters()
                if not waiting:
                    break
                # On TCP the kernel may need a moment.
                assert any(select.select([self.peer], waiting, [], 10)), "nothing moves"
                continue
            if not data:
                break
            most -= len(data)
            found.append(data)
        self.turn()
        return b"".join(found)

    def peerSeesEnd(self):
        """Whether the peer reads the end of the stream, and nothing before it."""
        try:
            return self.peer.recv(1) == b""
        except BlockingIOError:
            return False


KINDS = {
    "unix": {"pair": unixPair},
    "tcp": {"pair": tcpPair},
    "twisted": {"pair": tcpPair, "twisted": True},
}
