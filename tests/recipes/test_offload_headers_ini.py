"""
C{etc/offload-headers.ini}: servers are told how the client came, and a Location that they
write for plain HTTP is put right. Rows 002.1, 003.18, 003.19, 003.20 and 003.22.
"""

import socketserver
import threading
from contextlib import contextmanager

import pytest
from authority import Authority, pem
from loopback import wire
from loopback.running import hasIPv6
from places import Places, named, values
from recipe import Mirror, asks, connects, started, trusting

from programs import freePort

AUTHORITY = Authority()
NAME = "www.domain.com"
HOST = f"Host: {NAME}"


@contextmanager
def offloading(directory, one, two):
    """@return: the recipe, at work: C{plain} and C{secured} are its ports."""
    AUTHORITY.issue(NAME).write(directory / "site.pem")
    plain, secured = freePort(), freePort()
    also = f", [::1]:{plain}" if hasIPv6() else ""
    replaced = {
        ":80\n    :443 ": f"127.0.0.1:{plain}{also}\n    127.0.0.1:{secured} ",
        "10.0.3.10:8001": one, "10.0.3.11:8001": two,
    }  # fmt: skip
    with started("offload-headers.ini", directory, replaced) as balancer:
        balancer.plain, balancer.secured = plain, secured
        yield balancer


# what servers are told


@pytest.fixture(scope="module")
def telling(tmp_path_factory):
    directory = tmp_path_factory.mktemp("telling")
    with (
        Mirror("one") as one, Mirror("two") as two, offloading(directory, one, two) as balancer
    ):  # fmt: skip
        balancer.servers = one, two
        yield balancer


def told(telling, path, secure, *fields):
    """@return: the lines that tell a server of the client, of a request with these fields."""
    port = telling.secured if secure else telling.plain
    with connects(port, trusting(AUTHORITY) if secure else None, NAME) as client:
        head, body = asks(client, HOST, *fields, line=f"GET {path} HTTP/1.1")
    assert head.startswith("HTTP/1.1 200 OK") and body in ("one", "two")
    [found] = [
        lines
        for server in telling.servers
        for lines in server.heads
        if lines[0] == f"GET {path} HTTP/1.1"
    ]
    of = ("x-forwarded", "forwarded", "front-end")
    return sorted(line for line in found if line.lower().startswith(of))


FORGED = {
    "none": (),
    "https": ("X-Forwarded-Proto: https", "Front-End-Https: on"),
    "http": ("X-Forwarded-Proto: http", "X-Forwarded-Port: 1", "Front-End-Https: off"),
    "twice": ("X-Forwarded-Proto: https", "x-forwarded-proto: http"),
    "all": ("Forwarded: for=1.2.3.4;proto=https", "X-Forwarded-For: 1.2.3.4",
            "X-FORWARDED-PROTO: ftp"),
}  # fmt: skip


@pytest.mark.parametrize("forged", FORGED)
def test_withTLS(telling, forged):
    """
    Rows 002.1 and 003.18: C{X-Forwarded-Proto} comes exactly once, whatever the client has
    sent. Row 003.22: scheme, port and address, which the offloading hides.
    """
    assert told(telling, f"/secured/{forged}", True, *FORGED[forged]) == [
        f"Forwarded: for=127.0.0.1;proto=https;host={NAME}",
        "Front-End-Https: on",
        "X-Forwarded-For: 127.0.0.1",
        f"X-Forwarded-Port: {telling.secured}",
        "X-Forwarded-Proto: https",
    ]


@pytest.mark.parametrize("forged", FORGED)
def test_withoutTLS(telling, forged):
    """Row 003.18: both listeners, one pool; nobody who came without TLS says otherwise."""
    assert told(telling, f"/plain/{forged}", False, *FORGED[forged]) == [
        f"Forwarded: for=127.0.0.1;proto=http;host={NAME}",
        "X-Forwarded-For: 127.0.0.1",
        f"X-Forwarded-Port: {telling.plain}",
        "X-Forwarded-Proto: http",
    ]


@pytest.mark.skipif(not hasIPv6(), reason="this machine has no IPv6")
def test_anAddressOfIPv6(telling):
    """It stands in brackets (RFC 7239 section 6)."""
    with wire.connect(telling.plain, "::1") as client:
        asks(client, HOST, line="GET /six HTTP/1.1")
    [head] = [one for each in telling.servers for one in each.heads if "/six" in one[0]]
    assert [one for one in head if one.startswith("Forwarded: ")] == [
        f'Forwarded: for="[::1]";proto=http;host={NAME}'
    ]


# what servers answer


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    directory = tmp_path_factory.mktemp("answering")
    (directory / "ca.pem").write_bytes(pem(AUTHORITY.certificate))
    places = """
        absolute_redirect off;
        location / { return 302 $arg_to; }
        location = /health { return 204; }
    """
    with (
        Places(directory / "nginx", places) as nginx,
        offloading(directory, nginx, nginx) as balancer,
    ):
        balancer.authority = directory / "ca.pem"
        yield balancer


REFERENCES = [
    ("http://www.domain.com:80/url", "https://www.domain.com:443/url"),
    ("http://www.domain.com/login.jsp", "https://www.domain.com/login.jsp"),
    ("http://www.domain.com", "https://www.domain.com"),
    # What the rule has written out is written so; what its star was stays.
    ("http://WWW.Domain.com/a%20b?c=http://x/", "https://WWW.domain.com/a%20b?c=http://x/"),
    ("http://shop.domain.com/", "https://shop.domain.com/"),
    # What is right already, or is somewhere else.
    ("https://www.domain.com/login.jsp", "https://www.domain.com/login.jsp"),
    ("http://www.domain.com:8080/url", "http://www.domain.com:8080/url"),
    ("http://www.domain.com.example.org/", "http://www.domain.com.example.org/"),
    ("http://partner.example.org:80/", "http://partner.example.org:80/"),
    ("/login.jsp", "/login.jsp"),
]


@pytest.mark.needs("curl", "nginx")
@pytest.mark.parametrize(("said", "got"), REFERENCES)
def test_whereServersSendTheClient(answering, said, got):
    """Row 003.19: on TLS only, with and without the port."""
    path = f"/?to={said}"
    status, fields, _ = named(
        f"https://{NAME}{path}", answering.secured, "--cacert", answering.authority
    )
    assert (status.split()[1], values(fields, "location")) == ("302", [got])
    status, fields, _ = named(f"http://{NAME}{path}", answering.plain)
    assert (status.split()[1], values(fields, "location")) == ("302", [said])


# how the body passes

HALF = b'<a href="http://www.domain.com/">no field</a>\n'
HEAD = (
    b"HTTP/1.1 302 Found\r\nLocation: http://www.domain.com/login.jsp\r\n"
    b"Content-Length: %d\r\n\r\n" % (2 * len(HALF))
)


class _Halves(socketserver.StreamRequestHandler):
    timeout = wire.SECONDS

    def handle(self):
        line = self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        if b"/health" in line:
            self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        self.wfile.write(HEAD + HALF)
        if self.server.goOn.wait(wire.SECONDS):
            self.wfile.write(HALF)


class Halves(socketserver.ThreadingTCPServer):
    """A server that has sent half of its answer, until C{goOn} is set."""

    daemon_threads = True

    def __init__(self):
        self.goOn = threading.Event()
        super().__init__(("127.0.0.1", 0), _Halves)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *error):
        self.goOn.set()
        self.shutdown()
        super().__exit__(*error)

    def __str__(self):
        return f"127.0.0.1:{self.server_address[1]}"


def test_aBodyIsNeitherHeldNorChanged(tmp_path):
    """Row 003.20: fields can be put right, what is in a page cannot."""
    with (
        Halves() as server,
        offloading(tmp_path, server, server) as balancer,
        connects(balancer.secured, trusting(AUTHORITY), NAME) as client,
    ):
        client.sendall(f"GET / HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        begun = wire.readUntil(client, HALF)
        assert b"\r\nLocation: https://www.domain.com/login.jsp\r\n" in begun
        server.goOn.set()
        assert wire.readExactly(client, len(HALF)) == HALF
