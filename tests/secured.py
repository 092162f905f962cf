"""
Connections with TLS for tests: one end is ours, on a reactor that turns when it is told
to; the other is Python's own, or a program.
"""

import select
import socket
import ssl
import subprocess

from authority import pem
from streams import Noting, unixPair

from lbtwist.config.model import TLSConfig
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.handshake import HandshakeRefused, refuse
from lbtwist.net.listener import Listener
from lbtwist.net.tls import TLSAccepted
from lbtwist.sansio.clienthello import read
from lbtwist.testing import Pump


def serverTLS(*paths, **options):
    return ServerTLS(TLSConfig("site", certificate=tuple(map(str, paths)), **options))


def clientContext(authority=None, low=None, high=None):
    """Python's context of a client that trusts this authority; without one, everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=pem(authority.certificate).decode())
    if low is not None:
        context.minimum_version = low
        context.set_ciphers("ALL:@SECLEVEL=0")
    if high is not None:
        context.maximum_version = high
    return context


class Secured:
    """
    A client of Python's on a connection that we have accepted.

    @ivar failed: the L{HandshakeFailed} of our side.
    @ivar refused: what the client's side said of the handshake.
    """

    def __init__(
        self, tls, context=None, name="site.test", alpn=(), pair=unixPair, protocol=None,
        session=None, shake=True, pump=None,
    ):  # fmt: skip
        self.pump = pump or Pump()
        ours, theirs = pair()
        for one in (ours, theirs):
            one.setblocking(False)
        self.protocol = protocol or Noting()
        self.failed = self.refused = self.transport = self.secured = self.info = None
        if theirs.family != socket.AF_UNIX:
            theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = (context or clientContext()).wrap_socket(
            theirs, server_hostname=name, do_handshake_on_connect=False, session=session,
            suppress_ragged_eofs=False,
        )
        if not shake:
            self._begin(tls, ours, alpn)
            return
        self._tryShake()
        self._begin(tls, ours, alpn)
        for _ in range(50):
            self.pump.turn()
            if self._tryShake():
                break
            if pair is not unixPair:
                select.select([self.peer], [], [], 0.05)
        self.pump.turn()

    def _begin(self, tls, ours, alpn):
        hello = None
        try:
            hello = read(ours.recv(20000, socket.MSG_PEEK))
        except BlockingIOError:
            pass
        try:
            context = tls.context(hello, alpn)
        except HandshakeRefused as refused:
            self.failed = refused
            refuse(ours, self.pump, refused.alert)
            return
        self.transport = TLSAccepted(
            ours, ("127.0.0.1", 1), self.pump, context, self._done, self._failed
        )
        self.transport.startHandshake()

    def _done(self, transport):
        self.info = transport.describe()
        self.secured = transport
        transport.startTLSProtocol(self.protocol)

    def _failed(self, transport, failed):
        self.failed = failed

    def _tryShake(self):
        try:
            self.peer.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except (ssl.SSLError, OSError) as refused:
            self.refused = refused
        return True

    def turn(self):
        self.pump.turn()

    def sends(self, data):
        view = memoryview(data)
        while view:
            try:
                view = view[self.peer.send(view) :]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self.turn()
        self.turn()

    def atEnd(self):
        """@return: whether the peer reads a close_notify, and nothing before it."""
        try:
            return self.peer.recv(1) == b""
        except ssl.SSLZeroReturnError:
            return True

    def taken(self, most=1 << 30):
        """@return: what the peer reads until nothing more comes."""
        found = b""
        idle = 0
        while idle < 3 and len(found) < most:
            self.turn()
            try:
                data = self.peer.recv(min(65536, most - len(found)))
            except ssl.SSLWantReadError:
                idle += 1
                if self.peer.family != socket.AF_UNIX:
                    # On TCP the kernel may need a moment.
                    select.select([self.peer], [], [], 0.01)
                continue
            except ssl.SSLZeroReturnError:
                break
            if not data:
                break
            idle = 0
            found += data
        return found

    def close(self):
        if self.transport is not None:
            self.transport.abortConnection()
        self.pump.turn()
        self.peer.close()
        self.pump.turn()


class Answering(Noting):
    """Answers every head with what TLS it came by."""

    def dataReceived(self, data):
        self.data += data
        if self.data.endswith(b"\r\n\r\n"):
            closing = b"Connection: close" in self.data
            self.data = b""
            info = self.transport.describe()
            text = f"{info.version} {info.protocol.decode() or '-'} {info.resumed}\n".encode()
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
            )
            if closing:
                self.transport.loseConnection()

    def readConnectionLost(self):
        super().readConnectionLost()
        self.transport.loseConnection()


class Door:
    """A listening socket for programs."""

    def __init__(self, tls, alpn=()):
        self.tls = tls
        self.alpn = alpn
        self.pump = Pump()
        self.failures = []
        self.infos = []
        self.open = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.listener = Listener(self.socket, self._accepted, self.pump)
        self.listener.startListening()

    def _accepted(self, plain):
        select.select([plain.socket], [], [], 5)
        try:
            context = self.tls.context(read(plain.socket.recv(20000, socket.MSG_PEEK)), self.alpn)
        except HandshakeRefused as refused:
            self.failures.append(refused)
            refuse(plain.socket, self.pump, refused.alert)
            return
        transport = TLSAccepted(
            plain.socket, plain.client, self.pump, context, self._done, self._failed
        )
        self.open.append(transport)
        transport.startHandshake()

    def _done(self, transport):
        self.infos.append(transport.describe())
        transport.startTLSProtocol(Answering())

    def _failed(self, transport, failed):
        self.failures.append(failed)

    def run(self, *command, stdin=b"", steps=()):
        """
        @param steps: what it writes, and what it is then told.
        @return: what the program wrote, and its code, after we have served it.
        """
        steps = list(steps)
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        process.stdin.write(stdin)
        process.stdin.flush()
        if not stdin and not steps:
            process.stdin.close()
        output = b""
        while True:
            self.pump.turn()
            watched = [*self.pump.getReaders(), process.stdout]
            ready = select.select(watched, self.pump.getWriters(), [], 20)
            assert any(ready), f"nothing moves after {output!r}"
            if process.stdout in ready[0]:
                data = process.stdout.read1(65536)
                if not data:
                    break
                output += data
                while steps and steps[0][0] in output:
                    process.stdin.write(steps.pop(0)[1])
                    process.stdin.flush()
        process.stdin.close()
        process.stdout.close()
        return output.decode(errors="replace"), process.wait(20)

    def close(self):
        for transport in self.open:
            transport.abortConnection()
        self.listener.stopListening()
