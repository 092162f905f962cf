"""
The files of TLS on both sides while the balancer runs: certificates and authorities that
change, and those that cannot be used.
"""

import os
import ssl
from types import SimpleNamespace

import pytest
from authority import DAY, NOW, Authority, pem
from cryptography.hazmat.primitives.serialization import Encoding
from test_tls import Far, serverContext
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from lbtwist.config.load import loadText
from lbtwist.config.model import ServerConfig
from lbtwist.errors import StartError
from lbtwist.net.clienttls import ClientTLS
from lbtwist.registry import installed
from lbtwist.testing import Balancer
from lbtwist.tlsfiles import RELOAD, TLSFiles

CA = Authority()
OTHERS = Authority("Others")
DER = Encoding.DER


def place(path, data):
    """Write a file so that it differs from what was there before, however soon."""
    path.write_bytes(data)
    place.time += 1
    os.utime(path, ns=(place.time, place.time))
    return str(path)


place.time = 0


# one server


@pytest.fixture
def connect(tmp_path):
    found = []

    def connect(side, issuer, **options):
        context = serverContext(issuer.issue("site.test"), tmp_path)
        for name, value in options.items():
            setattr(context, name, value)
        found.append(Far(context, side))
        return found[-1]

    yield connect
    for one in found:
        one.close()


def server(**options):
    return ClientTLS(ServerConfig("a", "tcp", "site.test", 1, tls=True, **options))


def test_authoritiesThatChange(connect, tmp_path):
    """Others are believed then; a connection that stands goes on."""
    ca = tmp_path / "ca.pem"
    side = server(ca=place(ca, pem(CA.certificate)))
    standing = connect(side, CA)
    assert side.reload() is None
    assert side.generation == 1
    place(ca, pem(OTHERS.certificate))
    assert side.reload() is None
    assert side.generation == 2
    (failed,) = connect(side, CA).protocol.failed
    assert "unknown authority" in failed.reason
    assert not connect(side, OTHERS).protocol.failed
    standing.peer.send(b"still here")
    standing.pump.turn()
    assert standing.protocol.data == b"still here"


def test_sessionsOfBefore(tmp_path):
    """None is resumed, neither one that was kept nor one of a connection that ends later."""
    ca = tmp_path / "ca.pem"
    side = server(ca=place(ca, pem(CA.certificate)))
    context = serverContext(CA.issue("site.test"), tmp_path)
    ends, stands = Far(context, side), Far(context, side)
    for one in (ends, stands):
        one.peer.send(b"x")
        one.pump.turn()
    ends.close()
    again = Far(context, side)
    assert again.peer.session_reused
    place(ca, pem(OTHERS.certificate, CA.certificate))
    assert side.reload() is None
    fresh = Far(context, side)
    assert not fresh.peer.session_reused
    fresh.transport.abortConnection()
    stands.close()
    last = Far(context, side)
    assert not last.peer.session_reused
    for one in (again, fresh, last):
        one.close()


def test_filesThatCannotBeUsed(connect, tmp_path):
    ca, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    side = server(ca=place(ca, pem(CA.certificate)), certificate=place(own, CA.issue("x").pem()))
    for path, data, words in (
        (ca, b"rubbish", "ca.pem: no certificate in PEM form; ca="),
        (ca, None, "ca.pem: cannot be read: there is no such file"),
        (own, pem(CA.issue("y").certificate), "own.pem: no private key"),
    ):
        kept = path.read_bytes()
        if data is None:
            path.unlink()
        else:
            place(path, data)
        problem = side.reload()
        assert problem.message.startswith("kept what was read before: ")
        assert words in problem.message
        assert (side.generation, not connect(side, CA).protocol.failed) == (1, True)
        place(path, kept)
        assert side.reload() is None
        side.generation = 1


def test_ourCertificateChanges(connect, tmp_path):
    own = tmp_path / "own.pem"
    first, second = CA.issue(common="first"), CA.issue(common="second", end=NOW + 5 * DAY)
    side = server(verify="none", certificate=place(own, first.pem()))
    context = serverContext(CA.issue("site.test"), tmp_path)
    context.load_verify_locations(cadata=pem(CA.certificate).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    for issued in (first, second):
        place(own, issued.pem())
        side.reload()
        assert side.notAfter == {str(own): issued.certificate.not_valid_after_utc}
        one = Far(context, side)
        one.transport.write(b"x")
        one.pump.turn()
        assert one.peer.recv(1) == b"x"
        assert one.peer.getpeercert(True) == issued.certificate.public_bytes(DER)
        one.close()


# all of a balancer


class Told:
    """Who is told of certificates whose responses are fetched."""

    def __init__(self):
        self.kept = []
        self.start = self.stop = lambda: None

    def keep(self, section, certificates):
        self.kept.append((section, [one.names for one in certificates]))


@pytest.fixture
def world(tmp_path):
    """Two sections, of which one fetches responses, and three servers."""
    place(tmp_path / "ca.pem", pem(CA.certificate))
    for name in ("one", "two", "own"):
        place(tmp_path / f"{name}.pem", CA.issue(f"{name}.test").pem())
    config, _ = loadText(
        f"""
        [frontend www]
        bind = unix:x tls=one, unix:y tls=two
        pool = app
        [tls one]
        certificate = {tmp_path}/one.pem
        ocsp = fetch
        reload = 1s
        [tls two]
        certificate = {tmp_path}/two.pem
        reload = 0
        [pool app]
        server a = 127.0.0.1:1 tls sni=a.test ca={tmp_path}/ca.pem
        server b = 127.0.0.1:1 tls sni=b.test certificate={tmp_path}/own.pem
        server c = 127.0.0.1:1 tls sni=c.test
        """,
        installed(),
    )
    clock, told = Clock(), Told()
    files = TLSFiles(config, clock, told)
    sections = files.open()
    sides = {one.name: files.server("app", one) for one in config.pools["app"].servers}
    files.start()
    yield SimpleNamespace(
        path=tmp_path, clock=clock, told=told, files=files, sections=sections, sides=sides
    )
    files.close()
    assert not clock.getDelayedCalls()


def after(world, seconds):
    """@return: what the log says in the meantime."""
    with capturedLogs() as events:
        world.clock.pump([0.5] * int(seconds * 2))
    return [f"{one['log_level'].name}: {formatEvent(one)}" for one in events]


def test_whatIsLookedAt(world):
    """The section as often as it says, and servers that have files."""
    assert len(world.clock.getDelayedCalls()) == 3
    assert after(world, 30) == []
    place(world.path / "one.pem", CA.issue("new.test").pem())
    place(world.path / "two.pem", CA.issue("new.test").pem())
    assert after(world, 1) == ["info: [tls one]: its files were read again"]
    assert world.told.kept == [("one", [("one.test",)]), ("one", [("new.test",)])]
    place(world.path / "ca.pem", pem(OTHERS.certificate))
    place(world.path / "own.pem", CA.issue("new.test").pem())
    assert sorted(after(world, RELOAD)) == [
        "info: server app/a: its files were read again",
        "info: server app/b: its files were read again",
    ]


def test_aProblemIsSaidOnce(world):
    path = world.path / "ca.pem"
    for words, data in (("no certificate in PEM form", b"x"), ("longer than 4 MiB", None)):
        place(path, data or b"x" * (5 << 20))
        (said,) = after(world, 3 * RELOAD)
        assert said.startswith("error: server app/a: ")
        assert "kept what was read before" in said and words in said
    place(path, pem(CA.certificate))
    assert after(world, 3 * RELOAD) == ["info: server app/a: its files were read again"]
    place(path, b"x")
    assert len(after(world, 3 * RELOAD)) == 1


def test_expiry(world):
    """Of what clients are shown, and of what servers are."""
    assert sorted(world.files.notAfter) == [
        f"{world.path}/{name}.pem" for name in ("one", "own", "two")
    ]
    sooner = CA.issue("one.test", end=NOW + DAY)
    place(world.path / "one.pem", sooner.pem())
    after(world, 1)
    found = world.files.notAfter[f"{world.path}/one.pem"]
    assert found == sooner.certificate.not_valid_after_utc


def test_aSectionThatCannotBeUsed(tmp_path):
    config, _ = loadText(
        f"[frontend www]\nbind = unix:x tls=one\npool = app\n[pool app]\nserver a = demo:a\n"
        f"[tls one]\ncertificate = {tmp_path}/gone.pem\n", installed(),
    )  # fmt: skip
    clock = Clock()
    files = TLSFiles(config, clock, Told())
    with pytest.raises(StartError, match=r"gone\.pem: cannot be read"):
        files.open()
    assert not clock.getDelayedCalls()


def test_inABalancer(tmp_path):
    """It is looked at while it runs, and what expires can be asked for."""
    place(tmp_path / "site.pem", CA.issue("site.test").pem())
    text = (
        "[frontend www]\nbind = ${bind} tls=site\npool = app\n[pool app]\nserver a = ${a}\n"
        f"[tls site]\ncertificate = {tmp_path}/site.pem\nocsp = fetch\n"
    )
    with Balancer(text, "a") as balancer:
        fresh = CA.issue("site.test", end=NOW + DAY)
        place(tmp_path / "site.pem", fresh.pem())
        balancer.advance(11)
        assert balancer.running.notAfter == {
            f"{tmp_path}/site.pem": fresh.certificate.not_valid_after_utc
        }
