"""
The answers the balancer gives by itself.

The bodies are those of HAProxy, which people and programs know. A redirect has none.
"""

from __future__ import annotations

_TEXTS: dict[int, tuple[str, str]] = {
    400: ("Bad request", "Your browser sent an invalid request."),
    403: ("Forbidden", "Request forbidden by administrative rules."),
    405: ("Method Not Allowed", "A request was made of a resource using a request method"
          " not supported by that resource"),
    408: ("Request Time-out", "Your browser didn't send a complete request in time."),
    413: ("Payload Too Large", "The request entity exceeds the maximum allowed."),
    414: ("URI Too Long", "The request target exceeds the maximum allowed."),
    417: ("Expectation Failed", "The expectation of the request is not known."),
    421: ("Misdirected Request", "The request was sent to a server that cannot answer it."),
    431: ("Request Header Fields Too Large", "The request header exceeds the maximum allowed."),
    500: ("Internal Server Error", "An internal server error occurred."),
    501: ("Not Implemented", "The server does not support the functionality required to"
          " fulfill the request."),
    502: ("Bad Gateway", "The server returned an invalid or incomplete response."),
    503: ("Service Unavailable", "No server is available to handle this request."),
    504: ("Gateway Time-out", "The server didn't respond in time."),
    505: ("HTTP Version Not Supported", "The HTTP version of the request is not supported."),
}  # fmt: skip


class Page:
    """
    One answer.

    @ivar status: the status code.
    @ivar body: what follows the head.
    """

    def __init__(self, status: int, more: bytes = b"") -> None:
        reason, text = _TEXTS[status]
        self.status = status
        self.body = f"<html><body><h1>{status} {reason}</h1>\n{text}\n</body></html>\n".encode()
        self._head = (
            f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(self.body)}\r\n"
            "Cache-Control: no-cache\r\n"
        ).encode() + more

    def encode(self, close: bool, head: bool) -> bytes:
        """
        @param close: whether the connection is closed after it.
        @param head: whether the request was a C{HEAD}, so no body follows.
        """
        return b"%b%bContent-Type: text/html\r\n\r\n%b" % (
            self._head,
            b"Connection: close\r\n" if close else b"",
            b"" if head else self.body,
        )


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

# 405 must name what is allowed (RFC 9110 15.5.6); CONNECT alone is answered so.
PAGES: dict[int, Page] = {
    status: Page(
        status,
        b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n" if status == 405 else b"",
    )
    for status in _TEXTS
}
