"""
C{etc/websocket-proxy-protocol.ini}: PROXY headers for servers that want them, and from
load balancers that send them; WebSockets through both.
"""

import contextlib
import re
import socket

import pytest
from authority import Authority
from chatting import Chat, chats, closes, exchanges, isClosed
from loopback import wire
from loopback.running import ROOT, TWISTD, Nginx, environment, hasIPv6, run
from recipe import Mirror, asks, connects, started, trusting

from lbtwist.sansio.proxyheader import encodeV1, encodeV2, read
from programs import freePort

RECIPE = (ROOT / "etc/websocket-proxy-protocol.ini").read_text()
AUTHORITY = Authority()
NAME = "device.example.org"
CLIENT, SITE = ("198.51.100.22", 35646), ("192.0.2.80", 443)
ELB, STRANGER = "127.0.0.5", "127.0.1.9"
SERVERS = {"app": 8180, "ws": 8181, "shop": 8182, "blog": 8183}
UPGRADE = ("Connection: Upgrade", "Upgrade: WebSocket")


def lineLength(connection):
    """@return: how long the header of version 1 is that comes first."""
    while b"\n" not in (begin := connection.recv(108, socket.MSG_PEEK)):
        assert begin, "no header"
    return begin.index(b"\n") + 1


def starts(directory, servers, **replaced):
    """
    @param servers: by the names of their pools.
    @return: the recipe, with C{device}, C{plain} and C{site}, its ports.
    """
    AUTHORITY.issue(NAME).write(directory / "cert.pem")
    device, plain, site = freePort(), freePort(), freePort()
    binds = [f"{host}:{device} tls=device" for host in ("127.0.0.1", "[::1]")[: 1 + hasIPv6()]]
    changed = {
        ":8543 tls=device": ", ".join(binds),
        ":8081 ": f"127.0.0.1:{plain} ", ":8082 ": f"127.0.0.1:{site} ",
        "10.0.0.0/24": "127.0.0.0/24",
    }  # fmt: skip
    changed |= {f"127.0.0.1:{SERVERS[name]}": one for name, one in servers.items()}
    balancer = started("websocket-proxy-protocol.ini", directory, {**changed, **replaced})
    balancer.device, balancer.plain, balancer.site = device, plain, site
    return balancer


@pytest.fixture(scope="module")
def elb(tmp_path_factory):
    """The recipe, at work; C{servers} are by the names of their pools."""
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(Mirror(name, expects=lineLength if name == "ws" else None))
            for name in SERVERS
        }
        balancer = starts(tmp_path_factory.mktemp("elb"), servers)
        balancer.servers = servers
        yield stack.enter_context(balancer)


def device(elb, host="127.0.0.1"):
    plain = socket.create_connection((host, elb.device), wire.SECONDS)
    return trusting(AUTHORITY).wrap_socket(plain, server_hostname=NAME)


def told(elb, pool, path):
    """@return: the head of the one request for C{path} that the pool's server got."""
    [found] = [lines for lines in elb.servers[pool].heads if lines[0] == f"GET {path} HTTP/1.1"]
    return found


# in front of servers


def test_theSchemeIsToldOnce(elb):
    """Row 002.1: whatever the client says of itself."""
    with device(elb) as client:
        asks(client, f"Host: {NAME}", "X-Forwarded-Proto: http", "x-forwarded-proto: ftp",
             line="GET /scheme HTTP/1.1")  # fmt: skip
    found = told(elb, "app", "/scheme")
    assert [line for line in found if line.lower().startswith("x-forwarded-proto")] == [
        "X-Forwarded-Proto: https"
    ]


@pytest.mark.parametrize(
    ("host", "upgrade", "pool"),
    [(NAME, "", "app"), (NAME, "websocket", "ws"), (NAME, "WebSocket", "ws"), (NAME, "h2c", "app"),
     ("ws." + NAME, "", "ws"), ("WS." + NAME, "websocket", "ws"), ("a.ws.example", "", "app")],
)  # fmt: skip
def test_whichPool(elb, host, upgrade, pool):
    """Row 002.2: either of the two conditions is enough."""
    fields = [f"Host: {host}"]
    fields += ["Connection: Upgrade", f"Upgrade: {upgrade}"] if upgrade else []
    with device(elb) as client:
        assert asks(client, *fields)[1] == pool


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", "TCP4"),
     pytest.param("::1", "TCP6", marks=pytest.mark.skipif(not hasIPv6(), reason="no IPv6"))],
)  # fmt: skip
def test_theHeader(elb, host, family):
    """Rows 002.3 and 002.4: once per connection, with the client's own addresses."""
    with device(elb, host) as client:
        port = client.getsockname()[1]
        for _ in range(100):
            assert asks(client, f"Host: ws.{NAME}", line=f"GET /{port} HTTP/1.1")[1] == "ws"
    wanted = f"PROXY {family} {host} {host} {port} {elb.device}\r\n".encode()
    assert elb.servers["ws"].prefaces.count(wanted) == 1
    heads = [lines[0] for lines in elb.servers["ws"].heads]
    assert heads.count(f"GET /{port} HTTP/1.1") == 100
    assert set(elb.servers["app"].prefaces) == {b""}


def test_noTwoClientsShareAConnection(elb):
    """Row 002.4: each has its own header, also while both stay."""
    with device(elb) as one, device(elb) as two:
        for _ in range(5):
            for client in (one, two):
                asks(client, f"Host: ws.{NAME}", line="GET /shared HTTP/1.1")
        ports = [client.getsockname()[1] for client in (one, two)]
    prefaces = elb.servers["ws"].prefaces
    for port in ports:
        assert sum(f" {port} ".encode() in one for one in prefaces) == 1


@pytest.mark.needs("nginx")
def test_aServerThatDoesNotExpectTheHeader(tmp_path):
    """Row 002.5: its 400 passes to the client; without the header its checks are good."""
    with Nginx(tmp_path / "nginx") as nginx, Mirror("app") as app:
        servers = dict.fromkeys(SERVERS, app) | {"ws": f"127.0.0.1:{nginx.port}"}
        with starts(tmp_path, servers, **{
            " send-proxy\n": " send-proxy check-send-proxy=no\n", "GET /health": "GET /nothing",
        }) as balancer:  # fmt: skip
            with device(balancer) as client:
                head, _ = asks(client, f"Host: ws.{NAME}")
            assert head.startswith("HTTP/1.1 400 ")
            assert "nginx" in head
            assert " ws/one " in balancer.line("GET / HTTP/1.1")
            assert "DOWN" not in balancer.events


@pytest.mark.needs("nginx")
def test_checksSendTheHeaderToo(elb, tmp_path):
    """Row 002.5: who expects it stays up, and who does not is taken out."""
    elb.until(lambda: elb.servers["ws"].checks)
    assert "DOWN" not in elb.events
    with Nginx(tmp_path / "nginx") as nginx, Mirror("app") as app:
        servers = dict.fromkeys(SERVERS, app) | {"ws": f"127.0.0.1:{nginx.port}"}
        with starts(tmp_path, servers, **{"interval=2s": "interval=50ms fall=1"}) as balancer:
            balancer.until(lambda: "Server ws/one is DOWN" in balancer.events)
            with device(balancer) as client:
                assert asks(client, f"Host: ws.{NAME}")[0].startswith("HTTP/1.1 503 ")


def checked(directory, text):
    (directory / "lb.ini").write_text(text)
    return run(
        TWISTD, "lbtwist", "--config", "lb.ini", "--check", cwd=directory, env=environment()
    )


def test_itIsValid(tmp_path):
    done = checked(tmp_path, RECIPE)
    assert (done.stdout, done.stderr) == ("Configuration file is valid\n", "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("[frontend device]\n", "[frontend device]\nmode = tcp\n",
      "[frontend device] request: pool: says nothing in mode = tcp; remove it or write"
      " mode = http"),
     ("request = pool ws if is_websocket", "mode = tcp\nconnection = pool ws if is_websocket",
      "[frontend device] connection: pool: if: the condition 'is_websocket' cannot be asked here:"
      " websocket is not known in mode = tcp"),
     ("[pool ws]\nmode = http", "[pool ws]\nmode = tcp",
      "[frontend device] request: pool: [pool ws] has mode = tcp, this frontend mode = http;"
      " write mode = http or any in the pool")],
    ids=["verb", "condition", "pool"],
)  # fmt: skip
def test_modesThatDoNotFit(tmp_path, old, new, said):
    """Row 002.6: found before anything is started, with line and advice."""
    assert old in RECIPE
    done = checked(tmp_path, RECIPE.replace(old, new))
    assert done.returncode == 1
    assert re.search(rf"^lb\.ini:\d+:\d+: error: {re.escape(said)}", done.stderr, re.M), done.stderr


# behind a load balancer


@pytest.mark.parametrize("version", [1, 2])
def test_aLocalLoadBalancer(local_elb, version):
    """Row 002.10: a service under test gets its header by a fixture."""
    with wire.listening() as service:
        port = local_elb(wire.port(service), version)
        with wire.connect(port) as client, wire.accept(service) as server:
            client.sendall(b"hello")
            data = wire.readUntil(server, b"hello")
            header = read(data)
            assert (header.version, data[header.size :]) == (version, b"hello")
            assert header.source == client.getsockname()
            assert header.destination == ("127.0.0.1", port)
            assert data.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ") == (version == 1)


@pytest.mark.parametrize("header", [encodeV1(CLIENT, SITE), encodeV2(CLIENT, SITE)], ids="12")
def test_whoTheClientIs(elb, header, request):
    """Row 002.12: the source of the header, in X-Forwarded-For and in the log."""
    path = f"/client/{request.node.callspec.id}"
    with connects(elb.site, source=ELB) as client:
        client.sendall(header)
        asks(client, "Host: mysite.com", "X-Forwarded-For: 1.2.3.4", line=f"GET {path} HTTP/1.1")
    found = [line for line in told(elb, "app", path) if line.lower().startswith("x-forwarded")]
    assert sorted(found) == [
        "X-Forwarded-For: 198.51.100.22", "X-Forwarded-Port: 443", "X-Forwarded-Proto: https",
    ]  # fmt: skip


@pytest.mark.parametrize("header", [b"", encodeV1(CLIENT, SITE)], ids=["bare", "header"])
@pytest.mark.parametrize("port", ["plain", "site"])
def test_strangers(elb, header, port):
    """Row 002.12: who is not the load balancer gets nothing, whatever he says."""
    with connects(getattr(elb, port), source=STRANGER) as client:
        try:
            client.sendall(header + b"GET /stranger HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1) == b""
        except ConnectionError:
            pass
    assert not any("/stranger" in lines[0] for one in elb.servers.values() for lines in one.heads)


@pytest.mark.parametrize(
    ("host", "pool"),
    [("mysite.com", "app"), ("shop.mysite.com", "shop"), ("Blog.MySite.com:443", "blog"),
     ("nobody.example", "app"), ("ws.mysite.com", "ws")],
)  # fmt: skip
def test_virtualHosts(elb, host, pool):
    """Row 004.3: the first, the others and names that nobody knows: none gets a 400."""
    with connects(elb.site, source=ELB) as client:
        client.sendall(encodeV1(CLIENT, SITE))
        for _ in range(2):
            head, body = asks(client, f"Host: {host}")
            assert (head.splitlines()[0], body) == ("HTTP/1.1 200 OK", pool)


def test_plainRequestsAreSentToTLS(elb):
    """Row 004.4: to the site's name, with path and query; and so is every request."""
    with connects(elb.plain, source=ELB) as client:
        client.sendall(encodeV1(CLIENT, SITE))
        for host in ("mysite.com", "evil.example"):
            head, _ = asks(client, f"Host: {host}", line="GET /a?b=c HTTP/1.1")
            assert head.startswith("HTTP/1.1 301 ")
            assert "\r\nLocation: https://mysite.com/a?b=c" in head


def test_logsOfTheirOwn(elb):
    """Row 004.5: each of the two listeners has one, with the header's client."""
    for port, path in ((elb.plain, "/logs/plain"), (elb.site, "/logs/site")):
        with connects(port, source=ELB) as client:
            client.sendall(encodeV1(CLIENT, SITE))
            asks(client, "Host: mysite.com", line=f"GET {path} HTTP/1.1")

    def lines(name):
        text = (elb.directory / f"{name}.log").read_text()
        return [line for line in text.splitlines() if "/logs/" in line]

    elb.until(lambda: lines("plain") and lines("site"))
    for name, status in (("plain", 301), ("site", 200)):
        [line] = lines(name)
        assert line.startswith("198.51.100.22:35646 [")
        assert f" {status} " in line and f"/logs/{name} " in line


# WebSockets


class Expecting(socket.socket):
    """A listening socket whose connections begin with a PROXY header, which it keeps."""

    headers = ()

    def accept(self):
        connection, peer = super().accept()
        connection.settimeout(wire.SECONDS)
        header = connection.recv(lineLength(connection))
        connection.settimeout(None)
        self.headers = (*self.headers, header)
        return connection, peer


@pytest.fixture
def chat(tmp_path):
    """The recipe in front of a real server of WebSockets that reads the header: C{balancer}."""
    skt = Expecting()
    skt.bind(("127.0.0.1", 0))
    skt.listen()
    with Chat(skt=skt) as chat, Mirror("app") as app:
        chat.skt = skt
        with starts(tmp_path, dict.fromkeys(SERVERS, app) | {"ws": chat}) as balancer:
            chat.balancer = balancer
            yield chat


def test_webSocketsOfDevices(chat):
    """Row 000.3 with a PROXY header: the server knows the client."""
    for end in (lambda client: closes(client, chat, chat.balancer.until), isClosed):
        plain = wire.connect(chat.balancer.device)
        source = f" {plain.getsockname()[1]} ".encode()
        with chats(plain, NAME, ssl=trusting(AUTHORITY)) as client:
            exchanges(client, chat)
            end(client)
        assert sum(source in header for header in chat.skt.headers) == 1


@pytest.mark.parametrize("version", [1, 2])
def test_webSocketsThroughALoadBalancer(chat, local_elb, version):
    """Rows 002.10 and 002.12: through one that works on TCP, and through us."""
    skt = wire.connect(local_elb(chat.balancer.site, version))
    source = skt.getsockname()
    with chats(skt, "mysite.com") as client:
        exchanges(client, chat)
        closes(client, chat, chat.balancer.until)
    [head] = chat.heads
    assert head["X-Forwarded-For"] == "127.0.0.1"
    assert sum(read(header).source == source for header in chat.skt.headers) == 1
