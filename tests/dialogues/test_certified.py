"""
An administrator has other certificates used, without files or with them: what is under way goes
on, and what does not fit is refused.
"""

import os

import pytest
from authority import Authority, keyPEM, pem
from secured import Secured, clientContext
from spoken import toldOf

from lbtwist.admin import certifying
from lbtwist.testing import Balancer

AUTHORITY = Authority()
CONFIG = """
[global]
admin = ${{admin}}, ${{admin}}.watch level=operator
[tls site]
certificate = {path}/site.pem {path}/apart.pem
[tls other]
certificate = {path}/site.pem
[frontend www]
bind =
    ${{bind}} tls=site
    ${{bind}}2 tls=other alpn=http/1.1
pool = app
[pool app]
server a = ${{a}}
"""


class Certified(Balancer):
    """@ivar path: where the files are."""

    def __init__(self, path):
        self.path = path
        AUTHORITY.issue("site.test").write(path / "site.pem")
        self.apart = AUTHORITY.issue("apart.test")
        (path / "apart.pem").write_bytes(pem(self.apart.certificate))
        (path / "apart.key").write_bytes(keyPEM(self.apart.key))
        os.chmod(path / "apart.key", 0o600)
        super().__init__(CONFIG.format(path=path), "a")

    def shown(self, section="site", name="site.test"):
        """@return: the number of the certificate that a client is shown."""
        secured = Secured(self.running.tls(section), clientContext(AUTHORITY), name)
        assert secured.refused is None
        found = secured.peer.getpeercert()["serialNumber"]
        secured.peer.close()
        secured.turn()
        return int(found, 16)

    def sets(self, name, text):
        return self.asks(f"set ssl cert {name} <<\n{text.decode()}\n")


@pytest.fixture
def balancer(tmp_path):
    with Certified(tmp_path) as balancer:
        yield balancer


def serial(issued):
    return issued.certificate.serial_number


def test_anotherOneIsUsed(balancer):
    site = balancer.path / "site.pem"
    before, text = balancer.shown(), site.read_bytes()
    fresh = AUTHORITY.issue("site.test")
    assert balancer.sets(site, fresh.pem()) == f"Transaction created for certificate {site}!\n"
    assert balancer.shown() == before
    assert balancer.asks("show ssl cert").splitlines() == [
        "# transaction", f"*{site}", "# filename", str(site), f"{balancer.path}/apart.pem",
    ]  # fmt: skip
    assert balancer.asks(f"commit ssl cert {site}") == f"Committing {site}\nSuccess!\n"
    # Both sections that name the file.
    assert balancer.shown() == balancer.shown("other") == serial(fresh) != before
    assert site.read_bytes() == text
    # It stays when files are looked at, and over a reload.
    balancer.advance(3600)
    balancer.becomes(CONFIG.format(path=balancer.path) + "server b = ${a}\n")
    assert balancer.shown() == balancer.shown("other") == serial(fresh)
    # A section that is new has it as well.
    config = CONFIG.format(path=balancer.path)
    balancer.becomes(config.replace("[tls other]", "[tls new]").replace("tls=other", "tls=new"))
    assert balancer.shown("new") == serial(fresh)


def test_untilTheFileIsAnotherOne(balancer):
    fresh, newer = AUTHORITY.issue("site.test"), AUTHORITY.issue("site.test")
    balancer.sets("site.pem", fresh.pem())
    assert "Success" in balancer.asks("commit ssl cert site.pem")
    newer.write(balancer.path / "site.pem")
    assert balancer.shown() == serial(fresh)
    balancer.advance(3600)
    assert balancer.shown() == balancer.shown("other") == serial(newer)


def test_whatDoesNotFit(balancer):
    before = balancer.shown()
    one, two = AUTHORITY.issue("site.test"), AUTHORITY.issue("site.test")
    for text, said in (
        (pem(one.certificate) + keyPEM(two.key), "the private key does not belong"),
        (pem(one.certificate), "no private key"),
        (pem(one.certificate, two.certificate) + keyPEM(one.key), "is not in the chain"),
    ):
        balancer.sets("site.pem", text)
        assert said in balancer.asks("commit ssl cert site.pem")
        assert balancer.shown() == balancer.shown("other") == before
        assert "aborted" in balancer.asks("abort ssl cert site.pem")
    for text in (b"nothing", b"-----BEGIN CERTIFICATE-----\nxxxx\n-----END CERTIFICATE-----"):
        assert "has to be a certificate" in balancer.sets("site.pem", text)
    assert "has to be a private key" in balancer.sets("apart.key", pem(one.certificate))
    assert balancer.asks("commit ssl cert site.pem") == "No ongoing transaction!\n"
    assert balancer.asks("abort ssl cert site.pem") == "No ongoing transaction!\n"
    assert "not referenced" in balancer.sets("nope.pem", one.pem())
    assert "expects a filename" in balancer.asks("set ssl cert site.pem")
    assert "expects a filename" in balancer.asks("commit ssl cert")
    # What was refused is not in the way of other files.
    fresh = AUTHORITY.issue("apart.test")
    (balancer.path / "apart.pem").write_bytes(pem(fresh.certificate))
    (balancer.path / "apart.key").write_bytes(keyPEM(fresh.key))
    balancer.advance(3600)
    assert balancer.shown() == before
    assert balancer.shown(name="apart.test") == serial(fresh)


def test_keyAndCertificateApart(balancer):
    apart, key = balancer.path / "apart.pem", balancer.path / "apart.key"
    fresh = AUTHORITY.issue("apart.test")
    balancer.sets(apart, pem(fresh.certificate))
    assert "does not belong" in balancer.asks(f"commit ssl cert {apart}")
    assert balancer.shown(name="apart.test") == serial(balancer.apart)
    assert balancer.sets(key, keyPEM(fresh.key)) == (
        f"Transaction updated for certificate {apart}!\n"
    )
    assert balancer.asks(f"commit ssl cert {apart} save").splitlines()[1:] == ["Saved.", "Success!"]
    assert balancer.shown(name="apart.test") == serial(fresh)
    assert apart.read_bytes().strip() == pem(fresh.certificate).strip()
    assert key.read_bytes().strip() == keyPEM(fresh.key).strip()
    assert key.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(balancer.path)) == ["apart.key", "apart.pem", "site.pem"]


def test_savedBehindALink(balancer):
    site, real = balancer.path / "site.pem", balancer.path / "real.pem"
    site.rename(real)
    os.chmod(real, 0o640)
    site.symlink_to(real)
    fresh = AUTHORITY.issue("site.test")
    balancer.sets("site.pem", fresh.pem())
    assert "Saved" in balancer.asks("commit ssl cert site.pem save")
    assert site.is_symlink()
    assert real.read_bytes().strip() == fresh.pem().strip()
    assert real.stat().st_mode & 0o777 == 0o640
    balancer.advance(3600)
    assert balancer.shown() == serial(fresh)


def test_noKeyForEverybody(balancer):
    before = balancer.shown(name="apart.test")
    fresh = AUTHORITY.issue("apart.test")
    balancer.sets("apart.pem", fresh.pem())
    assert "others may read it" in balancer.asks("commit ssl cert apart.pem save")
    assert balancer.shown(name="apart.test") == before
    assert b"PRIVATE" not in (balancer.path / "apart.pem").read_bytes()
    assert "Success" in balancer.asks("commit ssl cert apart.pem")
    assert balancer.shown(name="apart.test") == serial(fresh)


def test_whatCannotBeSaved(balancer, monkeypatch):
    before, text = balancer.shown(), (balancer.path / "site.pem").read_bytes()
    fresh = AUTHORITY.issue("site.test")
    balancer.sets("site.pem", fresh.pem())

    def full(descriptor):
        raise OSError(28, "No space left on device", "/x")

    with monkeypatch.context() as patched:
        patched.setattr(certifying.os, "fsync", full)
        assert balancer.asks("commit ssl cert site.pem save") == (
            "It cannot be saved: /x: No space left on device.\n"
        )
    assert balancer.shown() == before
    assert (balancer.path / "site.pem").read_bytes() == text
    assert sorted(os.listdir(balancer.path)) == ["apart.key", "apart.pem", "site.pem"]
    assert "Success" in balancer.asks("commit ssl cert site.pem")
    assert balancer.shown() == serial(fresh)


def test_whatIsShown(balancer):
    said = balancer.asks("show ssl cert apart.pem")
    found = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    certificate = balancer.apart.certificate
    assert found["Filename"] == f"{balancer.path}/apart.pem"
    assert found["Serial"] == f"{certificate.serial_number:X}"
    assert found["Subject Alternative Name"] == "DNS:apart.test"
    assert found["Algorithm"] == "EC256"
    assert found["Sections"] == "site"
    assert found["notAfter"].endswith(" GMT")
    assert "not referenced" in balancer.asks("show ssl cert nope")
    assert toldOf(balancer, "show ssl cert site.pem")["value"]["Sections"] == ["other", "site"]


def test_keysAreSeenNowhere(balancer, caplog):
    fresh = AUTHORITY.issue("site.test")
    secret = keyPEM(fresh.key).decode().splitlines()[1]
    said = balancer.sets("site.pem", fresh.pem())
    said += balancer.asks("commit ssl cert site.pem; show ssl cert site.pem; show ssl cert")
    assert secret not in said
    assert secret not in repr(balancer.running.tlsFiles) + repr(balancer.running.tls("site"))
    assert secret not in caplog.text


def test_whoMay(balancer):
    for command in (b"set ssl cert site.pem <<\nx\n\n", b"commit ssl cert site.pem\n"):
        peer = balancer.administrator(".watch")
        peer.sends(command)
        peer.receives(rb"Permission denied\n\n")
        peer.isEnded()
