"""
mode = tcp: bytes both ways, ends and resets carried over, and the line in the log.
"""

from spoken import www


def tcp(*servers, **options):
    return www(*servers, mode="tcp", **options)


def joined(balancer, server="a"):
    """A client and the server that it has got."""
    client = balancer.client()
    return client, balancer.server(server).accepts()


def fills(balancer, server):
    """The server sends until something waits in the balancer for the client."""
    while not balancer.pump.getWriters():
        server.sends(bytes(1000))


def test_bytesBothWays():
    with tcp() as balancer:
        client, server = joined(balancer)
        server.sends(b"220 welcome")
        client.receivesExactly(b"220 welcome")
        client.sends(b"HELO")
        server.receivesExactly(b"HELO")
        balancer.advance(1.5)
        server.sends(b"250 ok")
        client.receivesExactly(b"250 ok")
        assert balancer.lines == []
        client.closes()
        server.isEnded()
        server.closes()
        assert balancer.lines[0].startswith("203.0.113.9:40000 [")
        assert balancer.endings == ["www app/a 0/0/1700 17 -- 1/1/1/1/0 0/0"]
        app = balancer.running.pool("app")
        for traffic in (balancer.running.frontend("www").inbound.traffic, app.traffic,
                        app.find("a").traffic):  # fmt: skip
            assert (traffic.exchanges, traffic.failed) == (1, 0)
            assert (traffic.bytesIn, traffic.bytesOut) == (4, 17)


def test_earlyDataBeforeTheConnect():
    with tcp() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(b"early ")
        client.sends(b"bird")
        balancer.advance(2)
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receivesExactly(b"early bird")
        client.sends(b"!")
        server.receivesExactly(b"!")
        client.closes()
        server.closes()
        assert balancer.endings == ["www app/a 0/2000/2000 0 -- 1/1/1/1/0 0/0"]


def test_moreEarlyDataThanIsHeld():
    """The client is not read on, and nothing is lost."""
    with tcp() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        data = bytes(range(256)) * 400
        client.sends(data)
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receivesExactly(data)
        client.sends(b"more")
        server.receivesExactly(b"more")


# ends


def test_theClientEndsFirst():
    with tcp() as balancer:
        client, server = joined(balancer)
        client.sends(b"question")
        client.ends()
        server.receivesExactly(b"question")
        server.isEnded()
        server.sends(b"answer")
        client.receivesExactly(b"answer")
        server.ends()
        client.isEnded()
        assert balancer.endings == ["www app/a 0/0/0 6 -- 1/1/1/1/0 0/0"]


def test_theServerEndsFirst():
    with tcp() as balancer:
        client, server = joined(balancer)
        server.sends(b"greeting")
        server.ends()
        client.receivesExactly(b"greeting")
        client.isEnded()
        client.sends(b"thanks")
        server.receivesExactly(b"thanks")
        client.ends()
        server.isEnded()
        assert balancer.endings == ["www app/a 0/0/0 8 -- 1/1/1/1/0 0/0"]


def test_anEndBeforeTheConnect():
    with tcp() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(b"question")
        client.ends()
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receivesExactly(b"question")
        server.isEnded()
        server.sends(b"answer")
        server.closes()
        client.receivesExactly(b"answer")
        client.isEnded()
        assert " -- " in balancer.endings[0]


def test_anEndBeforeTheConnectWithoutAByte():
    """Some only listen."""
    with tcp() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.ends()
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.isEnded()
        server.sends(b"banner")
        client.receivesExactly(b"banner")
        server.closes()
        client.isEnded()
        assert balancer.endings == ["www app/a 0/0/0 6 -- 1/1/1/1/0 0/0"]


def test_anEndInTheQueueWithoutAByte():
    """Nobody waits for a turn without having asked for anything."""
    with tcp("a maxconn=1") as balancer:
        joined(balancer)
        client = balancer.client()
        balancer.advance(1)
        client.ends()
        client.isEnded()
        assert balancer.endings == ["www app/<NOSRV> -1/-1/1000 0 CQ 2/2/1/0/0 0/0"]


def test_theClientLeavesWhileItsServerConnects():
    with tcp() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        balancer.advance(1)
        client.resets()
        assert balancer.endings == ["www app/a 0/-1/1000 0 CC 1/1/1/1/0 0/0"]
        balancer.server("a").goesOn()
        balancer.server("a").acceptsNothing()


def test_everythingIsSentBeforeTheEnd():
    """A client that reads late still gets all that its server has left behind."""
    with tcp() as balancer:
        client, server = joined(balancer)
        server.sends(bytes(300_000))
        server.closes()
        client.receivesExactly(bytes(300_000))
        client.isEnded()
        client.closes()
        assert balancer.endings == ["www app/a 0/0/0 300000 -- 1/1/1/1/0 0/0"]


def test_aClientThatNeverTakesTheRest():
    """Also if both have ended: what was not delivered is not well."""
    for ends in (False, True):
        with tcp(frontend="timeout-client = 5s", pool="timeout-server = 9s") as balancer:
            client, server = joined(balancer)
            fills(balancer, server)
            server.closes()
            if ends:
                client.ends()
            balancer.advance(5.1)
            assert " cD 1/1/1/1/0 0/0" in balancer.endings[0]


def test_aClientThatIsGoneBeforeTheRest():
    with tcp() as balancer:
        client, server = joined(balancer)
        fills(balancer, server)
        server.closes()
        client.ends()
        client.closes()
        assert " CD 1/1/1/1/0 0/0" in balancer.endings[0]


def test_resets():
    for one, letters in (("client", "CD"), ("server", "SD")):
        with tcp() as balancer:
            ends = dict(zip(("client", "server"), joined(balancer), strict=True))
            ends["server"].sends(b"abc")
            ends["client"].receivesExactly(b"abc")
            ends.pop(one).resets()
            (other,) = ends.values()
            other.isReset()
            assert balancer.endings == [f"www app/a 0/0/0 3 {letters} 1/1/1/1/0 0/0"]


def test_aResetAfterAnEnd():
    with tcp() as balancer:
        client, server = joined(balancer)
        client.ends()
        server.isEnded()
        server.resets()
        client.isReset()
        assert " SD " in balancer.endings[0]


# back-pressure


def test_whatIsNotReadIsNotTaken():
    """In either direction, and it all comes in the end."""
    for receiving in (0, 1):
        with tcp() as balancer:
            pair = joined(balancer)
            receiver, sender = pair[receiving], pair[not receiving]
            data = bytes(range(256)) * 16384
            rest = memoryview(data)
            received = bytearray()
            while True:
                try:
                    rest = rest[sender.socket.send(rest[:65536]) :]
                except BlockingIOError:
                    break
                balancer.pump.turn()
            assert len(rest) > len(data) // 2
            while len(received) < len(data):
                received += receiver.socket.recv(1 << 20)
                balancer.pump.turn()
                if rest:
                    try:
                        rest = rest[sender.socket.send(rest[:65536]) :]
                    except BlockingIOError:
                        pass
                    balancer.pump.turn()
            assert received == data


# timeouts


def test_timeoutClientAndServer():
    """The shorter of the two is the one that is meant."""
    for client_, server_, letters in (("5s", "9s", "cD"), ("9s", "5s", "sD")):
        with tcp(
            frontend=f"timeout-client = {client_}", pool=f"timeout-server = {server_}"
        ) as balancer:
            client, server = joined(balancer)
            balancer.advance(3)
            client.sends(b"x")
            server.receivesExactly(b"x")
            balancer.advance(3)
            server.sends(b"y")
            client.receivesExactly(b"y")
            balancer.advance(4.9)
            client.receivesNothing()
            balancer.advance(0.2)
            client.isReset()
            server.isReset()
            assert balancer.endings[0].startswith("www app/a 0/0/110")
            assert f" 1 {letters} " in balancer.endings[0]


def test_timeoutTunnel():
    with tcp(frontend="timeout-client = 2s", pool="timeout-tunnel = 5s") as balancer:
        client, server = joined(balancer)
        balancer.advance(4.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isReset()
        assert " cD " in balancer.endings[0]


def test_timeoutClientFin():
    """Counts from the client's end, instead of the other timeouts."""
    with tcp(
        frontend="timeout-client-fin = 2s", pool="timeout-server = 50s\ntimeout-tunnel = 1h"
    ) as balancer:
        client, server = joined(balancer)
        balancer.advance(60)
        client.ends()
        server.isEnded()
        balancer.advance(1.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isReset()
        assert " cD " in balancer.endings[0]


def test_timeoutServerFin():
    with tcp(pool="timeout-server-fin = 2s\ntimeout-tunnel = 1h") as balancer:
        client, server = joined(balancer)
        balancer.advance(60)
        server.ends()
        client.isEnded()
        balancer.advance(2.1)
        server.isReset()
        assert " sD " in balancer.endings[0]


# getting a server


def test_theNextServerIsTried():
    """As long as no byte was sent: the client's come whole."""
    with tcp("a", "b") as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(b"hello")
        balancer.advance(5.1)
        server = balancer.server("b").accepts()
        server.receivesExactly(b"hello")
        client.closes()
        server.closes()
        assert " 0 -- 1/1/1/1/+1 0/0" in balancer.endings[0]


def test_allServersRefuse():
    with tcp(pool="retries = 1") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        balancer.advance(1.1)
        client.isEnded()
        assert balancer.endings == ["www app/a 0/-1/1020 0 SC 1/1/0/0/1 0/0"]


def test_noServerAnswers():
    with tcp(pool="retries = 0\ntimeout-connect = 3s") as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        balancer.advance(3.1)
        client.isEnded()
        assert balancer.endings == ["www app/a 0/-1/3020 0 sC 1/1/0/0/0 0/0"]


def test_allDown():
    with tcp() as balancer:
        app = balancer.running.pool("app")
        app.find("a").health.up = False
        app.serversChanged()
        client = balancer.client()
        client.isEnded()
        assert balancer.endings == ["www app/<NOSRV> -1/-1/0 0 SC 1/1/0/0/0 0/0"]


def test_queue():
    with tcp("a maxconn=1") as balancer:
        first, a = joined(balancer)
        second = balancer.client()
        second.sends(b"second")
        balancer.server("a").acceptsNothing()
        balancer.advance(1)
        first.closes()
        a.closes()
        server = balancer.server("a").accepts()
        server.receivesExactly(b"second")
        second.closes()
        server.closes()
        assert balancer.endings[1].startswith("www app/a 1000/0/1")
        assert balancer.endings[1].endswith(" 0 -- 1/1/1/1/0 0/0")


def test_timeoutQueue():
    with tcp("a maxconn=1", pool="timeout-queue = 2s") as balancer:
        joined(balancer)
        client = balancer.client()
        balancer.advance(2.1)
        client.isEnded()
        assert balancer.endings == ["www app/<NOSRV> -1/-1/2020 0 sQ 2/2/1/0/0 0/0"]


def test_theClientLeavesTheQueue():
    with tcp("a maxconn=1") as balancer:
        joined(balancer)
        client = balancer.client()
        client.resets()
        assert balancer.endings == ["www app/<NOSRV> -1/-1/0 0 CQ 2/2/1/0/0 0/0"]


# ends that come from elsewhere


def test_shutdownSessions():
    with tcp(
        pool="check = tcp interval=1s fall=1 jitter=0\non-marked-down = shutdown-sessions"
    ) as balancer:
        client, server = joined(balancer)
        balancer.server("a").goesAway()
        balancer.advance(1.5)
        client.isReset()
        server.isReset()
        assert " DD " in balancer.endings[0]


def test_grace():
    """Sessions go on for that long: they have no moment between two exchanges."""
    with tcp(settings="grace-period = 5s") as balancer:
        client, server = joined(balancer)
        stopped = balancer.running.stopService()
        balancer.advance(4.9)
        client.sends(b"x")
        server.receivesExactly(b"x")
        balancer.advance(0.2)
        client.isReset()
        server.isReset()
        assert stopped.called
        assert " KD " in balancer.endings[0]


def test_graceEndsThoseWhoHaveNoServerYet():
    with tcp("a maxconn=1", "b", settings="grace-period = 2s") as balancer:
        balancer.server("b").hesitates()
        joined(balancer)
        connecting = balancer.client()
        balancer.running.pool("app").find("b").health.up = False
        balancer.running.pool("app").serversChanged()
        queued = balancer.client()
        balancer.running.stopService()
        balancer.advance(2.1)
        connecting.isReset()
        queued.isReset()
        assert [line.split()[4][0] for line in balancer.endings] == ["K"] * 3


def test_drainLetsASessionComeToItsEnd():
    with tcp() as balancer:
        client, server = joined(balancer)
        stopped = balancer.running.stopService()
        client.closes()
        server.closes()
        assert stopped.called
        assert " -- " in balancer.endings[0]
