"""
C{etc/redirect-https.ini}: from http to https by the option and by the verb, with the
host, path and query that were asked for, and never in a loop. Rows 003.6 and 004.4.
"""

import pytest
from authority import Authority, pem
from places import named, values
from recipe import Mirror, asks, connects, started, trusting

from lbtwist.sansio.proxyheader import encodeV1
from programs import freePort

AUTHORITY = Authority()
NAME = "mysite.com"
PROXY, STRANGER = "127.0.0.5", "127.0.1.9"
HTTPS = "X-Forwarded-Proto: https"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The recipe, at work: its ports by their names, and C{server}."""
    directory = tmp_path_factory.mktemp("redirect")
    AUTHORITY.issue(NAME).write(directory / "site.pem")
    (directory / "ca.pem").write_bytes(pem(AUTHORITY.certificate))
    names = ["plain", "secured", "behind", "behindSecured", "elb", "elbSecured"]
    ports = {name: freePort() for name in names}
    written = [":80\n", ":443 ", ":8080\n", ":8443 ", ":8081 ", ":8082 "]
    with Mirror("app") as server:
        replaced = {
            f" {old}": f" 127.0.0.1:{port}{old[-1]}"
            for old, port in zip(written, ports.values(), strict=True)
        }
        replaced |= {
            "10.0.0.0/24": "127.0.0.0/24", "10.0.3.10:8001": server, "10.0.3.11:8001": server,
        }  # fmt: skip
        with started("redirect-https.ini", directory, replaced) as balancer:
            balancer.ports, balancer.server = ports, server
            balancer.authority = directory / "ca.pem"
            yield balancer


def asked(site, name, path, *fields, source="127.0.0.1", first=b"", method="GET", host=NAME):
    """
    @param first: what is sent before the request.
    @return: the status, and where the client is sent, or who has answered.
    """
    secure = name in ("secured", "behindSecured")
    context = trusting(AUTHORITY) if secure else None
    with connects(site.ports[name], context, NAME, source) as client:
        client.sendall(first)
        line = f"{method} {path} HTTP/1.1"
        head, body = asks(client, f"Host: {host}", *fields, line=line)
    places = [one[10:] for one in head.split("\r\n") if one.startswith("Location: ")]
    return int(head.split()[1]), *(places or [body])


def toldOf(site, path):
    """@return: of the request for a path that the server has got: the scheme it was told."""
    [head] = [one for one in site.server.heads if one[0].split()[1] == path]
    return [line[19:] for line in head if line.lower().startswith("x-forwarded-proto: ")]


# the option


@pytest.mark.parametrize(
    ("host", "path", "location"),
    [
        (NAME, "/a?b=c", "https://mysite.com/a?b=c"),
        (NAME, "/", "https://mysite.com/"),
        (NAME, "/?", "https://mysite.com/?"),
        (NAME, "/a%2Fb//c/../d?x=%20&y=http://z/", None),
        (f"{NAME}:80", "/a", "https://mysite.com/a"),
        ("other.com", "/a", "https://other.com/a"),
        ("[2001:db8::1]:80", "/a", "https://[2001:db8::1]/a"),
    ],
)
def test_theOption(site, host, path, location):
    """Row 003.6: host, path and query are kept."""
    expected = location or f"https://{NAME}{path}"
    assert asked(site, "plain", path, host=host) == (308, expected)
    assert asked(site, "plain", path, host=host, method="POST") == (308, expected)


def test_itIsNotForTLS(site):
    assert asked(site, "secured", "/www/secured") == (200, "app")
    assert toldOf(site, "/www/secured") == ["https"]


def test_aStrangerIsNotBelieved(site):
    assert asked(site, "plain", "/forged", HTTPS) == (308, "https://mysite.com/forged")
    assert not any("/forged" in head[0] for head in site.server.heads)
    assert " www www/<NOSRV> " in site.line("/forged") and " LR-- " in site.line("/forged")


@pytest.mark.needs("curl")
def test_aBrowserFollowsItOnce(site):
    """From one port to the other, and no further."""
    ports = site.ports
    status, fields, body = named(
        f"http://{NAME}/followed?once", ports["plain"], "-L", "--cacert", site.authority,
        "--connect-to", f"{NAME}:443:127.0.0.1:{ports['secured']}", "--max-redirs", "1",
    )  # fmt: skip
    assert status == "HTTP/1.1 308 Permanent Redirect"
    assert values(fields, "location") == [f"https://{NAME}/followed?once"]
    # HSTS is for what comes by TLS (RFC 6797 section 7.2).
    assert values(fields, "strict-transport-security") == []
    head, _, said = body.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n") and said == "app"
    assert "\r\nStrict-Transport-Security: max-age=31536000" in head


# the verb, behind proxies


def test_theVerb(site):
    assert asked(site, "behind", "/a?b=c") == (308, "https://mysite.com/a?b=c")
    assert asked(site, "behind", "/a?b=c", source=PROXY) == (308, "https://mysite.com/a?b=c")


@pytest.mark.parametrize("said", [HTTPS, "x-forwarded-proto: HTTPS", f"{HTTPS}, http"])
def test_noLoopBehindAProxy(site, said):
    """Row 003.6: what a proxy that is believed says came by https is served."""
    path = f"/behind/{len(said)}/{said[0]}"
    assert asked(site, "behind", path, said, source=PROXY) == (200, "app")
    assert toldOf(site, path)[0].lower().startswith("https")


def test_whatAProxySaysCameWithoutTLS(site):
    answer = asked(site, "behind", "/a", "X-Forwarded-Proto: http", source=PROXY)
    assert answer == (308, "https://mysite.com/a")


def test_nobodyElseIsBelievedThere(site):
    answer = asked(site, "behind", "/a", HTTPS, source=STRANGER)
    assert answer == (308, "https://mysite.com/a")


@pytest.mark.parametrize("path", ["/health", "/.well-known/acme-challenge/token"])
def test_exceptions(site, path):
    assert asked(site, "behind", path)[0] == 200
    assert asked(site, "behind", f"/x{path}") == (308, f"https://mysite.com/x{path}")


def test_theProxyMaySpeakTLSItself(site):
    assert asked(site, "behindSecured", "/behind/tls", source=PROXY) == (200, "app")


# the verb, behind a load balancer that works on TCP

CLIENT = ("198.51.100.22", 35646)


def test_theRedirectOfAWholeSite(site):
    """Row 004.4: the port for what came without TLS, with a PROXY header before it."""
    header = encodeV1(CLIENT, ("192.0.2.80", 80))
    answer = asked(site, "elb", "/a?b=c", source=PROXY, first=header)
    assert answer == (301, "https://mysite.com/a?b=c")
    answer = asked(site, "elb", "/a?b=c", HTTPS, source=PROXY, first=header)
    assert answer == (301, "https://mysite.com/a?b=c")


@pytest.mark.parametrize("said", ["", "X-Forwarded-Proto: http"])
def test_itsPortForTLSIsServed(site, said):
    """Two ports, two behaviours, and the server knows; nothing goes round in circles."""
    header = encodeV1(CLIENT, ("192.0.2.80", 443))
    path = f"/elb/{len(said)}"
    fields = [said] if said else []
    answer = asked(site, "elbSecured", path, *fields, source=PROXY, first=header)
    assert answer == (200, "app")
    assert toldOf(site, path) == ["https"]
    assert site.line(path).startswith("198.51.100.22:35646 [")
