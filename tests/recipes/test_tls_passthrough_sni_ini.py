"""
C{etc/tls-passthrough-sni.ini}: servers with their own certificates behind one address,
chosen by what a ClientHello says, and not a byte changed.
"""

import contextlib
import os
import ssl
import subprocess

import pytest
from authority import Authority
from loopback import wire
from recipe import Mirror, asks, connects, serving, started, trusting

from lbtwist.testing.memory import Balancer as InMemory
from programs import find, freePort

AUTHORITY = Authority()
SERVERS = {
    "one": ("10.0.3.10:8443", "www.example.org", "example.org"),
    "two": ("10.0.3.11:8443", "www.example.org", "example.org"),
    "shop": ("10.0.3.20:8443", "one.shop.example.org", "two.shop.example.org"),
    "mail": ("10.0.3.30:993", "mail.example.org"),
    "acme": ("10.0.3.40:10443", "challenge.invalid"),
}
WWW = {"one", "two"}


def starts(directory, **servers):
    """
    @param servers: by the names of L{SERVERS}.
    @return: the recipe, with its C{port}.
    """
    port = freePort()
    replaced = {":443 ": f"127.0.0.1:{port} "}
    replaced |= {SERVERS[name][0]: one for name, one in servers.items()}
    balancer = started("tls-passthrough-sni.ini", directory, replaced)
    balancer.port = port
    return balancer


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """The recipe, at work; each of C{servers} has a certificate of its own."""
    directory = tmp_path_factory.mktemp("sites")
    servers = {}
    with contextlib.ExitStack() as stack:
        for name, (_, *names) in SERVERS.items():
            context = serving(AUTHORITY.issue(*names), directory / f"{name}.pem")
            if name == "acme":
                context.set_alpn_protocols(["acme-tls/1"])
            servers[name] = stack.enter_context(Mirror(name, context))
        balancer = stack.enter_context(starts(directory, **servers))
        balancer.servers = servers
        yield balancer


def client(*protocols):
    """@return: the context of a client that offers these protocols."""
    context = trusting(AUTHORITY)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


@pytest.mark.parametrize(
    ("name", "among"),
    [("www.example.org", WWW), ("WWW.Example.ORG", WWW), ("example.org", WWW),
     ("one.shop.example.org", {"shop"}), ("two.shop.example.org", {"shop"}),
     ("mail.example.org", {"mail"})],
)  # fmt: skip
def test_aServerByItsName(sites, name, among):
    """It shows its own certificate, which the client verifies, and speaks as it likes."""
    with connects(sites.port, client("http/1.1"), name) as secured:
        assert secured.version() == "TLSv1.3"
        assert asks(secured, f"Host: {name}")[1] in among
        shown = secured.getpeercert()["subjectAltName"]
        port = secured.getsockname()[1]
    [own] = {SERVERS[one][1:] for one in among}
    assert shown == tuple(("DNS", one) for one in own)
    # It is no TLS of ours: there is no ~ behind the frontend's name.
    assert sites.line(f"127.0.0.1:{port} ").split("] ")[1].startswith("secure ")


def test_aServerByItsProtocol(sites):
    """A challenge of RFC 8737 goes before the name, and is not every hello with ALPN."""
    context = client("acme-tls/1")
    context.check_hostname = False
    with connects(sites.port, context, "mail.example.org") as secured:
        assert secured.selected_alpn_protocol() == "acme-tls/1"
        assert asks(secured, "Host: mail.example.org")[1] == "acme"
    with connects(sites.port, client("acme-tls/2", "h2"), "mail.example.org") as secured:
        assert asks(secured, "Host: mail.example.org")[1] == "mail"


def test_withoutAName(sites):
    """The default; who connects to an address asks for no name (RFC 6066 section 3)."""
    context = client()
    context.check_hostname = False
    with connects(sites.port, context, None) as secured:
        assert asks(secured, "Host: x")[1] in WWW


@pytest.mark.parametrize("name", ["example.com", "evilexample.org", "mail.example.org.evil.net"])
def test_aNameThatIsNotOurs(sites, name):
    """It is reset, and no server hears of it."""
    with connects(sites.port) as plain:
        port = plain.getsockname()[1]
        plain.sendall(hello(name))
        with pytest.raises(ConnectionResetError):
            plain.recv(1)
    line = sites.line(f"127.0.0.1:{port} ")
    assert " secure/<NOSRV> " in line and " PR " in line


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", b"\x16\x03"])
def test_whatIsNoHello(sites, sent):
    """It is closed, at once or when it ends too soon, and never answered."""
    with connects(sites.port) as plain:
        port = plain.getsockname()[1]
        plain.sendall(sent)
        # It may be gone by then.
        with contextlib.suppress(OSError):
            plain.shutdown(1)
            assert plain.recv(1) == b""
    assert " secure/<NOSRV> " in sites.line(f"127.0.0.1:{port} ")


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_anotherClient(sites, version):
    """openssl sees the server's own chain, in the version that it wants."""
    done = subprocess.run(
        [find("openssl"), "s_client", "-connect", f"127.0.0.1:{sites.port}", version,
         "-servername", "mail.example.org"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert "subject=CN = mail.example.org" in done.stdout
    assert f"New, TLSv1.{version[-1]}" in done.stdout


def hello(name, protocols=()):
    """@return: a whole ClientHello."""
    output = ssl.MemoryBIO()
    secured = client(*protocols).wrap_bio(ssl.MemoryBIO(), output, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        secured.do_handshake()
    return output.read()


LARGE = [f"protocol-{number:0>40}" for number in range(60)]


@pytest.mark.parametrize("protocols", [(), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_notAByteIsChanged(tmp_path, protocols, size):
    """The hello, in pieces too, and whatever follows it both ways, until both have ended."""
    sent = hello("mail.example.org", protocols)
    assert (len(sent) > 1700) == bool(protocols)
    more = os.urandom(1 << 20)
    with wire.listening() as server, starts(tmp_path, mail=f"127.0.0.1:{wire.port(server)}") as \
            balancer, wire.connect(balancer.port) as near:  # fmt: skip
        for at in range(0, len(sent), size):
            near.sendall(sent[at : at + size])
        far = wire.accept(server)
        while not (begun := far.recv(65536)):
            # A check, which connects and says nothing.
            far = wire.accept(server)
        assert begun + wire.readExactly(far, len(sent) - len(begun)) == sent
        for one, other in ((near, far), (far, near)):
            with wire.Doing(one.sendall, more):
                assert wire.readExactly(other, len(more)) == more
            one.shutdown(1)
            assert other.recv(1) == b""
        far.close()


# what a rule knows


KNOWN = """\
[frontend secure]
mode = tcp
bind = ${bind} tls-passthrough
log = ${log}
connection =
    reject    if tls
    reject    if tls.version or tls.cipher or tls.alpn or tls.client
    close     if not secure
    pool two  if tls.sni == "two.example" and "h2" in tls.offers
pool = one
[pool one]
server one = ${one}
[pool two]
server two = ${two}
"""


@pytest.mark.parametrize("size", [70, 1 << 20])
@pytest.mark.parametrize(
    ("name", "protocols", "server"),
    [("two.example", ["h2", "http/1.1"], "two"), ("two.example", [], "one"),
     ("one.example", ["h2"], "one"), ("two.example", ["h2", *LARGE], "two")],
)  # fmt: skip
def test_whatIsKnownOfAHello(name, protocols, server, size):
    """The name and the offers; C{tls} is no, since TLS does not end here."""
    sent = hello(name, protocols)
    with InMemory(KNOWN, "one", "two") as balancer:
        peer = balancer.connects()
        peer.sendsPieces(sent, size)
        # A UNIX socket is looked at now and then.
        balancer.advance(0.1)
        found = balancer.server(server).accepts()
        found.receivesExactly(sent)
        found.closes()
        peer.closes()
