"""
Persistence by the first bytes of a session, asked as a pool asks it. Whole sessions are
conversations: tests/dialogues/test_first_bytes.py.
"""

import attr
import pytest
from zope.interface.verify import verifyObject

from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.exchange import TLSInfo
from lbtwist.health import Admin
from lbtwist.interfaces import IClaiming, IInspecting, IPersistence
from lbtwist.persistence.begun import RDPCookie, SSLSessionId
from lbtwist.persistence.chain import Chain
from lbtwist.registry import Context, installed
from lbtwist.server import Endpoint
from lbtwist.stores.memory import MemoryOptions, MemoryStore
from lbtwist.testing import fakeExchange, makeServers

SERVERS = makeServers(1, 1, 1)
"""The first of them is at 127.0.0.1:8001, the others have the ports after it."""
TOKENS = {"a": "16777343.16671.0000", "b": "16777343.16927.0000"}


def made(kind, **options):
    context = Context()
    context.store = MemoryStore(MemoryOptions(), context)
    return kind(kind.Options(**options), context)


def comes(early=b"", tls=None, request=None):
    """@return: an exchange whose client has sent this first."""
    exchange = fakeExchange(request)
    exchange.early = early
    exchange.connection = attr.evolve(exchange.connection, tls=tls)
    return exchange


def token(said, name="msts"):
    line = f"Cookie: {name}={said}\r\n".encode()
    return comes(
        b"\3\0\0" + bytes([len(line) + 11, len(line) + 6]) + b"\xe0\0\0\0\0\0" + line
    )


def chained(kind, servers=SERVERS):
    chain = Chain([kind])
    chain.serversChanged(servers)
    return chain


@pytest.mark.parametrize("kind", [RDPCookie, SSLSessionId])
def test_interfaces(kind):
    assert verifyObject(IPersistence, made(kind))
    assert verifyObject(IInspecting, made(kind))
    assert IClaiming.providedBy(made(kind)) is (kind is RDPCookie)


class TestRoutingToken:
    def test_itNamesTheServer(self):
        kind = made(RDPCookie)
        chain = chained(kind)
        for name, said in TOKENS.items():
            assert chain.recall(token(said)).name == name
        assert (kind.hits, kind.misses) == (2, 0)

    @pytest.mark.parametrize(
        "said", ["16777343.1.0000", "33554559.16671.0000", "no address", "16671", ""]
    )
    def test_otherAddresses(self, said):
        kind = made(RDPCookie)
        assert chained(kind).recall(token(said)) is None
        assert (kind.hits, kind.misses) == (0, 1 if said else 0)

    def test_withoutIt(self):
        kind = made(RDPCookie)
        chain = chained(kind)
        for exchange in (
            token(TOKENS["a"], "mstshash"), comes(), comes(b"\x16\3\1"), comes(request="/"),
        ):  # fmt: skip
            assert chain.recall(exchange) is None
        assert (kind.hits, kind.misses) == (0, 0)

    def test_aServerThatCannotBeHad(self):
        servers = makeServers(1, 1)
        servers[0].health.admin = Admin.MAINT
        chain = chained(made(RDPCookie), servers)
        exchange = token(TOKENS["a"])
        assert chain.recall(exchange) is None
        assert [name for _, name in exchange.bond.unusable] == ["a"]

    def test_aServerThatMoves(self):
        servers = makeServers(1, 1)
        chain = chained(made(RDPCookie), servers)
        servers[1].endpoint, servers[0].endpoint = servers[0].endpoint, None
        chain.serversChanged(servers)
        assert chain.recall(token(TOKENS["a"])).name == "b"
        assert chain.recall(token(TOKENS["b"])) is None

    def test_serversThatHaveNoSuchAddress(self):
        one, other, _ = servers = makeServers(1, 1, 1)
        one.endpoint = Endpoint(1, "/run/one.sock")
        other.endpoint = Endpoint(10, ("::1", 8001, 0, 0))
        assert chained(made(RDPCookie), servers).recall(token(TOKENS["a"])) is None

    def test_theFirstOfThoseWithOneAddress(self):
        one, other = servers = makeServers(1, 1)
        other.endpoint = one.endpoint
        assert chained(made(RDPCookie), servers).recall(token(TOKENS["a"])) is one

    def test_nothingIsRemembered(self):
        """The session broker knows best."""
        kind = made(RDPCookie)
        chain = chained(kind)
        exchange = token(TOKENS["b"])
        chain.recall(exchange)
        kind.remember(exchange, "a")
        assert chain.claim(exchange, SERVERS[0]) is SERVERS[0]
        assert chain.recall(token(TOKENS["b"])).name == "b"
        assert chain.bound(SERVERS[1]) == -1


class TestSessionId:
    ID = bytes(range(32))

    def learnt(self, tls):
        """@return: a chain whose kind has learnt an id of the first server."""
        kind = made(SSLSessionId)
        chain = chained(kind)
        exchange = comes(tls=tls)
        chain.recall(exchange)
        exchange.server = SERVERS[0]
        message = b"\2\0\0\x46\3\3" + bytes(32) + b"\x20" + self.ID + b"\xc0\x2f\0"
        look = kind.inspectServer(exchange)
        assert look is None or look(b"\x16\3\3\0" + bytes([len(message)]) + message) is True
        return chain

    def test_inAPassthrough(self):
        """What the ClientHello says is known: there is nothing to wait for."""
        chain = self.learnt(TLSInfo("site.test"))
        exchange = comes(tls=TLSInfo("site.test", session=self.ID))
        assert chain.kinds[0].inspectClient(exchange) is None
        assert chain.recall(exchange) is SERVERS[0]
        assert chain.recall(comes(tls=TLSInfo("site.test", session=self.ID[1:]))) is None
        assert chain.recall(comes(tls=TLSInfo("site.test"))) is None
        assert (chain.kinds[0].hits, chain.kinds[0].misses) == (1, 1)

    def test_whereTLSIsEndedHere(self):
        """What is in it is the application's, whatever it looks like."""
        chain = self.learnt(TLSInfo("site.test", version="TLSv1.2"))
        assert chain.bound(SERVERS[0]) == 0

    def test_anotherKindKnowsTheClient(self):
        """It has no session of that server by this."""
        chain = self.learnt(TLSInfo())
        exchange = comes(tls=TLSInfo(session=self.ID))
        chain.kinds[0].remember(exchange, "b")
        assert chain.recall(exchange) is SERVERS[0]


class TestConfiguration:
    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("balance = rdp-cookie", "balance: rdp-cookie needs the first bytes of sessions"),
            ("persist = source, rdp-cookie", "persist: rdp-cookie needs the first bytes"),
            ("persist = ssl-session-id", "persist: ssl-session-id needs the first bytes"),
        ],
    )
    def test_requestsHaveNoFirstBytes(self, line, complaint):
        """That is an error where it is said that there are none but requests."""
        assert complaint in problems(line, "http")
        assert "write mode = tcp" in problems(line, "http")
        for mode in ("any", "tcp"):
            assert "error" not in problems(line, mode)

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("persist = rdp-cookie two.words", "'two.words' is not the name of a cookie of RDP"),
            ("balance = rdp-cookie name=\u00e4", "'\u00e4' is not the name of a cookie of RDP"),
            ("persist = ssl-session-id expire=0", "must be more than 0"),
            ("persist = ssl-session-id expire=3651d", "at most 3650d"),
            ("inspect-delay = 0", "must be more than 0"),
        ],
    )
    def test_wrongOptions(self, line, complaint):
        assert complaint in problems(line, "tcp")


def problems(line, mode):
    """@return: what is said of a pool with this line; C{""} if nothing is."""
    frontend = "http" if mode == "any" else mode
    text = (
        f"[frontend f]\nmode = {frontend}\nbind = :1\npool = p\n"
        f"[pool p]\nmode = {mode}\n{line}\nserver a = 192.0.2.1:1\n"
    )
    try:
        _, warnings = loadText(text, installed())
    except ConfigError as error:
        return str(error)
    return "\n".join(map(str, warnings))
