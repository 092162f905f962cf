"""
C{etc/redis-shared.ini}: two balancers send a client to the same server, whichever of them it
comes by; their Redis is killed and comes back while requests go on.
"""

import random
import threading
from contextlib import ExitStack

import pytest
from loopback.running import until
from loopback.storing import Stored
from recipe import Mirror, asks, connects, started

from programs import freePort

pytest.importorskip("txredisapi")
pytestmark = pytest.mark.needs("redis-server")

HOST = "Host: shop.example.org"


@pytest.fixture
def site(tmp_path):
    """Two balancers with the recipe, their servers, and their Redis."""
    with Stored() as stored, Mirror("one") as one, Mirror("two") as two, ExitStack() as stack:
        site = Site(stored, (one, two))
        for name in ("first", "second"):
            port = freePort()
            replaced = {
                ":8080": f"127.0.0.1:{port}", "127.0.0.1:6379": stored.address,
                "127.0.0.1:8001": one, "127.0.0.1:8002": two,
                # A loaded machine is no Redis that is away.
                "deadline=100ms": "deadline=2s",
            }  # fmt: skip
            balancer = started("redis-shared.ini", tmp_path / name, replaced)
            balancer.port = port
            site.balancers.append(stack.enter_context(balancer))
        yield site


class Site:
    def __init__(self, stored, mirrors):
        self.stored = stored
        self.mirrors = mirrors
        self.balancers = []

    def served(self, client, by, line="GET / HTTP/1.1"):
        """
        @param client: its number.
        @param by: the number of a balancer.
        @return: the status, and who has answered.
        """
        with connects(self.balancers[by].port, source=f"127.1.0.{client}") as connection:
            head, body = asks(connection, HOST, "Content-Length: 0", line=line)
        return int(head.split()[1]), body

    def says(self, word):
        """Both balancers have said of their Redis that it is away, or back."""
        line = f"Redis at {self.stored.address} is {word}"
        until(lambda: all(line in balancer.events for balancer in self.balancers))


def test_aClientHasOneServerByBothBalancers(site):
    clients = range(1, 13)
    first = {client: site.served(client, client % 2) for client in clients}
    assert set(first.values()) == {(200, "one"), (200, "two")}
    for by in (0, 1, 1, 0):
        assert {client: site.served(client, by) for client in clients} == first


def test_firstRequestsAtOnce(site):
    """Of one client, by both balancers."""
    for client in range(20, 28):
        found = []
        asking = [
            threading.Thread(target=lambda by: found.append(site.served(client, by)),  # noqa: B023
                             args=(number % 2,))
            for number in range(6)
        ]  # fmt: skip
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert len(found) == 6
        assert len(set(found)) == 1, found


def test_passwordsAreTriedTenTimes(site):
    line = "POST /login HTTP/1.1"
    found = [site.served(1, number % 2, line)[0] for number in range(12)]
    assert found == [200] * 10 + [429] * 2
    assert site.served(2, 0, line)[0] == 200
    assert site.served(1, 0)[0] == 200


def test_theRedisIsKilledUnderLoad(site):
    """No request fails; afterwards clients have one server again, by both balancers."""
    chance = random.Random(5)
    over = threading.Event()
    statuses = []

    def asking(client):
        while not over.is_set():
            statuses.append(site.served(client, chance.randrange(2))[0])

    clients = range(40, 44)
    threads = [threading.Thread(target=asking, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(statuses) > 20)
        for _ in range(2):
            site.stored.kill()
            site.says("away")
            count = len(statuses)
            until(lambda: len(statuses) > count + 20)  # noqa: B023
            site.stored.again()
            site.says("back")
            count = len(statuses)
            until(lambda: len(statuses) > count + 20)  # noqa: B023
            for balancer in site.balancers:
                # What is waited for next has not been said yet.
                balancer._out.write_text("")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert set(statuses) == {200}
    first = {client: site.served(client, 0) for client in clients}
    for by in (1, 0, 1):
        assert {client: site.served(client, by) for client in clients} == first
