"""
C{etc/tls-offload.ini}: names have their certificates, servers are told of TLS, and what
comes without it is sent there.
"""

import subprocess

import pytest
from authority import Authority
from recipe import Mirror, asks, connects, started, trusting

from programs import find, freePort

AUTHORITY = Authority()
HOST = "Host: www.example.org"


@pytest.fixture(scope="module")
def offload(tmp_path_factory):
    """The recipe, at work: C{balancer}, C{plain}, C{secured}, C{servers}."""
    directory = tmp_path_factory.mktemp("offload")
    certs = directory / "certs"
    certs.mkdir()
    www = AUTHORITY.issue("www.example.org")
    www.write(certs / "www.pem")
    (certs / "www.pem.ocsp").write_bytes(AUTHORITY.ocsp(www))
    AUTHORITY.issue("*.example.net").write(certs / "zone.pem")
    plain, secured = freePort(), freePort()
    with Mirror("one") as one, Mirror("two") as two:
        replaced = {
            ":80\n": f"127.0.0.1:{plain}\n", ":443 ": f"127.0.0.1:{secured} ",
            "10.0.3.10:8001": one, "10.0.3.11:8001": two,
        }  # fmt: skip
        with started("tls-offload.ini", directory, replaced) as balancer:
            balancer.plain, balancer.secured, balancer.servers = plain, secured, (one, two)
            yield balancer


def heads(offload):
    return [head for server in offload.servers for head in server.heads]


@pytest.mark.parametrize("name", ["www.example.org", "shop.example.net"])
def test_aCertificateByName(offload, name):
    with connects(offload.secured, trusting(AUTHORITY), name) as client:
        assert client.version() == "TLSv1.3"
        assert client.selected_alpn_protocol() is None
        head, body = asks(client, f"Host: {name}")
    assert head.startswith("HTTP/1.1 200 OK") and body in ("one", "two")


def test_serversAreToldOfTLS(offload):
    """
    Row 002.1: X-Forwarded-Proto comes exactly once, even if the client sends its own.
    Row 003.22: scheme, port and address, which the offloading hides, are told.
    """
    forged = ("X-Forwarded-Proto: http", "X-Forwarded-Port: 1", "X-Forwarded-For: 1.2.3.4",
              "Forwarded: for=1.2.3.4")  # fmt: skip
    with connects(offload.secured, trusting(AUTHORITY), "www.example.org") as client:
        asks(client, HOST, *forged, line="GET /told HTTP/1.1")
    [told] = [head for head in heads(offload) if head[0] == "GET /told HTTP/1.1"]
    assert [line for line in told if line.lower().startswith(("x-forwarded", "forwarded"))] == [
        "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https",
        f"X-Forwarded-Port: {offload.secured}",
    ]  # fmt: skip
    assert any(line.startswith("X-Request-ID: ") for line in told)
    assert offload.line("/told").split("] ")[1].startswith("www~ app/")


def test_plainRequestsAreSentToHTTPS(offload):
    """
    Row 003.6: host, path and query are kept. Row 004.4: the redirect of a whole site.
    """
    with connects(offload.plain) as client:
        head, _ = asks(client, HOST, line="GET /a?b=c HTTP/1.1")
        assert head.startswith("HTTP/1.1 308 Permanent Redirect\r\n")
        assert "\r\nLocation: https://www.example.org/a?b=c" in head
        # What a client says of itself is not believed.
        head, _ = asks(client, HOST, "X-Forwarded-Proto: https", line="GET /forged HTTP/1.1")
        assert head.startswith("HTTP/1.1 308 ")
    assert " LR-- " in offload.line("/a?b=c")
    assert not any("/forged" in head[0] for head in heads(offload))


@pytest.mark.needs("openssl")
def test_theResponseIsStapled(offload):
    """To the certificate that has one; the other is shown without."""

    def status(name):
        done = subprocess.run(
            [find("openssl"), "s_client", "-connect", f"127.0.0.1:{offload.secured}",
             "-servername", name, "-status"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        return done.stdout

    assert "OCSP Response Status: successful" in status("www.example.org")
    assert "OCSP response: no response sent" in status("shop.example.net")


def test_serversAreChecked(offload):
    offload.until(lambda: all(server.checks for server in offload.servers))
    assert "DOWN" not in offload.events
