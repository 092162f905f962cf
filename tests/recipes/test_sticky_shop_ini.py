"""
C{etc/sticky-shop.ini}: customers keep their server, and their session, while a new version is put
onto one server after the other.
"""

import pytest
import requests
from loopback.running import until
from places import Places
from recipe import started

from programs import freePort

pytestmark = pytest.mark.needs("nginx")

SHOPS = {"one": "10.0.3.10:8080", "two": "10.0.3.11:8080", "three": "10.0.3.12:8080"}
ACCOUNTS = {"four": "10.0.3.13:8080", "five": "10.0.3.14:8080"}

PLACE = """
location ~ /health$ {{
    if (-f {directory}/404) {{ return 404; }}
    if (-f {directory}/503) {{ return 503; }}
    return 200;
}}
location /account/login {{
    add_header Set-Cookie "JSESSIONID={name}-$request_id; Path=/account";
    return 200 "{name}";
}}
location / {{ return 200 "{name} $http_cookie"; }}
"""


class Shop(Places):
    """A server, whose health is what the test says."""

    def __init__(self, directory, name):
        self.said = directory / name
        self.said.mkdir()
        super().__init__(self.said, PLACE.format(directory=self.said, name=name))

    def says(self, status):
        for path in self.said.glob("[0-9][0-9][0-9]"):
            path.unlink()
        if status != 200:
            (self.said / str(status)).touch()


class Customer(requests.Session):
    """@ivar source: the address that it comes from."""

    def __init__(self, balancer, source):
        super().__init__()
        self.trust_env = False
        self.url = f"http://127.0.0.1:{balancer.port}"
        adapter = requests.adapters.HTTPAdapter()
        adapter.init_poolmanager(2, 2, source_address=(source, 0))
        self.mount("http://", adapter)

    def asks(self, path="/"):
        return self.get(self.url + path, timeout=20)

    def goes(self, path="/"):
        """@return: the name of the server that has answered."""
        answer = self.asks(path)
        assert answer.status_code == 200, answer.text
        return answer.text.split()[0]


@pytest.fixture
def shop(tmp_path):
    """The recipe at work: C{servers} by name, C{customer} gives a new one."""
    servers = {name: Shop(tmp_path, name) for name in (*SHOPS, *ACCOUNTS)}
    replaced = {place: servers[name] for name, place in {**SHOPS, **ACCOUNTS}.items()}
    port = freePort()
    replaced.update({
        ":8080\nforwarded": f"127.0.0.1:{port}\nforwarded", "192.0.2.0/24": "127.0.5.0/24",
        "interval=2s fast=500ms": "interval=100ms fast=100ms",
    })  # fmt: skip
    for server in servers.values():
        server.__enter__()
    with started("sticky-shop.ini", tmp_path, replaced) as balancer:
        balancer.port = port
        balancer.servers = servers
        balancer.customer = lambda source="127.0.0.1": Customer(balancer, source)
        yield balancer
    for server in servers.values():
        server.__exit__(None, None, None)


def customers(shop, count=6):
    """@return: so many, each from an address of its own, and where they are."""
    found = [shop.customer(f"127.0.1.{number}") for number in range(1, count + 1)]
    return {one: one.goes() for one in found}


def test_customersComeBack(shop):
    """With their cookie, and without one: no server sees it, and nobody could make one."""
    here = customers(shop)
    assert set(here.values()) == set(SHOPS)
    for _ in range(3):
        assert {one: one.goes() for one in here} == here
    for one, name in here.items():
        assert one.asks().text.split() == [name]
        one.cookies.clear()
        assert one.goes() == name, "by its address"


def test_whatTheCookieIs(shop):
    answer = shop.customer().asks()
    said = answer.headers["Set-Cookie"]
    assert said.startswith("SHOP=") and said.endswith("; path=/; HttpOnly; SameSite=Lax")
    assert answer.headers["Cache-Control"] == "private"
    forger = shop.customer("127.0.2.1")
    forger.cookies.set("SHOP", "one")
    assert "Set-Cookie" in forger.asks().headers


def test_picturesAreForCaches(shop):
    one = shop.customer()
    first = one.goes()
    answers = [one.asks("/static/a.png") for _ in range(6)]
    assert {answer.text.split()[0] for answer in answers} == set(SHOPS)
    assert not any("Set-Cookie" in answer.headers for answer in answers)
    assert one.goes() == first


def test_aNewVersion(shop):
    """All four steps, and nobody loses a basket but who was still there when it stopped."""
    here = customers(shop)
    server = shop.servers["one"]
    fresh = iter(range(1, 250))

    def newcomers():
        return {shop.customer(f"127.0.3.{next(fresh)}").goes() for _ in range(6)}

    server.says(404)
    until(lambda: "one" not in newcomers())
    assert {one: one.goes() for one in here} == here, "who is there stays"

    server.says(503)
    [*left] = [one for one, name in here.items() if name == "one"]
    until(lambda: left[0].goes() != "one")
    now = {one: one.goes() for one in here}
    assert "one" not in now.values()
    assert all(now[one] == name for one, name in here.items() if name != "one")

    tester = shop.customer("127.0.5.1")
    assert tester.goes("/?server=one") == "one"
    assert [tester.goes() for _ in range(3)] == ["one"] * 3
    assert shop.customer("127.0.4.1").goes("/?server=one") != "one", "who is not in the office"

    server.says(200)
    until(lambda: "one" in newcomers())
    assert {one: one.goes() for one in here} == now, "nobody moves for that"


def test_accounts(shop):
    """The session of the program itself; two customers at one address are two."""
    customers = [shop.customer() for _ in range(4)]
    here = {one: one.goes("/account/login") for one in customers}
    assert set(here.values()) == set(ACCOUNTS)
    for _ in range(3):
        assert {one: one.goes("/account/orders") for one in customers} == here
    for one, name in here.items():
        session = one.cookies["JSESSIONID"]
        one.cookies.clear()
        assert one.goes(f"/account/orders;JSESSIONID={session}?page=2") == name


def test_letters(shop):
    one = shop.customer()
    first = one.goes()
    one.goes()
    until(lambda: len(shop.lines) > 1)
    assert [line.split()[9] for line in shop.lines[:2]] == ["--NI", "--VN"]
    assert f" shop/{first} " in shop.lines[0]
