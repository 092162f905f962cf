"""Every request there is, by source, header field, cookies and upgrade."""

from itertools import product

import mattermost_policy
import pytest

from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.testing import Balancer

REGISTRY = installed(mattermost_policy.verb)

CONFIG = """
[frontend www]
mode = http
bind = ${bind}
pool = app
log = ${log}
request =
    mattermost inside=192.168.0.0/24 header=X-The-App value=customvalue

[pool app]
server a = ${a}
"""

INSIDE, OUTSIDE = "192.168.0.5", "203.0.113.9"
FIELDS = ("", "customvalue", "xxcustomvalueyy", "CustomValue")
COOKIES = ("", "MMAUTHTOKEN=t", "MMAUTHTOKEN=t; MMUSERID=u")
UPGRADES = ("", "websocket", "WebSocket", "h2c, websocket")


def expected(source, field, cookies, upgrade):
    """@return: what the policy says, in the words of who wants it."""
    if source == INSIDE or "customvalue" in field:
        return "tunnel" if upgrade else "pass"
    return "pass" if cookies == COOKIES[2] else "reject"


def requestOf(field="", cookies="", upgrade=""):
    lines = ["GET /api HTTP/1.1", "Host: h"]
    if field:
        lines.append(f"X-The-App: {field}")
    if cookies:
        lines.append(f"Cookie: {cookies}")
    if upgrade:
        lines += ["Connection: Upgrade", f"Upgrade: {upgrade}"]
    return "\r\n".join([*lines, "", ""]).encode()


def found(source, *said):
    """@return: what becomes of a request."""
    with Balancer(CONFIG, "a", registry=REGISTRY) as balancer:
        client = balancer.client(source)
        client.sends(requestOf(*said))
        try:
            server = balancer.server("a").accepts()
        except AssertionError:
            client.isReset()
            return "reject"
        server.receives(rb"GET /api HTTP/1\.1\r\n.*\r\n\r\n")
        server.sends(b"this is no HTTP\r\n\r\n")
        try:
            client.receivesExactly(b"this is no HTTP\r\n\r\n")
        except AssertionError:
            return "pass"
        return "tunnel"


@pytest.mark.parametrize(
    "said", list(product((INSIDE, OUTSIDE), FIELDS, COOKIES, UPGRADES)), ids="-".join
)
def test_everyRequest(said):
    assert found(*said) == expected(*said)


def test_nobodyReadsAWebSocket():
    """Neither what the client sends from then on, be it in the same segment, nor the rest."""
    with Balancer(CONFIG, "a", registry=REGISTRY) as balancer:
        client = balancer.client(INSIDE)
        client.sends(requestOf(upgrade="websocket") + b"\x00\xff GET")
        server = balancer.server("a").accepts()
        server.receives(rb"GET /api HTTP/1\.1\r\n.*\r\n\r\n\x00\xff GET")
        client.sends(requestOf())
        server.receivesExactly(requestOf())


def test_aRefusalIsCountedAndLogged():
    with Balancer(CONFIG, "a", registry=REGISTRY) as balancer:
        balancer.client(OUTSIDE).sends(requestOf())
        assert balancer.running.frontend("www").inbound.traffic.refused == 1
        assert " PR-- " in balancer.lines[0]


def test_anErrorNamesTheLine():
    text = CONFIG.replace("192.168.0.0/24", "192.168.0.5/24")
    with pytest.raises(ConfigError, match=r"lb.ini:8:.* mattermost: inside: .*has host bits set"):
        loadText(text, REGISTRY, environ={"bind": "*:80", "a": "127.0.0.1:8001", "log": "off"})
