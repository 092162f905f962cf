"""
The PROXY protocol on both sides: who may send a header, what it changes, what is told
to servers, and what becomes of a connection that does not begin as it should.
"""

import pytest
from spoken import GET, OK

from lbtwist.sansio.proxyheader import encodeV1, encodeV2, read
from lbtwist.sansio.proxytlvs import SSLInfo, makeTLVs
from lbtwist.testing import Balancer, inPieces

CLIENT = ("198.51.100.22", 35646)
SITE = ("192.0.2.80", 443)
V1 = encodeV1(CLIENT, SITE)
V2 = encodeV2(CLIENT, SITE, tlvs=makeTLVs(uniqueId=b"u-1"), crc32c=True)
V1_SENT = b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 80\r\n"
"""What a server is told of the client of the dialogues."""


def proxied(bind="accept-proxy=yes", server="", frontend="", pool="", mode="http", log="auto"):
    address = "127.0.0.1:0" if "from" in bind else "${bind}"
    return Balancer(
        f"""
[frontend www]
bind = {address} {bind}
mode = {mode}
pool = app
log = ${{log}} format={log}
{frontend}
[pool app]
{pool}
server a = ${{a}} {server}
""",
        "a",
    )


def traffic(balancer):
    return balancer.running.frontend("www").inbound.traffic


# in


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_theHeaderSaysWhoTheClientIs(header):
    with proxied() as balancer:
        client = balancer.client("10.0.0.1")
        client.sends(header + GET)
        server = balancer.server("a").accepts()
        server.receivesExactly(
            b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.22\r\n"
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: 443\r\n\r\n"
        )
        server.sends(OK)
        client.receivesExactly(OK)
        [line] = balancer.lines
        assert line.startswith("198.51.100.22:35646 [")
        assert traffic(balancer).proxyRefused == 0


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_inAllPieces(header):
    """Row 002.9: nothing of the header is passed on, nothing of the request is lost."""
    for pieces in inPieces(header + b"G"):
        with proxied() as balancer:
            client = balancer.client("10.0.0.1")
            for piece in pieces:
                client.sends(piece)
            client.sends(GET[1:])
            server = balancer.server("a").accepts()
            server.receives(rb"GET / .*X-Forwarded-For: 198.51.100.22\r\n.*")


def test_theHeaderComesOnce():
    """A second one is a bad request."""
    with proxied() as balancer:
        client = balancer.client()
        client.sends(V1 + V1 + GET)
        client.receives(rb"HTTP/1.1 400 .*")
        balancer.server("a").acceptsNothing()


def test_oneHeaderForManyRequests():
    """Row 004.7: a header is of the connection, not of a request."""
    with proxied() as balancer:
        client = balancer.client("10.0.0.1")
        client.sends(V1)
        server = None
        for _ in range(2):
            client.sends(GET)
            server = server or balancer.server("a").accepts()
            server.receives(rb"GET / .*X-Forwarded-For: 198.51.100.22\r\n.*")
            server.sends(OK)
            client.receivesExactly(OK)


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
     encodeV2(None, None, "LOCAL"), encodeV2(None, None)],
)  # fmt: skip
def test_theConnectionsOwnAddresses(header):
    with proxied() as balancer:
        client = balancer.client("10.0.0.1")
        client.sends(header + GET)
        balancer.server("a").accepts().receives(
            rb"GET .*X-Forwarded-For: 10.0.0.1\r\n.*X-Forwarded-Port: 80\r\n.*"
        )


def test_overTLSToWhoSentTheHeader():
    header = encodeV2(CLIENT, SITE, tlvs=makeTLVs(ssl=SSLInfo(version="TLSv1.3")))
    with proxied(frontend="redirect-https = 301") as balancer:
        client = balancer.client()
        client.sends(header + GET)
        balancer.server("a").accepts().receives(rb".*X-Forwarded-Proto: https\r\n.*")


# what is no header


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (GET, "PROXY: no PROXY header"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 x\r\n", "PROXY: a port is not a number from 0 to 65535"),
        (V2[:16] + b"\xff" * (len(V2) - 16), None),
        (b"\x16\x03\x01\x02\x00\x01", "PROXY: no PROXY header"),
        (b"PROXY TCP4 " + b"1" * 200, "PROXY: no CRLF in the first 107 bytes"),
    ],
)
def test_noGoodHeader(sent, reason):
    """Row 002.8: closed without an answer, one line in the log, and counted."""
    with proxied(log="json") as balancer:
        client = balancer.client()
        client.sends(sent)
        client.isReset()
        [line] = balancer.lines
        assert '"termination":"PR--"' in line
        if reason:
            assert f'"reason":"{reason}"' in line
        assert (traffic(balancer).proxyRefused, traffic(balancer).refused) == (1, 1)
        balancer.server("a").acceptsNothing()


def test_theLine():
    with proxied() as balancer:
        client = balancer.client()
        client.sends(GET)
        client.isReset()
        [ending] = balancer.endings
        assert ending == 'www www/<NOSRV> -1/-1/-1/-1/0 -1 0 - - PR-- 1/1/0/0/0 0/0 "<BADREQ>"'


@pytest.mark.parametrize("sent", [b"", V1[:9], V2[:20]])
def test_tooSlow(sent):
    with proxied(frontend="timeout-proxy = 2s") as balancer:
        client = balancer.client()
        client.sends(sent)
        balancer.advance(1.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isEnded()
        [ending] = balancer.endings
        assert " cR-- " in ending and ending.endswith('"<BADREQ>"')
        assert traffic(balancer).proxyRefused == 1


@pytest.mark.parametrize("sent", [b"", V1[:9], V2[:20]])
def test_theClientGoesAway(sent):
    with proxied() as balancer:
        client = balancer.client()
        client.sends(sent)
        client.closes()
        [ending] = balancer.endings
        assert " CR-- " in ending
        assert traffic(balancer).proxyRefused == 1


def test_theTimeForTheRequestBeginsAfterTheHeader():
    with proxied(frontend="timeout-proxy = 5s\ntimeout-request = 2s") as balancer:
        client = balancer.client()
        balancer.advance(4)
        client.sends(V1)
        balancer.advance(1.5)
        client.receivesNothing()
        balancer.advance(1)
        client.receives(rb"HTTP/1.1 408 .*")


def test_drainedWhileItWaits():
    with proxied() as balancer:
        client = balancer.client()
        balancer.running.drain(10)
        client.isEnded()
        [ending] = balancer.endings
        assert " KR-- " in ending
        assert traffic(balancer).proxyRefused == 0


# who may send one


def test_aPeerThatIsNotBelieved():
    with proxied("accept-proxy=yes accept-proxy-from=10.0.0.0/8") as balancer:
        client = balancer.client("203.0.113.9")
        client.isEnded()
        [ending] = balancer.endings
        assert " PR-- " in ending
        assert traffic(balancer).proxyRefused == 1
        believed = balancer.client("::ffff:10.1.2.3")
        believed.sends(V1 + GET)
        balancer.server("a").accepts().receives(rb".*X-Forwarded-For: 198.51.100.22\r\n.*")


OPTIONAL = "accept-proxy=optional accept-proxy-from=10.0.0.0/8"


@pytest.mark.parametrize(
    ("sent", "client"),
    [(V1 + GET, b"198.51.100.22"), (V2 + GET, b"198.51.100.22"), (GET, b"10.0.0.1")],
)
def test_optional(sent, client):
    with proxied(OPTIONAL) as balancer:
        balancer.client("10.0.0.1").sendsPieces(sent)
        balancer.server("a").accepts().receives(b"GET .*X-Forwarded-For: %b\r\n.*" % client)


def test_optionalAndTheSameBeginning():
    """A method that begins like a header is no header."""
    request = b"PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n"
    for pieces in inPieces(request):
        with proxied(OPTIONAL) as balancer:
            client = balancer.client("10.0.0.1")
            for piece in pieces:
                client.sends(piece)
            balancer.server("a").accepts().receives(rb"PROPFIND / .*X-Forwarded-For: 10.0.0.1.*")


def test_optionalAndOthers():
    with proxied(OPTIONAL) as balancer:
        balancer.client("203.0.113.9").sends(GET)
        balancer.server("a").accepts().receives(rb".*X-Forwarded-For: 203.0.113.9\r\n.*")
        for header in (V1, V2):
            other = balancer.client("203.0.113.9")
            other.sends(header + GET)
            other.receives(rb"HTTP/1.1 400 .*")


def test_optionalWithoutARequestParser():
    """In mode tcp nobody else would refuse a header of a peer that is not believed."""
    with proxied(OPTIONAL, mode="tcp") as balancer:
        other = balancer.client("203.0.113.9")
        other.sends(V1 + b"data")
        other.isReset()
        balancer.server("a").acceptsNothing()
        plain = balancer.client("203.0.113.9")
        plain.sends(b"P")
        plain.sends(b"data")
        balancer.server("a").accepts().receivesExactly(b"Pdata")


@pytest.mark.parametrize("host", ["10.0.0.1", "203.0.113.9"])
def test_optionalAndTheServerSpeaksFirst(host):
    with proxied(OPTIONAL, mode="tcp") as balancer:
        client = balancer.client(host)
        balancer.server("a").acceptsNothing()
        balancer.advance(3.1)
        server = balancer.server("a").accepts()
        server.sends(b"220 hello\r\n")
        client.receivesExactly(b"220 hello\r\n")


def test_trustedIsWhoSpeaksHTTP():
    """Who has sent the PROXY header passes on what others say."""
    with proxied(frontend="trusted-proxies = 10.0.0.0/8") as balancer:
        client = balancer.client("10.0.0.1")
        client.sends(V1 + b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
        balancer.server("a").accepts().receives(
            rb"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.22\r\n.*"
        )
    with proxied(frontend="trusted-proxies = 198.51.100.0/24") as balancer:
        client = balancer.client("10.0.0.1")
        client.sends(V1 + b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
        balancer.server("a").accepts().receives(
            rb"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n"
            rb"X-Forwarded-For: 198.51.100.22\r\n.*"
        )


def test_limits():
    """What waits for its header counts."""
    with proxied(frontend="maxconn = 1") as balancer:
        first = balancer.connects()
        second = balancer.connects()
        second.sends(V1 + GET)
        balancer.server("a").acceptsNothing()
        first.closes()
        balancer.server("a").accepts().receives(rb"GET .*")


# out


def test_versionOne():
    """Row 002.4: with the client's real address, and the request in one piece."""
    with proxied("", "send-proxy=v1") as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(V1_SENT + rb"GET / HTTP/1.1\r\nHost: h\r\n.*")


def test_versionTwo():
    with proxied("", "send-proxy=v2") as balancer:
        balancer.client().sends(GET)
        expected = (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes((203, 0, 113, 9, 192, 0, 2, 1))
            + b"\x9c\x40\x00\x50GET / "
        )  # fmt: skip
        got = balancer.server("a").accepts().receives(rb".*").group()
        assert got.startswith(expected)


def test_tlvs():
    with proxied(server="send-proxy=v2 send-proxy-options=ssl,cn,alpn,authority,unique-id,crc32c") \
            as balancer:  # fmt: skip
        ssl = SSLInfo(7, 0, "TLSv1.3", "client1", "TLS_AES_256_GCM_SHA384")
        tlvs = makeTLVs(b"h2", "www.example.com", b"u-1", ssl=ssl)
        balancer.client("10.0.0.1").sends(encodeV2(CLIENT, SITE, tlvs=tlvs) + GET)
        header = read(balancer.server("a").accepts().receives(rb".*").group())
        assert (header.source, header.destination) == (CLIENT, SITE)
        assert (header.alpn, header.authority) == (b"h2", "www.example.com")
        assert (header.uniqueId, header.ssl, header.checksummed) == (b"u-1", ssl, True)


def test_tlvsOfAPlainConnection():
    with proxied("", "send-proxy=v2 send-proxy-options=ssl,alpn,authority,unique-id") as balancer:
        balancer.client().sends(GET)
        header = read(balancer.server("a").accepts().receives(rb".*").group())
        assert (header.alpn, header.authority) == (None, None)
        assert not header.ssl.secure and not header.ssl.verified
        assert len(header.uniqueId) == 25


def test_mixedFamilies():
    """Row 002.4: of IPv6 it is TCP6, in canonical form."""
    mixed = encodeV2(("2001:db8::1", 1), ("2001:db8::2", 2))
    with proxied(server="send-proxy=v1") as balancer:
        balancer.client().sends(mixed + GET)
        balancer.server("a").accepts().receives(rb"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\nGET.*")


def test_oncePerConnection():
    """Row 002.4: one header, also for 100 requests."""
    with proxied("", "send-proxy=v1") as balancer:
        client = balancer.client()
        server = None
        for number in range(100):
            client.sends(GET)
            server = server or balancer.server("a").accepts()
            server.receives((b"" if number else V1_SENT) + rb"GET / HTTP/1.1\r\n.*")
            server.sends(OK)
            client.receivesExactly(OK)
        balancer.server("a").acceptsNothing()


@pytest.mark.parametrize("reuse", ["safe", "always"])
def test_neverShared(reuse):
    """Row 002.4: two clients never share a connection to a server."""
    with proxied("", "send-proxy=v1", pool=f"http-reuse = {reuse}") as balancer:
        clients = [balancer.client(host) for host in ("203.0.113.1", "203.0.113.2")]
        servers = []
        for client, host in zip(clients, (b"203.0.113.1", b"203.0.113.2"), strict=True):
            client.sends(GET)
            servers.append(balancer.server("a").accepts())
            servers[-1].receives(b"PROXY TCP4 %b .*" % host)
            servers[-1].sends(OK)
            client.receivesExactly(OK)
        for client, server in zip(clients, servers, strict=True):
            client.sends(GET)
            server.receives(rb"GET .*")
            server.sends(OK)
            client.receivesExactly(OK)
        clients[0].closes()
        servers[0].isEnded()
        servers[1].receivesNothing()


def test_keptForOneClientOnlyForAWhile():
    with proxied("", "send-proxy=v1", pool="idle-timeout = 2s") as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb".*")
        server.sends(OK)
        client.receivesExactly(OK)
        balancer.advance(2.1)
        server.isEnded()
        client.sends(GET)
        balancer.server("a").accepts().receives(V1_SENT + rb"GET .*")


def test_notKeptAtAll():
    with proxied("", "send-proxy=v1", pool="http-reuse = never") as balancer:
        client = balancer.client()
        for _ in range(2):
            client.sends(GET)
            server = balancer.server("a").accepts()
            server.receives(V1_SENT + rb"GET .*")
            server.sends(OK)
            client.receivesExactly(OK)
            server.isEnded()


def test_theServerClosesWhatWasKept():
    with proxied("", "send-proxy=v1") as balancer:
        client = balancer.client()
        for _ in range(2):
            client.sends(GET)
            server = balancer.server("a").accepts()
            server.receives(V1_SENT + rb"GET .*")
            server.sends(OK)
            client.receivesExactly(OK)
            server.closes()


def test_theOldHTTPServer():
    """Row 002.5: a server that does not know the header answers 400, which is passed on."""
    with proxied("", "send-proxy=v1") as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"PROXY .*")
        bad = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        server.sends(bad)
        client.receives(rb"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n.*")


def test_sessions():
    """In mode tcp: before the client's bytes, and alone if there are none."""
    with proxied("", "send-proxy=v1", mode="tcp") as balancer:
        client = balancer.client()
        server = balancer.server("a").accepts()
        server.receivesExactly(V1_SENT)
        client.sends(b"data")
        server.receivesExactly(b"data")
        server.sends(b"more")
        client.receivesExactly(b"more")


def test_fromHeaderToHeader():
    with proxied(server="send-proxy=v1", mode="tcp") as balancer:
        client = balancer.client("10.0.0.1")
        client.sends(V2 + b"data")
        balancer.server("a").accepts().receivesExactly(V1 + b"data")


# checks


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("send-proxy=v1", b"PROXY UNKNOWN\r\n"),
        ("send-proxy=v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
        ("send-proxy=v1 check-send-proxy=no", b""),
        ("send-proxy=v1 check-send-proxy=yes", b"PROXY UNKNOWN\r\n"),
        ("", b""),
    ],
)
def test_checks(options, expected):
    """Over a UNIX socket there are no addresses to tell in version 1."""
    with proxied("", options, pool="check = http") as balancer:
        balancer.advance(2.1)
        server = balancer.server("a").accepts()
        got = server.receives(rb".*").group()
        assert got.startswith(expected + b"GET / HTTP/1.1\r\n")


def test_aCheckThatOnlyConnects():
    with proxied("", "send-proxy=v2", pool="check = tcp") as balancer:
        balancer.advance(2.1)
        server = balancer.server("a").accepts()
        server.receivesExactly(encodeV2(None, None, "LOCAL"))
        server.isEnded()


# redirects


def ask(line=b"GET /a/b?c=d HTTP/1.1", *fields):
    return b"\r\n".join([line, *fields, b"", b""])


@pytest.mark.parametrize(
    ("status", "words", "cached"),
    [(301, "Moved Permanently", b""), (302, "Found", b"Cache-Control: no-cache\r\n"),
     (308, "Permanent Redirect", b"")],
)  # fmt: skip
def test_redirects(status, words, cached):
    with proxied("", frontend=f"redirect-https = {status}") as balancer:
        client = balancer.client()
        for host in (b"www.example.com", b"www.example.com:8080"):
            client.sends(ask(b"GET /a/b?c=d HTTP/1.1", b"Host: " + host))
            client.receivesExactly(
                b"HTTP/1.1 %d %b\r\nContent-Length: 0\r\n%bLocation: https://www.example.com"
                b"/a/b?c=d\r\n\r\n" % (status, words.encode(), cached)
            )
        balancer.server("a").acceptsNothing()
        endings = balancer.endings
        assert [f" {status} " in ending and " LR-- " in ending for ending in endings] == [True] * 2
        assert traffic(balancer).failed == 0


@pytest.mark.parametrize(
    ("request_", "location"),
    [
        (ask(b"GET / HTTP/1.1", b"Host: [2001:db8::1]:80"), b"https://[2001:db8::1]/"),
        (ask(b"GET http://h:80/x HTTP/1.1", b"Host: h:80"), b"https://h/x"),
        (ask(b"OPTIONS * HTTP/1.1", b"Host: h"), b"https://h/"),
    ],
)
def test_whereTo(request_, location):
    with proxied("", frontend="redirect-https = 301") as balancer:
        client = balancer.client()
        client.sends(request_)
        answer = client.receives(rb".*").group()
        assert b"\r\nLocation: %b\r\n" % location in answer


def test_redirectsAndOldClients():
    with proxied("", frontend="redirect-https = 301") as balancer:
        client = balancer.client()
        client.sends(ask(b"GET / HTTP/1.0"))
        client.receives(rb"HTTP/1.1 400 .*")
        client = balancer.client()
        client.sends(ask(b"GET / HTTP/1.0", b"Host: h", b"Connection: keep-alive"))
        client.receives(rb"HTTP/1.1 301 .*\r\nConnection: keep-alive\r\n\r\n")
        client.sends(ask(b"GET / HTTP/1.0", b"Host: h"))
        client.receives(rb"HTTP/1.1 301 .*\r\nConnection: close\r\n\r\n")
        client.isEnded()


def test_redirectsABodyThatIsStillToCome():
    with proxied("", frontend="redirect-https = 308") as balancer:
        client = balancer.client()
        client.sends(ask(b"POST / HTTP/1.1", b"Host: h", b"Content-Length: 9"))
        client.receives(rb"HTTP/1.1 308 .*\r\nConnection: close\r\n\r\n")
        client.isEnded()


def test_noLoopBehindAProxyThatSaysHTTPS():
    """Row 003.6: from a trusted peer, and from no other."""
    with proxied(
        "", frontend="redirect-https = 301\ntrusted-proxies = 10.0.0.0/8"
    ) as balancer:
        client = balancer.client("10.0.0.1")
        client.sends(ask(b"GET / HTTP/1.1", b"Host: h", b"X-Forwarded-Proto: https"))
        balancer.server("a").accepts().receives(rb"GET / .*")
        forged = balancer.client("203.0.113.9")
        forged.sends(ask(b"GET / HTTP/1.1", b"Host: h", b"X-Forwarded-Proto: https"))
        forged.receives(rb"HTTP/1.1 301 .*")
