"""[tcp] sections: what the kernel says was set, on both sides; and what it refuses."""

import errno
import socket

import pytest
from recorded import RecordedSocket
from streams import Noting

from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.config.model import Bind, TCPConfig
from lbtwist.errors import Position, StartError
from lbtwist.net.addresses import listen
from lbtwist.net.outgoing import Outgoing
from lbtwist.net.profiles import MAX_KEEPALIVE, Profile, RefusedOption, setAll
from lbtwist.registry import installed
from lbtwist.server import Endpoint
from lbtwist.snat import Origin
from lbtwist.testing import Pump

TCP = socket.IPPROTO_TCP
SOCKET = socket.SOL_SOCKET

MOBILE = TCPConfig(
    "mobile", nodelay=False, keepalive=61.0, keepalive_interval=11.5, keepalive_count=4,
    user_timeout=20.25, send_buffer=65536, receive_buffer=131072, congestion="reno", mss=1200,
)  # fmt: skip

SAID = [
    (TCP, socket.TCP_NODELAY, 0),
    (SOCKET, socket.SO_KEEPALIVE, 1),
    (TCP, socket.TCP_KEEPIDLE, 61),
    (TCP, socket.TCP_KEEPINTVL, 12),
    (TCP, socket.TCP_KEEPCNT, 4),
    (TCP, socket.TCP_USER_TIMEOUT, 20250),
    # The kernel doubles them for what it keeps beside the data (socket(7)).
    (SOCKET, socket.SO_SNDBUF, 131072),
    (SOCKET, socket.SO_RCVBUF, 262144),
]


def congestion(skt):
    return skt.getsockopt(TCP, socket.TCP_CONGESTION, 16).partition(b"\0")[0]


def check(skt):
    for level, option, value in SAID:
        assert skt.getsockopt(level, option) == value, (level, option)
    assert congestion(skt) == b"reno"


def test_theClientsSide():
    """Row 000.12: what the kernel says of an accepted socket."""
    with listen(Bind("tcp", "127.0.0.1", 0), Profile(MOBILE)) as skt:
        assert skt.getsockopt(TCP, socket.TCP_MAXSEG) == 1200
        with socket.create_connection(skt.getsockname()) as client:
            accepted, _ = skt.accept()
            with accepted:
                check(accepted)
                # What the balancer announced holds the client too.
                assert client.getsockopt(TCP, socket.TCP_MAXSEG) <= 1200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_theServersSide(host):
    """Row 000.12: and of one that is connected to a server."""
    pump = Pump()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as skt:
        protocol = Noting()
        transport = Outgoing(Endpoint(family, skt.getsockname()), protocol, pump)
        transport.prepare = Origin(profile=Profile(MOBILE)).prepare(None)
        transport.connect()
        pump.turn()
        assert protocol.transport is transport
        check(transport.socket)
        assert transport.socket.getsockopt(TCP, socket.TCP_MAXSEG) <= 1200
        assert transport.prepare is None
        transport.abortConnection()


def test_theConfigurationsSections():
    config, _ = loadText(
        "[tcp far]\nkeepalive = 77s\n[tcp near]\nnodelay = no\n"
        "[frontend www]\nbind = 127.0.0.1:0 tcp=far, 127.0.0.1:0\npool = app\n"
        "[pool app]\ntcp = near\nserver a = 127.0.0.1:8001 tcp=far\nserver b = 127.0.0.1:8002\n",
        installed(),
    )
    balancer = build(config, reactor=Pump())
    frontend = balancer.frontends["www"]
    frontend.open()
    try:
        idle = [
            listener.socket.getsockopt(TCP, socket.TCP_KEEPIDLE)
            for listener in frontend.inbound.listeners
        ]
        assert idle[0] == 77
        assert idle[1] != 77
    finally:
        frontend.close()
    named = [one.origin.profile.config.name for one in balancer.pools["app"].servers]
    assert named == ["far", "near"]


def test_onlyAListenerDefersAndOpensFast():
    profile = Profile(TCPConfig("fast", fastopen=128, defer_accept=2.5))
    connecting = {(level, option) for level, option, _, _ in profile.connecting}
    assert not connecting & {(TCP, socket.TCP_FASTOPEN), (TCP, socket.TCP_DEFER_ACCEPT)}
    with listen(Bind("tcp", "127.0.0.1", 0), profile) as skt:
        assert skt.getsockopt(TCP, socket.TCP_FASTOPEN) == 128
        assert skt.getsockopt(TCP, socket.TCP_DEFER_ACCEPT) >= 3


def test_whatIsNotSaidIsTheKernels():
    skt = RecordedSocket()
    setAll(skt, Profile(TCPConfig("plain")).listening)
    assert skt.options == {(TCP, socket.TCP_NODELAY): 1, (SOCKET, socket.SO_KEEPALIVE): 0}


def test_whatIsTooMuchForTheKernelIsItsMost():
    skt = RecordedSocket()
    config = TCPConfig("slow", keepalive=86400.0, keepalive_interval=0.1, user_timeout=1e9)
    setAll(skt, Profile(config).connecting)
    assert skt.options[TCP, socket.TCP_KEEPIDLE] == MAX_KEEPALIVE
    assert skt.options[TCP, socket.TCP_KEEPINTVL] == 1
    assert skt.options[TCP, socket.TCP_USER_TIMEOUT] == 0x7FFFFFFF


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (TCPConfig("x", congestion="none-such"), "congestion = none-such is refused: No such"),
        (TCPConfig("x", mss=20), "mss = 20 is refused"),
    ],
)
def test_whatTheKernelRefusesIsNamed(config, said):
    config = TCPConfig(config.name, congestion=config.congestion, mss=config.mss,
                       where=Position("lb.ini", 9, 1))  # fmt: skip
    with pytest.raises(StartError) as failed:
        Profile(config).verify()
    assert str(failed.value).startswith(f"lb.ini:9:1: [tcp x] {said}")
    if config.congestion:
        assert "tcp_available_congestion_control" in str(failed.value)


def test_aGoodOneIsVerified():
    Profile(MOBILE).verify()


def test_aRefusalKeepsTheErrorNumber():
    skt = RecordedSocket(refuses={("setsockopt", TCP, socket.TCP_CONGESTION): errno.EPERM})
    with pytest.raises(RefusedOption) as failed:
        setAll(skt, Profile(MOBILE).connecting)
    assert failed.value.errno == errno.EPERM
