"""HTTP as no program would speak it, but may, through lbtwist, on every reactor."""

import pytest
from loopback import wire

pytestmark = pytest.mark.needs("nginx")

GET = b"GET /files/small HTTP/1.1\r\nHost: test\r\n\r\n"
SMALL = b"twenty-six bytes of nginx\n"


def test_pipelinedRequestsAreAnsweredInOrder(balancer):
    requests = [
        GET,
        b"GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n",
        b"POST /name HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n",
        b"GET /missing HTTP/1.1\r\nHost: test\r\n\r\n",
        GET,
    ]
    with wire.connect(balancer.ports["www"]) as client:
        client.sendall(b"".join(requests))
        seen = []
        rest = b""
        for _ in requests:
            head, body, rest = wire.readResponse(client, rest)
            seen.append((head[9:12], body[:26]))
    assert seen[0] == seen[4] == (b"200", SMALL)
    assert seen[1] == (b"204", b"")
    assert seen[2] == (b"200", b"nginx")
    assert seen[3][0] == b"404"


def test_aConnectionIsKept(balancer):
    with wire.connect(balancer.ports["www"]) as client:
        for _ in range(50):
            client.sendall(GET)
            head, body, rest = wire.readResponse(client)
            assert (head[:15], body, rest) == (b"HTTP/1.1 200 OK", SMALL, b"")


def test_aRequestInPieces(balancer):
    with wire.connect(balancer.ports["www"]) as client:
        for at in range(len(GET)):
            client.sendall(GET[at : at + 1])
        assert wire.readResponse(client)[1] == SMALL


def test_http10IsKeptIfItAsks(balancer):
    request = b"GET /files/small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    with wire.connect(balancer.ports["www"]) as client:
        for _ in range(2):
            client.sendall(request)
            head, body, _ = wire.readResponse(client)
            assert b"\r\nConnection: keep-alive" in head
            assert body == SMALL
        client.sendall(b"GET /files/small HTTP/1.0\r\n\r\n")
        assert wire.readAll(client).endswith(SMALL)


def test_aClientThatHasEndedItsSideIsAnswered(balancer):
    with wire.connect(balancer.ports["www"]) as client:
        client.sendall(GET + GET)
        client.shutdown(wire.socket.SHUT_WR)
        answer = wire.readAll(client)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answer.count(SMALL) == 2


def test_aResponseThatEndsWithItsConnection(balancer, server):
    with wire.connect(balancer.ports["own"]) as client:
        client.sendall(b"GET /until-close HTTP/1.1\r\nHost: test\r\n\r\n")
        with wire.accept(server) as connection:
            wire.readHead(connection)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nall ")
            wire.readUntil(client, b"all \r\n")
            connection.sendall(b"of it")
        # The client's connection outlives the server's.
        assert wire.readUntil(client, b"0\r\n\r\n") == b"5\r\nof it\r\n0\r\n\r\n"
        client.sendall(b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
        with wire.accept(server) as connection:
            wire.readHead(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert wire.readResponse(client)[1] == b"ok"


def test_aServerThatBreaksOffIsNotTakenForWhole(balancer, server):
    with wire.connect(balancer.ports["own"]) as client:
        client.sendall(b"GET /broken HTTP/1.1\r\nHost: test\r\n\r\n")
        with wire.accept(server) as connection:
            wire.readHead(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            wire.readUntil(client, b"half")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    assert balancer.line('"GET /broken').split()[9] == "SD--"


def test_earlyHintsAndTrailersPass(balancer, server):
    with wire.connect(balancer.ports["own"]) as client:
        client.sendall(b"GET /hints HTTP/1.1\r\nHost: test\r\nTE: trailers\r\n\r\n")
        with wire.accept(server) as connection:
            wire.readHead(connection)
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            assert wire.readHead(client) == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"2\r\nok\r\n0\r\nSum: 1\r\n\r\n"
            )
            answer = wire.readUntil(client, b"Sum: 1\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n2\r\nok\r\n0\r\nSum: 1\r\n\r\n")


def test_aBadRequestIsAnsweredAndTheConnectionEnds(balancer):
    with wire.connect(balancer.ports["www"]) as client:
        client.sendall(GET + b"GET / HTTP/1.1\r\nHost : test\r\n\r\n")
        head, body, rest = wire.readResponse(client)
        assert body == SMALL
        assert (rest + wire.readAll(client)).startswith(b"HTTP/1.1 400 Bad request\r\n")


def test_anUpgradeThatIsRefusedStaysHTTP(balancer, server):
    upgrade = b"GET /u HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n"
    with wire.connect(balancer.ports["own"]) as client:
        client.sendall(upgrade)
        with wire.accept(server) as connection:
            assert b"\r\nUpgrade: odd\r\n" in wire.readHead(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
            assert wire.readResponse(client)[1] == b"no"
        client.sendall(upgrade)
        with wire.accept(server) as connection:
            wire.readHead(connection)
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n"
                b"with the same segment"
            )
            assert wire.readUntil(client, b"segment").endswith(b"\r\n\r\nwith the same segment")
            client.sendall(b"\x00\xff")
            assert connection.recv(10) == b"\x00\xff"
