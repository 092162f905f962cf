"""
Heads of requests and responses, read from their lines: what the tests of
L{lbtwist.sansio} have in common.
"""

import pytest

from lbtwist.errors import MessageError
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader

HOST = b"Host: a.example\r\n"


def request(*lines, **limits):
    """Read a request of these lines, with C{Host} if there is only one line."""
    head = b"".join(line + b"\r\n" for line in lines)
    return RequestReader(**limits).read(head + (HOST if len(lines) == 1 else b"") + b"\r\n")


def get(*fields, version=b"1.1", **limits):
    """Read a GET request with these fields and a C{Host}."""
    return request(b"GET / HTTP/" + version, b"Host: a.example", *fields, **limits)


def post(*fields, version=b"1.1"):
    """Read a POST request with these fields and a C{Host}."""
    return request(b"POST / HTTP/" + version, b"Host: a.example", *fields)


def response(*lines, method=b"GET", **limits):
    """Read a response of these lines."""
    head = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return ResponseReader(**limits).read(head, method)


def ok(*fields, method=b"GET", version=b"1.1"):
    """Read a response with the status 200 and these fields."""
    return response(b"HTTP/" + version + b" 200 OK", *fields, method=method)


def refusal(read, *args, **options):
    """Why and with which status something is refused."""
    with pytest.raises(MessageError) as caught:
        read(*args, **options)
    return caught.value.status, caught.value.reason


def names(head):
    return [name for name, _ in head.fields.items()]


def saidBy(head):
    """@return: the names of all that a head says."""
    return [name for kind in type(head).__mro__ for name in getattr(kind, "__slots__", ())]


BAD_FIELDS = [
    (b"A : b", "space before the colon of a field"),
    (b"A\t: b", "space before the colon of a field"),
    (b"Content-Length : 0", "space before the colon of a field"),
    (b"Transfer-Encoding : chunked", "space before the colon of a field"),
    (b" A: b", "a folded line"),
    (b"\tb", "a folded line"),
    (b" ", "a folded line"),
    (b"A", "a field without a colon"),
    (b": b", "a field name that is not a token"),
    (b"A b: c", "a field name that is not a token"),
    (b"A(: b", "a field name that is not a token"),
    (b"A\xe4: b", "a field name that is not a token"),
    (b"\x01A: b", "a field name that is not a token"),
    (b"A: \x01", "a control character in a field"),
    (b"A: \x0bchunked", "a control character in a field"),
    (b"A: \x7f", "a control character in a field"),
    (b"A: \x1b[1m", "a control character in a field"),
    (b"A: b\0", "a NUL byte in the head"),
    (b"\0", "a NUL byte in the head"),
    (b"A: b\rC: d", "a bare CR in the head"),
    (b"A: b\r", "a bare CR in the head"),
    (b"\rA: b", "a bare CR in the head"),
    (b"A: b\nC: d", "a line ends with a bare LF"),
    (b"A: b\n", "a line ends with a bare LF"),
    (b"\nGET /b HTTP/1.1", "a line ends with a bare LF"),
]
