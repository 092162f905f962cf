"""The files of C{errorfile-NNN}: what is taken of them, and what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbtwist.sansio.errorfile import LARGEST, SILENCE, STATUSES, ErrorFile, errorFile

# As HAProxy ships them.
SORRY = (
    b"HTTP/1.0 503 Service Unavailable\r\nCache-Control: no-cache\r\nConnection: close\r\n"
    b"Content-Type: text/html\r\n\r\n<html><body>Sorry</body></html>\n"
)
HEAD = b"HTTP/1.1 503 Service Unavailable\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n"
BODY = b"<html><body>Sorry</body></html>\n"


def test_aFileOfHAProxy():
    """Version and framing are ours, and so is what concerns the connection."""
    assert errorFile(SORRY) == ErrorFile(503, HEAD, BODY)


@pytest.mark.parametrize(
    "data",
    [
        SORRY.replace(b"\r\n", b"\n"),
        SORRY.replace(b"Connection: close", b"Content-Length: %d" % len(BODY)),
        SORRY.replace(b"Connection: close", b"Keep-Alive:x\r\nCONTENT-length:  %d " % len(BODY)),
    ],
)
def test_theSameInOtherWords(data):
    assert errorFile(data) == errorFile(SORRY)


def test_aRedirectWithoutABody():
    """The status need not be that of the page."""
    found = errorFile(b"HTTP/1.1 302 Found\nLocation: https://sorry.example/\n\n")
    assert found == ErrorFile(
        302, b"HTTP/1.1 302 Found\r\nLocation: https://sorry.example/\r\n", b""
    )
    assert errorFile(b"HTTP/1.1 204\r\n\r\n").head == b"HTTP/1.1 204 \r\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty: /dev/null is what closes without an answer"),
        (b"<html>Sorry</html>\n", "no empty line after the head"),
        (b"<html>\n\nSorry</html>\n", "begins with '<html>', not with a status line"),
        (b"HTTP/2 503 Sorry\n\n", "not with a status line"),
        (b"HTTP/1.1 100 Continue\n\n", "not with a status line"),
        (b"HTTP/1.1 503 Sorry\rX: y\n\n", "not with a status line"),
        (b"HTTP/1.1 503 Sorry\nno field\n\n", "line 2 is not a header field"),
        (b"HTTP/1.1 503 Sorry\nA: b\n folded\n\n", "line 3 is not a header field"),
        (b"HTTP/1.1 503 Sorry\nA: b\0\n\n", "line 2 is not a header field"),
        (b"HTTP/1.1 503 Sorry\nContent-Length: 4\n\nsorry", "is 4, but the body has 5 bytes"),
        (b"HTTP/1.1 503 Sorry\nContent-Length: many\n\nsorry", "is many, but the body has 5"),
        (b"HTTP/1.1 503 Sorry\nContent-Length: %b\n\n" % (b"9" * 5000), "is 9999999999"),
        (b"HTTP/1.1 503 Sorry\nTransfer-Encoding: chunked\n\n0\r\n\r\n", "without Transfer-Enc"),
        (b"HTTP/1.1 304 Not Modified\n\nbody", "status 304 has no body"),
        (b"HTTP/1.1 503 Sorry\n\n" + bytes(LARGEST), "it is longer than"),
    ],
)
def test_whatIsNoResponse(data, message):
    with pytest.raises(ValueError, match=message):
        errorFile(data)


@given(st.binary())
@example(SORRY[:-1])
@example(b"HTTP/1.1 503 \xff\n\n")
def test_anyBytesAreAResponseOrAreRefused(data):
    try:
        found = errorFile(data)
    except ValueError as error:
        assert str(error).isprintable()
        return
    assert found.head.startswith(b"HTTP/1.1 ") and found.head.endswith(b"\r\n")
    assert b"\r\n\r\n" not in found.head


def test_silence():
    assert SILENCE.status == 0
    assert STATUSES == tuple(sorted(STATUSES))
