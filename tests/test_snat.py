"""Where connections to servers come from: what is bound, in which order, and what is tried next."""

import errno
import os
import socket
import subprocess
import sys

import pytest
from recorded import RecordedSocket
from streams import Noting

import lbtwist.net.outgoing
from lbtwist.config.model import PoolConfig, ServerConfig, Source, TCPConfig
from lbtwist.deadlines import Deadlines, Timed
from lbtwist.errors import Position, StartError
from lbtwist.exchange import Connection, Exchange
from lbtwist.net.addresses import IPV6_TRANSPARENT
from lbtwist.net.outgoing import Outgoing
from lbtwist.net.profiles import Profile
from lbtwist.reuse import Reuse
from lbtwist.sansio.headers import Fields
from lbtwist.server import Endpoint, Server
from lbtwist.snat import IP_BIND_ADDRESS_NO_PORT, MAX_TRIES, NoSource, Origin, originOf
from lbtwist.testing import Pump

NO_PORT = (socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT)
TRANSPARENT = (socket.IPPROTO_IP, socket.IP_TRANSPARENT)
CLIENT = Source("clientip")
FORWARDED = Source("field", field="x-forwarded-for")


def at(address, first=0, last=0):
    return Source("address", address, first, last)


class Asked:
    """A request's head, as far as it is looked at."""

    def __init__(self, *values, name=b"X-Forwarded-For"):
        self.fields = Fields()
        for value in values:
            self.fields.add(name, value)


def exchange(client="198.51.100.7", *forwarded, trusted=True):
    found = Exchange(Connection(1, (client, 4711), ("", 0), 0.0, trusted), None, (), 0.0)
    if forwarded:
        found.request = Asked(*forwarded)
    return found


def prepared(origin, about=None, family=socket.AF_INET, refuses=()):
    skt = RecordedSocket(family, refuses=refuses)
    origin.prepare(about)(skt)
    return skt


def bound(origin, about=None, family=socket.AF_INET):
    found = prepared(origin, about, family).bound
    return found[0] if found else None


# an address of ours


def test_nothingSaidIsNothingDone():
    origin = Origin()
    assert origin.plain
    assert origin.prepare(exchange()) is None


def test_anAddressWithoutAPort():
    skt = prepared(Origin((at("10.0.0.1"),)))
    assert skt.calls == [("setsockopt", *NO_PORT, 1), ("bind", ("10.0.0.1", 0))]


def test_severalAreTakenInTurn():
    origin = Origin((at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3")))
    assert [bound(origin)[0][-1] for _ in range(7)] == list("1231231")


def test_eachFamilyHasItsOwn():
    origin = Origin((at("10.0.0.1"), at("2001:db8::1"), at("10.0.0.2")))
    assert bound(origin, family=socket.AF_INET6) == ("2001:db8::1", 0)
    assert bound(origin) == ("10.0.0.1", 0)
    assert bound(origin) == ("10.0.0.2", 0)


def test_noneOfTheFamilyIsAFailure():
    with pytest.raises(NoSource, match="no source is an IPv6 address"):
        prepared(Origin((at("10.0.0.1"),)), family=socket.AF_INET6)


def test_aRangeGivesItsPortsInTurn():
    origin = Origin((at("10.0.0.1", 5000, 5002),))
    skt = prepared(origin)
    assert skt.calls == [
        ("setsockopt", socket.SOL_SOCKET, socket.SO_REUSEADDR, 1), ("bind", ("10.0.0.1", 5000))
    ]  # fmt: skip
    assert [bound(origin)[1] for _ in range(4)] == [5001, 5002, 5000, 5001]


def test_aPortInUseIsPassedOver():
    origin = Origin((at("10.0.0.1", 5000, 5002), at("10.0.0.2")))
    skt = prepared(origin, refuses={("bind", ("10.0.0.1", 5000)): errno.EADDRINUSE})
    assert skt.bound == [("10.0.0.1", 5000), ("10.0.0.1", 5001)]


def test_anAddressThatIsGoneIsPassedOver():
    origin = Origin((at("10.0.0.1"), at("10.0.0.2")))
    skt = prepared(origin, refuses={("bind", ("10.0.0.1", 0)): errno.EADDRNOTAVAIL})
    assert skt.bound == [("10.0.0.1", 0), ("10.0.0.2", 0)]


def test_whatIsExhaustedIsBounded():
    origin = Origin((at("10.0.0.1", 5000, 6000), at("10.0.0.2")))
    with pytest.raises(NoSource) as failed:
        prepared(origin, refuses={("bind",): errno.EADDRINUSE})
    assert failed.value.errno == errno.EADDRNOTAVAIL
    assert "10.0.0.1:5000-6000, 10.0.0.2" in failed.value.strerror
    skt = RecordedSocket(refuses={("bind",): errno.EADDRINUSE})
    with pytest.raises(NoSource):
        Origin((at("10.0.0.1", 5000, 6000),)).prepare(None)(skt)
    assert len(skt.bound) == MAX_TRIES


def test_anotherErrorIsNotHidden():
    with pytest.raises(PermissionError):
        prepared(Origin((at("10.0.0.1", 80, 80),)), refuses={("bind",): errno.EACCES})


def test_interfaceAndProfileComeBeforeTheAddress():
    skt = prepared(Origin((at("10.0.0.1"),), "eth2", Profile(TCPConfig("lan"))))
    assert skt.calls[0] == ("setsockopt", socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth2\0")
    assert skt.calls[1] == ("setsockopt", socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert skt.calls[-1] == ("bind", ("10.0.0.1", 0))


def test_aUnixSocketHasNoSource():
    assert prepared(Origin((CLIENT,), "eth2"), exchange(), socket.AF_UNIX).calls == []


# the client's address


def test_theClientsAddress():
    """Row 003.8: IP_TRANSPARENT is 19, and comes before bind."""
    skt = prepared(Origin((CLIENT,)), exchange("198.51.100.7"))
    assert skt.calls == [
        ("setsockopt", *TRANSPARENT, 1),
        ("setsockopt", *NO_PORT, 1),
        ("bind", ("198.51.100.7", 0)),
    ]
    assert TRANSPARENT == (0, 19)


def test_theClientsIPv6Address():
    """Row 003.8: IPV6_TRANSPARENT is 75."""
    skt = prepared(Origin((CLIENT,)), exchange("2001:db8::7"), socket.AF_INET6)
    assert skt.calls[0] == ("setsockopt", socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    assert IPV6_TRANSPARENT == 75
    assert skt.bound == [("2001:db8::7", 0)]


def test_checksComeFromUs():
    assert prepared(Origin((CLIENT,))).calls == []
    assert prepared(Origin((CLIENT, at("10.0.0.1")))).bound == [("10.0.0.1", 0)]


def test_theConnectionsAreOneClients():
    assert Origin((CLIENT,)).private
    assert Origin((at("10.0.0.1"), FORWARDED)).private
    assert not Origin((at("10.0.0.1"),), "eth2").private
    assert not Origin((CLIENT,)).once
    assert Origin((FORWARDED,)).once


def test_theServerTellsIt():
    assert not Server("app", "a").private
    assert not Server("app", "a", origin=Origin((at("10.0.0.1"),))).private
    assert Server("app", "a", origin=Origin((CLIENT,))).private


@pytest.mark.parametrize(("source", "kept"), [(CLIENT, True), (FORWARDED, False)])
def test_whatARequestSaysIsOfOneRequest(source, kept):
    pump = Pump()
    server = Server("app", "a", Endpoint(socket.AF_INET, ("", 1)), origin=Origin((source,)))
    deadlines = Deadlines(pump, pump.seconds)
    reuse = Reuse(PoolConfig("app"), deadlines)

    class Kept(Timed):
        endpoint = server.endpoint
        createdAt = 0.0

    assert reuse.keepPrivate({}, server, Kept(), 0.0) is kept
    deadlines.stop()


@pytest.mark.parametrize(
    ("client", "family"),
    [("unix", socket.AF_INET), ("2001:db8::7", socket.AF_INET), ("10.0.0.9", socket.AF_INET6),
     ("fe80::1%eth0", socket.AF_INET6), ("0.0.0.0", socket.AF_INET)],
)  # fmt: skip
def test_aClientThatCannotBeASource(client, family):
    assert prepared(Origin((CLIENT,)), exchange(client), family).calls == []
    host = "2001:db8::1" if family == socket.AF_INET6 else "10.0.0.1"
    assert bound(Origin((CLIENT, at(host))), exchange(client), family) == (host, 0)


# a field


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ([b"203.0.113.5"], "203.0.113.5"),
        ([b"192.0.2.1, 203.0.113.5"], "203.0.113.5"),
        ([b"192.0.2.1", b"192.0.2.9,203.0.113.5 "], "203.0.113.5"),
        ([b"203.0.113.5:8080"], "203.0.113.5"),
        ([b"::ffff:203.0.113.5"], "203.0.113.5"),
        ([b"x" * 5000 + b",203.0.113.5"], "203.0.113.5"),
    ],
)
def test_theLastAddressOfAField(values, host):
    assert bound(Origin((FORWARDED,)), exchange("10.9.9.9", *values)) == (host, 0)


@pytest.mark.parametrize("value", [b"2001:db8::5", b"[2001:db8::5]", b'"[2001:db8::5]:443"'])
def test_anIPv6AddressOfAField(value):
    about = exchange("2001:db8::7", value)
    assert bound(Origin((FORWARDED,)), about, socket.AF_INET6) == ("2001:db8::5", 0)


@pytest.mark.parametrize(
    "value",
    [b"", b"unknown", b"localhost", b"127.0.0.1", b"::ffff:127.0.0.1", b"0.0.0.0", b"224.0.0.1",
     b"255.255.255.255", b"1.2.3", b"203.0.113.5,", b"\xff\xfe", b"203.0.113.5 x", b"9" * 5000],
)  # fmt: skip
def test_aFieldThatIsNoSourceLeavesTheClients(value):
    assert bound(Origin((FORWARDED,)), exchange("10.9.9.9", value)) == ("10.9.9.9", 0)


def test_aFieldOfSomebodyUntrustedIsNotBelieved():
    about = exchange("10.9.9.9", b"203.0.113.5", trusted=False)
    assert bound(Origin((FORWARDED,)), about) == ("10.9.9.9", 0)


def test_aSessionWithoutRequest():
    assert bound(Origin((FORWARDED,)), exchange("10.9.9.9")) == ("10.9.9.9", 0)


# on the way of a connection


@pytest.fixture
def sockets(monkeypatch):
    """Real sockets whose connects may find no port: C{codes} is what they answer first."""

    class Made(list):
        codes = []

        def __call__(self, family, kind):
            made = self

            class Scripted(socket.socket):
                def connect_ex(self, address):
                    return made.codes.pop(0) if made.codes else super().connect_ex(address)

            self.append(Scripted(family, kind))
            return self[-1]

    found = Made()
    found.codes = []
    monkeypatch.setattr(lbtwist.net.outgoing, "newSocket", found)
    return found


def outgoing(origin, endpoint, about=None):
    pump = Pump()
    protocol = Noting()
    transport = Outgoing(endpoint, protocol, pump)
    transport.prepare = origin.prepare(about)
    transport.connect()
    pump.turn()
    return transport, protocol


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as skt:
        yield skt


def test_aConnectThatFindsNoPortIsTriedFromTheNext(sockets, listening):
    sockets.codes[:] = [errno.EADDRNOTAVAIL]
    origin = Origin((at("127.0.0.2"), at("127.0.0.3")))
    transport, protocol = outgoing(origin, Endpoint(socket.AF_INET, listening.getsockname()))
    assert protocol.transport is transport
    peer, (host, _) = listening.accept()
    peer.close()
    assert host == "127.0.0.3"
    assert [skt.fileno() < 0 for skt in sockets] == [True, False]
    transport.abortConnection()


def test_whenAllAreExhaustedTheReasonIsTold(sockets, listening):
    sockets.codes[:] = [errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EADDRINUSE]
    origin = Origin((at("127.0.0.2"), at("127.0.0.3", 20000, 20001)))
    _, protocol = outgoing(origin, Endpoint(socket.AF_INET, listening.getsockname()))
    assert isinstance(protocol.failed[0], NoSource)
    assert "127.0.0.2, 127.0.0.3:20000-20001" in protocol.failed[0].strerror
    assert all(skt.fileno() < 0 for skt in sockets)


def test_theKernelsChoiceIsTriedOnce(sockets, listening):
    sockets.codes[:] = [errno.EADDRNOTAVAIL] * 3
    origin = Origin(profile=Profile(TCPConfig("lan")))
    _, protocol = outgoing(origin, Endpoint(socket.AF_INET, listening.getsockname()))
    assert protocol.failed[0].errno == errno.EADDRNOTAVAIL
    assert len(sockets.codes) == 2


def test_aPortServesSeveralServers():
    origin = Origin((at("127.0.0.4", 20010, 20010),))
    ended = []
    for _ in range(2):
        skt = socket.create_server(("127.0.0.1", 0))
        transport, protocol = outgoing(origin, Endpoint(socket.AF_INET, skt.getsockname()))
        assert protocol.transport is transport
        assert transport.getHost().port == 20010
        ended += [transport.abortConnection, skt.close]
    for end in ended:
        end()


def test_anInterfaceThatIsGoneIsAConnectFailure(listening):
    _, protocol = outgoing(
        Origin(interface="no-such-if"), Endpoint(socket.AF_INET, listening.getsockname())
    )
    assert "no interface 'no-such-if'" in protocol.failed[0].strerror


# from the configuration


def test_aServerSaysOtherwiseThanItsPool():
    pool = PoolConfig("app", source=(at("10.0.0.1"),), source_interface="eth1", tcp="lan")
    profiles = {"lan": TCPConfig("lan"), "far": TCPConfig("far")}
    origin = originOf(pool, ServerConfig("a", "tcp"), profiles)
    assert (bound(origin), origin.interface) == (("10.0.0.1", 0), "eth1")
    assert origin.profile.config.name == "lan"
    server = ServerConfig("b", "tcp", source=(CLIENT,), source_interface="eth2", tcp="far")
    origin = originOf(pool, server, profiles)
    assert (origin.private, origin.interface, origin.profile.config.name) == (True, "eth2", "far")
    assert originOf(PoolConfig("app"), ServerConfig("a", "tcp"), {}).plain


def test_anInterfaceThatIsNotThereKeepsItFromStarting():
    origin = Origin(interface="no-such-if", where=Position("lb.ini", 7, 1))
    with pytest.raises(StartError, match=r"^lb.ini:7:1: source-interface: there is no interface"):
        origin.verify()


def test_aMissingPrivilegeKeepsItFromStarting(monkeypatch):
    def refused(skt):
        raise lbtwist.net.addresses.NotPermitted(errno.EPERM, "it takes CAP_NET_ADMIN")

    monkeypatch.setattr("lbtwist.snat.setTransparent", refused)
    with pytest.raises(StartError, match=r"^lb.ini:7:1: source: it takes CAP_NET_ADMIN"):
        Origin((CLIENT,), where=Position("lb.ini", 7, 1)).verify()
    Origin((at("10.0.0.1"),)).verify()


UNPRIVILEGED = """
import os
from lbtwist.config.model import Bind, Source
from lbtwist.errors import StartError
from lbtwist.net.addresses import listen
from lbtwist.snat import Origin

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for start in (
    Origin((Source("clientip"),)).verify,
    lambda: listen(Bind("tcp", "192.0.2.1", 8080, transparent=True)),
):
    try:
        start()
    except StartError as failed:
        print(failed)
"""


def test_withoutPrivilegeForReal():
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, timeout=60
    )
    source, bind = done.stdout.split("\n")[:-1]
    assert source.startswith("source: an address that is not of this machine takes root")
    assert "cannot listen on 192.0.2.1:8080: an address that is not of" in bind
    assert "CAP_NET_ADMIN" in source and "CAP_NET_ADMIN" in bind


@pytest.mark.skipif(os.geteuid() != 0, reason="IP_TRANSPARENT takes CAP_NET_ADMIN")
def test_theClientsAddressForReal():
    with socket.socket() as skt:
        Origin((CLIENT,)).prepare(exchange("198.51.100.7"))(skt)
        assert skt.getsockname() == ("198.51.100.7", 0)


def test_itSaysWhatItIs():
    assert repr(Origin()) == "<Origin any>"
    origin = Origin((CLIENT, at("10.0.0.1", 5000, 5009), at("::1", 7, 8)), "eth2")
    assert repr(origin) == "<Origin clientip, 10.0.0.1:5000-5009, [::1]:7-8 by eth2>"
