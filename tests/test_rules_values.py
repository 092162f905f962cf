"""
Every value there is: what it is where it is known, and where there is nothing to know.
"""

import datetime

import pytest
from asked import exchange, refused, value
from authority import NOW, Authority

from lbtwist.exchange import TLSInfo
from lbtwist.rules.values import POOL_VALUES, REPEATED, VALUES, Kind, Stage
from lbtwist.sansio.proxyheader import ProxyHeader

ISSUED = Authority("Test CA").issue(
    "user.example.com", common="user", begin=NOW, end=NOW + datetime.timedelta(days=1)
)
FULL = exchange(
    b"OPTIONS /a/%62?q=a+b&q=2&e HTTP/1.1\r\nHost: WWW.Example.com.:8443\r\n"
    b"X-Tag:  one \r\nx-tag: two\r\nCookie: sid=1; sid=2\r\nCookie: v=\"3\"\r\n"
    b"Connection: Upgrade\r\nUpgrade: h2c, WebSocket\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nX-From: a\r\nX-From: b\r\nContent-Length: 0\r\n\r\n",
    "app1",
    client=("2001:db8::1", 50000), local=("2001:db8::2", 8443), trusted=True,
    tls=TLSInfo(
        sni="www.example.com", alpn=(b"h2", b"http/1.1"), protocol=b"http/1.1",
        version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", certificate=ISSUED.certificate,
        verify=10, resumed=True,
    ),
    proxied=ProxyHeader(
        2, source=("203.0.113.1", 7), destination=("203.0.113.2", 443),
        tlvs=((0x02, b"named.example.com"), (0xEA, b"vpce-1"), (0xEA, b"second")),
    ),
)  # fmt: skip
FULL.vars = {"tier": "gold"}

BARE = exchange(
    b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n", client=("unix", 0), local=("unix", 0)
)
ANY = object()

TABLE = {
    "src": ("2001:db8::1", "unix"),
    "src_port": (50000, 0),
    "dst": ("2001:db8::2", "unix"),
    "dst_port": (8443, 0),
    "frontend": ("www", "www"),
    "trusted": (True, False),
    "tls": (True, False),
    "secure": (True, False),
    "tls.version": ("TLSv1.3", ""),
    "tls.sni": ("www.example.com", ""),
    "tls.alpn": ("http/1.1", ""),
    "tls.offers": (["h2", "http/1.1"], []),
    "tls.cipher": ("TLS_AES_128_GCM_SHA256", ""),
    "tls.resumed": (True, False),
    "tls.client": (True, False),
    "tls.client.verify": (10, 0),
    "tls.client.subject": ("/CN=user", ""),
    "tls.client.cn": ("user", ""),
    "tls.client.issuer": ("/CN=Test CA", ""),
    "tls.client.not_before": (NOW.strftime("%y%m%d%H%M%SZ"), ""),
    "tls.client.not_after": ((NOW + datetime.timedelta(days=1)).strftime("%y%m%d%H%M%SZ"), ""),
    "tls.client.serial": (ANY, ""),
    "tls.client.sans": (["user.example.com"], []),
    "tls.client.sha1": (ANY, ""),
    "tls.client.sha256": (ANY, ""),
    "proxied": (True, False),
    "proxied.source": ("203.0.113.1", ""),
    "proxied.destination": ("203.0.113.2", ""),
    "proxied.authority": ("named.example.com", ""),
    'proxied.tlv["authority"]': ("named.example.com", ""),
    'proxied.tlv["0xea"]': ("vpce-1", ""),
    "now": (ANY, ANY),
    'var["tier"]': ("gold", ""),
    "method": ("OPTIONS", "GET"),
    "scheme": ("https", "http"),
    "port": (8443, 80),
    "uri": ("/a/%62?q=a+b&q=2&e", "/"),
    "query_string": ("q=a+b&q=2&e", ""),
    "body_length": (0, 0),
    "websocket": (True, False),
    "version": ("1.1", "1.0"),
    "host": ("www.example.com", ""),
    "path": ("/a/%62", "/"),
    "path.normal": ("/a/b", "/"),
    'query["q"]': ("a b", ""),
    'query["e"]': ("", ""),
    'header["x-tag"]': ("two", ""),
    'header["Upgrade"]': ("websocket", ""),
    'headers["X-TAG"]': (["one", "two"], []),
    'headers["upgrade"]': (["websocket"], []),
    'cookie["sid"]': ("1", ""),
    'cookie["v"]': ("3", ""),
    "status": (404, 200),
    "server": ("app1", ""),
    'response_header["x-from"]': ("b", ""),
    'response_headers["x-from"]': (["a", "b"], []),
}
TYPES = {
    Kind.TEXT: str, Kind.ADDRESS: str, Kind.NUMBER: (int, float), Kind.TRUTH: bool,
    Kind.TEXTS: list, Kind.FIELDS: object,
}  # fmt: skip


def test_everyValueIsInTheTable():
    assert {name.partition("[")[0] for name in TABLE} == set(VALUES)


@pytest.mark.parametrize("text", TABLE)
@pytest.mark.parametrize("stage", [Stage.RESPONSE, Stage.LOG])
def test_values(text, stage):
    for of, expected in zip((FULL, BARE), TABLE[text], strict=True):
        found = value(text, of, stage=stage)
        assert expected is ANY or found == expected
        name, bracket, _ = text.partition("[")
        kind = (Kind.TEXTS if name in REPEATED else Kind.TEXT) if bracket else VALUES[name].kind
        assert isinstance(found, TYPES[kind])


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("http", [True, False])
@pytest.mark.parametrize("name", VALUES)
def test_valuesAreKnownFromTheirStageOn(name, stage, http):
    known = VALUES[name]
    text = f'"x" in {name}' if known.kind is Kind.FIELDS else f"not {name}"
    if known.http and not http:
        assert refused(text, stage=stage, http=http)[0] == f"{name} is not known in mode = tcp"
    elif stage.order < known.stage.order:
        assert refused(text, stage=stage, http=http)[0].startswith(f"{name} is not known yet: a ")
    else:
        of = FULL if known.stage.order > Stage.CONNECTION.order else exchange(None)
        value(text, of, stage=stage, http=http)


def test_stagesComeInThisOrder():
    assert sorted(Stage, key=lambda one: one.order) == [
        Stage.CONNECTION, Stage.REQUEST, Stage.RESPONSE, Stage.LOG,
    ]  # fmt: skip


def test_numbersOfTheCertificate():
    serial = value("tls.client.serial", FULL)
    assert int(serial, 16) == ISSUED.certificate.serial_number
    assert len(value("tls.client.sha1", FULL)) == 40
    assert len(value("tls.client.sha256", FULL)) == 64


def test_presenceOfFields():
    assert value('"x-tag" in header and "x-tag" in headers and "e" in query', FULL) is True
    assert value('"sid" in cookie and "tier" in var and "0xea" in proxied.tlv', FULL) is True
    assert value('"x" in header or "x" in headers or "x" in query or "x" in cookie', FULL) is False
    assert value('"x" in var or "x" in proxied.tlv', BARE) is False


@pytest.mark.parametrize(
    ("field", "trusted", "scheme", "port"),
    [
        ("", True, "http", 80), ("X-Forwarded-Proto: https", True, "https", 443),
        ("X-Forwarded-Proto: HTTPS , http", True, "https", 443),
        ("X-Forwarded-Proto: http, https", True, "http", 80),
        ("X-Forwarded-Proto: https", False, "http", 80),
    ],
)  # fmt: skip
def test_schemeIsWhatATrustedProxySays(field, trusted, scheme, port):
    head = f"GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n{chr(13) + chr(10) if field else ''}"
    of = exchange(head.encode(), trusted=trusted)
    assert (value("scheme", of), value("port", of)) == (scheme, port)


@pytest.mark.parametrize(
    ("named", "host", "port"),
    [
        (b"a.example.com", "a.example.com", 80), (b"A.EXAMPLE.com:", "a.example.com", 80),
        (b"a.:81", "a", 81), (b"[2001:DB8::1]:82", "[2001:db8::1]", 82), (b"[::1]", "[::1]", 80),
        (b"192.0.2.1:65535", "192.0.2.1", 65535), (b"", "", 80),
    ],
)  # fmt: skip
def test_hostAndPort(named, host, port):
    of = exchange(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % named)
    assert (value("host", of), value("port", of)) == (host, port)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n", 7),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", -1),
    ],
)
def test_lengthOfABody(head, length):
    assert value("body_length", exchange(head)) == length


def test_poolsTellNumbers():
    for name in POOL_VALUES:
        assert isinstance(value(f'pool("app").{name}'), int)
