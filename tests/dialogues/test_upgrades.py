"""
HTTP that ends in a tunnel: Upgrade and CONNECT.
"""

from spoken import GET, OK, TOLD, asks, www

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CONNECT = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
FORWARD = "connect = forward"


def upgraded(balancer):
    client, server = asks(balancer, UPGRADE)
    server.sends(SWITCHING)
    client.receivesExactly(SWITCHING)
    return client, server


def test_upgrade():
    with www() as balancer:
        client = balancer.client()
        client.sends(UPGRADE)
        server = balancer.server("a").accepts()
        server.receivesExactly(
            b"GET /ws HTTP/1.1\r\nHost: h\r\n" + TOLD +
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        server.sends(SWITCHING)
        client.receivesExactly(SWITCHING)
        client.sends(b"ping")
        server.receivesExactly(b"ping")
        server.sends(b"pong!")
        client.receivesExactly(b"pong!")
        assert balancer.lines == []
        balancer.advance(1)
        client.ends()
        server.isEnded()
        server.ends()
        client.isEnded()
        size = len(SWITCHING) + 5
        assert balancer.endings == [
            f'www app/a 0/0/0/0/1200 101 {size} - - ---- 1/1/1/1/0 0/0 "GET /ws HTTP/1.1"'
        ]
        assert balancer.running.pool("app").traffic.bytesIn == len(UPGRADE) + 4


def test_bytesOfTheSameSegmentComeOnce():
    with www() as balancer:
        client, server = asks(balancer, UPGRADE + b"early")
        server.receivesNothing()
        client.sends(b" bird")
        server.sends(SWITCHING + b"welcome")
        client.receivesExactly(SWITCHING + b"welcome")
        server.receivesExactly(b"early bird")
        client.sends(b"!")
        server.receivesExactly(b"!")


def test_upgradeAfterAnInterimResponse():
    with www() as balancer:
        client, server = asks(balancer, UPGRADE)
        server.sends(b"HTTP/1.1 103 X\r\n\r\n" + SWITCHING + b"x")
        client.receivesExactly(b"HTTP/1.1 103 X\r\n\r\n" + SWITCHING + b"x")


def test_moreThanFitsIsHeldBackUntilTheUpgrade():
    with www() as balancer:
        client, server = asks(balancer, UPGRADE)
        early = bytes(range(256)) * 500
        client.sends(early)
        server.sends(SWITCHING)
        client.receivesExactly(SWITCHING)
        server.receivesExactly(early)
        client.sends(b"more")
        server.receivesExactly(b"more")


def test_refusedUpgradeStaysHttp():
    with www() as balancer:
        client, server = asks(balancer, UPGRADE + GET)
        server.sends(OK)
        client.receivesExactly(OK)
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receivesExactly(OK)
        assert len(balancer.lines) == 2


def test_upgradeThatWasNotAskedFor():
    for request in (GET, UPGRADE.replace(b"Connection: Upgrade", b"Connection: close")):
        with www() as balancer:
            client, server = asks(balancer, request)
            server.sends(SWITCHING)
            client.receives(rb"HTTP/1.1 502 .*")
            client.isEnded()
            assert " PH-- " in balancer.endings[0]


def test_upgradeOfARequestWithABodyIsNotPassedOn():
    """What follows could be the body to the one and something else to the other."""
    with www() as balancer:
        client = balancer.client()
        client.sends(UPGRADE.replace(b"GET", b"POST")[:-2] + b"Content-Length: 4\r\n\r\nbody")
        server = balancer.server("a").accepts()
        server.receivesExactly(
            b"POST /ws HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n" + TOLD + b"\r\nbody"
        )
        server.sends(SWITCHING)
        client.receives(rb"HTTP/1.1 502 .*")
        client.isEnded()


def test_aTunnelsServerConnectionIsNeverUsedAgain():
    with www(pool="http-reuse = always") as balancer:
        client, server = upgraded(balancer)
        client.closes()
        server.closes()
        other, again = asks(balancer)
        again.sends(OK)
        other.receivesExactly(OK)


def test_anIdleServerConnectionMayBecomeATunnel():
    with www(pool="http-reuse = always") as balancer:
        client, server = asks(balancer)
        server.sends(OK)
        client.receivesExactly(OK)
        client.sends(UPGRADE)
        server.receives(rb"GET /ws .*")
        server.sends(SWITCHING)
        client.receivesExactly(SWITCHING)
        balancer.advance(40)
        client.sends(b"x")
        server.receivesExactly(b"x")


def test_halfClosedClientThatUpgrades():
    with www() as balancer:
        client, server = asks(balancer, UPGRADE)
        client.ends()
        server.sends(SWITCHING + b"bye")
        client.receivesExactly(SWITCHING + b"bye")
        server.isEnded()
        server.ends()
        client.isEnded()
        assert " ---- " in balancer.endings[0]


def test_aTunnelThatIsReset():
    for one, letters in (("client", "CD--"), ("server", "SD--")):
        with www() as balancer:
            ends = dict(zip(("client", "server"), upgraded(balancer), strict=True))
            ends.pop(one).resets()
            (other,) = ends.values()
            other.isReset()
            assert f" {letters} " in balancer.endings[0]


def test_timeoutTunnel():
    """Instead of those of the client and the server."""
    with www(
        frontend="timeout-client = 1s", pool="timeout-server = 1s\ntimeout-tunnel = 5s"
    ) as balancer:
        client, server = upgraded(balancer)
        balancer.advance(4)
        client.sends(b"x")
        server.receivesExactly(b"x")
        balancer.advance(4.9)
        server.receivesNothing()
        balancer.advance(0.2)
        client.isReset()
        server.isReset()
        assert " 101 " in balancer.endings[0] and " cD-- " in balancer.endings[0]


def test_graceEndsTunnels():
    """Those of a WebSocket are told before, see test_websockets.py."""
    other = UPGRADE.replace(b"websocket", b"other")
    switching = SWITCHING.replace(b"websocket", b"other")
    with www(settings="grace-period = 2s") as balancer:
        client, server = asks(balancer, other)
        server.sends(switching)
        client.receivesExactly(switching)
        stopped = balancer.running.stopService()
        balancer.advance(1.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isReset()
        assert stopped.called
        assert " KD-- " in balancer.endings[0]


# CONNECT


def test_connectIsDenied():
    with www() as balancer:
        client = balancer.client()
        client.sends(CONNECT)
        client.receives(rb"HTTP/1.1 405 Method Not Allowed\r\n.*\r\nAllow: GET, HEAD, .*")
        client.isEnded()
        balancer.server("a").acceptsNothing()
        assert balancer.endings[0].startswith("www www/<NOSRV> 0/-1/-1/-1/0 405 ")
        assert ' PR-- 1/1/0/0/0 0/0 "CONNECT h:443 HTTP/1.1"' in balancer.endings[0]


def test_connectIsForwarded():
    with www(frontend=FORWARD) as balancer:
        client = balancer.client()
        client.sends(CONNECT)
        server = balancer.server("a").accepts()
        server.receivesExactly(CONNECT[:-2] + TOLD + b"\r\n")
        server.sends(b"HTTP/1.1 200 Connected\r\n\r\n")
        client.receivesExactly(b"HTTP/1.1 200 Connected\r\n\r\n")
        client.sends(b"hello")
        server.receivesExactly(b"hello")
        server.sends(b"world")
        client.receivesExactly(b"world")


def test_anyFormOfSuccessIsATunnel():
    """A length or a coding in it says nothing (RFC 9110 section 9.3.6)."""
    for status, fields in (
        (200, b"Content-Length: 5\r\n"),
        (200, b"Transfer-Encoding: chunked\r\n"),
        (204, b""),
        (299, b"Connection: close\r\n"),
    ):
        with www(frontend=FORWARD) as balancer:
            client, server = asks(balancer, CONNECT)
            server.sends(b"HTTP/1.1 %d Yes\r\n%b\r\nhello, client" % (status, fields))
            client.receivesExactly(b"HTTP/1.1 %d Yes\r\n\r\nhello, client" % status)
            client.sends(b"hello, server")
            server.receivesExactly(b"hello, server")
            client.closes()
            server.closes()
            assert f" {status} " in balancer.endings[0] and " ---- " in balancer.endings[0]


def test_successOfAnOldServer():
    """What is passed on has our version (RFC 9110 section 6.2)."""
    with www(frontend=FORWARD) as balancer:
        client, server = asks(balancer, CONNECT)
        server.sends(b"HTTP/1.0 200 Yes\r\n\r\n")
        client.receivesExactly(b"HTTP/1.1 200 Yes\r\n\r\n")


def test_connectThatTheServerRefusesStaysHttp():
    with www(frontend=FORWARD) as balancer:
        client, server = asks(balancer, CONNECT)
        server.sends(b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno")
        client.receivesExactly(b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno")
        client.sends(CONNECT)
        server.receives(rb"CONNECT .*")
        server.sends(b"HTTP/1.1 200 Yes\r\n\r\n")
        client.receivesExactly(b"HTTP/1.1 200 Yes\r\n\r\n")
        client.sends(b"x")
        server.receivesExactly(b"x")
        assert " 407 " in balancer.endings[0] and " ---- " in balancer.endings[0]
