"""
Connections to servers that come from the client's address, and checks that do not.

    client 10.1.0.2 --- 10.1.0.1 balancer 10.2.0.1 --- server 10.2.0.2

The server's default route goes by the balancer, which catches the answers (DIVERT).
"""

import sys

import netns
import pytest

pytestmark = pytest.mark.needs("ip", "iptables")

CONFIG = """
[frontend www]
bind = :80
pool = app

[pool app]
check = http GET /health interval=200ms fall=1 rise=1
source = clientip
server one = {server}:8001
"""


@pytest.fixture
def bare(network):
    """Three machines, with nothing set up on the balancer."""
    client, balancer, server = map(network.namespace, "cbs")
    network.wire(
        (client, "eth0", "10.1.0.2/24", "10.1.0.3/24", "2001:db8:1::2/64"),
        (balancer, "eth0", "10.1.0.1/24", "2001:db8:1::1/64"),
    )
    network.wire(
        (balancer, "eth1", "10.2.0.1/24", "10.2.0.9/24", "2001:db8:2::1/64"),
        (server, "eth0", "10.2.0.2/24", "2001:db8:2::2/64"),
    )
    client.ip("route add default via 10.1.0.1")
    server.ip("route add default via 10.2.0.1", "-6 route add default via 2001:db8:2::1")
    return client, balancer, server


@pytest.fixture
def path(bare):
    client, balancer, server = bare
    balancer.sysctl(net__ipv4__ip_forward=1)
    try:
        for program in ("iptables", "ip6tables"):
            for command in (
                "-N DIVERT",
                "-A DIVERT -j MARK --set-mark 1",
                "-A DIVERT -j ACCEPT",
                "-A PREROUTING -p tcp -m socket --transparent -j DIVERT",
            ):
                balancer.run(f"{program} -t mangle {command}")
    except netns.Refused as refused:
        pytest.skip(f"this kernel cannot divert: {refused}")
    balancer.ip(
        "rule add fwmark 1 lookup 100",
        "route add local 0.0.0.0/0 dev lo table 100",
        "-6 rule add fwmark 1 lookup 100",
        "-6 route add local ::/0 dev lo table 100",
    )
    return client, balancer, server


def serving(space, host="10.2.0.2"):
    return space.program(sys.executable, "-c", netns.SERVER, host, "8001", ready="ready")


def started(tmp_path, text):
    path = tmp_path / "lb.ini"
    path.write_text(text)
    return path


def test_theServerSeesTheClientAndTheCheckIsOurs(path, tmp_path):
    """Row 003.8."""
    client, balancer, server = path
    config = started(tmp_path, CONFIG.format(server="10.2.0.2"))
    with serving(server), balancer.balancer(config):
        for address in ("10.1.0.2", "10.1.0.3", "10.1.0.2"):
            said = netns.ask(client, "10.1.0.1", 80, address)
            assert said == ("HTTP/1.1 200 OK", address)
        assert netns.ask(client, "10.1.0.1", 80, path="/checks")[1] == "10.2.0.1"


def test_iPv6(path, tmp_path):
    client, balancer, server = path
    config = started(tmp_path, CONFIG.format(server="[2001:db8:2::2]"))
    with serving(server, "2001:db8:2::2"), balancer.balancer(config):
        assert netns.ask(client, "2001:db8:1::1", 80)[1] == "2001:db8:1::2"
        assert netns.ask(client, "2001:db8:1::1", 80, path="/checks")[1] == "2001:db8:2::1"


def test_aFieldOfATrustedProxy(path, tmp_path):
    client, balancer, server = path
    text = CONFIG.format(server="10.2.0.2").replace("clientip", "hdr_ip(x-real-ip)")
    text = text.replace("bind = :80", "bind = :80\ntrusted-proxies = 10.1.0.2")
    ask = netns.ASK.replace("Host: x", "Host: x\\r\\nX-Real-IP: 10.1.0.3")
    with serving(server), balancer.balancer(started(tmp_path, text)):
        assert client.python(ask, "10.1.0.1", "80", "10.1.0.2", "/")[1] == "10.1.0.3"


def test_addressesInTurnAndAnInterface(path, tmp_path):
    client, balancer, server = path
    text = CONFIG.format(server="10.2.0.2").replace(
        "source = clientip",
        "http-reuse = never\nsource = 10.2.0.1, 10.2.0.9:20000-20009\nsource-interface = eth1",
    )
    with serving(server), balancer.balancer(started(tmp_path, text)):
        seen = {netns.ask(client, "10.1.0.1", 80)[1] for _ in range(8)}
        assert seen == {"10.2.0.1", "10.2.0.9"}


def test_oneProxyBringsManyClients(path, tmp_path):
    client, balancer, server = path
    text = CONFIG.format(server="10.2.0.2").replace("clientip", "hdr_ip(x-real-ip)")
    text = text.replace("bind = :80", "bind = :80\ntrusted-proxies = 10.1.0.2")
    with serving(server), balancer.balancer(started(tmp_path, text)):
        said = client.python(SEVERAL, "10.1.0.2", "10.1.0.3", "10.1.0.2")
        assert said == ["10.1.0.2", "10.1.0.3", "10.1.0.2"]


SEVERAL = """
import sys
from http.client import HTTPConnection

connection = HTTPConnection("10.1.0.1", 80, 3, ("10.1.0.2", 0))
for address in sys.argv[1:]:
    connection.request("GET", "/", headers={"X-Real-IP": address})
    print(connection.getresponse().read().decode())
"""


def test_theRecipeAndWhatTheDoctorSaysOfIt(bare):
    client, balancer, server = bare
    recipe = netns.ROOT / "etc" / "transparent.ini"
    with serving(server):
        missing = [one for one in netns.doctor(balancer, recipe) if one["state"] == "missing"]
        words = " ".join(one["what"] for one in missing)
        for needed in ("ip_forward", "no rule sends marked", "local route", "DIVERT", "TPROXY"):
            assert needed in words
        for one in missing:
            if "the kernel has no" in one["what"]:
                pytest.skip(one["what"])
            # What it says is what helps.
            balancer.run(["sh", "-c", one["mend"]])
        assert {one["state"] for one in netns.doctor(balancer, recipe)} == {"ok"}
        with balancer.balancer(recipe):
            assert netns.ask(client, "1.1.1.1", 80) == ("HTTP/1.1 200 OK", "10.1.0.2")
            assert netns.ask(client, "1.1.1.1", 80, path="/checks")[1] == "10.2.0.1"
