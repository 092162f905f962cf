"""
Two uplinks with two gateways: replies leave by the interface that was asked.

    client 203.0.113.9 --- gateway one 10.0.1.1 --- eth1 10.0.1.2 balancer
                       \\-- gateway two 10.0.2.1 --- eth2 10.0.2.3 balancer

The balancer's default route goes by gateway one, which takes no packet with an address
of the other uplink (RFC 2827), as a provider does.
"""

import sys

import netns
import pytest

pytestmark = pytest.mark.needs("ip")

BY_INTERFACE = """
[frontend www]
bind =
    10.0.1.2:443 interface=eth1
    10.0.2.3:443 interface=eth2
pool = app

[pool app]
server one = demo:one
"""


@pytest.fixture
def uplinks(network):
    client, balancer = network.namespace("c"), network.namespace("b")
    client.ip("address add 203.0.113.9/32 dev lo")
    for number, address in ((1, "10.0.1.2"), (2, "10.0.2.3")):
        gateway = network.namespace(f"g{number}")
        network.wire(
            (client, f"up{number}", f"172.16.{number}.2/24"),
            (gateway, "away", f"172.16.{number}.1/24"),
        )
        network.wire(
            (gateway, "near", f"10.0.{number}.1/24"), (balancer, f"eth{number}", f"{address}/24")
        )
        gateway.sysctl(net__ipv4__ip_forward=1, net__ipv4__conf__near__rp_filter=1)
        gateway.ip(f"route add 203.0.113.9 via 172.16.{number}.2")
        client.ip(f"route add 10.0.{number}.0/24 via 172.16.{number}.1 src 203.0.113.9")
        balancer.ip(f"route add default via 10.0.{number}.1 dev eth{number} metric {number}00")
        balancer.sysctl(**{f"net__ipv4__conf__eth{number}__rp_filter": 2})
    return client, balancer


def write(tmp_path, text):
    path = tmp_path / "lb.ini"
    path.write_text(text)
    return path


def sent(space, interface):
    return int(space.run(f"cat /sys/class/net/{interface}/statistics/tx_packets"))


def test_repliesLeaveByTheInterfaceTheyCameIn(uplinks, tmp_path):
    """Row 003.7."""
    client, balancer = uplinks
    with balancer.balancer(write(tmp_path, BY_INTERFACE)):
        for address in ("10.0.1.2", "10.0.2.3"):
            assert netns.ask(client, address, 443)[0] == "HTTP/1.1 200 OK"
        # Nothing of the answers by eth2 went the other way.
        before = sent(balancer, "eth1")
        for _ in range(20):
            netns.ask(client, "10.0.2.3", 443)
        assert sent(balancer, "eth1") - before < 20


def test_withoutItTheyLeaveByTheDefaultRoute(uplinks, tmp_path):
    client, balancer = uplinks
    text = BY_INTERFACE.replace(" interface=eth1", "").replace(" interface=eth2", "")
    with balancer.balancer(write(tmp_path, text)):
        assert netns.ask(client, "10.0.1.2", 443)[0] == "HTTP/1.1 200 OK"
        with pytest.raises(netns.Refused, match="timed out"):
            netns.ask(client, "10.0.2.3", 443)


def test_aRequestByTheOtherInterfaceIsNotAccepted(uplinks, tmp_path):
    client, balancer = uplinks
    with balancer.balancer(write(tmp_path, BY_INTERFACE)):
        client.ip("route replace 10.0.2.3 via 172.16.1.1 src 203.0.113.9")
        with pytest.raises(netns.Refused, match=r"refused|timed out|unreachable"):
            netns.ask(client, "10.0.2.3", 443)


def test_theRecipe(network, uplinks):
    client, balancer = uplinks
    server = network.namespace("s")
    network.wire((balancer, "eth0", "10.0.3.1/24"), (server, "eth0", "10.0.3.10/24"))
    serving = (sys.executable, "-c", netns.SERVER, "10.0.3.10", "8001")
    recipe = netns.ROOT / "etc" / "two-uplinks.ini"
    with server.program(*serving, ready="ready"), balancer.balancer(recipe):
        for address in ("10.0.1.2", "10.0.2.3"):
            assert netns.ask(client, address, 80) == ("HTTP/1.1 200 OK", "10.0.3.1")
        assert {item["state"] for item in netns.doctor(balancer, recipe)} == {"ok"}
        # A gateway that is gone is noticed.
        balancer.ip("route delete default via 10.0.2.1 dev eth2")
        looked = [item for item in netns.doctor(balancer, recipe) if item["state"] == "look"]
        assert "no default route leaves by eth2" in looked[0]["what"]


def test_anInterfaceThatIsNotThere(uplinks, tmp_path):
    _, balancer = uplinks
    path = write(tmp_path, BY_INTERFACE.replace("eth2", "eth7"))
    with pytest.raises(netns.Refused) as failed, balancer.balancer(path):
        pass
    assert "there is no interface 'eth7'" in str(failed.value)
    assert "eth1" in str(failed.value)
