"""
Addresses that are not of the balancer: connections to them are caught on their way
(TPROXY), and an accepted socket knows where its client wanted to go.

    client 10.1.0.2 --- eth0 10.1.0.1 balancer        ... 1.1.1.1, 192.0.2.55: nowhere
"""

import sys

import netns
import pytest

pytestmark = pytest.mark.needs("ip")

PORT = 8080

IPTABLES = """
{program} -t mangle -N DIVERT
{program} -t mangle -A DIVERT -j MARK --set-mark 1
{program} -t mangle -A DIVERT -j ACCEPT
{program} -t mangle -A PREROUTING -p tcp -m socket --transparent -j DIVERT
{program} -t mangle -A PREROUTING -p tcp --dport 80 -j TPROXY --tproxy-mark 0x1/0x1 --on-port {port}
"""

NFT = """
table inet lbtwist {{
    chain prerouting {{
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto tcp socket transparent 1 meta mark set 1 accept
        meta nfproto ipv4 tcp dport 80 tproxy ip to :{port} meta mark set 1 accept
        meta nfproto ipv6 tcp dport 80 tproxy ip6 to :{port} meta mark set 1 accept
    }}
}}
"""

LISTEN = """
import sys
from lbtwist.config.model import Bind
from lbtwist.net.addresses import listen, pair

with listen(Bind("tcp", sys.argv[1], int(sys.argv[2]), transparent=True)) as listening:
    print("ready", flush=True)
    while True:
        skt, peer = listening.accept()
        with skt:
            skt.sendall(" ".join(map(str, pair(skt.family, skt.getsockname()))).encode())
"""

READ = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 3) as skt:
    print(skt.recv(100).decode())
"""


def catch(space, with_, port):
    """Install the how-to's rules; skips what this kernel does not have."""
    try:
        if with_ == "nft":
            space.run("nft -f -", stdin=NFT.format(port=port))
        else:
            for program in ("iptables", "ip6tables"):
                for line in IPTABLES.format(program=program, port=port).split("\n"):
                    if line:
                        space.run(line)
    except netns.Refused as refused:
        pytest.skip(f"this kernel has no TPROXY for {with_}: {refused}")
    space.ip(
        "rule add fwmark 1 lookup 100",
        "route add local 0.0.0.0/0 dev lo table 100",
        "-6 rule add fwmark 1 lookup 100",
        "-6 route add local ::/0 dev lo table 100",
    )


@pytest.fixture
def pair(network):
    client, balancer = network.namespace("c"), network.namespace("b")
    network.wire(
        (client, "eth0", "10.1.0.2/24", "2001:db8:1::2/64"),
        (balancer, "eth0", "10.1.0.1/24", "2001:db8:1::1/64"),
    )
    client.ip("route add default via 10.1.0.1", "-6 route add default via 2001:db8:1::1")
    balancer.sysctl(net__ipv4__ip_forward=1)
    return client, balancer


BOTH = [
    pytest.param(name, marks=pytest.mark.needs(program, *more))
    for name, program, *more in (("iptables", "iptables"), ("nft", "nft"))
]


@pytest.mark.parametrize("rules", BOTH)
def test_anAcceptedSocketHasTheOriginalDestination(pair, rules):
    """Row 003.9."""
    client, balancer = pair
    catch(balancer, rules, PORT)
    with balancer.program(sys.executable, "-c", LISTEN, "", str(PORT), ready="ready"):
        for host in ("192.0.2.55", "1.1.1.1", "2001:db8:ffff::7"):
            assert client.python(READ, host, "80") == [f"{host} 80"]
        # What is of this machine is not touched by it.
        assert client.python(READ, "10.1.0.1", str(PORT)) == [f"10.1.0.1 {PORT}"]


@pytest.mark.parametrize("rules", BOTH)
def test_theBalancerAnswersForAnAddressThatIsNotItsOwn(pair, rules, tmp_path):
    """Row 003.9."""
    client, balancer = pair
    catch(balancer, rules, 80)
    path = tmp_path / "lb.ini"
    path.write_text(
        "[frontend www]\nbind = 1.1.1.1:80 transparent\npool = app\n"
        "[pool app]\nserver one = demo:one\n"
    )
    with balancer.balancer(path):
        assert netns.ask(client, "1.1.1.1", 80)[0] == "HTTP/1.1 200 OK"
        with pytest.raises(netns.Refused):
            netns.ask(client, "1.1.1.2", 80)


def test_withoutTransparentTheAddressCannotBeHad(pair, tmp_path):
    _, balancer = pair
    path = tmp_path / "lb.ini"
    path.write_text(
        "[frontend www]\nbind = 1.1.1.1:80\npool = app\n[pool app]\nserver one = demo:one\n"
    )
    with pytest.raises(netns.Refused, match=r"no interface of this machine has that address"), \
            balancer.balancer(path):  # fmt: skip
        pass
