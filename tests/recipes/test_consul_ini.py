"""
C{etc/consul.ini}: instances register, fail their checks, go and come back, and so does
Consul; requests do not notice.
"""

import http.client
import json
import re
import sys
import threading

import pytest
from loopback.running import Child, environment, listens, until
from recipe import Mirror, asks, connects, started

from programs import freePort

TOKEN = "b1gs3cret"
HOST = "Host: www.example.org"


class Consul(Child):
    """
    A process that answers as Consul does.

    @ivar port: where it listens.
    """

    script = __file__.replace("recipes/test_consul_ini.py", "consul_like.py")

    def __init__(self, directory, port):
        self.port = port
        command = [sys.executable, self.script, str(port), TOKEN]
        super().__init__(command, directory, "consul", env=environment())
        self.until(lambda: listens(port))

    def puts(self, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("PUT", f"/v1/agent/service/{path}", json.dumps(body))
        assert connection.getresponse().status == 200
        connection.close()

    def register(self, mirror, tag="stable", weight=1):
        self.puts("register", {
            "ID": mirror.name, "Name": "web", "Port": mirror.port, "Address": "127.0.0.1",
            "Tags": [tag], "Weights": {"Passing": weight, "Warning": 1},
        })  # fmt: skip


@pytest.fixture
def site(tmp_path):
    """The balancer with the recipe, in front of nobody yet, and its Consul."""
    (tmp_path / "consul.token").write_text(f"{TOKEN}\n")
    with Mirror("sorry") as sorry, Consul(tmp_path / "consul", freePort()) as consul:
        port = freePort()
        replaced = {
            ":8080": f"127.0.0.1:{port}", "127.0.0.1:8500": f"127.0.0.1:{consul.port}",
            "127.0.0.1:8000": sorry,
        }  # fmt: skip
        balancer = started("consul.ini", tmp_path, replaced)
        balancer.port, balancer.consul = port, consul
        with balancer:
            yield balancer


def served(balancer, *fields):
    """@return: the status of an answer, and who has given it."""
    with connects(balancer.port) as client:
        head, body = asks(client, HOST, *fields)
    return int(head.split()[1]), body


def becomes(balancer, *names, fields=()):
    """Wait until requests are served by these, all of them and no others."""
    count = 6 * len(names)
    wanted = {(200, name) for name in names}
    until(lambda: {served(balancer, *fields) for _ in range(count)} == wanted)


def test_instancesComeAndGo(site):
    consul = site.consul
    assert served(site) == (200, "sorry")
    with Mirror("one") as one, Mirror("two") as two:
        consul.register(one)
        becomes(site, "one")
        consul.register(two)
        becomes(site, "one", "two")
        consul.puts("status/one", "critical")
        becomes(site, "two")
        consul.puts("status/one", "passing")
        becomes(site, "one", "two")
        consul.puts("deregister/two")
        becomes(site, "one")
        until(lambda: "gone: web-two" in site.events)
        assert one.checks and two.checks
    assert TOKEN not in site.events


def test_beta(site):
    """Those who have the cookie; where nobody is registered that is what they are told."""
    with Mirror("one") as one, Mirror("next") as following:
        site.consul.register(one)
        becomes(site, "one")
        assert served(site, "Cookie: beta=1")[0] == 503
        site.consul.register(following, tag="beta")
        becomes(site, "next", fields=("Cookie: beta=1",))
        assert served(site) == (200, "one")
        site.consul.puts("deregister/next")
        until(lambda: served(site, "Cookie: beta=1")[0] == 503)


def test_consulGoesAwayAndComesBack(site, tmp_path):
    """Requests go on; what has changed meanwhile counts as soon as it is there."""
    consul = site.consul
    with Mirror("one") as one, Mirror("two") as two:
        consul.register(one)
        becomes(site, "one")
        consul.kill()
        until(lambda: re.search(r"web/web \(consul:.*\) fails: .* is kept, 1 server", site.events))
        for _ in range(20):
            assert served(site) == (200, "one")
        with Consul(tmp_path / "again", consul.port) as again:
            again.register(two)
            becomes(site, "two")
            until(lambda: "answers again, after" in site.events)
            failing = [line for line in site.events.splitlines() if "web/web" in line]
            assert sum(" fails: " in line for line in failing) == 1


def test_noRequestFailsWhileInstancesChange(site):
    """Many, over connections of their own, with a new set of instances each moment."""
    statuses = []
    over = threading.Event()

    def client():
        while not over.is_set():
            statuses.append(served(site)[0])

    with Mirror("one") as one, Mirror("two") as two, Mirror("three") as three:
        mirrors = {mirror.name: mirror for mirror in (one, two, three)}
        site.consul.register(one)
        becomes(site, "one")
        clients = [threading.Thread(target=client) for _ in range(4)]
        for thread in clients:
            thread.start()
        for gone, came in (("", "two"), ("one", "three"), ("two", "one"), ("three", "two")):
            site.consul.register(mirrors[came])
            until(lambda: f"new: web-{came}" in site.events)  # noqa: B023
            if gone:
                site.consul.puts(f"deregister/{gone}")
            until(lambda: f"gone: web-{gone}" in site.events or not gone)  # noqa: B023
        over.set()
        for thread in clients:
            thread.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}
