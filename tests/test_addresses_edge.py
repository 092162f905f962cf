"""
Interfaces, addresses of others and TCP profiles on a listening socket: what is asked of
the kernel and in which order, and what is said where it refuses.
"""

import errno
import os
import socket

import pytest
from recorded import RecordedSocket

import lbtwist.net.addresses
from lbtwist.config.model import Bind, TCPConfig
from lbtwist.errors import Position, StartError
from lbtwist.net.addresses import IPV6_FREEBIND, IPV6_TRANSPARENT, listen
from lbtwist.net.profiles import Profile

WHERE = Position("lb.ini", 3, 8)
DEVICE = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE)


@pytest.fixture
def made(monkeypatch):
    """The sockets that were made; C{refuses} is what the next one refuses."""

    class Made(list):
        refuses = {}

        def __call__(self, family, kind):
            self.append(RecordedSocket(family, kind, self.refuses))
            return self[-1]

    found = Made()
    monkeypatch.setattr(lbtwist.net.addresses, "newSocket", found)
    return found


def bind(host="10.0.2.3", port=443, **options):
    return Bind("tcp", host, port, where=WHERE, **options)


def place(skt, *call):
    return next(at for at, one in enumerate(skt.calls) if one[: len(call)] == call)


def refused(made, bound, *call, code=errno.EPERM):
    made.refuses = {call: code}
    with pytest.raises(StartError) as failed:
        listen(bound)
    assert made[-1].calls[-1] == ("close",)
    return str(failed.value)


def test_theInterfaceIsSetBeforeBind(made):
    """Row 003.7."""
    skt = listen(bind(interface="eth2"))
    assert skt.options[DEVICE] == b"eth2\0"
    assert place(skt, "setsockopt", *DEVICE) < place(skt, "bind") < place(skt, "listen")
    assert skt.bound == [("10.0.2.3", 443)]


@pytest.mark.parametrize(
    ("host", "level", "option"),
    [
        ("1.1.1.1", socket.IPPROTO_IP, 19),
        ("2001:db8::1", socket.IPPROTO_IPV6, 75),
        ("", socket.IPPROTO_IPV6, IPV6_TRANSPARENT),
    ],
)
def test_transparentIsSetBeforeBind(made, host, level, option):
    """Row 003.9."""
    skt = listen(bind(host, transparent=True))
    assert skt.options[level, option] == 1
    assert place(skt, "setsockopt", level, option) < place(skt, "bind")


@pytest.mark.parametrize(
    ("host", "level", "option"),
    [("10.0.2.3", socket.IPPROTO_IP, 15), ("::1", socket.IPPROTO_IPV6, IPV6_FREEBIND)],
)
def test_freebindIsSetBeforeBind(made, host, level, option):
    skt = listen(bind(host, freebind=True))
    assert skt.options[level, option] == 1
    assert place(skt, "setsockopt", level, option) < place(skt, "bind")


def test_aPlainBindAsksForNoneOfThem(made):
    skt = listen(bind())
    assert skt.options == {
        (socket.SOL_SOCKET, socket.SO_REUSEADDR): 1,
        (socket.IPPROTO_TCP, socket.TCP_NODELAY): 1,
    }


def test_theProfileIsSetBeforeListen(made):
    skt = listen(bind(tcp="lan"), Profile(TCPConfig("lan", nodelay=False, fastopen=64)))
    assert skt.options[socket.IPPROTO_TCP, socket.TCP_NODELAY] == 0
    fastopen = place(skt, "setsockopt", socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 64)
    assert fastopen < place(skt, "listen")


# what is refused


def test_anUnknownInterface(made):
    said = refused(made, bind(interface="eth9"), "setsockopt", *DEVICE, code=errno.ENODEV)
    assert said.startswith(
        "lb.ini:3:8: cannot listen on 10.0.2.3:443: there is no interface 'eth9'"
    )
    assert "ip -brief link" in said
    assert "lo" in said


def test_anInterfaceNeedsAPrivilege(made):
    """Row 003.7: without the privilege a clear error."""
    said = refused(made, bind(interface="eth2"), "setsockopt", *DEVICE)
    assert "interface eth2" in said
    assert "CAP_NET_RAW" in said


def test_transparentNeedsAPrivilege(made):
    said = refused(
        made, bind("1.1.1.1", transparent=True), "setsockopt", socket.IPPROTO_IP, 19
    )
    assert said.startswith("lb.ini:3:8: cannot listen on 1.1.1.1:443: ")
    assert "CAP_NET_ADMIN" in said
    assert "1024" not in said


def test_anAddressOfNobody(made):
    said = refused(made, bind("192.0.2.1"), "bind", code=errno.EADDRNOTAVAIL)
    assert "freebind" in said


def test_aProfileThatIsRefused(made):
    made.refuses = {
        ("setsockopt", socket.IPPROTO_TCP, socket.TCP_CONGESTION): errno.ENOENT
    }
    with pytest.raises(StartError, match=r"\[tcp mobile\] congestion = bbrr is refused"):
        listen(bind(tcp="mobile"), Profile(TCPConfig("mobile", congestion="bbrr")))


# the kernel's side


def test_aRealInterfaceThatIsNotThere():
    with pytest.raises(StartError, match="there is no interface 'no-such-if'"):
        listen(bind("127.0.0.1", 0, interface="no-such-if"))


def test_aNameThatIsTooLongForAnInterface():
    with pytest.raises(StartError, match=r"there is no interface 'a{40}'"):
        listen(bind("127.0.0.1", 0, interface="a" * 40))


def test_loopbackByItsName():
    with listen(bind("127.0.0.1", 0, interface="lo")) as skt:
        assert skt.getsockopt(*DEVICE, 16).rstrip(b"\0") == b"lo"


@pytest.mark.parametrize("host", ["192.0.2.77", "2001:db8::77"])
def test_freebindForReal(host):
    with listen(bind(host, 0, freebind=True)) as skt:
        assert skt.getsockname()[0] == host


def test_aPassedSocketGetsTheProfile():
    with socket.create_server(("127.0.0.1", 0)) as passed:
        found = Bind("fd", port=passed.fileno(), where=WHERE, tcp="lan")
        with listen(found, Profile(TCPConfig("lan", keepalive=7.0))) as skt:
            assert skt.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="IP_TRANSPARENT takes CAP_NET_ADMIN")
@pytest.mark.parametrize("host", ["192.0.2.78", "2001:db8::78"])
def test_transparentForReal(host):
    try:
        skt = listen(bind(host, 0, transparent=True))
    except StartError as failed:
        pytest.skip(str(failed))
    with skt:
        assert skt.getsockname()[0] == host
