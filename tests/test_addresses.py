"""From a bind to a listening socket, and what is said where there can be none."""

import errno
import grp
import os
import pwd
import re
import socket
import stat

import pytest

from bench.system import freePorts
from lbtwist.config.model import Bind
from lbtwist.errors import Position, StartError
from lbtwist.net import addresses
from lbtwist.net.addresses import isLocal, listen, pair, plainHost

HERE = Position("lb.ini", 12, 8)


def bind(kind="tcp", **options):
    return Bind(kind, where=HERE, **options)


def answers(skt):
    """Whether a client can connect to a listening socket."""
    with skt, socket.socket(skt.family) as client:
        name = skt.getsockname()
        if skt.family == socket.AF_INET6:
            name = ("::1", name[1])
        client.connect(name)
        return True


def problem(*arguments, **options):
    """What is said of an address that cannot be had."""
    with pytest.raises(StartError) as caught:
        listen(bind(*arguments, **options))
    text = str(caught.value)
    assert text.startswith("lb.ini:12:8: cannot listen on ")
    return text.removeprefix("lb.ini:12:8: cannot listen on ")


@pytest.fixture
def withoutIPv6():
    try:
        with socket.socket(socket.AF_INET6) as skt:
            skt.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")


# TCP


def test_tcp():
    skt = listen(bind(host="127.0.0.1"))
    assert skt.family == socket.AF_INET
    assert skt.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert answers(skt)


def test_acceptedSocketsSendWithoutDelay():
    with (
        listen(bind(host="127.0.0.1")) as skt,
        socket.create_connection(skt.getsockname()),
        skt.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_everyAddress(withoutIPv6):
    """IPv4 and IPv6 on one socket."""
    with listen(bind()) as skt:
        assert skt.family == socket.AF_INET6
        port = skt.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port)), skt.accept()[0] as accepted:
                assert pair(accepted.family, accepted.getpeername())[0] == host


def test_everyAddressWithoutIPv6(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen(bind()) as skt:
        assert skt.family == socket.AF_INET
        assert skt.getsockname()[0] == "0.0.0.0"


def test_oneIPv6Address(withoutIPv6):
    """And nothing of IPv4: another bind may want the same port there."""
    with listen(bind(host="::1")) as skt:
        assert skt.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        assert answers(skt)
    # One that the kernel does not give to anybody by itself.
    [port] = freePorts(1)
    with listen(bind(host="::", port=port)):
        listen(bind(host="0.0.0.0", port=port)).close()


def test_anAddressInUse():
    with listen(bind(host="127.0.0.1")) as skt:
        port = skt.getsockname()[1]
        text = problem(host="127.0.0.1", port=port)
    assert text.startswith(f"127.0.0.1:{port}: Address already in use (")
    assert "ss -ltnp" in text


def test_anAddressOfAnotherMachine():
    assert problem(host="192.0.2.77", port=1) == (
        "192.0.2.77:1: Cannot assign requested address (no interface of this machine has that"
        " address; with freebind it need not exist yet, with transparent it may be somebody"
        " else's)"
    )


def test_aPortThatNeedsAPrivilege(monkeypatch):
    class Forbidden(socket.socket):
        def bind(self, name):
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(addresses, "newSocket", Forbidden)
    assert "CAP_NET_BIND_SERVICE" in problem(host="127.0.0.1", port=80)


def test_nothingIsLeftOpen():
    with listen(bind(host="127.0.0.1")) as skt:
        before = os.listdir("/proc/self/fd")
        problem(host="127.0.0.1", port=skt.getsockname()[1])
        assert os.listdir("/proc/self/fd") == before


# UNIX sockets


def test_unix(tmp_path):
    path = str(tmp_path / "lb.sock")
    skt = listen(bind("unix", path=path, mode=0o640))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert answers(skt)


def test_unixNeverMoreOpenThanMeant(tmp_path, monkeypatch):
    """Not even between C{bind} and C{chmod}; and the process's umask is as it was."""
    path = str(tmp_path / "lb.sock")
    seen = []
    monkeypatch.setattr(os, "chmod", lambda path, mode: seen.append(os.stat(path).st_mode))
    before = os.umask(0)
    try:
        listen(bind("unix", path=path, mode=0o600)).close()
        after = os.umask(0)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(mode) & 0o077 for mode in seen] == [0]
    assert after == 0


def test_unixLeftBehind(tmp_path):
    """By a process that has ended: it is replaced."""
    path = str(tmp_path / "lb.sock")
    listen(bind("unix", path=path)).close()
    assert os.path.exists(path)
    assert answers(listen(bind("unix", path=path)))


def test_unixInUse(tmp_path):
    path = str(tmp_path / "lb.sock")
    with listen(bind("unix", path=path)) as skt:
        assert "Address already in use" in problem("unix", path=path)
        assert answers(skt)


def test_unixInUseByWhoTakesNobodyNow(tmp_path):
    """Nobody is waited for, and nothing is taken away."""
    path = str(tmp_path / "lb.sock")
    with listen(bind("unix", path=path, backlog=0)), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        assert "Address already in use" in problem("unix", path=path)
    assert os.path.exists(path)


def test_unixInUseByDatagrams(tmp_path):
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path)
        assert "Address already in use" in problem("unix", path=path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"line", path)


def test_unixOfAnotherUser(tmp_path, monkeypatch):
    class Forbidden(socket.socket):
        def connect_ex(self, path):
            return errno.EACCES

    path = str(tmp_path / "lb.sock")
    with listen(bind("unix", path=path)) as skt:
        monkeypatch.setattr(socket, "socket", Forbidden)
        assert problem("unix", path=path).endswith(
            "a socket of another user is there, and may be in use"
        )
        monkeypatch.undo()
        assert answers(skt)


def test_unixInTheWay(tmp_path):
    """A file is never taken away."""
    path = tmp_path / "lb.sock"
    path.write_text("precious")
    assert "not a socket" in problem("unix", path=str(path))
    assert path.read_text() == "precious"


def test_unixOfThisUser(tmp_path):
    """By name or by number; who is not root may say so of itself."""
    path = str(tmp_path / "lb.sock")
    for user, group in (
        (pwd.getpwuid(os.getuid()).pw_name, ""), ("", grp.getgrgid(os.getgid()).gr_name),
        (str(os.getuid()), str(os.getgid())),
    ):  # fmt: skip
        with listen(bind("unix", path=path, user=user, group=group)):
            found = os.stat(path)
            assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_unixGivenToAnotherUser(tmp_path):
    path = str(tmp_path / "lb.sock")
    with listen(bind("unix", path=path, user="nobody", group="nogroup", mode=0o600)):
        found = os.stat(path)
        nobody = pwd.getpwnam("nobody").pw_uid
        assert (found.st_uid, found.st_gid) == (nobody, grp.getgrnam("nogroup").gr_gid)
        assert stat.S_IMODE(found.st_mode) == 0o600


def test_unixOfNobodyKnown(tmp_path):
    path = str(tmp_path / "lb.sock")
    for what in ("user", "group"):
        said = problem("unix", path=path, **{what: "no-such-one"})
        assert f"there is no {what} 'no-such-one' on this machine" in said


def test_unixGivenByAnOrdinaryUser(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chown", refused)
    said = problem("unix", path=str(tmp_path / "lb.sock"), user="nobody")
    assert "only root may give it to user 'nobody'" in said


def refused(*arguments):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_unixNowhere(tmp_path):
    assert "No such file" in problem("unix", path=str(tmp_path / "no" / "lb.sock"))


def test_unixTooLong(tmp_path):
    """Python says so without an error number."""
    assert "too long" in problem("unix", path=f"/tmp/{'x' * 200}")


# descriptors that were passed


@pytest.fixture
def passed():
    """A bound socket of somebody else's; listening is up to us."""
    with socket.socket() as skt:
        skt.bind(("127.0.0.1", 0))
        yield skt


def test_fd(passed):
    """It stays open for whoever passed it."""
    skt = listen(bind("fd", port=passed.fileno()))
    assert skt.getsockname() == passed.getsockname()
    assert skt.fileno() != passed.fileno()
    assert answers(skt)
    assert passed.fileno() >= 0


def test_fdThatListens(passed):
    passed.listen(1)
    assert answers(listen(bind("fd", port=passed.fileno())))


def test_fdOfAUNIXSocket(tmp_path):
    with socket.socket(socket.AF_UNIX) as skt:
        skt.bind(str(tmp_path / "lb.sock"))
        assert answers(listen(bind("fd", port=skt.fileno())))


def test_fdThatIsNone(tmp_path):
    assert problem("fd", port=1 << 20) == f"fd:{1 << 20}: Bad file descriptor"
    with open(tmp_path / "file", "w") as file:
        assert "fd:" in problem("fd", port=file.fileno())


def test_fdOfAnotherKind():
    with socket.socket(type=socket.SOCK_DGRAM) as skt:
        assert "not a stream socket" in problem("fd", port=skt.fileno())


def test_systemd(passed, monkeypatch):
    """The second that was passed: sd_listen_fds(3)."""
    monkeypatch.setattr(addresses, "_FIRST_PASSED", passed.fileno() - 1)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    assert answers(listen(bind("systemd", port=1)))
    assert "only 2 sockets" in problem("systemd", port=2)


def named(monkeypatch, names):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", names)


def test_systemdByName(passed, monkeypatch):
    monkeypatch.setattr("lbtwist.net.addresses._FIRST_PASSED", passed.fileno() - 1)
    named(monkeypatch, "admin:www")
    skt = listen(bind("systemd", name="www"))
    assert skt.getsockname() == passed.getsockname() and answers(skt)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("admin:www", "no socket of this name, of 2 .*there are: admin, www"),
        # Of one unit with several addresses all have one name.
        ("web:web", "several sockets of this name, of 2 .*there are: web, web"),
        ("", "no socket of this name, of 2 .*there are: none"),
    ],
)
def test_systemdWithoutThatName(names, words, monkeypatch):
    named(monkeypatch, names)
    assert re.search(f"systemd:web: systemd has passed {words}",
                     problem("systemd", name="web"))  # fmt: skip


@pytest.mark.parametrize("pid, count", [("", "1"), ("1", "1"), ("own", ""), ("own", "some")])
def test_systemdPassedNothing(monkeypatch, pid, count):
    """Or it did to another process, whose environment we have."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()) if pid == "own" else pid)
    monkeypatch.setenv("LISTEN_FDS", count)
    assert "has passed no sockets" in problem("systemd")


# names of sockets


def test_plainHost():
    assert plainHost("192.0.2.1") == "192.0.2.1"
    assert plainHost("::ffff:192.0.2.1") == "192.0.2.1"
    assert plainHost("2001:db8::1") == "2001:db8::1"
    assert plainHost("::ffff:1") == "::ffff:1"


def test_pair():
    assert pair(socket.AF_INET, ("192.0.2.1", 80)) == ("192.0.2.1", 80)
    assert pair(socket.AF_INET6, ("::ffff:192.0.2.1", 80, 0, 0)) == ("192.0.2.1", 80)
    assert pair(socket.AF_INET6, ("2001:db8::1", 80, 0, 2)) == ("2001:db8::1", 80)
    assert pair(socket.AF_UNIX, "") == ("unix", 0)


# whose an address is


@pytest.mark.parametrize("anything", [False, True])
def test_isLocal(anything, monkeypatch):
    """Also where the kernel would bind anything (ip_nonlocal_bind)."""
    monkeypatch.setattr(addresses, "_anythingIsBound", lambda version: anything)
    assert isLocal("127.0.0.1")
    assert not isLocal("192.0.2.1")
    assert not isLocal("2001:db8::1")


def test_isLocalWhereAnythingIsBound(monkeypatch):
    class Bindable(socket.socket):
        def bind(self, name):
            """As with ip_nonlocal_bind."""

    monkeypatch.setattr(addresses.socket, "socket", Bindable)
    monkeypatch.setattr(addresses, "_anythingIsBound", lambda version: True)
    assert isLocal("127.0.0.1")
    assert not isLocal("192.0.2.1")
