"""C{mode = tcp} with real sockets, on every reactor: streams, half-closes, resets."""

import os
import socket
import subprocess

import pytest
from loopback import wire

import programs

pytestmark = pytest.mark.needs("nginx")

LARGE = 20 << 20


@pytest.fixture
def session(balancer, server):
    """A client and a server that are connected through the balancer."""
    with wire.connect(balancer.ports["raw"]) as client, wire.accept(server) as connection:
        yield client, connection


def name(client):
    """What only the log line of a client's session has."""
    return f"127.0.0.1:{client.getsockname()[1]} [", "] raw "


def speak(one, other):
    """The tunnel stands when something has passed."""
    one.sendall(b"before")
    assert other.recv(10) == b"before"


def test_theServerMaySpeakFirst(session):
    client, server = session
    server.sendall(b"220 welcome\r\n")
    assert client.recv(100) == b"220 welcome\r\n"
    client.sendall(b"HELO\r\n")
    assert server.recv(100) == b"HELO\r\n"


def test_halfClosesPassBothWays(balancer, session):
    for one, other in (session, session[::-1]):
        one.sendall(b"last words")
        one.shutdown(socket.SHUT_WR)
        assert wire.readAll(other) == b"last words"
    client, _ = session
    assert balancer.line(*name(client)).split()[5:7] == ["10", "--"]


def test_aServerThatEndsItsSideCanBeSpokenTo(session):
    client, server = session
    server.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b""
    client.sendall(b"still here")
    client.shutdown(socket.SHUT_WR)
    assert wire.readAll(server) == b"still here"


@pytest.mark.needs("nc")
def test_ncSendsAndThenReads(balancer, server):
    command = [programs.find("nc"), "-N", "-w", "15", "127.0.0.1", str(balancer.ports["raw"])]
    data = os.urandom(300_000)
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asking,
        wire.Doing(asking.communicate, data) as answered,
        wire.accept(server) as connection,
    ):
        sent = wire.readAll(connection)
        connection.sendall(wire.digest(sent).encode())
        connection.shutdown(socket.SHUT_WR)
    assert answered.result[0].decode() == wire.digest(data)


def test_largeStreamsBothWaysAtOnce(balancer, session):
    client, server = session
    up, down = os.urandom(LARGE), os.urandom(LARGE)

    def send(connection, data):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    with (
        wire.Doing(send, client, up),
        wire.Doing(send, server, down),
        wire.Doing(wire.readAll, server) as received,
    ):
        assert wire.digest(wire.readAll(client)) == wire.digest(down)
    assert wire.digest(received.result) == wire.digest(up)
    assert balancer.line(*name(client)).split()[5:7] == [str(LARGE), "--"]


@pytest.mark.parametrize("first", ["client", "server"])
def test_aResetIsCarriedOver(balancer, session, first):
    client, server = session
    one, other = (client, server) if first == "client" else (server, client)
    speak(one, other)
    who = name(client)
    wire.reset(one)
    with pytest.raises(ConnectionResetError):
        other.recv(10)
    assert balancer.line(*who).split()[6] == ("CD" if first == "client" else "SD")


def test_aResetReachesWhoOnlyWrites(session):
    """Even where a write meets the reset before a read does."""
    client, server = session
    speak(client, server)
    wire.reset(server)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        for _ in range(10_000):
            client.sendall(bytes(65536))


def test_aResetComesWithoutAnEndOfFileBeforeIt(session):
    client, server = session
    speak(client, server)
    wire.reset(client)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    state = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0]
    assert state == 7, "TCP_CLOSE, see include/net/tcp_states.h"
