"""WebSocket between two wsproto peers through lbtwist, on every reactor."""

import os

import pytest
from loopback import wire
from loopback.speaking import Peer
from wsproto import ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    Request,
    TextMessage,
)

SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]

pytestmark = pytest.mark.needs("nginx")


@pytest.fixture
def peers(balancer, server):
    """A client and a server that have shaken hands through the balancer."""
    with wire.connect(balancer.ports["own"]) as near:
        client = Peer(near, ConnectionType.CLIENT)
        client.send(Request("test", "/chat", subprotocols=["one", "two"]))
        with wire.accept(server) as far:
            peer = Peer(far, ConnectionType.SERVER)
            asked = peer.receive(Request)
            assert (asked.target, asked.subprotocols) == ("/chat", ["one", "two"])
            peer.send(AcceptConnection(subprotocol="two"))
            assert client.receive(AcceptConnection).subprotocol == "two"
            yield client, peer


@pytest.mark.parametrize("size", SIZES)
def test_messagesPassBothWays(peers, size):
    data = os.urandom(size)
    text = "ä" * (size // 2)
    for one, other in (peers, peers[::-1]):
        with wire.Doing(one.send, BytesMessage(data)):
            assert other.receive(BytesMessage) == data
        with wire.Doing(one.send, TextMessage(text)):
            assert other.receive(TextMessage) == text


def test_pingAndPongPassBothWays(peers):
    for one, other in (peers, peers[::-1]):
        one.send(Ping(b"there?"))
        asked = other.receive(Ping)
        other.send(asked.response())
        assert one.receive(Pong).payload == b"there?"


def test_theEndIsToldAndTheConnectionsClosed(peers):
    client, peer = peers
    client.send(CloseConnection(1000, "enough"))
    told = peer.receive(CloseConnection)
    assert (told.code, told.reason) == (1000, "enough")
    peer.send(told.response())
    assert client.receive(CloseConnection).code == 1000
    peer.socket.close()
    assert client.socket.recv(1) == b""
