"""
CONNECT and the verb C{tunnel} on real sockets: TLS from end to end through a proxy's
answers of all forms, connections that the balancer makes itself, bytes through the kernel.
"""

import random
import socket
import ssl

import pytest
from authority import Authority, pem
from loopback import wire
from loopback.running import REACTORS, Balancer, freePorts

AUTHORITY = Authority("CONNECT")
NAME = "inside.example.com"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """TLS of a server, and of a client that believes it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = tmp_path_factory.mktemp("connect") / "server.pem"
    server.load_cert_chain(AUTHORITY.issue(NAME).write(path))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=pem(AUTHORITY.certificate).decode())
    return server, client


@pytest.fixture(scope="module", params=REACTORS)
def proxies(request, tmp_path_factory):
    """One lbtwist; C{target} is a server, C{closed} a port where nobody listens."""
    with wire.listening() as target:
        ports = dict(zip(("forward", "raw", "own", "closed"), freePorts(4), strict=True))
        text = f"""\
            [global]
            log = file:access.log

            [frontend forward]
            bind = 127.0.0.1:{ports["forward"]}
            connect = forward
            pool = target

            [frontend raw]
            bind = 127.0.0.1:{ports["raw"]}
            request = tunnel
            pool = target

            [frontend own]
            bind = 0.0.0.0:{ports["own"]}
            connect = terminate
            connect-allow = *:443, 127.0.0.1:{wire.port(target)} 127.0.0.1:{ports["closed"]}
                127.0.0.0/8:{ports["own"]}

            [pool target]
            http-reuse = never
            server target = 127.0.0.1:{wire.port(target)}
            """
        directory = tmp_path_factory.mktemp(f"connect-{request.param}")
        with Balancer(directory, text, request.param) as balancer:
            balancer.ports = ports
            balancer.target = target
            yield balancer


def connect(target):
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def greets(server, contexts):
    """Speak TLS as a server, and say something."""
    with contexts[0].wrap_socket(server, server_side=True) as secured:
        assert secured.recv(100) == b"question"
        secured.sendall(b"answer")


def shakesHands(client, contexts):
    with contexts[1].wrap_socket(client, server_hostname=NAME) as secured:
        secured.sendall(b"question")
        assert secured.recv(100) == b"answer"


ANSWERS = {
    "nothing said of a length": b"HTTP/1.1 200 Connection established\r\n\r\n",
    "a length of 0": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another length": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("frontend", ["forward", "raw"])
def test_tlsThroughAProxy(proxies, contexts, kind, frontend):
    """Row 001.1: the connection does not stall, however the answer says yes."""

    def serve():
        with wire.accept(proxies.target) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.readHead(server)
            for byte in ANSWERS[kind]:
                server.sendall(bytes([byte]))
            greets(server, contexts)

    with wire.connect(proxies.ports[frontend]) as client, wire.Doing(serve):
        for byte in connect(f"{NAME}:443") if frontend == "forward" else GET:
            client.sendall(bytes([byte]))
        head = wire.readHead(client)
        if frontend == "forward":
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"ength" not in head and b"ncoding" not in head
        else:
            assert head == ANSWERS[kind]
        shakesHands(client, contexts)


def test_tlsToATargetOfOurOwn(proxies, contexts):
    """Row 001.10; the name is one of the hosts file."""

    def serve():
        with wire.accept(proxies.target) as server:
            greets(server, contexts)

    with wire.connect(proxies.ports["own"]) as client, wire.Doing(serve):
        client.sendall(connect(f"localhost:{wire.port(proxies.target)}"))
        assert wire.readHead(client) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        port = client.getsockname()[1]
        shakesHands(client, contexts)
    line = proxies.line(f":{port} ", " own own/")
    assert f" own own/127.0.0.1:{wire.port(proxies.target)} " in line


@pytest.mark.parametrize(
    ("target", "status", "error"),
    [
        ("localhost:443", 403, b"destination_ip_prohibited"),
        ("127.0.0.1:443", 403, b"destination_ip_prohibited"),
        ("169.254.169.254:443", 403, b"destination_ip_prohibited"),
        ("[::1]:443", 403, b"destination_ip_prohibited"),
        ("localhost:80", 403, b"http_request_denied"),
        ("127.0.0.1:{own}", 403, b"destination_ip_prohibited"),
        ("127.0.0.7:{own}", 403, b"destination_ip_prohibited"),
        ("localhost:{closed}", 502, b"connection_refused"),
    ],
)
def test_whatIsRefused(proxies, target, status, error):
    with wire.connect(proxies.ports["own"]) as client:
        client.sendall(connect(target.format(**proxies.ports)))
        head, _, rest = wire.readResponse(client)
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nProxy-Status: lbtwist; error=%b\r\n" % error in head
        assert rest == b""
        assert client.recv(1) == b""


@pytest.mark.parametrize("frontend", ["forward", "raw", "own"])
def test_manyBytesBothWays(proxies, frontend):
    """Row 001.9: random bytes arrive as they are, through the kernel."""
    data = random.Random(frontend).randbytes(4 << 20)

    def serve():
        with wire.accept(proxies.target) as server:
            if frontend != "own":
                wire.readHead(server)
                server.sendall(b"HTTP/1.1 200 Yes\r\n\r\n")
            assert server.recv(1) == b"?"
            with wire.Doing(server.sendall, data):
                assert wire.digest(wire.readExactly(server, len(data))) == wire.digest(data)
            assert server.recv(1) == b""

    with wire.connect(proxies.ports[frontend]) as client, wire.Doing(serve):
        target = f"127.0.0.1:{wire.port(proxies.target)}"
        request = connect(target)
        client.sendall(request if frontend != "raw" else GET)
        wire.readHead(client)
        client.sendall(b"?")
        with wire.Doing(client.sendall, data):
            assert wire.digest(wire.readExactly(client, len(data))) == wire.digest(data)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
