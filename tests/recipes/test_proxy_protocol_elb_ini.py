"""
C{etc/proxy-protocol-elb.ini}: headers as Amazon's load balancers send them, of whom they
are believed, and what servers get to know.
"""

import socket
import struct

import pytest
from recipe import Mirror, asks, connects, started

from lbtwist.sansio.proxyheader import encodeV1, encodeV2, read
from lbtwist.sansio.proxytlvs import TLVType
from programs import freePort

CLIENT, SITE = ("198.51.100.22", 35646), ("192.0.2.80", 443)
AWS = [(TLVType.AWS, b"\x01vpce-08d2bf15fac5001c9")]
V2 = encodeV2(CLIENT, SITE, tlvs=AWS, crc32c=True)
HOST = "Host: www.example.org"
ELB, STRANGER = "127.0.0.5", "127.0.1.9"


def headerLength(connection):
    """@return: how long the header of version 2 is that comes first."""
    begin = connection.recv(16, socket.MSG_PEEK | socket.MSG_WAITALL)
    return 16 + struct.unpack(">H", begin[14:])[0]


@pytest.fixture(scope="module")
def elb(tmp_path_factory):
    """The recipe, at work: C{ports} of www, of checks and of chat; C{app}, C{chat}."""
    ports = [freePort() for _ in range(3)]
    with Mirror("app") as app, Mirror("chat", expects=headerLength) as chat:
        replaced = {
            **{f":{8080 + n} ": f"127.0.0.1:{port} " for n, port in enumerate(ports)},
            "10.0.0.0/24": "127.0.0.0/24",
            "10.0.3.10:8001": app, "10.0.3.20:8002": chat,
        }  # fmt: skip
        directory = tmp_path_factory.mktemp("elb")
        with started("proxy-protocol-elb.ini", directory, replaced) as balancer:
            balancer.ports, balancer.app, balancer.chat = ports, app, chat
            yield balancer


def asked(elb, header, path, port=0, source=ELB):
    """@return: what the server was told of a request after this header."""
    with connects(elb.ports[port], source=source) as client:
        client.sendall(header)
        head, _ = asks(client, HOST, line=f"GET {path} HTTP/1.1")
    assert head.startswith("HTTP/1.1 200 OK")
    [found] = [lines for lines in elb.app.heads if lines[0] == f"GET {path} HTTP/1.1"]
    return found


@pytest.mark.parametrize(
    "header", [V2, encodeV1(CLIENT, SITE)], ids=["network", "classic"]
)
def test_theClientIsTheHeaders(elb, header, request):
    """Row 002.12: in the log and in X-Forwarded-For."""
    path = f"/{request.node.callspec.id}"
    told = asked(elb, header, path)
    assert "X-Forwarded-For: 198.51.100.22" in told
    assert "X-Forwarded-Port: 443" in told
    assert elb.line(path).startswith("198.51.100.22:35646 [")


def test_aHeaderIsOnceForAConnection(elb):
    """Row 004.7: two requests, one header."""
    with connects(elb.ports[0], source=ELB) as client:
        client.sendall(V2)
        for number in (1, 2):
            asks(client, HOST, line=f"GET /kept/{number} HTTP/1.1")
    for number in (1, 2):
        assert elb.line(f"/kept/{number}").startswith("198.51.100.22:35646 [")


@pytest.mark.parametrize("sent", [b"", V2])
def test_othersMayNotConnect(elb, sent):
    """Row 002.12: who is not in the network is refused, whatever he says."""
    with connects(elb.ports[0], source=STRANGER) as client:
        try:
            client.sendall(sent + b"GET /stranger HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1) == b""
        except ConnectionError:
            pass
        port = client.getsockname()[1]
    assert " PR-- " in elb.line(f"{STRANGER}:{port} ")
    assert not any("/stranger" in lines[0] for lines in elb.app.heads)


def test_withoutTheHeader(elb):
    """Row 002.8: no HTTP answer, and PR in the log."""
    with connects(elb.ports[0], source=ELB) as client:
        client.sendall(b"GET /bare HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert client.recv(1) == b""
        except ConnectionError:
            pass
        port = client.getsockname()[1]
    assert " -1 0 - - PR-- " in elb.line(f"{ELB}:{port} ")


def test_checksOfTheLoadBalancer(elb):
    """On their port: with the header, or without."""
    assert "X-Forwarded-For: 127.0.0.5" in asked(elb, b"", "/check/bare", port=1)
    local = encodeV2(None, None, "LOCAL")
    assert "X-Forwarded-For: 127.0.0.5" in asked(elb, local, "/check/local", port=1)
    assert "X-Forwarded-For: 198.51.100.22" in asked(elb, V2, "/check/header", port=1)


def test_nobodyElseClaimsAnAddressThere(elb):
    """Row 004.6: with optional, a peer outside of the network cannot inject a header."""
    with connects(elb.ports[1], source=STRANGER) as client:
        client.sendall(encodeV1(CLIENT, SITE))
        head, _ = asks(client, HOST, line="GET /injected HTTP/1.1")
        assert head.startswith("HTTP/1.1 400 ")
    told = asked(elb, b"", "/stranger/bare", port=1, source=STRANGER)
    assert f"X-Forwarded-For: {STRANGER}" in told


def test_aServerGetsAHeaderOfItsOwn(elb):
    """With the client's address, and an identifier; Amazon's TLV passes on to nobody."""
    with connects(elb.ports[2], source=ELB) as client:
        client.sendall(V2)
        assert asks(client, HOST)[1] == "chat"
    headers = map(read, elb.chat.prefaces)
    [told] = [header for header in headers if header.source is not None]
    assert (told.source, told.destination) == (CLIENT, SITE)
    assert told.checksummed and told.uniqueId and told.vpcEndpointId is None

    def checks():
        return [read(one).source for one in elb.chat.prefaces].count(None)

    elb.until(checks)
