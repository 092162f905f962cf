"""
Transports with TLS: what is written arrives, and every end is told as what it is.
"""

import select
import socket
import ssl
from contextlib import suppress

import pytest
from authority import DAY, NOW, Authority, pem
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from secured import Door, Secured, clientContext, serverTLS
from streams import Noting, Producer, Whole, tcpPair, unixPair
from test_certificates import V10, V11, V12, V13
from twisted.internet import error
from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from lbtwist.config.model import ServerConfig
from lbtwist.errors import StartError
from lbtwist.net import clienttls, handshake
from lbtwist.net.clienttls import ClientTLS
from lbtwist.net.handshake import LINGER, HandshakeFailed
from lbtwist.net.records import RECORD, read, write
from lbtwist.net.tcp import HIGH_WATER
from lbtwist.net.tls import NOTIFY, TLSAccepted, TLSOutgoing
from lbtwist.server import Endpoint
from lbtwist.testing import Pump

pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
    pytest.mark.filterwarnings("error::DeprecationWarning:lbtwist"),
]


@pytest.fixture(scope="module")
def ca():
    return Authority()


@pytest.fixture(scope="module")
def tls(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "site.pem"
    ca.issue("site.test", "127.0.0.1").write(path)
    return serverTLS(path)


@pytest.fixture
def made(tls):
    found = []

    def connect(*args, **options):
        found.append(Secured(tls, *args, **options))
        return found[-1]

    yield connect
    for one in found:
        one.close()
        one.pump.advance(LINGER)
        assert not one.pump.getDelayedCalls()
        assert not one.pump.removeAll()


BOTH = pytest.mark.parametrize("version", [V12, V13])


def lost(client):
    return [type(reason) for reason in client.protocol.lost]


# data


@BOTH
def test_bothWays(made, version):
    client = made(clientContext(high=version))
    data = bytes(range(256)) * 400
    client.sends(data)
    assert client.protocol.data == data
    client.secured.write(data)
    assert client.taken() == data
    verifyObject(ISSLTransport, client.secured)
    assert client.secured.getPeerCertificate() is None


def test_writeOfNothing(made):
    client = made()
    client.secured.write(b"")
    client.secured.writeSequence([b"a", b"", b"b"])
    assert client.taken() == b"ab"


def test_oneWriteOneRecord(made):
    """Whoever waits for a head gets it whole."""
    client = made()
    client.secured.write(b"x" * RECORD)
    client.turn()
    assert len(client.peer.recv(1 << 20)) == RECORD


def test_connectionsShareNoData(made):
    """They are read into one buffer: what came first stays what it was, and as long."""
    one, other = made(), made()
    one.sends(b"first " * 100)
    other.sends(b"second")
    one.sends(b"3")
    assert one.protocol.data == b"first " * 100 + b"3"
    assert other.protocol.data == b"second"


def test_longWriteToFullSocket(made):
    """A write of many records is refused whole if not even its first one finds room."""
    client = made(pair=tcpPair)
    tls = client.secured.tls
    with pytest.raises(SSL.WantWriteError):
        while True:
            write(tls, b"a" * RECORD)
    with pytest.raises(SSL.WantWriteError):
        write(tls, b"a" * RECORD * 3)
    client.taken()
    assert 0 < write(tls, b"a" * RECORD * 3)


def test_slowReader(made):
    """100,000 bytes at a time to a peer that takes a little at a time."""
    client = made(pair=tcpPair)
    sent = b""
    for number in range(20):
        piece = bytes([number]) * 100_000
        sent += piece
        client.secured.write(piece)
    assert client.secured.unsent > HIGH_WATER
    found = b""
    while len(found) < len(sent):
        data = client.taken(5000)
        assert data, "nothing moves"
        found += data
    assert found == sent
    assert client.secured.unsent == 0


def test_smallPiecesAreJoined(made):
    client = made(pair=tcpPair)
    client.secured.write(bytes(4 << 20))
    pieces = [b"%d;" % number for number in range(1000)]
    for piece in pieces:
        client.secured.write(piece)
    assert client.taken() == bytes(4 << 20) + b"".join(pieces)


def test_producer(made):
    """It is paused and asked again, as on a plain transport."""
    client = made(pair=tcpPair)
    producer = Producer()
    client.secured.registerProducer(producer, True)
    client.secured.write(bytes(4 << 20))
    assert producer.asked == ["pause"]
    assert len(client.taken()) == 4 << 20
    assert producer.asked == ["pause", "resume"]
    client.secured.unregisterProducer()


def test_pulledProducer(made):
    client = made()
    left = [b"a" * 10, b"b" * 70_000, b"c"]

    def more():
        if left:
            client.secured.write(left.pop(0))
        else:
            client.secured.unregisterProducer()

    client.secured.registerProducer(Producer(more), False)
    assert client.taken() == b"a" * 10 + b"b" * 70_000 + b"c"


def test_readingIsBounded(made):
    """One event takes so much and no more; the rest comes with the next."""
    client = made(pair=tcpPair)
    sizes = []
    received = client.protocol.dataReceived
    client.protocol.dataReceived = lambda data: (sizes.append(len(data)), received(data))
    client.sends(b"z" * 500_000)
    while len(client.protocol.data) < 500_000:
        assert select.select(client.pump.getReaders(), [], [], 5)[0], "nothing moves"
        client.turn()
    assert len(client.protocol.data) == 500_000
    assert max(sizes) <= 8 * RECORD


def test_paused(made):
    client = made()
    client.secured.stopReading()
    client.sends(b"later")
    assert client.protocol.data == b""
    client.secured.startReading()
    client.turn()
    assert client.protocol.data == b"later"


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 40_000), st.integers(1, 50_000)), max_size=12)
)
@settings(max_examples=25)
def test_anySizes(tls, steps):
    """Whatever is written on either side arrives on the other, in order."""
    client = Secured(tls, clientContext(), pair=tcpPair)
    sent, found, asked = b"", b"", b""
    for number, (fromUs, size, taken) in enumerate(steps):
        data = bytes([number]) * size
        if fromUs:
            sent += data
            client.secured.write(data)
            found += client.taken(taken)
        else:
            asked += data
            client.sends(data)
    while len(found) < len(sent):
        if not client.peer.pending():
            assert select.select([client.peer], client.pump.getWriters(), [], 5), "nothing moves"
        found += client.taken()
    while len(client.protocol.data) < len(asked):
        assert select.select(client.pump.getReaders(), [], [], 5)[0], "nothing moves"
        client.turn()
    assert found == sent
    assert client.protocol.data == asked
    client.close()


@pytest.mark.needs("openssl")
def test_keyUpdate(tls):
    """The peer changes its key, and asks for a change of ours."""
    door = Door(tls)
    output, _ = door.run(
        "timeout", "10", "openssl", "s_client", "-connect", f"127.0.0.1:{door.port}",
        steps=[
            (b"Verify return code", b"K\n"),
            (b"KEYUPDATE", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
        ],
    )  # fmt: skip
    assert "TLSv1.3 - False" in output
    assert "closed" in output
    door.close()


def test_oneRecordAtATime(tls):
    """What is no data could come without end: a read ends after each such record."""
    pump = Pump()
    ours, theirs = unixPair()
    for one in (ours, theirs):
        one.setblocking(False)
    peer = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), theirs)
    handshake.readLittle(peer)
    peer.set_connect_state()
    transport = TLSAccepted(
        ours, None, pump, tls.context(None),
        lambda done: done.startTLSProtocol(Noting()), lambda *failed: None,
    )  # fmt: skip
    transport.startHandshake()
    for _ in range(4):
        with suppress(SSL.WantReadError):
            peer.do_handshake()
        pump.turn()
    transport.write(b"data")
    # Two session tickets come before it.
    for _ in range(2):
        with pytest.raises(SSL.WantReadError):
            peer.recv(100)
    assert peer.recv(100) == b"data"
    retry = SSL._lib.SSL_MODE_AUTO_RETRY
    assert not SSL._lib.SSL_set_mode(transport.tls._ssl, 0) & retry
    transport.abortConnection()
    theirs.close()


def test_readingThatWrites(made, monkeypatch):
    """What OpenSSL answers by itself finds the socket full: it goes on when it may."""
    client = made()
    blocked = [True]

    def full(connection):
        if blocked:
            blocked.clear()
            raise SSL.WantWriteError
        return read(connection)

    monkeypatch.setattr("lbtwist.net.tls.read", full)
    client.sends(b"data")
    assert client.protocol.data == b"data"
    assert not client.pump.getWriters()


# ends


@BOTH
def test_halfCloses(made, version):
    """A close_notify of ours ends our side alone, and one of the peer its side alone."""
    client = made(clientContext(high=version))
    client.secured.write(b"last")
    client.secured.loseWriteConnection()
    client.secured.write(b"too late")
    assert client.taken() == b"last"
    client.sends(b"still")
    assert client.protocol.data == b"still"
    assert client.protocol.ended == 0
    client.peer.unwrap()
    client.turn()
    assert client.protocol.ended == 1
    assert not client.protocol.lost


@BOTH
def test_peerEndsFirst(made, version):
    client = made(clientContext(high=version))
    with pytest.raises(ssl.SSLWantReadError):
        client.peer.unwrap()
    client.turn()
    assert client.protocol.ended == 1
    client.secured.write(b"answer")
    client.secured.loseConnection()
    assert lost(client) == [error.ConnectionDone]
    assert client.taken() == b"answer"
    assert client.atEnd()


def test_truncation(made):
    """An end without close_notify is none in good order."""
    client = made()
    client.sends(b"half a mess")
    client.peer.shutdown(socket.SHUT_WR)
    client.turn()
    assert client.protocol.data == b"half a mess"
    assert client.protocol.ended == 0
    assert lost(client) == [error.ConnectionLost]


def test_weDoNotTruncate(made):
    """The close_notify comes even if the socket is full when the last byte is sent."""
    client = made(pair=tcpPair)
    client.secured.write(bytes(3 << 20))
    client.secured.loseConnection()
    assert not client.protocol.lost
    found = client.taken()
    assert len(found) == 3 << 20
    assert client.atEnd()
    assert lost(client) == [error.ConnectionDone]


@pytest.mark.parametrize("how", ["loseConnection", "loseWriteConnection"])
def test_fullSocketAtTheEnd(made, how):
    client = made(pair=tcpPair)
    full = [True]
    tls = client.secured.tls

    class Full:
        """Takes no close_notify at first."""

        def shutdown(self):
            if full:
                full.clear()
                raise SSL.WantWriteError
            return tls.shutdown()

        def __getattr__(self, name):
            return getattr(tls, name)

    client.secured.tls = Full()
    getattr(client.secured, how)()
    assert not client.protocol.lost
    client.turn()
    assert client.atEnd()
    assert lost(client) == ([error.ConnectionDone] if how == "loseConnection" else [])


@pytest.mark.parametrize("takesIt", [True, False])
def test_fullSocketForEver(made, takesIt):
    """The peer has some time to read; then the kernel may deliver what it has."""
    client = made()
    with suppress(BlockingIOError):
        while True:
            client.transport.socket.send(bytes(4096))
    client.secured.loseConnection()
    # Whoever wrote to it ends as well.
    client.secured.unregisterProducer()
    client.turn()
    assert not client.protocol.lost
    assert client.secured.unsent
    if takesIt:
        with socket.socket(fileno=client.peer.fileno()) as raw:
            raw.recv(1 << 20)
            raw.detach()
        client.turn()
    else:
        client.pump.advance(NOTIFY)
    assert lost(client) == [error.ConnectionDone]
    assert not client.pump.getDelayedCalls()


def test_withoutHalfCloses(made):
    """A protocol that knows no half-closed connections: the peer's end is the end."""
    client = made(protocol=Whole())
    with pytest.raises(ssl.SSLWantReadError):
        client.peer.unwrap()
    client.turn()
    assert lost(client) == [error.ConnectionDone]
    client.peer.unwrap()


def test_abort(made):
    client = made(pair=tcpPair)
    client.secured.write(bytes(4 << 20))
    client.secured.abortConnection()
    assert lost(client) == [error.ConnectionAborted]
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        while client.peer.recv(65536):
            pass


def test_endWhilePaused(made):
    """It is told when reading goes on, although no event tells of it again."""
    client = made()
    received = client.protocol.dataReceived

    def pausing(data):
        received(data)
        client.secured.stopReading()

    client.protocol.dataReceived = pausing
    client.peer.send(bytes(RECORD))
    with pytest.raises(ssl.SSLWantReadError):
        client.peer.unwrap()
    client.turn()
    assert len(client.protocol.data) == RECORD
    assert client.protocol.ended == 0
    client.secured.startReading()
    assert client.protocol.ended == 0
    client.turn()
    assert client.protocol.ended == 1


def test_resetWhileWriting(made):
    client = made(pair=tcpPair)
    client.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.peer.close()
    client.secured.write(bytes(100))
    client.secured.write(bytes(100))
    assert not client.protocol.lost
    client.turn()
    assert len(client.protocol.lost) == 1
    assert not isinstance(client.protocol.lost[0], error.ConnectionDone)


def test_garbageInTheMiddle(made):
    client = made()
    raw = socket.socket(fileno=client.peer.fileno())
    raw.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    raw.detach()
    client.turn()
    assert lost(client) == [error.ConnectionLost]
    with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
        client.taken()


# handshakes


def test_garbage(made):
    client = made(shake=False)
    raw = socket.socket(fileno=client.peer.fileno())
    raw.send(b"\x16\x03\x01\x00\x05hello")
    client.turn()
    raw.detach()
    assert client.failed.reason
    assert not client.protocol.lost


def test_closedInTheHandshake(made):
    client = made(shake=False)
    client.peer.close()
    client.turn()
    assert client.failed.reason == "the peer closed during the handshake"


def test_fullSocketInTheHandshake(made):
    client = made(shake=False)
    blocked = [True]
    tls = client.transport.tls

    class Full:
        def do_handshake(self):
            if blocked:
                blocked.clear()
                raise SSL.WantWriteError
            return tls.do_handshake()

        def __getattr__(self, name):
            return getattr(tls, name)

    client.transport.tls = Full()
    for _ in range(5):
        client._tryShake()
        client.turn()
    assert not blocked
    assert client.info is not None


def test_handshakeThatDoesNotFit(ca, tmp_path):
    """Who sends and does not read is not listened to meanwhile, which would spin."""
    authority = ca
    for number in range(30):
        authority = Authority(f"authority number {number}", authority)
    authority.issue("site.test").write(tmp_path / "long.pem")
    ours, theirs = unixPair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    client = Secured(serverTLS(tmp_path / "long.pem"), pair=lambda: (ours, theirs), shake=False)
    client._tryShake()
    client.pump._poll()
    with socket.socket(fileno=client.peer.fileno()) as raw:
        raw.send(b"\x14\x03\x03\x00\x01\x01")
        raw.detach()
    client.turn()
    assert client.pump.getWriters() == [client.transport]
    assert not client.pump.getReaders()
    client.close()


@pytest.mark.parametrize("how", ["abortConnection", "connectionLost"])
def test_endedInTheHandshake(made, how):
    client = made(shake=False)
    arguments = [Failure(error.ConnectionLost())] if how == "connectionLost" else []
    getattr(client.transport, how)(*arguments)
    assert client.failed is not None
    assert client.transport.disconnected


def test_gaveUp(made):
    """The time was over."""
    client = made(shake=False)
    failed = HandshakeFailed("took too long")
    client.transport.giveUp(failed)
    assert client.failed is failed
    client.transport.giveUp(HandshakeFailed("again"))
    assert client.failed is failed
    assert client.transport.disconnected


def test_farewellIsBounded(made):
    """The socket of who is told off is closed after a time, or after some bytes."""
    for after in ("time", "bytes"):
        client = made(clientContext(low=V10, high=V11), pair=tcpPair)
        assert client.failed is not None
        assert client.pump.getReaders()
        if after == "time":
            client.pump.advance(LINGER)
        else:
            raw = socket.socket(fileno=client.peer.detach())
            raw.setblocking(True)
            raw.settimeout(5)
            try:
                for _ in range(20):
                    raw.send(bytes(8192))
                    client.turn()
            except OSError:
                pass
            raw.close()
        assert not client.pump.getReaders()


def test_farewellsAreFew(made, monkeypatch):
    """They are no connections that a limit counts: beyond some the socket is closed."""
    monkeypatch.setattr(handshake, "MOST", handshake.Farewell.now + 1)
    pump = Pump()
    for _ in range(3):
        assert made(clientContext(low=V10, high=V11), pump=pump).failed is not None
    assert len(pump.getReaders()) == 1
    pump.advance(LINGER)
    assert handshake.Farewell.now == handshake.MOST - 1


def test_renegotiationIsRefused(ca, tls):
    """A client of TLS 1.2 that asks for it gets an alert, and goes on or away."""
    pump = Pump()
    ours, theirs = unixPair()
    for one in (ours, theirs):
        one.setblocking(False)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    peer = SSL.Connection(context, theirs)
    peer.set_connect_state()
    protocol = Noting()
    transport = TLSAccepted(
        ours, None, pump, tls.context(None),
        lambda done: done.startTLSProtocol(protocol), lambda *failed: None,
    )  # fmt: skip
    transport.startHandshake()
    for _ in range(5):
        try:
            peer.do_handshake()
        except SSL.WantReadError:
            pump.turn()
    peer.renegotiate()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        for _ in range(5):
            try:
                peer.do_handshake()
            except SSL.WantReadError:
                pump.turn()
    transport.abortConnection()
    theirs.close()


# to servers


class Far:
    """A server of Python's that we connect to, and what becomes of it."""

    def __init__(self, context, side):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.pump = Pump()
        self.protocol = Whole()
        self.peer = self.refused = None
        where = Endpoint(socket.AF_INET, self.listening.getsockname())
        self.transport = TLSOutgoing(where, self.protocol, self.pump, side)
        self.transport.connect()
        self.pump.turn()
        raw, _ = self.listening.accept()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        shaken = False
        for _ in range(50):
            self.pump.turn()
            if not shaken:
                try:
                    self.peer.do_handshake()
                    shaken = True
                except ssl.SSLWantReadError:
                    continue
                except (ssl.SSLError, OSError) as refused:
                    self.refused = refused
                    break
            if self.protocol.transport or self.protocol.failed:
                break
        self.pump.turn()

    def close(self):
        if self.protocol.transport is not None:
            self.transport.loseConnection()
        self.pump.turn()
        self.pump.advance(LINGER)
        self.pump.turn()
        self.peer.close()
        self.listening.close()
        assert not self.pump.removeAll()


@pytest.fixture
def far(ca, tmp_path):
    found = []

    def connect(issued=None, side=None, server=None, **options):
        context = server or serverContext(issued or ca.issue("site.test"), tmp_path)
        if side is None:
            (tmp_path / "ca.pem").write_bytes(pem(ca.certificate))
            options = {"sni": "site.test", "ca": str(tmp_path / "ca.pem"), **options}
            side = ClientTLS(ServerConfig("a", "tcp", "127.0.0.1", 1, tls=True, **options))
        found.append(Far(context, side))
        return found[-1]

    yield connect
    for one in found:
        one.close()


def serverContext(issued, path, **options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.write(path / "far.pem")
    context.load_cert_chain(str(path / "far.pem"))
    for name, value in options.items():
        setattr(context, name, value)
    return context


def test_toServer(far):
    one = far(alpn=(b"http/1.1",))
    assert one.protocol.transport is one.transport
    one.transport.write(b"hello")
    one.pump.turn()
    assert one.peer.recv(100) == b"hello"
    one.peer.send(b"hi")
    one.pump.turn()
    assert one.protocol.data == b"hi"


def test_names(far, ca):
    """DNS names, wildcards and addresses."""
    assert not far(ca.issue("*.site.test"), sni="www.site.test").protocol.failed
    assert not far(ca.issue("127.0.0.1"), sni="127.0.0.1").protocol.failed
    assert not far(ca.issue("127.0.0.1"), sni="").protocol.failed
    assert not far(ca.issue("fe80::1"), sni="fe80::1%eth0").protocol.failed


@pytest.mark.parametrize("version", [V12, V13])
def test_notVerified(far, ca, tmp_path, version):
    """The reason in words; the server is told by an alert."""
    for issued, reason, alert in (
        (
            ca.issue("x.test", "y.test"),
            "wrong name: the certificate is for x.test, y.test, not for site.test",
            "ALERT",
        ),
        (ca.issue("site.test", end=NOW - DAY / 2), "the certificate has expired", "EXPIRED"),
        (ca.issue("site.test", begin=NOW + DAY / 2), "not yet valid", "ALERT"),
        (Authority("Others").issue("site.test"), "unknown authority", "UNKNOWN_CA"),
        (ca.issue("10.0.0.1"), "wrong name: the certificate is for 10.0.0.1", "ALERT"),
        (ca.issue(), "wrong name: the certificate is for no name at all", "ALERT"),
    ):
        context = serverContext(issued, tmp_path, maximum_version=version)
        one = far(server=context)
        (failed,) = one.protocol.failed
        assert isinstance(failed, HandshakeFailed)
        assert reason in str(failed)
        assert one.protocol.transport is None
        assert alert in str(one.refused or _told(one))
        assert not far(server=context, verify="none").protocol.failed


def test_authoritiesOfTheSystem(far, ca, tmp_path, monkeypatch):
    """They are asked where no other is named; here they are others than usual."""
    (_,) = far(ca.issue("site.test"), ca="").protocol.failed
    (tmp_path / "system.pem").write_bytes(pem(ca.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    assert not far(ca.issue("site.test"), ca="").protocol.failed


def test_unreadableCertificate(far, monkeypatch):
    """Whatever goes wrong while it is looked at, it is not good."""

    def fails(certificate):
        raise ValueError

    monkeypatch.setattr(clienttls, "extract_patterns", fails)
    (failed,) = far().protocol.failed
    assert failed.reason == "the certificate cannot be read"


def _told(one):
    try:
        one.peer.recv(100)
    except ssl.SSLError as told:
        return told


def test_resumes(far, ca, tmp_path):
    """By the session that was kept when a connection ended in good order."""
    for version in (V12, V13):
        context = serverContext(ca.issue("site.test"), tmp_path, maximum_version=version)
        first = far(server=context)
        side = first.transport._side
        assert not first.peer.session_reused
        first.peer.send(b"x")
        first.pump.turn()
        first.transport.loseConnection()
        second = far(server=context, side=side)
        assert second.peer.session_reused
        assert not second.protocol.failed


def test_ticketsAreNoEnd(far):
    """They come while nothing is asked for."""
    one = far()
    one.transport.stopReading()
    assert not one.transport.peekEnd()
    one.peer.send(b"unasked")
    assert one.transport.peekEnd()
    other = far()
    with pytest.raises(ssl.SSLWantReadError):
        other.peer.unwrap()
    assert other.transport.peekEnd()


def test_ourCertificate(far, ca, tmp_path):
    context = serverContext(ca.issue("site.test"), tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=pem(ca.certificate).decode())
    own = ca.issue(common="balancer").write(tmp_path / "own.pem")
    one = far(server=context, certificate=own)
    one.transport.write(b"x")
    one.pump.turn()
    assert one.peer.getpeercert()["subject"] == ((("commonName", "balancer"),),)


def test_noCommonVersion(far, ca, tmp_path):
    context = serverContext(ca.issue("site.test"), tmp_path, maximum_version=V12)
    (failed,) = far(server=context, minimum="TLSv1.3").protocol.failed
    assert "protocol version" in failed.reason


def test_oldServer(far, ca, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue("site.test").write(tmp_path / "far.pem")
    context.minimum_version = context.maximum_version = V10
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(str(tmp_path / "far.pem"))
    assert far(server=context).protocol.failed
    assert not far(server=context, minimum="TLSv1.0").protocol.failed


def test_cancelled(ca):
    """Nothing is told, and nothing is left."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pump = Pump()
        side = ClientTLS(ServerConfig("a", "tcp", "127.0.0.1", 1, tls=True, verify="none"))
        protocol = Whole()
        where = Endpoint(socket.AF_INET, listening.getsockname())
        transport = TLSOutgoing(where, protocol, pump, side)
        transport.connect()
        pump.turn()
        transport.cancel()
        pump.turn()
        assert not protocol.failed
        assert not pump.removeAll()


def test_theServerHangsUp(ca):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pump = Pump()
        side = ClientTLS(ServerConfig("a", "tcp", "127.0.0.1", 1, tls=True, verify="none"))
        protocol = Whole()
        where = Endpoint(socket.AF_INET, listening.getsockname())
        TLSOutgoing(where, protocol, pump, side).connect()
        pump.turn()
        peer, _ = listening.accept()
        peer.close()
        select.select(pump.getReaders(), [], [], 5)
        pump.turn()
        assert isinstance(protocol.failed[0], HandshakeFailed)


def test_wrongOptions(tmp_path, ca):
    (tmp_path / "text").write_bytes(b"text")
    text = str(tmp_path / "text")
    for options, message in (
        ({"ca": text}, "text: no certificate in PEM form; ca="),
        ({"ca": "/none"}, "/none: cannot be read: there is no such file"),
        ({"certificate": text}, "text: no certificate in PEM form"),
        ({"ciphers": "NONE"}, "server a: ciphers: OpenSSL knows none"),
        ({"sni": "bücher.test"}, "server a: 'bücher.test' is no name of DNS"),
        ({"minimum": "TLSv1.3", "maximum": "TLSv1.2"}, "server a: minimum TLSv1.3 is above"),
    ):
        with pytest.raises(StartError, match=message):
            ClientTLS(ServerConfig("a", "tcp", "site.test", 1, tls=True, **options))
    with pytest.raises(StartError, match="without a host name needs sni="):
        ClientTLS(ServerConfig("a", "unix", path="/x", tls=True))
