"""
C{etc/connect-proxies.ini}: clients that use proxies, through the balancer and a real squid.

What its seed means (rows 001.1 to 001.6), where inside is 10.0.0.0/8:

    method     path             source     host                    becomes
    CONNECT    -                any        any                     a tunnel to the pool squid
    other      below /admin     outside    any                     a reset
    other      below /admin     inside     as below                as below
    other      any other        any        some.host.com           the pool some
    other      any other        any        someother.host.com      the pool someother
    other      any other        any        any other               the pool squid
"""

import base64
import json
import os
import shutil
import ssl
import tempfile
import threading

import pytest
from authority import Authority, pem
from loopback import wire
from loopback.running import Child, freePorts, listens, until, write
from recipe import Mirror, started

import programs
from lbtwist.sansio.proxyheader import encodeV2

pytestmark = pytest.mark.needs("squid")

INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.1"
AUTHORITY = Authority("Targets")
NAME = "secret.host.com"
NCSA = "/usr/lib/squid/basic_ncsa_auth"


class Squid(Child):
    """
    A squid with a port for each proxy of the recipe. What it is asked for by http it asks
    of C{origin}; a CONNECT it does itself, and all names are of this machine.

    @ivar ports: by the names of the recipe's servers; an answer says which it came by in
        the field C{X-Through}.
    """

    def __init__(self, directory, origin):
        names = ("one", "two", "some", "someother")
        self.ports = dict(zip(names, freePorts(len(names)), strict=True))
        # It gives up its privileges, and then has to read this.
        self._open = tempfile.mkdtemp(prefix="squid")
        os.chmod(self._open, 0o755)
        write(directory / "squid.err", "")
        hosts = f"{self._open}/hosts"
        with open(hosts, "w") as file:
            file.write(f"127.0.0.1 {NAME} some.host.com asking.host.com\n")
        with open(f"{self._open}/users", "w") as file:
            file.write("user:$apr1$aaaaaaaa$MqchNCVdxX0pf/Qh4kRT.0\n")
        listening = "\n".join(
            f"http_port 127.0.0.1:{port} name={name}\n"
            f"acl by_{name} myportname {name}\n"
            f"reply_header_add X-Through {name} by_{name}"
            for name, port in self.ports.items()
        )
        config = write(
            directory / "squid.conf",
            f"""\
visible_hostname squid.test
pid_filename none
cache_log {self._open}/cache.log
access_log none
logfile_rotate 0
coredump_dir {self._open}
cache deny all
memory_pools off
shutdown_lifetime 0 seconds
pinger_enable off
hosts_file {hosts}
follow_x_forwarded_for allow all
forwarded_for delete
auth_param basic program {NCSA} {self._open}/users
auth_param basic children 1 startup=0
acl CONNECT method CONNECT
acl denied dstdomain denied.host.com
acl asking dstdomain asking.host.com
acl known proxy_auth REQUIRED
http_access deny denied
http_access deny asking !known
http_access allow all
{listening}
cache_peer 127.0.0.1 parent {origin.port} 0 originserver no-query no-digest name=origin
cache_peer_access origin deny CONNECT
never_direct deny CONNECT
never_direct allow all
""",
        )
        super().__init__(
            [programs.find("squid"), "-N", "-f", str(config)], directory, "squid"
        )

    def __enter__(self):
        try:
            self.until(lambda: all(map(listens, self.ports.values())))
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self):
        super().kill()
        shutil.rmtree(self._open, ignore_errors=True)


class Secret:
    """A server of TLS that says what it was told, and that nobody in between can read."""

    def __init__(self, directory):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(AUTHORITY.issue(NAME).write(directory / "target.pem"))
        self._socket = wire.listening()
        self.port = wire.port(self._socket)

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._socket.close()

    def _serve(self):
        self._socket.settimeout(None)
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(wire.SECONDS)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        try:
            with self._context.wrap_socket(connection, server_side=True) as secured:
                while data := secured.recv(65536):
                    secured.sendall(data)
        except OSError:
            return


REPLACED = {
    "10.0.3.10:3128": "one", "10.0.3.11:3128": "two", "10.0.3.20:3128": "some",
    "10.0.3.30:3128": "someother",
}  # fmt: skip


def starts(directory, squid, **more):
    """@return: the recipe in front of a squid; its clients say where they come from."""
    (port,) = freePorts(1)
    replaced = {"bind = :3128": f"bind = 127.0.0.1:{port} accept-proxy"}
    replaced |= {old: f"127.0.0.1:{squid.ports[name]}" for old, name in REPLACED.items()}
    balancer = started("connect-proxies.ini", directory, replaced | more)
    balancer.port = port
    return balancer


@pytest.fixture(scope="module")
def squid(tmp_path_factory):
    directory = tmp_path_factory.mktemp("squid")
    with Mirror("origin") as origin, Squid(directory, origin) as squid:
        squid.origin = origin
        yield squid


@pytest.fixture(scope="module")
def proxies(tmp_path_factory, squid):
    """The recipe, at work."""
    directory = tmp_path_factory.mktemp("connect")
    with Secret(directory) as secret, starts(directory, squid) as balancer:
        balancer.secret = secret
        yield balancer


def comes(balancer, source):
    """@return: the socket of a client that says where it comes from."""
    client = wire.connect(balancer.port)
    client.sendall(encodeV2((source, 40000), ("192.0.2.9", 3128)))
    return client


def asking(url, *fields):
    """@return: a request for a URL, as it is sent to a proxy."""
    lines = [f"GET {url} HTTP/1.1", f"Host: {url.split('/')[2]}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def gets(client, url, *fields):
    """@return: the status, the proxy that has answered, and the head."""
    client.sendall(asking(url, *fields))
    head, body, _ = wire.readResponse(client)
    fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return int(head.split()[1]), fields.get("x-through"), fields


def logged(balancer, text):
    return json.loads(balancer.line(text))


def isReset(client):
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def tunnels(client, target, *fields, method="CONNECT"):
    """@return: the head of the answer; what follows it is for whoever reads on."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {target}", *fields, "", ""]
    client.sendall("\r\n".join(lines).encode())
    head = wire.readUntil(client, b"\r\n\r\n")
    return head.decode()


def saysThroughTLS(client, data):
    """Speak TLS with the target, and with nobody before it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(AUTHORITY.certificate).decode())
    with context.wrap_socket(client, server_hostname=NAME) as secured:
        # One after the other: a connection of TLS is no thing for two threads.
        for at in range(0, len(data), 65536):
            piece = data[at : at + 65536]
            secured.sendall(piece)
            assert wire.readExactly(secured, len(piece)) == piece


HOSTS = {
    # Row 001.6: exact names, however they are written.
    "some.host.com": {"some"},
    "Some.Host.COM": {"some"},
    "some.host.com:8080": {"some"},
    "some.host.com.": {"some"},
    "someother.host.com": {"someother"},
    "someother.host.com:80": {"someother"},
    "host.com": {"one", "two"},
    "www.some.host.com": {"one", "two"},
    "some.host.com.example.org": {"one", "two"},
    "other.host.com": {"one", "two"},
}

PATHS = {
    # Row 001.5: whether only those inside get there.
    "/": False,
    "/page": False,
    "/x/admin": False,
    "/?/admin": False,
    "/admi": False,
    "/admin": True,
    "/admin?x": True,
    "/admin/x": True,
    "/administrator": True,
    "/ADMIN": True,
    "/%61dmin": True,
    "//admin": True,
    "/x/../admin": True,
    "/./admin": True,
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_whereItGoes(proxies, host, source):
    for path, closed in PATHS.items():
        with comes(proxies, source) as client:
            if closed and source == OUTSIDE:
                client.sendall(asking(f"http://{host}{path}"))
                isReset(client)
                continue
            status, through, _ = gets(client, f"http://{host}{path}")
            assert (status, through in HOSTS[host]) == (200, True), (path, through)


def test_whoIsReset(proxies, squid):
    """Not a byte comes back, no proxy hears of it, and the log says who has refused."""
    with comes(proxies, OUTSIDE) as client:
        client.sendall(asking("http://some.host.com/admin/unheard"))
        isReset(client)
    line = logged(proxies, "/admin/unheard")
    assert (line["termination"][:2], line["server"]) == ("PR", None)
    assert not any("/admin/unheard" in head[0] for head in squid.origin.heads)


def test_withoutNormalPaths(tmp_path, squid):
    """As the seed has it: what is written otherwise passes."""
    more = {"path.normal.lower()": "path"}
    with starts(tmp_path, squid, **more) as balancer:
        for path, closed in PATHS.items():
            plain = path.startswith("/admin")
            assert closed or not plain
            with comes(balancer, OUTSIDE) as client:
                if plain:
                    client.sendall(asking(f"http://x{path}"))
                    isReset(client)
                else:
                    assert gets(client, f"http://x{path}")[0] == 200


def test_noHost(proxies):
    with comes(proxies, INSIDE) as client:
        client.sendall(b"GET http://some.host.com/ HTTP/1.1\r\n\r\n")
        head, _, _ = wire.readResponse(client)
        assert head.startswith(b"HTTP/1.1 400 ")


def test_theProxyKnowsWhoAsks(proxies, squid):
    """And tells nobody."""
    with comes(proxies, OUTSIDE) as client:
        status, _, _ = gets(client, "http://some.host.com/who?asks", "X-Forwarded-For: 8.8.8.8")
        assert status == 200
    (head,) = [head for head in squid.origin.heads if "/who?asks" in head[0]]
    assert not any(OUTSIDE in line or "8.8.8.8" in line for line in head)


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
@pytest.mark.parametrize("host", [NAME, "127.0.0.1"])
def test_tunnel(proxies, source, host):
    """Rows 001.1 and 001.9."""
    data = os.urandom(1 << 20)
    target = f"{host}:{proxies.secret.port}"
    with comes(proxies, source) as client:
        assert tunnels(client, target).startswith("HTTP/1.1 200 ")
        saysThroughTLS(client, data)
    lines = until(lambda: [json.loads(line) for line in proxies.lines if target in line])
    assert {line["pool"] for line in lines} == {"squid"}
    assert {line["passthrough"] for line in lines} == {"Connect"}


def test_connectAfterOthersOnOneConnection(proxies):
    """Row 001.2."""
    with comes(proxies, OUTSIDE) as client:
        for host in ("some.host.com", "someother.host.com", "other.host.com"):
            status, through, _ = gets(client, f"http://{host}/before")
            assert (status, through in HOSTS[host]) == (200, True)
        assert tunnels(client, f"{NAME}:{proxies.secret.port}").startswith("HTTP/1.1 200 ")
        saysThroughTLS(client, b"and then a tunnel")


def test_rulesForPathsAreNoneForTunnels(proxies):
    """As in the seed, a CONNECT comes first: what it names is a pool for others."""
    with comes(proxies, OUTSIDE) as client:
        head = tunnels(client, f"some.host.com:{proxies.secret.port}")
        assert head.startswith("HTTP/1.1 200 ")
        saysThroughTLS(client, b"x")
    line = logged(proxies, f"some.host.com:{proxies.secret.port}")
    assert line["pool"] == "squid"


@pytest.mark.parametrize(("host", "status"), [("denied.host.com", 403), ("asking.host.com", 407)])
def test_whatTheProxyRefuses(proxies, host, status):
    """Row 001.3: it is a response, and the connection is good for more."""
    with comes(proxies, OUTSIDE) as client:
        for _ in range(2):
            client.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            head, body, _ = wire.readResponse(client)
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert (b"\r\nProxy-Authenticate: Basic" in head) is (status == 407)
            assert b"<html" in body
        assert gets(client, "http://some.host.com/after")[:2] == (200, "some")
        assert tunnels(client, f"{NAME}:{proxies.secret.port}").startswith("HTTP/1.1 200 ")
        saysThroughTLS(client, b"after all")


@pytest.mark.skipif(not os.path.exists(NCSA), reason="squid has no basic_ncsa_auth")
def test_credentialsReachTheProxy(proxies):
    for password, status in (("wrong", "407"), ("secret", "200")):
        token = base64.b64encode(f"user:{password}".encode()).decode()
        target = f"asking.host.com:{proxies.secret.port}"
        with comes(proxies, OUTSIDE) as client:
            client.sendall(
                f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
                f"Proxy-Authorization: Basic {token}\r\n\r\n".encode()
            )
            assert client.recv(12) == f"HTTP/1.1 {status}".encode()


@pytest.mark.parametrize("method", ["connect", "Connect"])
def test_methodInAnyCase(proxies, method):
    """Row 001.4."""
    with comes(proxies, OUTSIDE) as client:
        head = tunnels(client, f"{NAME}:{proxies.secret.port}", method=method)
        assert head.startswith("HTTP/1.1 200 ")
        saysThroughTLS(client, b"x")


def test_methodsHaveACaseWithoutTheOption(tmp_path, squid):
    with starts(tmp_path, squid, **{"connect-any-case = yes": ""}) as balancer, \
            comes(balancer, OUTSIDE) as client:  # fmt: skip
        client.sendall(b"connect x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n")
        head, _, _ = wire.readResponse(client)
        assert head.startswith(b"HTTP/1.1 400 ")


def test_bothProxiesAreUsed(proxies):
    """Tunnels are spread as requests are."""
    target = f"{NAME}:{proxies.secret.port}"
    clients = [comes(proxies, OUTSIDE) for _ in range(4)]
    for client in clients:
        assert tunnels(client, target).startswith("HTTP/1.1 200 ")
    for client in clients:
        client.close()

    def servers():
        return {json.loads(line)["server"] for line in proxies.lines if target in line}

    until(lambda: servers() == {"one", "two"}, what=servers)
