"""
When OCSP responses are fetched, how they are kept and stapled, and what is made of
responders that are away, or lie.
"""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from authority import DAY, NOW, Authority, pem, responder
from cryptography.x509 import ocsp
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from lbtwist.errors import StartError
from lbtwist.fetching import NotFetched
from lbtwist.net import pem as pemModule
from lbtwist.net.pem import Files, loadCertificates
from lbtwist.stapling import AT_ONCE, LONGEST, Stapler

CA = Authority()
MINUTE = timedelta(minutes=1)
URL = "http://ocsp.test/"


class Responders:
    """
    Fetches nothing: a test answers.

    @ivar asked: the URLs and Deferreds of what is being fetched, the first first.
    """

    def __init__(self):
        self.asked = []

    def __call__(self, url, data):
        deferred = Deferred(self._cancelled)
        self.asked.append((url, deferred))
        return deferred

    def _cancelled(self, deferred):
        self.asked = [one for one in self.asked if one[1] is not deferred]

    def answers(self, response):
        """@return: the URL that was asked."""
        url, deferred = self.asked.pop(0)
        deferred.callback(response)
        return url

    def fails(self, reason="no"):
        url, deferred = self.asked.pop(0)
        deferred.errback(NotFetched(reason))
        return url


class World:
    """A stapler, on a clock and with responders that stand still."""

    def __init__(self, path):
        self.path = path
        self.clock = Clock()
        self.responders = Responders()
        self.stapler = Stapler(
            self.clock, self.now, SimpleNamespace(uniform=lambda low, high: 1.0), self.responders
        )

    def now(self):
        return int(NOW.timestamp()) + self.clock.seconds()

    def issued(self, name="site.test", urls=(URL,), path=None):
        """@return: what was issued, and how a section reads it."""
        issued = CA.issue(name, extensions=[responder(*urls)] if urls else [])
        return issued, self.read(issued, path or f"{name}.pem")

    def read(self, issued, name="site.test.pem"):
        path = self.path / name
        path.write_bytes(issued.pem() + pem(CA.certificate))
        (found,) = loadCertificates(Files(), str(path), "", None, "fetch")
        return found

    def starts(self, *certificates):
        self.stapler.keep("site", certificates)
        self.stapler.start()
        self.clock.advance(0)

    def pause(self):
        """@return: seconds until the one certificate is asked for again; they have passed."""
        (call,) = self.clock.getDelayedCalls()
        seconds = call.getTime() - self.clock.seconds()
        self.clock.advance(seconds)
        return seconds


@pytest.fixture
def world(tmp_path, monkeypatch):
    found = World(tmp_path)
    monkeypatch.setattr(pemModule, "time", SimpleNamespace(time=found.now))
    yield found
    found.stapler.stop()
    assert not found.clock.getDelayedCalls()
    assert not found.responders.asked


def said(act, *args):
    """@return: what the log says while something is done."""
    with capturedLogs() as events:
        act(*args)
    assert not [one for one in events if "log_failure" in one]
    return [f"{one['log_level'].name}: {formatEvent(one)}" for one in events]


def test_fetchedAndStapled(world):
    """No start waits for it; what comes is stapled from then on."""
    issued, certificate = world.issued()
    world.starts(certificate)
    assert certificate.stapled() == b""
    response = CA.ocsp(issued)
    assert said(world.responders.answers, response) == [
        f"info: {certificate.path}: an OCSP response is stapled"
    ]
    assert certificate.stapled() == response


def test_refreshed(world):
    """After half of what is left, but not more often than a minute or less than an hour."""
    issued, certificate = world.issued()
    world.starts(certificate)
    for left, pause in ((9 * DAY, 3600), (20 * MINUTE, 600), (MINUTE, 60)):
        until = NOW + timedelta(seconds=world.clock.seconds()) + left
        response = CA.ocsp(issued, until, NOW - MINUTE)
        world.responders.answers(response)
        assert certificate.stapled() == response
        assert world.pause() == pytest.approx(pause, abs=1)


def test_theLastGoodOneIsKeptUntilItExpires(world):
    issued, certificate = world.issued()
    world.starts(certificate)
    response = CA.ocsp(issued, NOW + 40 * MINUTE, NOW)
    world.responders.answers(response)
    assert world.pause() == pytest.approx(20 * 60, abs=1)
    path = certificate.path
    assert said(world.responders.fails, "HTTP status 500") == [
        f"warn: {path}: no OCSP response: HTTP status 500; the last one is kept until it expires"
    ]
    pauses = []
    for _ in range(8):
        pauses.append(world.pause())
        assert certificate.stapled() == (response if world.now() < NOW.timestamp() + 2400 else b"")
        told = said(world.responders.fails)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert told == [f"warn: {path}: no OCSP response: no; none is stapled"]
    world.pause()
    until = NOW + timedelta(seconds=world.clock.seconds()) + DAY
    told = said(world.responders.answers, CA.ocsp(issued, until, NOW))
    assert told == [f"info: {path}: an OCSP response is stapled"]
    assert certificate.stapled()
    world.pause()
    world.responders.fails()
    # It begins with a short pause again.
    assert world.pause() == 60


def test_lies(world):
    """Each is refused for its reason, and another is asked for."""
    issued, certificate = world.issued()
    other, _ = world.issued("other.test")
    damaged = CA.ocsp(issued)
    damaged = damaged[:-1] + bytes([damaged[-1] ^ 1])
    unsure = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    world.starts(certificate)
    for response, reason in (
        (CA.ocsp(other), "it is about another certificate"),
        (CA.ocsp(issued, NOW - DAY), "it has expired on 20"),
        (CA.ocsp(issued, NOW + DAY, NOW + 6 * DAY / 24), "it is from the future"),
        (damaged, "neither the issuer has signed it"),
        (CA.ocsp(issued, status="UNKNOWN"), "the responder does not know the certificate"),
        (unsure.public_bytes(pemModule.serialization.Encoding.DER), "says try_later"),
        (b"<html>Welcome to our hotel</html>", "it cannot be read"),
        (b"", "it cannot be read"),
    ):
        (told,) = said(world.responders.answers, response)
        assert reason in told and told.endswith("none is stapled")
        assert certificate.stapled() == b""
        world.pause()


def test_revoked(world):
    """It is an error in the log, every time, and clients are told."""
    issued, certificate = world.issued()
    world.starts(certificate)
    world.responders.answers(CA.ocsp(issued, since=NOW - 2 * MINUTE))
    response = CA.ocsp(issued, since=NOW - MINUTE, status="REVOKED")
    for _ in range(2):
        world.pause()
        assert said(world.responders.answers, response) == [
            f"error: {certificate.path}: its issuer says that it was REVOKED; clients are told so"
        ]
        assert certificate.stapled() == response
    # Somebody on the way has kept an older one, in which all was well.
    world.pause()
    assert len(said(world.responders.answers, CA.ocsp(issued, since=NOW - 2 * MINUTE))) == 1
    assert certificate.stapled() == response


def test_severalResponders(world):
    """One after the other, as they fail."""
    issued, certificate = world.issued(urls=("http://one.test/", "http://two.test/"))
    world.starts(certificate)
    asked = []
    for _ in range(3):
        asked.append(world.responders.fails())
        world.pause()
    assert asked == ["http://one.test/", "http://two.test/", "http://one.test/"]


def test_withoutAResponder(world):
    _, certificate = world.issued(urls=())
    assert said(world.starts, certificate) == [
        f"info: {certificate.path}: the certificate names no OCSP responder, nothing is stapled"
    ]
    assert not world.responders.asked


def test_readAgain(world):
    """A new certificate is asked for at once; the same one keeps what it has."""
    issued, certificate = world.issued()
    world.starts(certificate)
    response = CA.ocsp(issued)
    world.responders.answers(response)
    again = world.read(issued)
    world.stapler.keep("site", [again])
    assert again.stapled() == response
    assert not world.responders.asked
    fresh, new = world.issued()
    world.stapler.keep("site", [new])
    assert new.stapled() == b""
    world.clock.advance(0)
    world.responders.answers(CA.ocsp(fresh))
    assert new.stapled()
    assert len(world.clock.getDelayedCalls()) == 1


def test_readAgainMeanwhile(world):
    """What was asked for the certificate before is not waited for."""
    _, certificate = world.issued()
    world.starts(certificate)
    issued, new = world.issued()
    world.stapler.keep("site", [new])
    world.clock.advance(0)
    assert len(world.responders.asked) == 1
    world.responders.answers(CA.ocsp(issued))
    assert new.stapled() and not certificate.stapled()


def test_oneOfTwoSections(world):
    """It is asked for once, and stapled in both; the last one that has it ends it."""
    issued, certificate = world.issued()
    other = world.read(issued, "copy.pem")
    world.stapler.keep("site", [certificate])
    world.stapler.keep("other", [other])
    world.stapler.start()
    world.clock.advance(0)
    world.responders.answers(CA.ocsp(issued))
    assert certificate.stapled() == other.stapled() != b""
    world.stapler.keep("site", [])
    assert len(world.clock.getDelayedCalls()) == 1
    world.stapler.keep("other", [])
    assert not world.clock.getDelayedCalls()


def test_manyAtOnce(world):
    found = [world.issued(f"{number}.test") for number in range(AT_ONCE + 2)]
    world.starts(*(certificate for _, certificate in found))
    assert len(world.responders.asked) == AT_ONCE
    world.responders.fails()
    assert len(world.responders.asked) == AT_ONCE
    for _ in range(AT_ONCE + 1):
        world.responders.fails()
    assert not world.responders.asked


def test_aLongReason(world):
    _, certificate = world.issued()
    world.starts(certificate)
    (told,) = said(world.responders.fails, "long\n" * 1000)
    assert len(told) < LONGEST + 200 and "\n" not in told


def test_stoppedWhileAsked(world):
    found = [world.issued(f"{number}.test") for number in range(AT_ONCE + 2)]
    world.starts(*(certificate for _, certificate in found))
    assert said(world.stapler.stop) == []
    assert not world.responders.asked


# who issued it


def test_issuerBeside(world):
    """Where the file has no chain, and the one beside it is the right one."""
    issued = CA.issue("site.test", extensions=[responder(URL)])
    path = world.path / "site.pem"
    issued.write(path)
    beside = world.path / "site.pem.issuer"

    def problem():
        with pytest.raises(StartError) as raised:
            loadCertificates(Files(), str(path), "", None, "fetch")
        return str(raised.value)

    assert problem() == (
        f"{path}: its OCSP response cannot be fetched without the certificate of its issuer,"
        " CN=Test Authority; add that to the file, or put it beside it as site.pem.issuer"
    )
    beside.write_bytes(b"x")
    assert problem() == f"{beside}: no certificate in PEM form"
    beside.write_bytes(pem(Authority("Other").certificate))
    assert problem().startswith(f"{beside}: CN=Other did not issue {path}; put the certificate")
    beside.write_bytes(pem(CA.certificate))
    files = Files()
    (found,) = loadCertificates(files, str(path), "", None, "fetch")
    assert (found.issuer, found.responders) == (CA.certificate, (URL,))
    beside.unlink()
    assert files.changed()
    # Who fetches none needs none.
    (found,) = loadCertificates(Files(), str(path), "", None, "file")
    assert found.responders == ()
