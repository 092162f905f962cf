"""
The edge as users of other balancers have asked for it, one conversation for each row of
the requirements that is not a conversation elsewhere.
"""

import re
import ssl
from contextlib import suppress

import pytest
from authority import Authority, pem
from spoken import GET, OK
from test_edge import (
    AUTHORITY,
    Speaks,
    clientContext,
    files,  # noqa: F401
    secured,
    served,
)
from test_proxy import CLIENT, SITE, V1, V1_SENT, V2, proxied

from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.sansio.proxyheader import encodeV2
from lbtwist.sansio.proxytlvs import TLVType, makeTLVs
from lbtwist.testing import Balancer

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
FLOORS = {"www": "TLSv1.1", "strict": "TLSv1.2"}


def pinned(version):
    context = clientContext()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


@pytest.mark.parametrize("floor", FLOORS.items(), ids=" ".join)
@pytest.mark.parametrize("version", VERSIONS)
def test_floorsOfTwoListeners(files, floor, version):  # noqa: F811
    """
    Row 000.1: below the floor a fatal alert C{protocol_version}, and nothing reaches the
    server; above it 200. The floor of one listener is not that of the other.
    """
    frontend, lowest = floor
    sections = "".join(
        f"[frontend {name}]\nbind = ${{bind}}-{name} tls={name}\npool = app\nlog = ${{log}}\n"
        f"[tls {name}]\ncertificate = {files}/site.pem\npolicy = old\nminimum = {minimum}\n"
        for name, minimum in FLOORS.items()
    )
    with Balancer(f"{sections}[pool app]\nserver a = ${{a}}\n", "a") as balancer:
        client = Speaks(balancer.client(frontend=frontend), pinned(version))
        if version < lowest:
            # OpenSSL's own word for alert 70 of RFC 8446 section 6.2.
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                client.shakes()
            balancer.server("a").acceptsNothing()
            [ending] = balancer.endings
            assert ending.startswith(f"{frontend} {frontend}/<NOSRV> ") and " PR-- " in ending
            return
        client.shakes()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET / .*")
        [front] = balancer.running.frontend(frontend).inbound.connections
        assert front.connection.tls.version == client.tls.version() == version
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")


@pytest.mark.parametrize("believed", [False, True])
def test_aServerThatHasSignedItsOwnCertificate(files, believed):  # noqa: F811
    """
    Row 000.2: 503 if it is not verified, 200 with C{ca}; the server sees the name that is
    set, and nothing before TLS.
    """
    issuer = Authority()
    issuer.issue("site.test").write(files / "own.pem")
    ca = AUTHORITY if not believed else issuer
    (files / "own-ca.pem").write_bytes(pem(ca.certificate))
    options = f"tls sni=site.test ca={files}/own-ca.pem"
    with secured(files, "", servers={"a": options}, pool="retries = 0") as balancer:
        client = balancer.client()
        client.sends(GET)
        asked = []
        server = served(balancer, "a", files / "own.pem")
        server.tls.context.sni_callback = lambda _, name, __: asked.append(name)
        found = balancer.running.pool("app").find("a").traffic
        if believed:
            server.shakes().receives(rb"GET / .*")
            server.sends(OK)
            client.receivesExactly(OK)
        else:
            with pytest.raises(ssl.SSLError):
                server.shakes()
                server.receives(b"")
            client.receives(rb"HTTP/1.1 503 .*")
        assert asked == ["site.test"]
        assert found.tlsFailures == (not believed)


def test_theHeaderForOnePoolAlone():
    """Row 002.3: the servers of one pool get C{PROXY TCP4 ...}, those of the other C{GET}."""
    with Balancer(
        """
[frontend www]
bind = ${bind}-www
pool = default
[frontend ws]
bind = ${bind}-ws
pool = ws
[pool default]
server b = ${b}
[pool ws]
server a = ${a} send-proxy
""",
        "a", "b",
    ) as balancer:  # fmt: skip
        balancer.client(frontend="ws").sends(GET)
        balancer.client(frontend="www").sends(GET)
        assert balancer.server("a").accepts().receives(V1_SENT + rb"GET / .*")
        assert balancer.server("b").accepts().receives(rb"GET / .*")


def checking(balancer):
    """@return: the server's end of the next check."""
    while True:
        balancer.advance(0.1)
        with suppress(AssertionError):
            return balancer.server("a").accepts()


@pytest.mark.parametrize(("checks", "up"), [("auto", True), ("no", False)])
def test_checksOfAServerThatWantsTheHeader(checks, up):
    """
    Row 002.5: the checks of such a server have the header too, or it would be marked
    down: what it answers to a request without one is 400.
    """
    with proxied("", f"send-proxy=v2 check-send-proxy={checks}",
                 pool="check = http fall=1") as balancer:  # fmt: skip
        server = checking(balancer)
        asked = server.receives(rb".*").group()
        server.sends(
            OK if asked.startswith(encodeV2(None, None, "LOCAL"))
            else b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        )  # fmt: skip
        assert balancer.running.pool("app").find("a").health.up is up


def refused(text):
    with pytest.raises(ConfigError) as failed:
        loadText(text, installed())
    return str(failed.value)


def test_modesThatDoNotFit():
    """Row 002.6: a tcp pool behind an http frontend is an error, with what mends it."""
    said = refused(
        "[frontend www]\nbind = :80\npool = db\n[pool db]\nmode = tcp\nserver a = 10.0.0.1:1\n"
    )
    assert said.startswith("lb.ini:3:8: error: [frontend www] pool: [pool db] has mode = tcp")
    assert said.endswith("write mode = http or any in the pool")


def test_timesAndPathsAsInHAProxy():
    """
    Row 002.7: bare times are milliseconds, suffixes us to h (and d); a relative path is
    found from one base, the file it is written in.
    """
    config, _ = loadText(
        "[global]\nmaxconn = 1024\n"
        "[defaults]\ntimeout-connect = 5000\ntimeout-client = 50000\ntimeout-server = 250us\n"
        "[frontend www]\nbind = :443 tls=site\npool = app\ntimeout-request = 2m\n"
        "[tls site]\ncertificate = certs/site.pem\n"
        "[pool app]\ntimeout-queue = 1h\nserver a = 10.0.0.1:1\n",
        installed(), "/etc/lb/lb.ini",
    )  # fmt: skip
    www, app = config.frontends["www"], config.pools["app"]
    assert (app.timeout_connect, www.timeout_client, app.timeout_server) == (5.0, 50.0, 0.00025)
    assert (www.timeout_request, app.timeout_queue) == (120.0, 3600.0)
    assert config.tls["site"].certificate == ("/etc/lb/certs/site.pem",)


def test_anExcludedCipher(files):  # noqa: F811
    """Row 002.7: a client that offers only a cipher outside of the list is refused."""
    suites = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
    for suite in suites:
        with secured(files, tls=f"ciphers = {suites[0]}") as balancer:
            context = clientContext()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(suite)
            client = Speaks(balancer.client(), context)
            if suite == suites[0]:
                client.shakes()
                assert client.tls.cipher()[0] == suite
            else:
                with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                    client.shakes()


def test_whatTheHeaderSaysIsKept():
    """
    Row 002.9: source, destination and TLVs are values of the connection; a header that
    comes byte by byte loses nothing, and what follows it is the request.
    """
    tlvs = (*makeTLVs(b"h2", "www.example.com"), (TLVType.AWS, b"\x01vpce-08d2bf15fac5001c9"))
    with proxied() as balancer:
        client = balancer.client("10.0.0.1")
        client.sendsPieces(encodeV2(CLIENT, SITE, tlvs=tlvs) + GET)
        balancer.server("a").accepts().receives(rb"GET / HTTP/1.1\r\nHost: h\r\n.*")
        [front] = balancer.running.frontend("www").inbound.connections
        told = front.connection.proxied
        assert (told.source, told.destination, told.tlvs) == (CLIENT, SITE, tlvs)
        assert told.vpcEndpointId == "vpce-08d2bf15fac5001c9"


def test_asABalancerOfAmazon(files):  # noqa: F811
    """
    Row 004.1: a TLS listener in mode tcp with C{send-proxy=v1}: the server sees the header,
    then the plain bytes; a WebSocket passes both ways.
    """
    with secured(files, mode="tcp", servers={"a": "send-proxy=v1"}) as balancer:
        client = Speaks(balancer.client(), clientContext()).shakes()
        upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        client.sends(upgrade)
        server = balancer.server("a").accepts()
        server.receivesExactly(V1_SENT + upgrade)
        server.sends(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi")
        client.receives(rb"HTTP/1.1 101 .*\r\n\r\n\x81\x02hi")
        client.sends(b"\x81\x82\0\0\0\0ho")
        server.receivesExactly(b"\x81\x82\0\0\0\0ho")


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_everyVirtualHostIsAnswered(header):
    """
    Row 004.3: behind one listener with the header all hosts are, the first one too, and
    one that nobody knows.
    """
    hosts = (b"first.test", b"second.test", b"third.test", b"unknown.test")
    with proxied(pool="http-reuse = never") as balancer:
        for host in hosts:
            client = balancer.client("10.0.0.1")
            client.sends(header + GET.replace(b"Host: h", b"Host: " + host))
            server = balancer.server("a").accepts()
            server.receives(rb"GET / HTTP/1.1\r\nHost: %b\r\n.*" % re.escape(host))
            server.sends(OK)
            client.receivesExactly(OK)
            client.closes()


def test_optionalTakesANetwork():
    """Row 004.6: the aid for the change-over is refused without C{accept-proxy-from}."""
    bind = "[frontend www]\nbind = :80 accept-proxy=optional{}\npool = app\n"
    pool = "[pool app]\nserver a = 10.0.0.1:1\n"
    assert "every client could claim any address; add accept-proxy-from=NETWORKS" in refused(
        bind.format("") + pool
    )
    _, warnings = loadText(bind.format(" accept-proxy-from=10.0.0.0/24") + pool, installed())
    assert warnings == []
