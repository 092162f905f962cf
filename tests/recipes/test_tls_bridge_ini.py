"""
C{etc/tls-bridge.ini}: TLS on both sides, HTTP in between, and a server that cannot show
the right certificate.
"""

import ssl

import pytest
from authority import Authority, pem
from recipe import Mirror, asks, connects, serving, started, trusting

from programs import freePort

PUBLIC, INTERNAL = Authority("Public"), Authority("Internal")
HOST = "Host: www.example.org"
SUITE = "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.fixture
def bridge(tmp_path):
    """A function that starts the recipe between two servers with these certificates."""
    PUBLIC.issue("www.example.org").write(tmp_path / "site.pem")
    (tmp_path / "internal-ca.pem").write_bytes(pem(INTERNAL.certificate))
    port = freePort()

    def start(one, two):
        replaced = {":443 ": f"127.0.0.1:{port} ", "10.0.3.10:8443": one, "10.0.3.11:8443": two}
        balancer = started("tls-bridge.ini", tmp_path, replaced)
        balancer.port = port
        return balancer

    return start


def mirror(name, authority, tmp_path, certified="app.internal"):
    return Mirror(name, serving(authority.issue(certified), tmp_path / f"{name}-server.pem"))


def client(balancer):
    return connects(balancer.port, trusting(PUBLIC), "www.example.org")


def test_httpBetweenTwoSidesOfTLS(bridge, tmp_path):
    """
    Row 003.21: TLSv1.3 in front, a list of ciphers of their own towards servers, and the
    features of HTTP work. Row 000.2: the server sees the name that is set.
    """
    with mirror("one", INTERNAL, tmp_path) as one, mirror("two", INTERNAL, tmp_path) as two:
        asked = []
        for server in (one, two):
            server.context.sni_callback = lambda _, name, __: asked.append(name)
        with bridge(one, two) as balancer:
            tenants = {}
            for tenant in "abcdefgh" * 2:
                with client(balancer) as secured:
                    assert secured.version() == "TLSv1.3"
                    _, body = asks(secured, HOST, f"X-Tenant: {tenant}")
                tenants.setdefault(tenant, set()).add(body)
            # Each tenant has one server, and both have some.
            assert all(len(found) == 1 for found in tenants.values())
            assert set.union(*tenants.values()) == {"one", "two"}
            for server in (one, two):
                assert set(server.secured) == {("TLSv1.2", SUITE)}
                told = [
                    line for line in server.heads[0]
                    if line.startswith(("X-Forwarded-Proto:", "Forwarded:"))
                ]  # fmt: skip
                assert told[0] == "X-Forwarded-Proto: https"
                assert "proto=https" in told[1]
            assert set(asked) == {"app.internal"}
            # A limit of requests, which nobody could hold who did not read them.
            with client(balancer) as secured:
                head, _ = asks(
                    secured, HOST, "Content-Length: 10485761", line="POST /large HTTP/1.1"
                )
            assert head.startswith("HTTP/1.1 413 ")
            assert balancer.line("/large").split("] ")[1].startswith("www~ ")


@pytest.mark.parametrize(
    ("authority", "name", "reason"),
    [(Authority("Others"), "app.internal", "unknown authority"),
     (INTERNAL, "db.internal", "wrong name")],
)  # fmt: skip
def test_aServerThatIsNotVerifiedIsTakenOut(bridge, tmp_path, authority, name, reason):
    """Row 000.2: it gets no request, and is marked down; the other one answers."""
    with mirror("one", INTERNAL, tmp_path) as one, mirror("two", authority, tmp_path, name) as two:
        with bridge(one, two) as balancer:
            balancer.until(lambda: "Server app/two is DOWN" in balancer.events)
            [line] = [line for line in balancer.events.splitlines() if "app/two is DOWN" in line]
            assert reason in line
            for tenant in "abcdefgh":
                with client(balancer) as secured:
                    assert asks(secured, HOST, f"X-Tenant: {tenant}")[1] == "one"
        assert two.heads == []


def test_oldClientsStayOutside(bridge, tmp_path):
    context = trusting(PUBLIC)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with mirror("one", INTERNAL, tmp_path) as one, bridge(one, one) as balancer, \
            pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):  # fmt: skip
        connects(balancer.port, context, "www.example.org")
