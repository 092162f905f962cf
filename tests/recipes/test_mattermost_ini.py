"""
C{etc/mattermost.ini}: who gets in, how, and what becomes of WebSockets.

What its seed means (rows 000.4 to 000.8; as it was published it is no valid iRule):

    source     field       cookies   for a WebSocket          otherwise
    inside     any         any       tunnel, "iRule"          the pool
    outside    good        any       tunnel, "iRule"          the pool
    outside    not good    both      passes, "Web Sockets"    the pool
    outside    not good    else      reset                    reset
"""

import itertools
import json
import os
import re
import socket
import ssl

import pytest
from authority import Authority, pem
from borrowing import borrowed, peerOf
from chatting import Chat, chats, closes, exchanges, isClosed
from loopback import wire
from loopback.running import ROOT
from recipe import asks, serving, started, trusting
from secured import clientContext
from witness import BLOB, Witness

from lbtwist.sansio.proxyheader import encodeV2
from lbtwist.testing.memory import Balancer as InMemory
from programs import freePort

PUBLIC, INTERNAL = Authority("Public"), Authority("Internal")
NAME = "mattermost.example.org"
HOST = f"Host: {NAME}"
INSIDE, OUTSIDE = "192.168.0.5", "203.0.113.9"
CHECK = "/api/v4/system/ping"
FIELD = "x-the-custom-http-header-name"
BIND = ":443 tls=mattermost tcp=mobile"
COOKIES = {"none": "", "one": "MMAUTHTOKEN=x", "both": "a=b; MMUSERID=u; MMAUTHTOKEN=x"}
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def internal(directory, name, authority=INTERNAL):
    return serving(authority.issue("mattermost.internal"), directory / f"{name}-server.pem")


def starts(directory, one, two, **more):
    """@return: the recipe between these servers; its clients say where they come from."""
    PUBLIC.issue(NAME).write(directory / "mattermost.pem")
    (directory / "internal-ca.pem").write_bytes(pem(INTERNAL.certificate))
    port = freePort()
    replaced = {
        BIND: f"127.0.0.1:{port} tls=mattermost tcp=mobile accept-proxy",
        "10.0.3.10:8443": one, "10.0.3.11:8443": two, "10.0.3.2, 10.0.3.3": "127.0.0.2, 127.0.0.3",
        **more,
    }  # fmt: skip
    balancer = started("mattermost.ini", directory, replaced)
    balancer.port = port
    return balancer


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The recipe, at work; C{servers} are two."""
    directory = tmp_path_factory.mktemp("mattermost")
    with Witness("one", internal(directory, "one"), CHECK) as one, \
            Witness("two", internal(directory, "two"), CHECK) as two, \
            starts(directory, one, two) as balancer:  # fmt: skip
        balancer.servers = one, two
        yield balancer


def request(path, *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", HOST, *fields, "", ""]).encode()


def plain(site, source, port=None):
    """@return: a connection that says it comes from C{source}."""
    client = wire.connect(port or site.port)
    client.sendall(encodeV2((source, 40000), ("192.0.2.1", 443)))
    return client


def comes(site, source, context=None, port=None):
    """@return: the socket of a client, with TLS, and nothing to be read from it."""
    # In TLSv1.3 tickets come after the handshake.
    context = context or clientContext(PUBLIC, high=ssl.TLSVersion.TLSv1_2)
    return context.wrap_socket(plain(site, source, port), server_hostname=NAME)


def headOf(client, *fields, path="/"):
    """@return: the head of the answer; L{None} for a reset before which no byte came."""
    client.sendall(request(path, *fields))
    # Python's TLS takes a reset for an end.
    with socket.socket(fileno=os.dup(client.fileno())) as beneath:
        beneath.settimeout(wire.SECONDS)
        try:
            assert beneath.recv(1, socket.MSG_PEEK), "closed in good order"
        except ConnectionResetError:
            return None
    return wire.readResponse(client)[0].decode()


def logged(site, path):
    return json.loads(site.line(f'"{path}"'))


def connections(site):
    return [came for server in site.servers for came in server.connections]


def found(site, path):
    """@return: the connections of servers on which this was asked for."""
    return [came for came in connections(site)
            if any(head[0].startswith(f"GET {path} ") for head in came.heads)]  # fmt: skip


# who gets in


MATRIX = list(itertools.product(
    (INSIDE, OUTSIDE), ("", "customvalue", "xxcustomvalueyy", "CustomValue"), COOKIES,
    ("", "websocket", "WebSocket", "h2c, websocket"),
))  # fmt: skip


@pytest.mark.parametrize(("source", "value", "cookies", "upgrade"), MATRIX)
def test_whoGetsIn(site, source, value, cookies, upgrade, request):
    """Rows 000.4 to 000.7."""
    known = source == INSIDE or "customvalue" in value
    path = ("/upgrade" if upgrade else "/page") + f"/{request.node.name.partition('[')[2][:-1]}/"
    path = path.replace(" ", "").replace(",", "+")
    fields = []
    fields += [f"{FIELD}: {value}"] if value else []
    fields += [f"Cookie: {COOKIES[cookies]}"] if COOKIES[cookies] else []
    fields += [f"Connection: Upgrade\r\nUpgrade: {upgrade}"] if upgrade else []
    with comes(site, source) as client:
        head = headOf(client, *fields, path=path)
        if not known and cookies != "both":
            assert head is None
            line = logged(site, path)
            assert (line["termination"], line["status"], line["server"]) == ("PR--", None, None)
            assert line["bytes_out"] == 0
            assert not found(site, path)
            return
        assert head.startswith("HTTP/1.1 101 " if upgrade else "HTTP/1.1 200 ")
        if upgrade:
            client.sendall(b"\x81\x00")
            assert wire.readExactly(client, 2) == b"\x81\x00"
    line = logged(site, path)
    assert line["client"] == source
    # Python's client closes without the end of TLS, which a tunnel is told of.
    # Our cookie is in every response but that of a tunnel, which is not read.
    cookie = "NN" if upgrade and known else "NI"
    assert line["termination"] == ("CD" if upgrade else "--") + cookie
    passthrough = ("iRule" if known else "Web Sockets") if upgrade else None
    assert line["passthrough"] == passthrough
    [came] = found(site, path)
    assert f"X-Forwarded-For: {source}" in came.heads[-1]


def test_otherNames(tmp_path, monkeypatch):
    """Row 000.6: names come from the environment, such as the seed's own MMAUTHENTOKEN."""
    for name, value in {
        "INSIDE": "198.51.100.0/24", "APP_HEADER": "X-App", "APP_VALUE": "ours, v2",
        "AUTH_COOKIE": "MMAUTHENTOKEN", "USER_COOKIE": "UID",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    answered, refused = [], []
    with Witness("one", internal(tmp_path, "one"), CHECK) as one, \
            starts(tmp_path, one, one) as balancer:  # fmt: skip
        for source, field in (
            ("198.51.100.7", "X: y"), (INSIDE, "X: y"),
            (OUTSIDE, "x-app: it is ours, v2."), (OUTSIDE, f"{FIELD}: customvalue"),
            (OUTSIDE, "Cookie: MMAUTHENTOKEN=; UID="),
            (OUTSIDE, "Cookie: MMAUTHTOKEN=x; MMUSERID=u"),
        ):  # fmt: skip
            with comes(balancer, source) as client:
                head = headOf(client, field)
                (answered if head else refused).append((source, field))
    assert [source for source, _ in answered] == ["198.51.100.7", OUTSIDE, OUTSIDE]
    assert len(refused) == 3


# who comes back


def served(balancer, source, *cookies):
    """@return: the server that a client of the applications came to, and the cookie it got."""
    fields = [HOST, f"{FIELD}: customvalue"]
    fields += [f"Cookie: {'; '.join(cookies)}"] if cookies else []
    with comes(balancer, source) as client:
        head, body = asks(client, *fields)
    got = re.search(r"^Set-Cookie: (MMSRV=[^;]+)(.*)$", head, re.M | re.I)
    if got is not None:
        assert got[2].strip() == "; path=/; HttpOnly; Secure; SameSite=Lax"
        assert "Cache-Control: private" in head
    return body, got and got[1]


def test_whoComesBack(tmp_path):
    """Row 000.10: a cookie binds a client to its server; without one, its address does."""
    with Witness("one", internal(tmp_path, "one"), CHECK) as one, \
            Witness("two", internal(tmp_path, "two"), CHECK) as two, \
            starts(tmp_path, one, two) as balancer:  # fmt: skip
        first, cookie = served(balancer, OUTSIDE)
        assert served(balancer, "198.51.100.1", "a=b", cookie) == (first, None)
        assert served(balancer, OUTSIDE)[0] == first

        others = (f"198.51.100.{number}" for number in range(2, 50))
        source = next(one for one in others if served(balancer, one)[0] != first)
        assert served(balancer, source, cookie) == (first, None), "the cookie counts"
        heads = [head for came in (*one.connections, *two.connections) for head in came.heads]
        assert not any("MMSRV" in line for head in heads for line in head)
        assert any("Cookie: a=b" in head for head in heads)

        dies = {"one": one, "two": two}[first]
        dies.shutdown()
        dies.server_close()
        balancer.until(lambda: f"Server mattermost/{first} is DOWN" in balancer.events)
        second, another = served(balancer, "198.51.100.1", cookie)
        assert second != first
        assert another not in (None, cookie)
        balancer.until(lambda: "--DI" in balancer.lines[-1])
        assert served(balancer, "198.51.100.1", another) == (second, None)


# in memory: what no client sees


@pytest.fixture
def memory():
    """The recipe without TLS, on a clock that stands still, with one server: C{one}."""
    text = (ROOT / "etc/mattermost.ini").read_text()
    for old, new in {
        "log = stdout": "log = ${log}", BIND: "${bind}", f"check = http GET {CHECK}": "check = tcp",
        "source = 10.0.3.2, 10.0.3.3\ntcp = lan\n": "",
        "server one = 10.0.3.10:8443 tls ca=internal-ca.pem sni=mattermost.internal":
            "server one = ${one}",
        "server two = 10.0.3.11:8443 tls ca=internal-ca.pem sni=mattermost.internal\n": "",
    }.items():  # fmt: skip
        assert old in text, old
        text = text.replace(old, new)
    tls = text[text.index("[tls mattermost]") : text.index("[pool mattermost]")]
    with InMemory(text.replace(tls, ""), "one") as balancer:
        yield balancer


def test_aStrangerIsReset(memory):
    """Row 000.7: no server gets a connection, and the refusal is counted."""
    client = memory.client(OUTSIDE)
    client.sends(request("/"))
    client.isReset()
    memory.server("one").acceptsNothing()
    assert memory.running.frontend("mattermost").inbound.traffic.refused == 1
    [line] = memory.lines
    assert json.loads(line)["termination"] == "PR--"


def test_bytesAfterTheRequest(memory):
    """Row 000.8: those in the same segment go on once, in order, and nothing is asked."""
    client = memory.client(INSIDE)
    client.sends(request("/chat", *UPGRADE) + b"\x00\xff GET / HTTP/1.1\r\n\r\n")
    server = memory.server("one").accepts()
    server.receives(rb"GET /chat HTTP/1.1\r\n.*\r\n\r\n\x00\xff GET / HTTP/1.1\r\n\r\n")
    client.sends(request("/", "X: more"))
    server.receivesExactly(request("/", "X: more"))
    server.sends(BLOB)
    client.receivesExactly(BLOB)
    client.closes()
    server.closes()
    [line] = map(json.loads, memory.lines)
    assert (line["target"], line["passthrough"]) == ("/chat", "iRule")
    assert memory.running.frontend("mattermost").inbound.traffic.exchanges == 1


@pytest.mark.parametrize(
    ("source", "fields"),
    [(INSIDE, UPGRADE), (OUTSIDE, (*UPGRADE, f"Cookie: {COOKIES['both']}"))],
    ids=["tunnel", "upgrade"],
)
def test_howLongAWebSocketMayBeSilent(memory, source, fields):
    """Row 000.3: longer than timeout-client, but not than timeout-tunnel."""
    client = memory.client(source)
    client.sends(request("/chat", *fields))
    server = memory.server("one").accepts()
    server.receives(rb"GET /chat .*")
    answer = (b"HTTP/1.1 101 Switching Protocols\r\n"
              b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")  # fmt: skip
    server.sends(answer)
    client.receives(rb"HTTP/1.1 101 .*")
    memory.advance(3590)
    client.sends(b"\x81\x00")
    server.receives(rb"\x81\x00")
    memory.advance(3590)
    client.receivesNothing()
    server.receivesNothing()
    memory.advance(20)
    [line] = map(json.loads, memory.lines)
    assert line["termination"][:2] in ("cD", "sD")


# WebSockets


def test_webSockets(tmp_path):
    """Row 000.3, in a tunnel and with HTTP still read, between a real client and server."""
    context = trusting(PUBLIC)
    with Chat(internal(tmp_path, "chat"), CHECK) as chat, starts(tmp_path, chat, chat) as balancer:
        for source, fields in (
            (INSIDE, {}), (OUTSIDE, {FIELD: "customvalue"}), (OUTSIDE, {"Cookie": COOKIES["both"]})
        ):  # fmt: skip
            for end in (lambda client: closes(client, chat, balancer.until), isClosed):
                with chats(
                    plain(balancer, source), NAME, ssl=context, additional_headers=fields
                ) as client:
                    exchanges(client, chat)
                    end(client)
        assert {head["Upgrade"] for head in chat.heads} == {"websocket"}
        balancer.until(lambda: len(balancer.lines) == 6)
    lines = [json.loads(line) for line in balancer.lines]
    assert [line["passthrough"] for line in lines] == ["iRule"] * 4 + ["Web Sockets"] * 2
    # The server's library closes first, and without the end of TLS.
    assert {line["termination"][:2] for line in lines} == {"SD"}


def test_whatIsNotHTTP(site):
    """Row 000.8: after the request, both sides may say what they like."""
    bad = b"\x00\xff GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    with comes(site, INSIDE) as client:
        client.sendall(request("/blob/1", *UPGRADE) + bad)
        assert wire.readExactly(client, len(BLOB + bad)) == BLOB + bad
        client.sendall(bad)
        assert wire.readExactly(client, len(bad)) == bad
    [came] = found(site, "/blob/1")
    assert came.rest == bad + bad
    assert logged(site, "/blob/1")["passthrough"] == "iRule"


# TLS and connections


VERSIONS = [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_versionsOfTLS(site, version):
    """Row 000.1: from TLSv1.1 on."""
    with comes(site, INSIDE, clientContext(PUBLIC, version, version)) as client:
        assert client.version() == version.name.replace("_", ".")
        assert asks(client, HOST)[0].startswith("HTTP/1.1 200 ")


def test_oldVersionsOfTLS(tmp_path):
    """Row 000.1: TLSv1.0 gets its alert; another listener's floor is its own."""
    old, new = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    second = freePort()
    more = {"[pool mattermost]": f"""\
[frontend new]
bind = 127.0.0.1:{second} tls=new accept-proxy
pool = mattermost
[tls new]
certificate = mattermost.pem
minimum = TLSv1.2
[pool mattermost]"""}
    with Witness("one", internal(tmp_path, "one"), CHECK) as one, \
            starts(tmp_path, one, one, **more) as balancer:  # fmt: skip
        for version, port in ((old, balancer.port), (old, second), (new, second)):
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                comes(balancer, INSIDE, clientContext(PUBLIC, version, version), port)
        with comes(balancer, INSIDE, clientContext(PUBLIC, new, new)) as client:
            asks(client, HOST)
        with comes(balancer, INSIDE, port=second) as client:
            asks(client, HOST)
        assert sum(len(came.heads) for came in one.connections) == 2


def test_TLSToTheServers(site):
    """Row 000.2: with the name that is set."""
    site.until(lambda: all(server.names for server in site.servers))
    assert {*site.servers[0].names, *site.servers[1].names} == {"mattermost.internal"}


def test_aServerThatIsNotVerified(tmp_path):
    """Row 000.2: it is marked down, and with no other the answer is 503."""
    with Witness("one", internal(tmp_path, "one", PUBLIC), CHECK) as one, \
            starts(tmp_path, one, one) as balancer:  # fmt: skip
        balancer.until(lambda: balancer.events.count(" is DOWN") == 2)
        with comes(balancer, INSIDE) as client:
            assert asks(client, HOST)[0].startswith("HTTP/1.1 503 ")
        assert not one.connections


def test_connectionsToServersAreUsedAgain(site):
    """Row 000.9: ten clients, one connection; one that was a WebSocket is not kept."""
    for number in range(10):
        with comes(site, INSIDE) as client:
            asks(client, HOST, line=f"GET /again/{number} HTTP/1.1")
    [came] = {id(came): came for n in range(10) for came in found(site, f"/again/{n}")}.values()
    with comes(site, INSIDE) as client:
        client.sendall(request("/blob/again", *UPGRADE))
        assert wire.readExactly(client, len(BLOB)) == BLOB
    [tunnelled] = found(site, "/blob/again")
    assert tunnelled is not came
    with comes(site, INSIDE) as client:
        asks(client, HOST, line="GET /again/last HTTP/1.1")
    assert len(tunnelled.heads) == 1
    [last] = found(site, "/again/last")
    assert last is not tunnelled


def test_oneSourceHasOneServer(site):
    """Row 000.10, as far as a source goes: without a cookie it decides."""
    bodies = {}
    for number in (*range(1, 17), *range(1, 17)):
        with comes(site, f"192.168.0.{number}") as client:
            bodies.setdefault(number, set()).add(asks(client, HOST)[1])
    assert all(len(found) == 1 for found in bodies.values())
    assert set.union(*bodies.values()) == {"one", "two"}


def test_addressesTowardsServers(site):
    """Row 000.11: these and no others."""
    site.until(lambda: len(site.servers[0].peers) > 1)
    for server in site.servers:
        assert server.peers <= {"127.0.0.2", "127.0.0.3"}


def test_profilesOfBothSides(site):
    """Row 000.12."""
    with comes(site, INSIDE) as client:
        client.sendall(request("/blob/profile", *UPGRADE))
        wire.readExactly(client, len(BLOB))
        [came] = found(site, "/blob/profile")
        server = next(one for one in site.servers if came in one.connections)
        near = far = None
        for skt in borrowed(site.pid):
            if peerOf(skt) == client.getsockname():
                near = skt
            elif peerOf(skt) == server.server_address and skt.getsockname() == came.peer:
                far = skt
            else:
                skt.close()
        said = {}
        for name, skt in (("near", near), ("far", far)):
            said[name] = [skt.getsockopt(socket.IPPROTO_TCP, option) for option in (
                socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT,
            )]  # fmt: skip
            assert skt.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert said == {"near": [1, 45, 15, 4, 120000], "far": [1, 10, 2, 3, 5000]}
        # The kernel doubles it for what it keeps beside the data, up to its own limit.
        with open("/proc/sys/net/core/wmem_max") as most:
            wanted = 2 * min(256 * 1024, int(most.read()))
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == wanted
        near.close()
        far.close()
