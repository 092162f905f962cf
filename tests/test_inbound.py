"""What happens to an accepted connection before its protocol speaks: limits and addresses."""

import errno
import os
import socket

import attr
import pytest

from lbtwist.interfaces import IBalancer
from lbtwist.registry import Extension, Registry, installed
from lbtwist.testing import Balancer

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONFIG = """
[global]
SETTINGS
[frontend www]
bind = ${bind}
pool = app
log = ${log}
FRONTEND
[frontend other]
mode = tcp
bind = ${other}
pool = app
log = off
[pool app]
server a = ${a}
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts a balancer with two frontends."""
    def start(frontend="", settings="", registry=None):
        text = CONFIG.replace("FRONTEND", frontend).replace("SETTINGS", settings)
        text = text.replace("${other}", f"unix:{tmp_path}/other")
        return Balancer(text, "a", registry=registry)

    return start


def connection(balancer, **client):
    """The L{Connection} that a client has got."""
    peer = balancer.client(**client)
    [front] = balancer.running.frontend("www").inbound.connections
    found = front.connection
    peer.closes()
    return found


# addresses


def test_addresses(start):
    with start() as balancer:
        found = connection(balancer, host="203.0.113.7", port=1234)
        assert found.client == ("203.0.113.7", 1234)
        assert found.local == ("192.0.2.1", 80)
        assert found.acceptedAt == balancer.pump.seconds()
        assert not found.trusted


def test_numbers(start):
    with start() as balancer:
        assert [connection(balancer).number for _ in range(3)] == [1, 2, 3]
        assert balancer.running.process.accepted == 3
        assert balancer.running.frontend("www").inbound.traffic.connections == 3


def test_aUNIXSocket(start):
    with start() as balancer:
        peer = balancer.connects()
        [front] = balancer.running.frontend("www").inbound.connections
        assert front.connection.client == front.connection.local == ("unix", 0)
        peer.closes()


def test_whoIsGoneAlready(start):
    """The kernel may not know our address any more."""
    with start() as balancer:
        class Gone(socket.socket):
            family = socket.AF_INET

            def getsockname(self):
                raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

        def wrap(fd):
            return Gone(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)

        assert connection(balancer, wrap=wrap).local == ("", 0)


@pytest.mark.parametrize(
    "networks, host, trusted",
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8, 11.1.2.3", "11.1.2.3", True),
        ("2001:db8::/32", "2001:db8::7", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("10.0.0.0/8", "2001:db8::7", False),
    ],
)
def test_trustedProxies(start, networks, host, trusted):
    with start(f"trusted-proxies = {networks}") as balancer:
        assert connection(balancer, host=host).trusted == trusted


@pytest.mark.parametrize("networks, trusted", [("10.0.0.0/8", True), ("", False)])
def test_whoCanConnectToAUNIXSocketIsTrusted(start, networks, trusted):
    """Where anybody is."""
    with start(f"trusted-proxies = {networks}" if networks else "") as balancer:
        peer = balancer.connects()
        [front] = balancer.running.frontend("www").inbound.connections
        assert front.connection.trusted == trusted
        peer.closes()


# limits


def active(balancer, name="www"):
    return balancer.running.frontend(name).inbound.active


def test_maxconnOfAFrontend(start):
    """More wait in the kernel's queue until one has ended."""
    with start("maxconn = 2") as balancer:
        peers = [balancer.connects() for _ in range(4)]
        assert active(balancer) == 2
        peers[2].sends(GET)
        balancer.server("a").acceptsNothing()
        peers[0].closes()
        assert active(balancer) == 2
        peers[1].closes()
        assert active(balancer) == 2
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        peers[2].receivesExactly(OK)
        for peer in peers[2:]:
            peer.closes()
        assert active(balancer) == 0
        again = balancer.connects()
        assert active(balancer) == 1
        again.closes()


def test_maxconnOfTheProcess(start):
    """All frontends together; whoever is free goes on first."""
    with start(settings="maxconn = 3") as balancer:
        peers = [balancer.connects() for _ in range(3)]
        listeners = [
            balancer.running.frontend(name).inbound.listeners[0] for name in ("www", "other")
        ]
        assert not any(listener in balancer.pump.getReaders() for listener in listeners)
        assert balancer.running.process.full
        late = balancer.connects()
        assert active(balancer) == 3
        peers[0].closes()
        assert active(balancer) == 3
        late.closes()
        peers[1].closes()
        assert all(listener in balancer.pump.getReaders() for listener in listeners)
        peers[2].closes()
        assert balancer.running.process.active == 0


def test_bothLimits(start):
    """The end of a client of one frontend frees a place of the process, not of the other."""
    with start("maxconn = 1", settings="maxconn = 2") as balancer:
        [www] = balancer.running.frontend("www").inbound.listeners
        [other] = balancer.running.frontend("other").inbound.listeners
        first = balancer.client()
        second = balancer.client(frontend="other")
        readers = balancer.pump.getReaders()
        assert www not in readers and other not in readers
        second.closes()
        balancer.server("a").accepts().closes()
        readers = balancer.pump.getReaders()
        assert www not in readers and other in readers
        first.closes()
        assert www in balancer.pump.getReaders()


def test_closedWhileItWaits(start):
    """A frontend that does not accept now can be ended all the same."""
    with start("maxconn = 1") as balancer:
        peer = balancer.connects()
        waiting = balancer.connects()
        balancer.running.frontend("www").close()
        peer.closes()
        waiting.isReset()
        assert active(balancer) == 0


def test_repr(start):
    with start() as balancer:
        peer = balancer.client()
        assert repr(balancer.running.frontend("www").inbound) == "<Inbound www 1 active>"
        peer.closes()


# faults


class Broken:
    """A balancer of somebody else's with a fault."""

    @attr.frozen
    class Options:
        """None."""

    def __init__(self, options, context):
        pass

    def choose(self, servers, exchange):
        raise ZeroDivisionError


def test_aFaultOfAPartEndsOneConnection(start):
    """Of a session it is met while it is accepted: the listener must survive it."""
    broken = Extension(IBalancer, "roundrobin", f"{__name__}.Broken")
    known = installed()
    checks = [part for kind in known._parts.values() for part in kind.values()]
    with start(registry=Registry([broken, *checks])) as balancer:
        inbound = balancer.running.frontend("other").inbound
        [listener] = inbound.listeners
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(listener.socket.getsockname())
                balancer.pump.turn()
                assert client.recv(1) == b""
        assert len(balancer.failures) == 2
        assert all(failure.check(ZeroDivisionError) for failure in balancer.failures)
        balancer.failures.clear()
        assert inbound.active == balancer.running.process.active == 0
        assert listener in balancer.pump.getReaders()
