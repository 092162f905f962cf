"""
TLS on both sides of a whole balancer: what comes before the first request, who is let
in, and what a server whose TLS fails counts for.
"""

import re
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from authority import Authority, keyPEM, pem
from spoken import GET, OK

from lbtwist.arrival import PATIENCE
from lbtwist.net.tls import NOTIFY
from lbtwist.sansio.proxyheader import encodeV1
from lbtwist.testing import Balancer

AUTHORITY = Authority()
V1_SENT = b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 80\r\n"


@pytest.fixture(scope="module")
def files():
    """A directory with the certificate of site.test, and who has issued it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        AUTHORITY.issue("site.test").write(directory / "site.pem")
        Authority("Another").issue("site.test").write(directory / "other.pem")
        (directory / "ca.pem").write_bytes(pem(AUTHORITY.certificate))
        yield directory


class Speaks:
    """One end of TLS in memory, on the other end of which is the balancer."""

    def __init__(self, peer, context, server=False, name="site.test"):
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server, None if server else name
        )

    def _does(self, operation):
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                self._flush()
                ended = self.peer._take()
                data, self.peer._read = self.peer._read, b""
                self.incoming.write(data)
                if ended and not data:
                    self.incoming.write_eof()
                elif not data:
                    raise AssertionError("nothing comes") from None
            finally:
                self._flush()

    def _flush(self):
        data = self.outgoing.read()
        if data:
            self.peer.sends(data)

    def shakes(self):
        self._does(self.tls.do_handshake)
        return self

    def sends(self, data):
        self._does(lambda: self.tls.write(data))

    def receives(self, pattern):
        got = self._does(lambda: self.tls.read(1 << 16))
        assert re.fullmatch(pattern, got, re.DOTALL), got


def clientContext():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def serverContext(path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def secured(files, bind="tls=site", frontend="", tls="", settings="", servers=None, pool="",
            mode="http", log="auto"):  # fmt: skip
    servers = servers or {"a": ""}
    lines = "".join(f"server {name} = ${{{name}}} {o}\n" for name, o in servers.items())
    section = f"[tls site]\ncertificate = {files}/site.pem\n{tls}" if "tls=site" in bind else ""
    return Balancer(
        f"""
[global]
{settings}
[frontend www]
bind = ${{bind}} {bind}
mode = {mode}
pool = app
log = ${{log}} format={log}
{frontend}
{section}
[pool app]
{pool}
{lines}""",
        *servers,
    )


def traffic(balancer):
    return balancer.running.frontend("www").inbound.traffic


# in


def test_aRequest(files):
    with secured(files, frontend="redirect-https = 301") as balancer:
        client = Speaks(balancer.client(), clientContext()).shakes()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET / .*X-Forwarded-Proto: https\r\n.*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        assert (traffic(balancer).handshakes, traffic(balancer).handshakesFailed) == (1, 0)
        assert traffic(balancer).shaken.count == 1
        [ending] = balancer.endings
        assert ending.startswith("www~ app/a ")


def test_theHeaderThenTLS(files):
    header = encodeV1(("198.51.100.7", 1), ("192.0.2.80", 443))
    with secured(files, "tls=site accept-proxy=yes") as balancer:
        peer = balancer.client()
        peer.sends(header)
        client = Speaks(peer, clientContext()).shakes()
        client.sends(GET)
        balancer.server("a").accepts().receives(
            rb"GET .*For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443.*"
        )


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(GET, "an HTTP request without TLS"), (b"PROXY UNKNOWN\r\n", "a PROXY header, which is not")],
)
def test_noTLS(files, sent, reason):
    with secured(files, log="json") as balancer:
        client = balancer.client()
        client.sends(sent)
        client.isReset()
        [line] = balancer.lines
        assert '"termination":"PR--"' in line
        assert f'"reason":"TLS: {reason}' in line
        assert traffic(balancer).handshakesFailed == 1


def test_aBrokenHelloIsAnsweredByAnAlert(files):
    with secured(files) as balancer:
        client = balancer.client()
        client.sends(b"\x16\3\1\0\0")
        client.receivesExactly(b"\x15\3\1\0\2\2\x32")
        assert traffic(balancer).handshakesFailed == 1


def test_strictSNI(files):
    with secured(files, tls="strict-sni = yes") as balancer:
        client = Speaks(balancer.client(), clientContext(), name="other.test")
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            client.shakes()
        [ending] = balancer.endings
        assert " PR-- " in ending and ending.endswith('"<BADREQ>"')
        assert traffic(balancer).handshakesFailed == 1
        assert traffic(balancer).shaken.count == 0
        assert balancer.running.process.handshakes.active == 0


def test_aVersionThatIsNotSpoken(files):
    with secured(files, tls="minimum = TLSv1.3") as balancer:
        context = clientContext()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            Speaks(balancer.client(), context).shakes()
        [ending] = balancer.endings
        assert " PR-- " in ending
        assert balancer.running.process.handshakes.active == 0


def begin(balancer):
    """A client that sends its hello and nothing more."""
    peer = balancer.client()
    client = Speaks(peer, clientContext())
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client._flush()
    return client


@pytest.mark.parametrize("hello", [False, True])
def test_tooSlow(files, hello):
    with secured(files, frontend="timeout-handshake = 2s") as balancer:
        peer = begin(balancer).peer if hello else balancer.client()
        balancer.advance(1.9)
        assert not peer._take()
        balancer.advance(0.2)
        assert peer._take()
        [ending] = balancer.endings
        assert " cR-- " in ending
        assert traffic(balancer).handshakesFailed == 1


def test_handshakesAreLimited(files):
    """Who waits has a turn when another ends, the newest first."""
    with secured(files, settings="max-handshakes = 1",
                 frontend="timeout-handshake = 3s") as balancer:  # fmt: skip
        slow = begin(balancer)
        waiting = begin(balancer)
        late = begin(balancer)
        late.peer.receivesNothing()
        slow.peer.closes()
        waiting.peer.receivesNothing()
        late.shakes()
        late.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*")
        waiting.shakes()
        assert balancer.running.process.handshakes.active == 0
        assert (traffic(balancer).handshakes, traffic(balancer).handshakesFailed) == (2, 1)


def test_roomForThoseWhoWait(files):
    """A handshake may take its time, unless others wait."""
    with secured(files, settings="max-handshakes = 2",
                 frontend="timeout-handshake = 20s") as balancer:  # fmt: skip
        silent = [begin(balancer), begin(balancer)]
        balancer.advance(PATIENCE / 2)
        late = begin(balancer)
        late.peer.receivesNothing()
        balancer.advance(PATIENCE / 2 - 0.2)
        assert balancer.endings == []
        balancer.advance(0.2)
        late.shakes()
        balancer.advance(5)
        assert [" cR-- " in ending for ending in balancer.endings] == [True]
        assert silent[1].shakes()


def test_asManyAsThereAre(files):
    """Those who have stalled make room for all who wait, and there are never more."""
    with secured(files, settings="max-handshakes = 20",
                 frontend="timeout-handshake = 20s") as balancer:  # fmt: skip
        most = balancer.running.process.handshakes
        for _ in range(40):
            begin(balancer)
        assert most.active == 20
        balancer.advance(PATIENCE)
        assert (most.active, len(balancer.endings)) == (20, 20)
        clients = [begin(balancer) for _ in range(20)]
        balancer.advance(PATIENCE)
        for client in clients:
            client.shakes()
        assert (most.active, len(balancer.endings)) == (0, 40)


def test_turnsThatComeTooLate(files):
    """Who times out together with those in front begins nothing any more."""
    with secured(files, settings="max-handshakes = 1",
                 frontend="timeout-handshake = 500ms") as balancer:  # fmt: skip
        clients = [begin(balancer) for _ in range(4)]
        balancer.advance(0.6)
        assert [" cR-- " in ending for ending in balancer.endings] == [True] * 4
        taken = [client.peer._take() for client in clients]
        assert all(taken)
        assert [bool(client.peer._read) for client in clients] == [True, False, False, False]
        assert balancer.running.process.handshakes.active == 0


def test_waitingForAHandshakeEnds(files):
    with secured(files, settings="max-handshakes = 1",
                 frontend="timeout-handshake = 3s") as balancer:  # fmt: skip
        begin(balancer)
        balancer.advance(1)
        begin(balancer)
        balancer.advance(5)
        assert [" cR-- " in ending for ending in balancer.endings] == [True, True]
        assert balancer.running.process.handshakes.active == 0


def test_drainedInTheHandshake(files):
    with secured(files) as balancer:
        client = begin(balancer)
        balancer.running.drain(10)
        assert client.peer._take()
        [ending] = balancer.endings
        assert " KR-- " in ending


def asks(host):
    return b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode()


@pytest.mark.parametrize(
    "demand", ["client-verify=required", "client-verify=required minimum=TLSv1.3"]
)
@pytest.mark.parametrize("host", ["private.test", "Private.Test:443", "private.test."])
def test_aHostThatDemandsMore(files, demand, host):
    """Nobody gets to a name that wants certificates by asking for another in TLS."""
    tls = f"client-ca = {files}/ca.pem\nname private.test = {demand}"
    with secured(files, tls=tls) as balancer:
        client = Speaks(balancer.client(), clientContext()).shakes()
        client.sends(asks("site.test"))
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        client.sends(asks(host))
        client.receives(rb"HTTP/1.1 421 .*")
        server.receivesNothing()
        assert " 421 " in balancer.endings[-1]
        assert " PR-- " in balancer.endings[-1]


def test_aHostThatDemandsALaterVersion(files):
    context = clientContext()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured(files, tls="name private.test = minimum=TLSv1.3") as balancer:
        client = Speaks(balancer.client(), context).shakes()
        client.sends(asks("private.test"))
        client.receives(rb"HTTP/1.1 421 .*")
        later = Speaks(balancer.client(), clientContext()).shakes()
        later.sends(asks("private.test"))
        balancer.server("a").accepts().receives(rb"GET .*")


def test_aClientThatMeetsTheDemand(files):
    """Shown under another name, its certificate counts as well."""
    AUTHORITY.issue("client").write(files / "good.pem")
    context = clientContext()
    context.load_cert_chain(files / "good.pem")
    tls = (f"client-ca = {files}/ca.pem\nclient-verify = optional\n"
           "name private.test = client-verify=required")  # fmt: skip
    with secured(files, tls=tls) as balancer:
        client = Speaks(balancer.client(), context).shakes()
        client.sends(asks("private.test"))
        balancer.server("a").accepts().receives(rb"GET .*")


def test_passthrough(files):
    """The server ends TLS, and gets every byte as it came."""
    with secured(files, "tls-passthrough", mode="tcp") as balancer:
        client = begin(balancer)
        inbound = balancer.running.frontend("www").inbound
        [session] = inbound.connections
        tls = session.exchange.connection.tls
        assert (tls.sni, tls.version) == ("site.test", "")
        assert 0x0304 in tls.versions
        server = Speaks(
            balancer.server("a").accepts(), serverContext(files / "site.pem"), server=True
        )
        with pytest.raises(AssertionError, match="nothing comes"):
            server.shakes()
        client.shakes()
        server.shakes()
        client.sends(b"hello")
        server.receives(b"hello")


# out


def served(balancer, name, path, before=b""):
    """A server that speaks TLS takes a connection."""
    peer = balancer.server(name).accepts()
    if before:
        peer._take()
        assert peer._read.startswith(before), peer._read
        peer._read = peer._read[len(before) :]
    server = Speaks(peer, serverContext(path), server=True)
    data, peer._read = peer._read, b""
    server.incoming.write(data)
    return server


OUT = "tls sni=site.test ca={}/ca.pem"


def test_aServerWithTLS(files):
    with secured(files, "", servers={"a": OUT.format(files)}) as balancer:
        client = balancer.client()
        client.sends(GET)
        server = served(balancer, "a", files / "site.pem").shakes()
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receivesExactly(OK)


@pytest.mark.parametrize(("version", "before"), [("v1", V1_SENT), ("v2", b"\r\n\r\n\0\r\nQUIT")])
def test_theHeaderComesBeforeTLS(files, version, before):
    options = f"{OUT.format(files)} send-proxy={version}"
    with secured(files, "", servers={"a": options}) as balancer:
        client = balancer.client()
        client.sends(GET)
        if version == "v2":
            addresses = bytes((203, 0, 113, 9, 192, 0, 2, 1, 0x9C, 0x40, 0, 80))
            before += b"\n\x21\x11\0\x0c" + addresses
        server = served(balancer, "a", files / "site.pem", before).shakes()
        server.receives(rb"GET / .*")


def test_aBadCertificateIsAFailedConnect(files):
    """The next server is tried; the client sees nothing of it."""
    options = {"a": OUT.format(files), "b": ""}
    with secured(files, "", servers=options, pool="balance = first") as balancer:
        client = balancer.client()
        client.sends(GET)
        bad = served(balancer, "a", files / "other.pem")
        with pytest.raises(ssl.SSLError):
            bad.shakes()
            bad.receives(b"")
        server = balancer.server("b").accepts()
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receivesExactly(OK)
        a = balancer.running.pool("app").find("a").traffic
        assert (a.tlsFailures, a.connectFailures) == (1, 1)


def test_nobodyElseIsLeft(files):
    with secured(files, "", servers={"a": OUT.format(files)}, pool="retries = 0",
                 log="json") as balancer:  # fmt: skip
        client = balancer.client()
        client.sends(GET)
        bad = served(balancer, "a", files / "other.pem")
        with pytest.raises(ssl.SSLError):
            bad.shakes()
            bad.receives(b"")
        client.receives(rb"HTTP/1.1 503 .*")
        [line] = balancer.lines
        assert '"termination":"SC--"' in line
        assert "certificate" in line or "issuer" in line


def test_aCertificateThatCannotBeRead(files):
    """By us, that is: who has issued it is known, and OpenSSL finds it good."""
    issued = AUTHORITY.issue("client")
    (files / "client.pem").write_bytes(AUTHORITY.careless(issued) + keyPEM(issued.key))
    context = clientContext()
    context.load_cert_chain(files / "client.pem")
    with secured(files, tls=f"client-verify = required\nclient-ca = {files}/ca.pem",
                 log="json") as balancer:  # fmt: skip
        with suppress(BrokenPipeError, ssl.SSLError):
            Speaks(balancer.client(), context).shakes()
        [line] = balancer.lines
        assert "the client's certificate cannot be read" in line
        assert balancer.running.process.handshakes.active == 0
        assert (traffic(balancer).handshakes, traffic(balancer).handshakesFailed) == (0, 1)


def test_idleWithAFullSocket(files):
    """A client that does not read: not even the close_notify can be sent to it."""
    with secured(files, frontend="timeout-keepalive = 5s") as balancer:
        client = Speaks(balancer.client(), clientContext()).shakes()
        client.sends(GET)
        balancer.server("a").accepts().sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        [front] = balancer.running.frontend("www").inbound.connections
        with suppress(BlockingIOError):
            while True:
                front.transport.socket.send(bytes(4096))
        balancer.advance(6)
        assert balancer.running.process.active == 1
        balancer.advance(NOTIFY)
        assert balancer.running.process.active == 0


def checked(balancer, path):
    """The next check of the server a has connected."""
    for _ in range(40):
        balancer.advance(0.1)
        try:
            return served(balancer, "a", path)
        except AssertionError:
            continue
    raise AssertionError("no check has come")


@pytest.mark.parametrize("check", ["tcp", "http"])
def test_checks(files, check):
    with secured(files, "", servers={"a": OUT.format(files)},
                 pool=f"check = {check} fall=1") as balancer:  # fmt: skip
        server = checked(balancer, files / "site.pem")
        with suppress(BrokenPipeError):
            # Whoever wants a connection alone does not wait for session tickets.
            server.shakes()
        if check == "http":
            server.receives(rb"GET / .*")
            server.sends(OK)
        balancer.pump.turn()
        found = balancer.running.pool("app").find("a")
        assert found.health.up
        bad = checked(balancer, files / "other.pem")
        with pytest.raises(ssl.SSLError):
            bad.shakes()
            bad.receives(b"")
        assert not found.health.up
