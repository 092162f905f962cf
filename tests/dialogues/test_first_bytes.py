"""
mode = tcp, where the first bytes of a session say which server: the cookie of RDP, the
session of TLS. They are waited for, within a bound, and passed on as they came.
"""

import ssl
from contextlib import suppress

import attr
import pytest
from authority import Authority
from zope.interface import implementer

from lbtwist.exchange import Connection, Rehearsal
from lbtwist.explaining.words import asText
from lbtwist.interfaces import IInspecting, IPersistence
from lbtwist.registry import Extension, installed
from lbtwist.session import MAX_EARLY
from lbtwist.testing import Balancer


def tcp(*, persist="", pool="", bind="", frontend="", more="", registry=None):
    """A balancer in C{mode = tcp} with the servers C{a} and C{b}."""
    return Balancer(
        "\n".join([
            "[frontend www]", "mode = tcp", f"bind = ${{bind}} {bind}", "pool = app",
            "log = ${log}", frontend,
            "[pool app]", "mode = tcp", "server a = ${a}", "server b = ${b}",
            f"persist = {persist}" if persist else "", pool,
            more,
        ]),
        "a", "b", registry=registry,
    )  # fmt: skip


def cookie(value, name="mstshash"):
    """What FreeRDP 2.11.7 sends first, but for the value."""
    line = f"Cookie: {name}={value}\r\n".encode()
    more = bytes.fromhex("0100080003000000")
    header = b"\3\0" + (len(line) + 19).to_bytes(2, "big") + bytes([len(line) + 14])
    return header + b"\xe0\0\0\0\0\0" + line + more


ALICE, BOB = cookie("alice"), cookie("bob")


def test_asFreeRDPSendsIt():
    assert ALICE.hex() == (
        "0300002b26e00000000000436f6f6b69653a206d737473686173683d616c6963650d0a0100080003000000"
    )


def comes(balancer, server, sent=ALICE):
    """A client sends something and comes to this server, which gets just that."""
    client = balancer.client()
    client.sends(sent)
    peer = balancer.server(server).accepts()
    peer.receivesExactly(sent)
    return client, peer


def somewhere(balancer, sent):
    """
    A client sends something, and leaves again.

    @return: the name of the server it came to.
    """
    client = balancer.client()
    client.sends(sent)
    [server] = [one for one in balancer.running.pool("app").servers if one.active]
    leaves(client, balancer.server(server.name).accepts())
    return server.name


def leaves(*peers):
    for peer in peers:
        peer.closes()


# the cookie of RDP


def test_aUserComesBack():
    """However the name is written."""
    with tcp(persist="rdp-cookie mstshash") as balancer:
        leaves(*comes(balancer, "a"))
        leaves(*comes(balancer, "b", BOB))
        for _ in range(2):
            leaves(*comes(balancer, "a"))
            leaves(*comes(balancer, "a", cookie("Alice")))
            leaves(*comes(balancer, "b", BOB))
        app = balancer.running.pool("app")
        assert [app.persistence.bound(app.find(name)) for name in "ab"] == [1, 1]


def test_aUserIsForgotten():
    with tcp(persist="rdp-cookie mstshash expire=10s") as balancer:
        leaves(*comes(balancer, "a"))
        balancer.advance(9)
        leaves(*comes(balancer, "a"))
        balancer.advance(11)
        leaves(*comes(balancer, "b"))


def test_aUserComesTwiceAtOnce():
    """Both sessions to one server, although it is not connected to yet."""
    with tcp(persist="rdp-cookie mstshash") as balancer:
        balancer.server("a").hesitates()
        clients = [balancer.client() for _ in range(2)]
        for client in clients:
            client.sends(ALICE)
        balancer.server("a").goesOn()
        for _ in clients:
            balancer.server("a").accepts().receivesExactly(ALICE)
        balancer.server("b").acceptsNothing()


def test_theServerOfAUserIsAway():
    """Another takes the user over."""
    with tcp(persist="rdp-cookie mstshash") as balancer:
        leaves(*comes(balancer, "a"))
        balancer.server("a").goesAway()
        leaves(*comes(balancer, "b"))
        balancer.server("a").comesBack()
        for _ in range(3):
            leaves(*comes(balancer, "b"))


def test_aChain():
    """Who comes with another cookie is known by the next kind."""
    with tcp(persist="rdp-cookie mstshash, source") as balancer:
        leaves(*comes(balancer, "a"))
        leaves(*comes(balancer, "a", BOB))
        leaves(*comes(balancer, "a", b"no RDP at all"))


def test_balancedByTheCookie():
    """Without a memory; the others in turn."""
    with tcp(pool="balance = rdp-cookie") as balancer:
        server = {}
        for name in ("alice", "bob", "carol", "dave", "eve", "mallory"):
            for said in (name, name.upper()):
                chosen = somewhere(balancer, cookie(said))
                assert server.setdefault(name, chosen) == chosen
        assert set(server.values()) == {"a", "b"}
        for name in "abab":
            leaves(*comes(balancer, name, cookie("alice", "other")))


def test_twoCookies():
    """The same value is not the same client."""
    with tcp(persist="rdp-cookie mstshash, rdp-cookie user") as balancer:
        leaves(*comes(balancer, "a"))
        leaves(*comes(balancer, "b", cookie("alice", "user")))
        for _ in range(2):
            leaves(*comes(balancer, "a"))
            leaves(*comes(balancer, "b", cookie("alice", "USER")))


def test_isExplained():
    """Once the bytes are there; without a real session it is not known."""
    for by, text in (
        ("persist = rdp-cookie mstshash", "rdp-cookie: recalls a, by rdp-cookie"),
        ("balance = rdp-cookie", "cookie mstshash of RDP: 'alice'"),
    ):
        with tcp(pool=by) as balancer:
            somewhere(balancer, ALICE)
            told = []
            balancer.running.explainNext("www").addCallback(told.append)
            somewhere(balancer, ALICE)
            assert text in asText(told[0])
            frontend = balancer.running.frontend("www").inbound
            rehearsed = Rehearsal(Connection(0, ("192.0.2.1", 1), ("", 0), 1.0), frontend, (), 1.0)
            forecast = balancer.running.pool("app").foresee(rehearsed)
            assert forecast.chosen is None
            assert "first bytes of the session" in f"{forecast.known} {forecast.why}"


# until enough is seen


@pytest.mark.parametrize("by", ["persist = rdp-cookie", "balance = rdp-cookie"])
def test_noServerBefore(by):
    with tcp(pool=by) as balancer:
        client = balancer.client()
        for at in range(len(ALICE) - 1):
            client.sends(ALICE[at : at + 1])
        for name in "ab":
            balancer.server(name).acceptsNothing()
        client.sends(ALICE[-1:] + b"more")
        [server] = [balancer.server(one) for one in "ab" if balancer.server(one).connected]
        peer = server.accepts()
        peer.receivesExactly(ALICE + b"more")
        peer.sends(b"answer")
        client.receivesExactly(b"answer")


@pytest.mark.parametrize(
    ("persist", "sent"),
    [("rdp-cookie", b"SSH-2.0-x\r\n"), ("rdp-cookie", b"\3\0\0\x0b\6\xd0"),
     ("ssl-session-id", ALICE), ("ssl-session-id", b"\x16\3\1\0\5\2")],
)  # fmt: skip
def test_whatIsSomethingElse(persist, sent):
    """It is known to be as soon as it is there."""
    with tcp(persist=persist) as balancer:
        for name in "abab":
            leaves(*comes(balancer, name, sent))


def test_theDelayIsOver():
    """A server that speaks first is heard then, and so is a client that is slow."""
    for sent in (b"", ALICE[:20]):
        with tcp(persist="rdp-cookie mstshash", pool="inspect-delay = 2s") as balancer:
            client = balancer.client()
            client.sends(sent)
            balancer.advance(1.9)
            balancer.server("a").acceptsNothing()
            balancer.advance(0.2)
            server = balancer.server("a").accepts()
            server.sends(b"220 welcome")
            client.receivesExactly(b"220 welcome")
            client.sends(ALICE[len(sent) :])
            server.receivesExactly(ALICE)
            leaves(client, server)
            assert balancer.endings == ["www app/a 2020/0/2100 11 -- 1/1/1/1/0 0/0"]
            # Nobody is known by what came too late.
            leaves(*comes(balancer, "b"))


def test_fiveSecondsByDefault():
    with tcp(persist="rdp-cookie") as balancer:
        balancer.client()
        balancer.advance(4.9)
        balancer.server("a").acceptsNothing()
        balancer.advance(0.2)
        balancer.server("a").accepts()


def test_theClientEnds():
    """No more comes: it goes on with what is there."""
    with tcp(persist="rdp-cookie") as balancer:
        client = balancer.client()
        client.sends(b"\3\0")
        client.ends()
        server = balancer.server("a").accepts()
        server.receivesExactly(b"\3\0")
        server.isEnded()
        server.sends(b"bye")
        server.closes()
        client.receivesExactly(b"bye")
        client.isEnded()
        assert " -- " in balancer.endings[0]


def test_theClientGoesAway():
    with tcp(persist="rdp-cookie") as balancer:
        client = balancer.client()
        client.sends(b"\3\0")
        client.resets()
        balancer.advance(10)
        balancer.server("a").acceptsNothing()
        assert balancer.endings == ["www app/<NOSRV> -1/-1/0 0 CR 1/1/0/0/0 0/0"]


def test_theGraceEndsIt():
    with tcp(persist="rdp-cookie", more="[global]\ngrace-period = 2s") as balancer:
        client = balancer.client()
        balancer.running.stopService()
        balancer.advance(2.1)
        client.isReset()
        assert " KR " in balancer.endings[0]


@implementer(IPersistence, IInspecting)
class Curious:
    """Never has seen enough of a client; notes what it sees."""

    @attr.frozen
    class Options:
        """There are none."""

    seen = []

    def __init__(self, options, context):
        self.seen.clear()

    def recall(self, exchange):
        self.seen.append(len(exchange.early))

    def remember(self, exchange, name):
        pass

    def inspectClient(self, exchange):
        return lambda data: False

    def inspectServer(self, exchange):
        def look(data):
            self.seen.append(data)
            return len(self.seen) > 2

        return look


def curious():
    part = Extension(IPersistence, "curious", f"{__name__}.Curious")
    return tcp(persist="curious", registry=installed(part))


def test_asMuchAsIsHeld():
    """Then it is enough; nothing is lost."""
    with curious() as balancer:
        client = balancer.client()
        data = bytes(range(256)) * 300
        client.sends(data[: MAX_EARLY - 1])
        balancer.server("a").acceptsNothing()
        client.sends(data[MAX_EARLY - 1 :])
        server = balancer.server("a").accepts()
        server.receivesExactly(data)
        [seen] = Curious.seen
        assert MAX_EARLY <= seen <= len(data)
        # Nothing of it is kept for as long as the session lasts.
        [session] = balancer.running.pool("app").find("a").sessions
        assert session.exchange.early == b""


def test_theServersFirstBytes():
    """Seen until it is enough, one by one, and passed on as they came."""
    with curious() as balancer:
        client = balancer.client()
        client.ends()
        server = balancer.server("a").accepts()
        for piece in (b"one", b"two", b"three"):
            server.sends(piece)
            client.receivesExactly(piece)
        assert Curious.seen == [0, b"one", b"two"]


# the session of TLS


AUTHORITY = Authority()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("certificate") / "site.pem"
    return AUTHORITY.issue("site.test").write(path)


def shakes(balancer, server, certificate, *, session=None, version=ssl.TLSVersion.TLSv1_2,
           tickets=False, context=None):  # fmt: skip
    """
    A client and this server, which keeps its sessions, make TLS of their own.

    @return: what a client needs to come back, and whether it did.
    """
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if context is None else context[1]
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if context is None else context[0]
    if context is None:
        theirs.load_cert_chain(certificate)
        if not tickets:
            theirs.options |= ssl.OP_NO_TICKET
        ours.check_hostname = False
        ours.verify_mode = ssl.CERT_NONE
        ours.maximum_version = version
    client = balancer.client()
    options = {"do_handshake_on_connect": False, "suppress_ragged_eofs": False}
    near = client.socket = ours.wrap_socket(client.socket, session=session, **options)
    with suppress(ssl.SSLWantReadError):
        near.do_handshake()
    peer = balancer.server(server).accepts()
    far = peer.socket = theirs.wrap_socket(peer.socket, server_side=True, **options)
    for _ in range(3):
        for one in (far, near):
            with suppress(ssl.SSLWantReadError):
                one.do_handshake()
            balancer.pump.turn()
    far.write(b"hello")
    balancer.pump.turn()
    assert near.read() == b"hello"
    found = near.session, near.session_reused
    # A session that is not ended in good order cannot be resumed.
    for one in (far, near):
        with suppress(ssl.SSLWantReadError):
            one.unwrap()
        balancer.pump.turn()
    leaves(client, peer)
    return found, (ours, theirs)


def known(balancer):
    """How many clients are known, by server."""
    app = balancer.running.pool("app")
    return [app.persistence.bound(app.find(name)) for name in "ab"]


@pytest.mark.parametrize("bind", ["", "tls-passthrough"])
def test_aSessionIsResumed(certificate, bind):
    """Only its server can do that, and in turn it would be the other's."""
    with tcp(persist="ssl-session-id", bind=bind) as balancer:
        (session, resumed), context = shakes(balancer, "a", certificate)
        assert not resumed
        assert known(balancer) == [1, 0]
        for _ in range(3):
            (_, resumed), _ = shakes(
                balancer, "a", certificate, session=session, context=context
            )
            assert resumed
        assert known(balancer) == [1, 0]


def test_theServerOfASessionIsAway(certificate):
    """The other begins a new one, and has that then."""
    with tcp(persist="ssl-session-id") as balancer:
        (session, _), context = shakes(balancer, "a", certificate)
        balancer.server("a").goesAway()
        # What one server has kept the other does not know.
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        other.load_cert_chain(certificate)
        other.options |= ssl.OP_NO_TICKET
        both = (context[0], other)
        (new, resumed), _ = shakes(balancer, "b", certificate, session=session, context=both)
        assert not resumed
        assert new.id != session.id
        assert known(balancer) == [1, 1]
        balancer.server("a").comesBack()
        for _ in range(2):
            (_, resumed), _ = shakes(balancer, "b", certificate, session=new, context=both)
            assert resumed


@pytest.mark.parametrize(
    "how", [{"tickets": True}, {"version": ssl.TLSVersion.TLSv1_3}], ids=["tickets", "TLS 1.3"]
)
def test_nothingIsLearnt(certificate, how):
    """A ticket is no id, and that of TLS 1.3 is made up."""
    with tcp(persist="ssl-session-id") as balancer:
        for name in "ab":
            shakes(balancer, name, certificate, **how)
        assert known(balancer) == [0, 0]


def test_ignoredSessionsAreNotLearnt(certificate):
    frontend = "connection = ignore-persist"
    with tcp(persist="ssl-session-id", frontend=frontend) as balancer:
        for name in "ab":
            shakes(balancer, name, certificate)
        assert known(balancer) == [0, 0]


def test_tlsThatIsEndedHereHasNoSession(certificate):
    """It is ours, not the servers', and what is in it is not looked at."""
    more = f"[tls site]\ncertificate = {certificate}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with tcp(persist="ssl-session-id", bind="tls=site", more=more) as balancer:
        for name in "ab":
            client = balancer.client()
            near = client.socket = context.wrap_socket(
                client.socket, do_handshake_on_connect=False
            )
            for _ in range(3):
                with suppress(ssl.SSLWantReadError):
                    near.do_handshake()
                balancer.pump.turn()
            leaves(client, balancer.server(name).accepts())
