"""Servers as Docker runs them, over a real UNIX socket to somebody who is like it."""

import json
import os
import shutil
import tempfile

from sourced import QuietSite, SourcedTestCase
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.web.resource import Resource


class DockerLike(Resource):
    """
    Tells of its containers those that are asked for.

    @ivar broken: what it says in their place: status and body.
    """

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.containers = []
        self.broken = None
        self.filters = None

    def render_GET(self, request):
        assert request.path == b"/containers/json"
        self.filters = json.loads(request.args[b"filters"][0])
        if self.broken is not None:
            request.setResponseCode(self.broken[0])
            return self.broken[1]
        request.setHeader("Content-Type", "application/json")
        [label] = self.filters["label"]
        return json.dumps([one for one in self.containers if self.has(one, label)]).encode()

    @staticmethod
    def has(container, label):
        name, equals, value = label.partition("=")
        labels = container.get("Labels", {})
        return name in labels and (not equals or labels[name] == value)


def container(name, address="172.17.0.2", ports=(8000,), networks=None, label="web", **more):
    """@return: what Docker says of one."""
    networks = networks or {"bridge": address}
    return {
        "Id": f"{name}0123456789abcdef",
        "Names": [f"/{name}"],
        "State": "running",
        "Labels": {"com.example.app": label},
        "Ports": [{"PrivatePort": port, "Type": "tcp"} for port in ports],
        "NetworkSettings": {
            "Networks": {
                key: {"IPAddress": value, "GlobalIPv6Address": ""}
                for key, value in networks.items()
            }
        },
        **more,
    }


class DockerTests(SourcedTestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        self.path = f"{directory}/docker.sock"
        self.docker = DockerLike()
        self.listening = self.comes()

    def comes(self):
        listening = reactor.listenUNIX(self.path, QuietSite(self.docker))
        self.addCleanup(self.ends, listening)
        return listening

    def asks(self, label="com.example.app=web", options=""):
        self.starts(f"docker:{label} socket={self.path} interval=50ms {options}")

    @inlineCallbacks
    def test_theyComeAndGo(self):
        one, two = container("one"), container("two", "172.17.0.3")
        self.docker.containers = [one, container("db", "172.17.0.9", label="db")]
        self.asks()
        yield self.has("172.17.0.2:8000")
        assert self.servers == {"web-one": "172.17.0.2:8000"}
        assert self.docker.filters == {"label": ["com.example.app=web"], "status": ["running"]}
        self.docker.containers = [two, one]
        yield self.has("172.17.0.2:8000", "172.17.0.3:8000")
        assert [server.name for server in self.pool.servers] == ["web-one", "web-two"]
        one["State"] = "exited"
        yield self.has("172.17.0.3:8000")

    @inlineCallbacks
    def test_aLabelOfAnyValue(self):
        self.docker.containers = [container("one", label="x"), container("two", "172.17.0.3")]
        self.asks("com.example.app")
        yield self.has("172.17.0.2:8000", "172.17.0.3:8000")

    @inlineCallbacks
    def test_portsAndNetworks(self):
        networks = {"back": "172.18.0.2", "front": "172.19.0.2"}
        self.docker.containers = [container("one", ports=(80, 443), networks=networks)]
        self.asks(options="port=443 network=front")
        yield self.has("172.19.0.2:443")

    @inlineCallbacks
    def test_IPv6(self):
        one = container("one")
        network = {"IPAddress": "", "GlobalIPv6Address": "2001:db8::2"}
        one["NetworkSettings"]["Networks"] = {"six": network}
        self.docker.containers = [one]
        self.asks()
        yield self.has("[2001:db8::2]:8000")

    @inlineCallbacks
    def test_containersOfNoUse(self):
        """The others are taken, and what to do is said."""
        udp = container("udp", "172.17.0.8")
        udp["Ports"][0]["Type"] = "udp"
        twice = container("twice", "172.17.0.7")
        twice["Ports"] *= 2
        self.docker.containers = [
            container("two", "172.17.0.3", ports=(443, 80)), container("host", ""),
            container("none", "172.17.0.4", ports=()), udp, {"Id": "x"}, 7, None,
            container("one"), twice,
        ]  # fmt: skip
        self.docker.has = lambda one, label: True
        self.asks()
        yield self.has("172.17.0.2:8000", "172.17.0.7:8000")
        assert list(self.membership.left) == [
            "two exposes 80, 443: write port=NUMBER",
            "host has no address of its own; has it the network of the host?",
            "none exposes no port: write port=NUMBER",
            "udp exposes no port: write port=NUMBER",
            "x: KeyError 'NetworkSettings'",
            "container 6: AttributeError 'int' object has no attribute 'get'",
            "container 7: AttributeError 'NoneType' object has no attribute 'get'",
        ]

    @inlineCallbacks
    def test_aNetworkThatItIsNotIn(self):
        self.docker.containers = [container("one")]
        self.asks(options="network=front")
        yield self.fails("it names no server: one is not in the network front, only in bridge")

    @inlineCallbacks
    def test_itGoesAwayAndComesBack(self):
        self.docker.containers = [container("one")]
        self.asks()
        yield self.has("172.17.0.2:8000")
        for broken, reason in (
            ((500, b"no"), "HTTP status 500"), ((200, b"{}"), "what Docker answers is not a list"),
            ((200, b"["), "what Docker answers is not JSON"), ((200, b"[]"), "it names no server"),
        ):  # fmt: skip
            self.docker.broken = broken
            yield self.fails(reason)
        yield self.listening.stopListening()
        yield self.until(lambda: not os.path.exists(self.path))
        yield self.fails("No such file")
        assert self.addresses == ["172.17.0.2:8000"]
        self.docker.broken = None
        self.docker.containers = [container("one"), container("two", "172.17.0.3")]
        self.comes()
        yield self.has("172.17.0.2:8000", "172.17.0.3:8000")
