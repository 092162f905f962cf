"""The answers that the balancer gives by itself."""

import h11
import pytest

from lbtwist.http.pages import PAGES

STATUSES = (400, 403, 405, 408, 413, 414, 431, 500, 501, 502, 503, 504, 505)


def understood(data, method):
    """What a client makes of it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", False)
    return response, dict(response.headers), body, client


@pytest.mark.parametrize("status", PAGES)
@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("head", [True, False])
def test_page(status, close, head):
    page = PAGES[status]
    data = page.encode(close, head)
    response, fields, body, client = understood(data, "HEAD" if head else "GET")
    assert response.status_code == page.status == status
    assert response.http_version == b"1.1"
    assert fields[b"content-length"] == b"%d" % len(page.body)
    assert fields[b"content-type"] == b"text/html"
    assert fields[b"cache-control"] == b"no-cache"
    assert body == (b"" if head else page.body)
    assert (client.their_state is h11.MUST_CLOSE) == close


@pytest.mark.parametrize("status", STATUSES)
def test_thereIsOneForEach(status):
    """And it says its status and why to people."""
    body = PAGES[status].body
    assert body.startswith(b"<html><body><h1>%d " % status)
    assert body.endswith(b"\n</body></html>\n")


def test_whatIsAllowed():
    """A 405 must say it: RFC 9110 15.5.6. CONNECT is what is not."""
    _, fields, *_ = understood(PAGES[405].encode(True, False), "GET")
    allowed = fields[b"allow"].split(b", ")
    assert b"GET" in allowed and b"CONNECT" not in allowed
    for status in STATUSES:
        if status != 405:
            assert b"Allow:" not in PAGES[status].encode(True, False)


def test_theFormOfHAProxy():
    """Byte for byte but for the lengths, as scripts look for it."""
    assert PAGES[503].encode(True, False) == (
        b"HTTP/1.1 503 Service Unavailable\r\n"
        b"Content-Length: 107\r\n"
        b"Cache-Control: no-cache\r\n"
        b"Connection: close\r\n"
        b"Content-Type: text/html\r\n\r\n"
        b"<html><body><h1>503 Service Unavailable</h1>\n"
        b"No server is available to handle this request.\n</body></html>\n"
    )
