"""
The answers the balancer gives by itself.

The bodies are those of HAProxy, which people and programs know, or problem details for
programs, or what a file says. A redirect has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import responses
from types import MappingProxyType

from lbtwist.sansio.errorfile import STATUSES, ErrorFile

_TEXTS: dict[int, tuple[str, str]] = {
    400: ("Bad request", "Your browser sent an invalid request."),
    401: ("Unauthorized", "You need a valid user and password to access this content."),
    403: ("Forbidden", "Request forbidden by administrative rules."),
    404: ("Not Found", "The resource could not be found."),
    405: ("Method Not Allowed", "A request was made of a resource using a request method"
          " not supported by that resource"),
    408: ("Request Time-out", "Your browser didn't send a complete request in time."),
    410: ("Gone", "The resource is no longer available and will not be available again."),
    413: ("Payload Too Large", "The request entity exceeds the maximum allowed."),
    414: ("URI Too Long", "The request target exceeds the maximum allowed."),
    417: ("Expectation Failed", "The expectation of the request is not known."),
    421: ("Misdirected Request", "The request was sent to a server that cannot answer it."),
    425: ("Too Early", "Your browser sent early data."),
    429: ("Too Many Requests", "You have sent too many requests in a given amount of time."),
    431: ("Request Header Fields Too Large", "The request header exceeds the maximum allowed."),
    451: ("Unavailable For Legal Reasons", "The resource is not available for legal reasons."),
    500: ("Internal Server Error", "An internal server error occurred."),
    501: ("Not Implemented", "The server does not support the functionality required to"
          " fulfill the request."),
    502: ("Bad Gateway", "The server returned an invalid or incomplete response."),
    503: ("Service Unavailable", "No server is available to handle this request."),
    504: ("Gateway Time-out", "The server didn't respond in time."),
    505: ("HTTP Version Not Supported", "The HTTP version of the request is not supported."),
}  # fmt: skip

# What a response must say: RFC 9110 sections 15.5.2 and 15.5.6. CONNECT alone is answered
# with 405 where no rule is.
_NEEDED: dict[int, str] = {
    401: 'WWW-Authenticate: Basic realm="Restricted"\r\n',
    405: "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n",
}


class Page:
    """
    One answer.

    @ivar status: the status code.
    @ivar body: what follows the head.
    """

    def __init__(self, status: int, head: bytes, body: bytes, last: bytes = b"") -> None:
        """
        @param head: status line and fields, those that frame the message among them.
        @param last: more fields.
        """
        self.status = status
        self.body = body
        self._head = head
        self._last = last

    def encode(self, close: bool, head: bool) -> bytes:
        """
        @param close: whether the connection is closed after it.
        @param head: whether the request was a C{HEAD}, so no body follows.
        """
        return b"%b%b%b\r\n%b" % (
            self._head,
            b"Connection: close\r\n" if close else b"",
            self._last,
            b"" if head else self.body,
        )


class Silence(Page):
    """The connection is closed without an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status, b"", b"")

    def encode(self, close: bool, head: bool) -> bytes:
        return b""


def _page(status: int, kind: str, body: bytes) -> Page:
    head = (
        f"HTTP/1.1 {status} {_TEXTS[status][0]}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-cache\r\n{_NEEDED.get(status, '')}"
    )
    return Page(status, head.encode(), body, f"Content-Type: {kind}\r\n".encode())


def _usual(status: int) -> Page:
    reason, text = _TEXTS[status]
    body = f"<html><body><h1>{status} {reason}</h1>\n{text}\n</body></html>\n"
    return _page(status, "text/html", body.encode())


def _problem(status: int) -> Page:
    """Problem details (RFC 9457): the title is the status's own (section 4.2.1)."""
    problem = {
        "type": "about:blank", "title": responses[status], "status": status,
        "detail": _TEXTS[status][1],
    }  # fmt: skip
    return _page(status, "application/problem+json", json.dumps(problem).encode() + b"\n")


def _ofFile(status: int, file: ErrorFile) -> Page:
    if not file.status:
        return Silence(status)
    length = b"" if file.status == 204 else b"Content-Length: %d\r\n" % len(file.body)
    return Page(file.status, file.head + length, file.body)


class Redirect:
    """
    An answer that names another address (RFC 9110 sections 15.4.2, 15.4.3 and 15.4.9).
    """

    def __init__(self, status: int, reason: str) -> None:
        # What is not for ever is not to be kept.
        cached = "" if status in (301, 308) else "Cache-Control: no-cache\r\n"
        self._head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n{cached}".encode()

    def encode(self, location: bytes, connection: bytes) -> bytes:
        """
        @param location: without anything that would end a line.
        @param connection: what C{Connection} says; C{b""} without the field.
        """
        more = b"Connection: %b\r\n" % connection if connection else b""
        return b"%bLocation: %b\r\n%b\r\n" % (self._head, location, more)


REDIRECTS: dict[int, Redirect] = {
    301: Redirect(301, "Moved Permanently"),
    302: Redirect(302, "Found"),
    308: Redirect(308, "Permanent Redirect"),
}

PAGES: Mapping[int, Page] = MappingProxyType({status: _usual(status) for status in STATUSES})
"""The pages of a frontend that says nothing of them."""

PROBLEMS: Mapping[int, Page] = MappingProxyType({status: _problem(status) for status in STATUSES})


def pagesOf(errors: str, files: Mapping[int, ErrorFile]) -> Mapping[int, Page]:
    """
    @param errors: C{html} or C{json}.
    @param files: what replaces pages, by status.
    @return: the pages of a frontend.
    """
    usual = PROBLEMS if errors == "json" else PAGES
    if not files:
        return usual
    return {**usual, **{status: _ofFile(status, file) for status, file in files.items()}}
