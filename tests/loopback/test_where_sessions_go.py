"""
C{mode = tcp} with real sockets, where the first bytes say which server: openssl resumes
sessions of TLS with the server that has them, and clients of RDP come to theirs.
"""

import contextlib
import re

import pytest
from authority import Authority
from loopback import wire
from loopback.running import Balancer, Child, freePorts, listens, run

import programs

FREE_RDP = bytes.fromhex(
    "0300003732e00000000000436f6f6b69653a206d7374733d333634303230353232382e31353632392e30303030"
    "0d0a0100080003000000"
)
"""What FreeRDP 2.11.7 sends first with /load-balance-info:"Cookie: msts=3640205228.15629.0000"."""


class OpenSSL(Child):
    """An C{openssl s_server} that keeps sessions and gives no tickets."""

    def __init__(self, directory, name, certificate):
        [self.port] = freePorts(1)
        super().__init__(
            [programs.find("openssl"), "s_server", "-accept", f"127.0.0.1:{self.port}",
             "-cert", certificate, "-no_ticket", "-www"],
            directory, name,
        )  # fmt: skip

    def __enter__(self):
        self.until(lambda: listens(self.port))
        return self


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A balancer before two of them; its C{ports} are by what a frontend does."""
    directory = tmp_path_factory.mktemp("sessions")
    certificate = Authority().issue("site.test").write(directory / "site.pem")
    ports = dict(zip(("passed", "plain", "inturn"), freePorts(3), strict=True))
    with contextlib.ExitStack() as stack:
        one, two = (
            stack.enter_context(OpenSSL(directory, name, certificate)) for name in ("one", "two")
        )
        servers = f"""\
        server one = 127.0.0.1:{one.port}
        server two = 127.0.0.1:{two.port}"""
        balancer = stack.enter_context(Balancer(
            directory,
            f"""\
        [global]
        log = file:access.log
        [defaults]
        mode = tcp

        [frontend passed]
        bind = 127.0.0.1:{ports["passed"]} tls-passthrough
        pool = kept
        [frontend plain]
        bind = 127.0.0.1:{ports["plain"]}
        pool = kept
        [frontend inturn]
        bind = 127.0.0.1:{ports["inturn"]} tls-passthrough
        pool = inturn

        [pool kept]
        persist = ssl-session-id
{servers}
        [pool inturn]
{servers}
        """,
        ))  # fmt: skip
        balancer.ports = ports
        yield balancer


def connects(port, *options):
    """
    openssl's client, of TLS 1.2.

    @return: what it says of each of its connections: C{"New"} or C{"Reused"}.
    """
    done = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", *options
    )
    assert "Verify return code" in done.stdout, done.stderr
    return re.findall(r"^(New|Reused), TLSv1.2,", done.stdout, re.M)


class Sessions:
    """Those of a frontend that end from now on."""

    def __init__(self, balancer, frontend):
        self.port = balancer.ports[frontend]
        self._balancer = balancer
        self._frontend = frontend
        self._seen = len(self._lines())

    def _lines(self):
        return [line for line in self._balancer.lines if f" {self._frontend} " in line]

    def went(self, count):
        """@return: the servers of the next of them, in the order of their ends."""
        self._balancer.until(lambda: len(self._lines()) >= self._seen + count)
        found = [re.search(r" \w+/(\w+) ", line)[1] for line in self._lines()[self._seen :]]
        self._seen += len(found)
        assert len(found) == count
        return found


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("frontend", ["passed", "plain"])
def test_reconnect(site, frontend):
    """A client that makes six connections, of which five resume its first."""
    sessions = Sessions(site, frontend)
    for _ in range(2):
        assert connects(sessions.port, "-reconnect") == ["New"] + ["Reused"] * 5
        assert len(set(sessions.went(6))) == 1


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("frontend", ["passed", "plain"])
def test_aSessionIsKeptInAFile(site, tmp_path, frontend):
    """Others come meanwhile, whose turn it is."""
    sessions = Sessions(site, frontend)
    assert connects(sessions.port, "-sess_out", tmp_path / "session") == ["New"]
    [home] = sessions.went(1)
    for _ in range(3):
        assert connects(sessions.port) == ["New"]
        assert connects(sessions.port, "-sess_in", tmp_path / "session") == ["Reused"]
        assert sessions.went(2)[1] == home


@pytest.mark.needs("openssl")
def test_withoutPersistenceTheyAreLost(site):
    """In turn: each server is asked for sessions that the other one has."""
    sessions = Sessions(site, "inturn")
    assert "New" in connects(sessions.port, "-reconnect")[1:]
    assert set(sessions.went(6)) == {"one", "two"}


def test_routedToWhereASessionIs(tmp_path):
    """A client with the token of a session broker comes to that address, and no other."""
    [port] = freePorts(1)
    with wire.listening() as one, wire.listening() as two:
        servers = {"one": one, "two": two}
        text = f"""\
        [frontend desks]
        mode = tcp
        bind = 127.0.0.1:{port}
        pool = desks
        [pool desks]
        mode = tcp
        persist = rdp-cookie
        server one = 127.0.0.1:{wire.port(one)}
        server two = 127.0.0.1:{wire.port(two)}
        """
        with Balancer(tmp_path, text):
            for name in ("two", "two", "one", "two", "one", "one"):
                sent = routed(wire.port(servers[name]))
                with wire.connect(port) as client:
                    client.sendall(sent)
                    with wire.accept(servers[name]) as server:
                        assert wire.readExactly(server, len(sent)) == sent
                        server.sendall(b"confirmed")
                        assert wire.readExactly(client, 9) == b"confirmed"


def routed(port):
    """@return: what FreeRDP sends, but with the token of a port of 127.0.0.1."""
    swapped = int.from_bytes(port.to_bytes(2, "big"), "little")
    token = b"16777343.%05d.0000" % swapped
    # As many bytes as there: the lengths before it stay right.
    return FREE_RDP.replace(b"3640205228.15629.0000", b"00%s" % token)
