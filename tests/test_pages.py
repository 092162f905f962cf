"""The answers that the balancer gives by itself."""

import json
from http.client import responses

import h11
import pytest

from lbtwist.http.pages import PAGES, PROBLEMS, pagesOf
from lbtwist.sansio.errorfile import SILENCE, STATUSES, ErrorFile


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


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(
    ("pages", "kind"), [(PAGES, b"text/html"), (PROBLEMS, b"application/problem+json")]
)
def test_page(status, close, head, pages, kind):
    page = pages[status]
    data = page.encode(close, head)
    response, fields, body, client = understood(data, "HEAD" if head else "GET")
    assert response.status_code == page.status == status
    assert response.http_version == b"1.1"
    assert fields[b"content-length"] == b"%d" % len(page.body)
    assert fields[b"content-type"] == kind
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


def test_theAnswerToASlowRequest():
    """Row by row as HAProxy's manual shows it, of the version of today."""
    assert PAGES[408].encode(True, False) == (
        b"HTTP/1.1 408 Request Time-out\r\n"
        b"Content-Length: 110\r\n"
        b"Cache-Control: no-cache\r\n"
        b"Connection: close\r\n"
        b"Content-Type: text/html\r\n\r\n"
        b"<html><body><h1>408 Request Time-out</h1>\n"
        b"Your browser didn't send a complete request in time.\n</body></html>\n"
    )


def test_aChallenge():
    """A 401 must have one: RFC 9110 15.5.2."""
    for pages in (PAGES, PROBLEMS):
        _, fields, *_ = understood(pages[401].encode(True, False), "GET")
        assert fields[b"www-authenticate"] == b'Basic realm="Restricted"'
        assert b"WWW-Authenticate" not in pages[403].encode(True, False)


@pytest.mark.parametrize("status", STATUSES)
def test_problemDetails(status):
    """RFC 9457 section 3.1; the title of about:blank is the status's own (4.2.1)."""
    problem = json.loads(PROBLEMS[status].body)
    assert problem.pop("detail")
    assert problem == {"type": "about:blank", "title": responses[status], "status": status}


def test_thePagesOfAFrontend():
    assert pagesOf("html", {}) is PAGES
    assert pagesOf("json", {}) is PROBLEMS
    file = ErrorFile(503, b"HTTP/1.1 503 Sorry\r\nX: y\r\n", b"sorry")
    pages = pagesOf("html", {503: file, 408: SILENCE})
    assert pages[500] is PAGES[500]
    assert pages[503].encode(True, False) == (
        b"HTTP/1.1 503 Sorry\r\nX: y\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry"
    )
    assert pages[503].encode(False, True) == (
        b"HTTP/1.1 503 Sorry\r\nX: y\r\nContent-Length: 5\r\n\r\n"
    )
    assert (pages[408].status, pages[408].encode(True, False)) == (408, b"")


@pytest.mark.parametrize(("status", "length"), [(204, False), (304, True), (302, True)])
def test_aFileWithoutABody(status, length):
    """A 204 has no length to tell (RFC 9110 8.6)."""
    pages = pagesOf("html", {403: ErrorFile(status, b"HTTP/1.1 %d X\r\n" % status, b"")})
    assert pages[403].status == status
    data = pages[403].encode(True, False)
    assert (b"Content-Length: 0\r\n" in data) is length
    understood(data, "GET")
