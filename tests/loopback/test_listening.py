"""Every kind of address: where lbtwist listens, and where its servers do, on every reactor."""

import contextlib
import os
import socket
import stat
import sys

import pytest
from loopback import wire
from loopback.running import (
    REACTORS,
    Balancer,
    freePorts,
    freeRange,
    hasIPv6,
    listens,
    until,
)

GET = b"GET /name HTTP/1.1\r\nHost: test\r\n\r\n"

WRAPPER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[3], sys.argv[3:])
"""


def asks(client):
    """@return: the body of the answer to a request."""
    with client:
        client.sendall(GET)
        return wire.readResponse(client)[1]


@pytest.mark.needs("nginx")
def test_aUNIXSocket(balancer):
    path = balancer.directory / "www.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert asks(wire.connectUnix(path)) == b"nginx"


@pytest.mark.needs("nginx")
def test_aServerOnAUNIXSocket(balancer):
    assert asks(wire.connect(balancer.ports["local"])) == b"nginx"


@pytest.mark.needs("nginx")
@pytest.mark.skipif(not hasIPv6(), reason="this machine has no [::1]")
@pytest.mark.parametrize("reactor", REACTORS)
def test_ipv6OnBothSides(tmp_path, nginx, reactor):
    port, = freePorts(1)
    text = f"""\
        [global]
        log = file:access.log
        [frontend six]
        bind = [::1]:{port}
        pool = six
        [frontend both]
        bind = :{port + 1}
        pool = six
        [pool six]
        server nginx = {nginx.six[0]}
        """
    with Balancer(tmp_path, text, reactor) as balancer:
        assert asks(wire.connect(port, "::1")) == b"nginx"
        with pytest.raises(ConnectionRefusedError):
            wire.connect(port, "127.0.0.1")
        for host in ("::1", "127.0.0.1"):
            assert asks(wire.connect(port + 1, host)) == b"nginx"
        assert balancer.line(" six six/nginx ").startswith("::1:")
        clients = until(lambda: [line for line in balancer.lines if " both " in line][1:])
        assert clients[0].startswith("127.0.0.1:"), "not ::ffff:127.0.0.1"


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("reactor", REACTORS)
def test_aRangeOfPorts(tmp_path, nginx, reactor):
    first = freeRange(3)
    text = f"""\
        [frontend range]
        bind = 127.0.0.1:{first}-{first + 2}
        pool = app
        [pool app]
        server nginx = 127.0.0.1:{nginx.port}
        """
    with Balancer(tmp_path, text, reactor):
        for port in range(first, first + 3):
            assert asks(wire.connect(port)) == b"nginx"
    assert not any(listens(port) for port in range(first, first + 3))


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("reactor", REACTORS)
def test_socketsThatSomebodyElseOpened(tmp_path, nginx, reactor):
    """C{fd:N}, a descriptor that is inherited, and C{systemd:N} (sd_listen_fds(3))."""
    path = tmp_path / "passed.sock"
    with contextlib.ExitStack() as stack:
        inherited = stack.enter_context(wire.listening())
        zero = stack.enter_context(wire.listening())
        one = stack.enter_context(wire.listening(str(path), socket.AF_UNIX))
        # Out of the way of the descriptors 3 and 4, where the others go.
        number = os.dup2(inherited.fileno(), 50)
        stack.callback(os.close, number)
        text = f"""\
            [frontend fd]
            bind = fd:{number}
            pool = app
            [frontend systemd]
            bind = systemd:0, systemd:1
            pool = app
            [pool app]
            server nginx = 127.0.0.1:{nginx.port}
            """
        command = [sys.executable, "-c", WRAPPER, str(zero.fileno()), str(one.fileno())]
        passed = (number, zero.fileno(), one.fileno())
        with Balancer(tmp_path, text, reactor, command, pass_fds=passed):
            assert asks(wire.connect(wire.port(inherited))) == b"nginx"
            assert asks(wire.connect(wire.port(zero))) == b"nginx"
            assert asks(wire.connectUnix(path)) == b"nginx"
        # It was lent: who owns the socket may go on with it.
        with wire.connect(wire.port(inherited)) as client, wire.accept(inherited) as accepted:
            accepted.sendall(b"mine")
            assert client.recv(10) == b"mine"


def test_aDeadSocketFileIsReplaced(tmp_path):
    path = tmp_path / "www.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    text = """\
        [frontend www]
        bind = unix:www.sock mode=600
        pool = app
        [pool app]
        server one = demo:one
        """
    with Balancer(tmp_path, text):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"demonstration server one" in asks(wire.connectUnix(path))
    assert not path.exists(), "left behind"
