"""Servers as Consul knows them, over real connections to one that is like it."""

import json
import shutil
import tempfile

from consul_like import ConsulLike
from sourced import SourcedTestCase, pause
from twisted.internet.defer import inlineCallbacks

PATH = "/v1/health/service/web"


def entry(port=80, service=None, node="10.0.0.9", checks=("passing",), **more):
    """@return: an instance as Consul tells of it."""
    return {
        "Node": {"Address": node},
        "Service": {"ID": "w", "Address": "10.0.0.1", "Port": port, **more},
        "Checks": [{"Status": one} for one in checks],
    }


class ConsulTests(SourcedTestCase):
    def setUp(self):
        super().setUp()
        self.consul = ConsulLike()
        self.port, self.listening = self.listens(self.consul)

    def place(self):
        """@return: the path of a file that is not there yet."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return f"{directory}/token"

    def asks(self, query="", options="interval=100ms"):
        self.starts(f"consul:web{query}@127.0.0.1:{self.port} {options}")

    @inlineCallbacks
    def test_theyComeAndGo(self):
        """As soon as Consul knows it: a question waits there."""
        self.consul.register("one", 8001, weight=3)
        self.asks()
        yield self.has("127.0.0.1:8001")
        assert self.servers == {"web-one": "127.0.0.1:8001"}
        assert self.pool.servers[0].weight == 3
        yield self.until(lambda: self.consul.waiting)
        self.consul.register("two", 8002)
        yield self.has("127.0.0.1:8001", "127.0.0.1:8002")
        yield self.until(lambda: self.consul.waiting)
        self.consul.mark("one", "critical")
        yield self.has("127.0.0.1:8002")
        yield self.until(lambda: self.consul.waiting)
        self.consul.mark("one", "passing")
        yield self.has("127.0.0.1:8001", "127.0.0.1:8002")
        assert all(path == PATH for path, _ in self.consul.queries)
        assert self.consul.queries[0][1] == {"passing": ["1"]}
        assert self.consul.queries[1][1] == {"passing": ["1"], "index": ["11"], "wait": ["60s"]}

    @inlineCallbacks
    def test_aQuestionThatIsAnsweredWithoutNews(self):
        """After C{wait}: the answer is good, and the next question waits again."""
        self.consul.register("one", 8001)
        self.asks(options="interval=100ms wait=1s")
        yield self.has("127.0.0.1:8001")
        yield self.until(lambda: len(self.consul.queries) > 2)
        assert {query["index"][0] for _, query in self.consul.queries[1:]} == {"11"}
        assert self.membership.failures == 0
        assert self.membership.age(self.balancer.deadlines.seconds()) < 5

    @inlineCallbacks
    def test_whatIsAsked(self):
        self.consul.register("one", 8001, tags=("blue", "a b"))
        self.consul.register("two", 8002)
        self.starts(
            f'"consul:web?tag=blue&tag=a b&dc=east@127.0.0.1:{self.port}" interval=100ms'
        )
        yield self.has("127.0.0.1:8001")
        assert self.consul.queries[0][1] == {
            "passing": ["1"], "tag": ["blue", "a b"], "dc": ["east"],
        }  # fmt: skip

    @inlineCallbacks
    def test_anIndexThatGoesBackwards(self):
        """As after a restore: the next question begins anew and is answered at once."""
        self.consul.register("one", 8001)
        self.asks()
        yield self.until(lambda: self.consul.waiting)
        self.consul.changed(3)
        yield self.until(lambda: len(self.consul.queries) >= 4)
        indices = [query.get("index", ["none"])[0] for _, query in self.consul.queries]
        assert indices[:4] == ["none", "11", "none", "3"]

    @inlineCallbacks
    def test_anIndexOfNoUse(self):
        """0, less, none, garbage: without one no question waits, and none comes at once."""
        for index in ("0", "-4", "", "x", "9" * 40):
            body = json.dumps([entry()]).encode()
            self.consul.broken = (200, body, {"X-Consul-Index": index} if index else {})
            self.consul.queries.clear()
            self.asks(options="interval=200ms")
            yield self.until(lambda: len(self.consul.queries) >= 2)
            assert all("index" not in query for _, query in self.consul.queries)
            yield self.balancer.stopService()

    @inlineCallbacks
    def test_itGoesAwayAndComesBack(self):
        self.consul.register("one", 8001)
        self.asks()
        yield self.until(lambda: self.consul.waiting)
        self.events()
        self.consul.broken = (500, b"No cluster leader", {})
        self.consul.changed()
        yield self.fails("HTTP status 500")
        yield self.listening.stopListening()
        yield self.fails("refused")
        assert self.addresses == ["127.0.0.1:8001"]
        self.consul.broken = None
        self.consul.queries.clear()
        self.consul.register("two", 8002)
        self.listens(self.consul, self.port)
        yield self.has("127.0.0.1:8001", "127.0.0.1:8002")
        # It may have forgotten what its index was.
        assert "index" not in self.consul.queries[0][1]
        begins, ends, news = self.events()
        assert "fails: HTTP status 500; what it said " in begins
        assert "new: web-two" in ends and "answers again" in news

    @inlineCallbacks
    def test_allAreCritical(self):
        """An empty answer keeps the servers, unless it is allowed."""
        self.consul.register("one", 8001)
        self.asks()
        yield self.has("127.0.0.1:8001")
        self.consul.mark("one", "critical")
        yield self.fails("it names no server")
        assert self.addresses == ["127.0.0.1:8001"]
        yield self.balancer.stopService()
        self.consul.mark("one", "passing")
        self.asks(options="interval=100ms allow-empty")
        yield self.has("127.0.0.1:8001")
        self.consul.mark("one", "critical")
        yield self.has()

    @inlineCallbacks
    def test_token(self):
        """It is read each time, so it can be changed; what it is stands in no log."""
        self.consul.token = "s3cret"
        path = self.place()
        self.consul.register("one", 8001)
        self.asks(options=f"interval=100ms token={path}")
        yield self.fails(f"{path}: No such file or directory")
        for wrong in ("", "\n\n", "se\tcret\n", "s\xe9cret\n"):
            with open(path, "w", encoding="utf-8") as file:
                file.write(wrong)
            yield self.fails("its first line is no secret")
        assert self.consul.tokens == []
        with open(path, "w") as file:
            file.write("other\n")
        yield self.fails("HTTP status 403")
        with open(path, "w") as file:
            file.write("s3cret\n# a comment\n")
        yield self.has("127.0.0.1:8001")
        assert self.consul.tokens[-1] == "s3cret"
        assert not any("s3cret" in event for event in self.events())

    @inlineCallbacks
    def test_theTokenIsForConsulAlone(self):
        """It goes nowhere else, wherever Consul says that its answer is."""
        other = ConsulLike()
        port, _ = self.listens(other)
        path = self.place()
        with open(path, "w") as file:
            file.write("s3cret\n")
        where = f"http://127.0.0.1:{port}{PATH}"
        self.consul.broken = (302, b"", {"Location": where})
        self.asks(options=f"token={path}")
        yield self.fails("HTTP status 302")
        assert other.queries == []

    @inlineCallbacks
    def test_instances(self):
        """What is said of them, and what is not."""
        self.consul.broken = (200, json.dumps([
            entry(8001, ID="full", Weights={"Passing": 1000}),
            entry(8002, ID="node", Address=""),
            entry(8003, ID="Upper Case", Address="App.Example.COM"),
            entry(8004, ID="warns", checks=("passing", "warning")),
            entry(8005, ID="unchecked", checks=(), Weights=None),
            entry(0, ID="portless"),
            entry("x", ID="worded"),
            {"Node": {}},
            7,
            None,
        ]).encode(), {})  # fmt: skip
        self.asks()
        yield self.until(lambda: self.pool.servers)
        assert [(one.name, str(one.options), one.weight) for one in self.pool.servers] == [
            ("web-app.example.com:8003", "app.example.com:8003", 1),
            ("web-full", "10.0.0.1:8001", 256),
            ("web-node", "10.0.0.9:8002", 1),
            ("web-unchecked", "10.0.0.1:8005", 1),
        ]
        assert len(self.membership.left) == 5

    @inlineCallbacks
    def test_nonsense(self):
        for body, reason in (
            (b"", "is not JSON"), (b"[" * 100000, "is not JSON"), (b"{}", "is not a list"),
            (b"\xff", "is not JSON"), (b"[7]", "it names no server: instance 1: AttributeError"),
            (b" " * (5 << 20), "longer than 4096 KiB"),
        ):  # fmt: skip
            self.consul.broken = (200, body, {"X-Consul-Index": "5"})
            self.asks(options="allow-empty")
            yield self.fails(reason)
            yield self.balancer.stopService()

    @inlineCallbacks
    def test_stoppedWhileItWaits(self):
        """The connection is closed."""
        self.consul.register("one", 8001)
        self.asks()
        yield self.until(lambda: self.consul.waiting)
        yield self.balancer.stopService()
        yield self.until(lambda: not self.consul.waiting)
        yield pause()
