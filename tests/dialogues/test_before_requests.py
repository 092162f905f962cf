"""
Connections that end before their first request, as C{docs/log.md} has them: every row of
its table is a story here, and every story ends as its row says.
"""

import json
import re
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from authority import Authority
from spoken import GET
from test_edge import Speaks, begin, clientContext, files, secured  # noqa: F401
from test_proxy import CLIENT, OPTIONAL, SITE, V1, proxied

from lbtwist.sansio.proxyheader import encodeV2

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "log.md").read_text()
ROW = re.compile(r"^\| `(..)` \| `([^`]+)` \| [A-Z`].*\. \|$", re.M)
ROWS = ROW.findall(PAGE.partition("### Before the first request\n")[2].partition("\n## ")[0])


def rowOf(letters, reason):
    """@return: the row that is about this: the one that says most of the reason."""
    fitting = [row for row in ROWS if row[0] == letters and reason.startswith(row[1])]
    return max(fitting, key=lambda row: len(row[1]))


def ended(balancer):
    """@return: the letters and the reason of the one line in the log."""
    [line] = map(json.loads, balancer.lines)
    assert (line["method"], line["server"], line["status"]) == (None, None, None)
    return line["termination"][:2], line["reason"]


# the PROXY header


def sends(data, host="10.0.0.1"):
    return lambda balancer: balancer.client(host).sends(data)


def comesAndGoes(balancer):
    balancer.client("10.0.0.1").closes()


def isAStranger(balancer):
    balancer.client("203.0.113.9")


def isSilent(balancer):
    balancer.client("10.0.0.1")
    balancer.advance(11)


def ends(balancer):
    balancer.client()
    balancer.running.drain(10)


FROM = "accept-proxy-from=10.0.0.0/8"
BROKEN = encodeV2(CLIENT, SITE, crc32c=True)[:-1] + b"\0"
HEADERS = {
    ("PR", "PROXY: no PROXY header"): ("accept-proxy", sends(GET)),
    ("PR", "PROXY: a peer outside accept-proxy-from"): (FROM, isAStranger),
    ("PR", "PROXY: a header from outside accept-proxy-from"): (
        OPTIONAL, sends(V1, "203.0.113.9")
    ),
    ("PR", "PROXY: "): ("accept-proxy", sends(BROKEN)),
    ("cR", "no PROXY header in time"): ("accept-proxy", isSilent),
    ("CR", "the client closed before its PROXY header"): ("accept-proxy", comesAndGoes),
    ("KR", "ended before a connection was ready"): ("accept-proxy", ends),
}  # fmt: skip


@pytest.mark.parametrize("row", HEADERS, ids=" ".join)
def test_aHeader(row):
    bind, story = HEADERS[row]
    mode = "tcp" if bind is OPTIONAL else "http"
    with proxied(bind, log="json", mode=mode) as balancer:
        story(balancer)
        found = ended(balancer)
        assert rowOf(*found) == row, found
        traffic = balancer.running.frontend("www").inbound.traffic
        assert traffic.proxyRefused == (row[0] != "KR")
        assert traffic.handshakesFailed == 0


# TLS


def shakes(high=None, certificate="", name="site.test", ciphers="", believing=False):
    """A client that shakes hands, and asks."""

    def story(balancer, files):  # noqa: F811
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if believing else clientContext()
        if high:
            context.maximum_version = high
        if ciphers:
            context.set_ciphers(ciphers)
        if certificate:
            Authority("Others").issue("eve").write(files / certificate)
            context.load_cert_chain(files / certificate)
        client = Speaks(balancer.client("10.0.0.1"), context, name=name)
        with pytest.raises(ssl.SSLError):
            client.shakes()
            client.sends(GET)
            client.receives(b"")

    return story


def plain(story):
    return lambda balancer, _: story(balancer)


def goesAfterItsHello(balancer, files):  # noqa: F811
    begin(balancer).peer.ends()


def stopsAfterItsHello(balancer, files):  # noqa: F811
    begin(balancer)
    balancer.advance(11)


V12 = ssl.TLSVersion.TLSv1_2
MUTUAL = "client-verify = required\nclient-ca = {}/ca.pem"
GCM = "ECDHE-ECDSA-AES{}-GCM-SHA{}"
HELLOS = {
    ("PR", "TLS: an HTTP request without TLS"): ("", plain(sends(GET))),
    ("PR", "TLS: a PROXY header, which is not expected here"): ("", plain(sends(V1))),
    ("PR", "TLS: unsupported protocol"): ("minimum = TLSv1.3", shakes(V12)),
    ("PR", "TLS: no shared cipher"): (
        f"ciphers = {GCM.format(128, 256)}", shakes(V12, ciphers=GCM.format(256, 384))
    ),
    ("PR", "TLS: no certificate for "): ("strict-sni = yes", shakes(name="other.test")),
    ("PR", "TLS: peer did not return a certificate"): (MUTUAL, shakes()),
    ("PR", "TLS: certificate verify failed"): (MUTUAL, shakes(certificate="eve.pem")),
    ("PR", "TLS: "): ("", plain(sends(b"SSH-2.0-OpenSSH_9.9\r\n"))),
    ("CR", "TLS: tlsv1 alert unknown ca"): ("", shakes(believing=True)),
    ("CR", "TLS: the peer closed during the handshake"): ("", goesAfterItsHello),
    ("CR", "the client closed before its ClientHello"): ("", plain(comesAndGoes)),
    ("cR", "no ClientHello in time"): ("", plain(isSilent)),
    ("cR", "TLS: no handshake in time"): ("", stopsAfterItsHello),
}  # fmt: skip


@pytest.mark.parametrize("row", HELLOS, ids=" ".join)
def test_aHello(row, files):  # noqa: F811
    tls, story = HELLOS[row]
    with secured(files, tls=tls.format(files), log="json") as balancer:
        with suppress(BrokenPipeError):
            story(balancer, files)
        found = ended(balancer)
        assert rowOf(*found) == row, found
        traffic = balancer.running.frontend("www").inbound.traffic
        assert (traffic.handshakesFailed, traffic.proxyRefused) == (1, 0)


def test_everyRowIsTold():
    assert sorted(ROWS) == sorted([*HEADERS, *HELLOS])


def test_aClientWithoutAName(files):  # noqa: F811
    """As the row about C{strict-sni} says in passing."""
    with secured(files, tls="strict-sni = yes", log="json") as balancer:
        shakes(name=None)(balancer, files)
        assert ended(balancer) == ("PR", "TLS: no name asked for")
        assert "`no name asked for`" in PAGE
