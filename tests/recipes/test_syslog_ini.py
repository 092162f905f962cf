"""
C{etc/syslog.ini}: a part of the requests and all failures reach the log server, which may be
away for a while; what happens to servers is told to people and to programs.
"""

import json

import pytest
from loopback.running import until
from recipe import Mirror, asks, connects, started
from syslogs import Datagrams, Server, parsed, uncounted

from programs import freePort

REQUESTS = 300


@pytest.fixture
def site(tmp_path):
    """The balancer with the recipe, in front of one server that is there and one that is not."""
    for directory in ("run", "log"):
        (tmp_path / directory).mkdir()
    port, inside = freePort(), freePort()
    with Mirror("one") as one:
        logs, events = Server(), Datagrams()
        balancer = started("syslog.ini", tmp_path, {
            "10.0.6.10:601": f"127.0.0.1:{logs.port}", "10.0.6.10:514": f"127.0.0.1:{events.port}",
            ":8080": f"127.0.0.1:{port}", "127.0.0.1:8081": f"127.0.0.1:{inside}",
            "10.0.5.10:8000": one, "10.0.5.11:8000": f"127.0.0.1:{freePort()}",
            "interval=2s": "interval=200ms",
        })  # fmt: skip
        balancer.port, balancer.inside, balancer.one = port, inside, one
        balancer.logs, balancer.told = logs, events
        with balancer:
            yield balancer
        logs.dies()
        events.dies()


def came(site):
    """@return: what the log server has, taken apart."""
    site.logs.reads()
    return [parsed(one) for data in site.logs.data for one in uncounted(data)[0]]


def asksOften(site, count=REQUESTS, agent="curl/8"):
    with connects(site.port) as client:
        for _ in range(count):
            asks(client, "Host: www.example.org", f"User-Agent: {agent}")


def oneIsDown(site):
    told = []
    until(lambda: told.extend(site.told.reads()) or any(b"app/two is DOWN" in x for x in told))
    return [parsed(one) for one in told]


def test_aPartOfTheRequests(site):
    oneIsDown(site)
    asksOften(site, agent='x" ]\\')
    until(lambda: len(came(site)) == REQUESTS // 100)
    for one in came(site):
        assert (one.facility, one.severity, one.id) == (16, 6, "access")
        assert one.data["server"] == "one" and one.data["status"] == "200"
        assert one.data["agent"] == "x#22 ]\\"


def fails(site):
    """
    A request without a Host is refused.

    @return: the client, as lines begin with it.
    """
    with connects(site.port) as client:
        address = "{}:{}".format(*client.getsockname())
        head, _ = asks(client)
    assert head.startswith("HTTP/1.1 400 ")
    return address


def clients(lines):
    return {line.split()[0] for line in lines}


def test_everyFailureWhileTheLogServerIsAwayForAWhile(site):
    """The failures are in the file at once, and on the server when it is back."""
    wanted = {fails(site) for _ in range(10)}
    until(lambda: len(came(site)) == 10)
    first, port = came(site), site.logs.port
    site.logs.dies()
    wanted |= {fails(site) for _ in range(20)}
    until(lambda: len((site.directory / "log/errors.log").read_text().splitlines()) == 30)
    until(lambda: f"log tcp:127.0.0.1:{port} cannot be written" in site.events)
    site.logs = Server(port)
    until(lambda: len(came(site)) == 20)
    assert clients(one.text for one in first + came(site)) == wanted
    assert {one.severity for one in first + came(site)} == {5}
    assert clients((site.directory / "log/errors.log").read_text().splitlines()) == wanted


def test_whatHappens(site):
    [told] = [one for one in oneIsDown(site) if "app/two is DOWN" in one.text]
    assert (told.facility, told.severity, told.id) == (3, 4, "event")
    events = (site.directory / "log/events.json").read_text().splitlines()
    found = [json.loads(line) for line in events]
    assert {"pool": "app", "server": "two", "after": "DOWN"}.items() <= next(
        one for one in found if one.get("what") == "down"
    ).items()


def test_insideStaysInside(site):
    with connects(site.inside) as client:
        asks(client, "Host: www.example.org", line="GET /private HTTP/1.1")
    site.line("/private")
    shown = fails(site)
    until(lambda: len(came(site)) == 1)
    assert came(site)[0].text.startswith(shown)
