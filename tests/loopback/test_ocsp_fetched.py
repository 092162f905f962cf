"""
C{ocsp = fetch} between a real responder and a real client: C{openssl ocsp} and
C{openssl s_client -status}.
"""

import pytest
from authority import SIGNS_OCSP, Authority, indexOf, pem, responder
from loopback.running import Balancer, Child, freePorts, run

pytestmark = pytest.mark.needs("openssl")


class Place:
    """
    A directory with an authority, its responder and what it has issued.

    @ivar ports: of the responder and of the balancer.
    """

    def __init__(self, directory):
        self.directory = directory
        self.ports = freePorts(2)
        self.root = Authority("Root")
        self.under = Authority("Under", self.root)
        url = f"http://127.0.0.1:{self.ports[0]}/"
        self.issued = [
            self.under.issue("site.test", extensions=[responder(url)]) for _ in range(2)
        ]
        signer = self.under.issue(common="Responder", extensions=[SIGNS_OCSP])
        signer.write(directory / "signer.pem")
        (directory / "under.pem").write_bytes(pem(self.under.certificate))
        (directory / "root.pem").write_bytes(pem(self.root.certificate))
        self.show(0)

    def show(self, number):
        self.issued[number].write(self.directory / "site.pem")

    def responder(self, *more, revoked=()):
        index = indexOf(*self.issued, revoked=[self.issued[number] for number in revoked])
        (self.directory / "index").write_text(index)
        return Child(
            ["openssl", "ocsp", "-port", str(self.ports[0]), "-index", "index", "-ndays", "1",
             "-CA", "under.pem", "-rsigner", "signer.pem", *more],
            self.directory, "responder",
        )  # fmt: skip

    def balancer(self):
        text = f"""\
            [frontend www]
            bind = 127.0.0.1:{self.ports[1]} tls=site
            pool = demo
            log = off

            [tls site]
            certificate = site.pem
            ocsp = fetch
            reload = 100ms

            [pool demo]
            server a = demo:a
            """
        return Balancer(self.directory, text)

    def seen(self):
        """@return: what a client says of the handshake."""
        done = run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{self.ports[1]}", "-servername",
            "site.test", "-status", "-CAfile", self.directory / "root.pem",
        )  # fmt: skip
        assert "Verify return code: 0 (ok)" in done.stdout
        return done.stdout


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def listening(responder):
    responder.until(lambda: "waiting for OCSP client" in responder.out + responder.err)


def test_fetched(place):
    """Nobody waits for a responder that is away; a new certificate is asked for at once."""
    with place.balancer() as balancer:
        balancer.until(lambda: "no OCSP response: " in balancer.out)
        assert "Connection refused; none is stapled" in balancer.out
        assert "factory" not in balancer.out
        assert "OCSP response: no response sent" in place.seen()
        with place.responder() as responder:
            listening(responder)
            place.show(1)
            balancer.until(lambda: "an OCSP response is stapled" in balancer.out)
            for _ in range(2):
                seen = place.seen()
                assert "OCSP Response Status: successful" in seen
                assert "Cert Status: good" in seen
                number = place.issued[1].certificate.serial_number
                assert f"{number:X}" in seen


def test_revoked(place):
    with place.responder(revoked=[0]) as responder:
        listening(responder)
        with place.balancer() as balancer:
            balancer.until(lambda: "says that it was REVOKED" in balancer.out)
            assert "Cert Status: revoked" in place.seen()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-badsig"], "neither the issuer has signed it"),
        (["-resp_no_certs"], "neither the issuer has signed it"),
        (["-rmd", "sha1"], "it is signed with sha1"),
    ],
)
def test_refused(place, more, words):
    with place.responder(*more) as responder:
        listening(responder)
        with place.balancer() as balancer:
            balancer.until(lambda: words in balancer.out)
            assert "OCSP response: no response sent" in place.seen()
