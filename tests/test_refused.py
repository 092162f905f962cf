"""Where bytes went wrong, as HAProxy finds it too, and how they are shown."""

import json

import pytest

from lbtwist.admin.recorded import dumped
from lbtwist.captures import CALM, KEPT, MOST_CAPTURES, REQUEST, Captures
from lbtwist.errors import BadClientHello, BadProxyHeader, BadRequest, BadResponse
from lbtwist.sansio import proxyheader
from lbtwist.sansio.chunked import ChunkedReader
from lbtwist.sansio.clienthello import HelloReader
from lbtwist.sansio.refused import inHead, whereRefused
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"GET /a ", b"b\x01 HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"GET /a", b"\x01b HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"G", b"(T / HTTP/1.1\r\n"),
        (b"GET / HTTP/", b"2.0\r\nHost: x\r\n\r\n"),
        (b"\r\nGET / HTTP/", b"9.1\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad", b" Field: y\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b", b"\x00c\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b" folded\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x", b"\nA: b\n\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: ", b"x\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: ", b"a b\r\nA: c\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length:  ", b"2\r\n\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\ntransfer-encoding: ",
         b"chunked\r\nB: c\r\n\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: ", b"more\r\n\r\n"),
        # What is missing is missed where the head ends.
        (b"GET / HTTP/1.1\r\nA: b\r\n\r", b"\n"),
    ],
)  # fmt: skip
def test_whereARequestGoesWrong(good, bad):
    reader = RequestReader()
    with pytest.raises(BadRequest) as refused:
        reader.read(good + bad)
    at = whereRefused(good + bad, reader.read)
    assert inHead(good + bad, at, True, refused.value.about) == len(good)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"", b"220 mail.example ESMTP\r\n"),
        (b"HTTP/1.1 2", b"x0 OK\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nBad", b" Field: \x80abc\r\n\r\nabc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: ", b"chunked, chunked\r\n\r\n"),
    ],
)
def test_whereAResponseGoesWrong(good, bad):
    reader = ResponseReader()

    def read(data):
        return reader.read(data, b"GET")

    with pytest.raises(BadResponse) as refused:
        read(good + bad)
    at = whereRefused(good + bad, read)
    assert inHead(good + bad, at, False, refused.value.about) == len(good)


def test_whereAPROXYHeaderGoesWrong():
    data = b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"
    with pytest.raises(BadProxyHeader):
        proxyheader.read(data)
    assert whereRefused(data, proxyheader.read) == data.index(b"5")


def test_whereAClientHelloGoesWrong():
    data = b"\x16\x03\x01\x00\x04\x02abc"
    with pytest.raises(BadClientHello):
        HelloReader().read(data)
    assert whereRefused(data, lambda part: HelloReader().read(part)) == 5


def test_whatIsNotRefusedAtAllIsMissingAtItsEnd():
    assert whereRefused(b"abc", len) == 3


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"", b"x\r\n"),
        (b"3\r\nabc\r\n", b"zz"),
        (b"3\r\nabc", b"d\r\n"),
        (b"3", b" ;\r\n"),
        (b"0\r\nA: b\r\n", b"no field\r\n\r\n"),
    ],
)
def test_whereABodyGoesWrong(good, bad):
    reader = ChunkedReader(BadResponse)
    with pytest.raises(BadResponse) as refused:
        reader.feed(good + bad)
    error = refused.value
    # A chunk's size is looked at as a whole.
    assert (good + bad).endswith(error.data[error.position :])
    assert len(good) - 1 <= (good + bad).index(error.data) + error.position <= len(good)


def take(captures, data, position=0, at=0.0):
    captures.take(at, REQUEST, "www", "", "", ("192.0.2.1", 1), "why", data, lambda data: position)


@pytest.mark.parametrize(
    ("size", "position", "start"),
    [
        (10, 3, 0),
        (KEPT, KEPT, 0),
        (KEPT + 1, 0, 0),
        (5 * KEPT, 2 * KEPT, 2 * KEPT - KEPT // 2),
        (5 * KEPT, 5 * KEPT, 4 * KEPT),
        (10, 99, 0),
    ],
)
def test_whatIsAroundIsKept(size, position, start):
    captures = Captures()
    data = bytes(number % 251 for number in range(size))
    take(captures, data, position)
    [kept] = captures.recent
    assert kept.data == data[start : start + KEPT]
    assert (kept.start, kept.size, kept.position) == (start, size, min(position, size))


def test_theLastAreKept():
    captures = Captures()
    for number in range(MOST_CAPTURES + 3):
        take(captures, b"x", at=number * CALM)
    assert [one.number for one in captures.recent] == [*range(4, MOST_CAPTURES + 4)]


def test_aFloodIsCountedAndNotLookedAt():
    captures = Captures()
    asked = []

    def where(data):
        asked.append(data)
        return 0

    for _ in range(1000):
        captures.take(5.0, REQUEST, "www", "", "", ("192.0.2.1", 1), "why", b"x", where)
    assert (captures.count, len(asked)) == (1000, MOST_CAPTURES)
    captures.take(5.0 + CALM, REQUEST, "www", "", "", ("192.0.2.1", 1), "why", b"x", where)
    assert captures.recent[-1].number == 1001


def test_thoseOfAWorkerComeToItsParent():
    theirs, ours = Captures(), Captures()
    assert theirs.plain() == []
    take(ours, b"ours")
    take(theirs, b"a\xff", 1)
    take(theirs, b"b")
    ours.absorb(json.loads(json.dumps(theirs.plain())))
    ours.absorb([])
    assert [(one.number, one.data, one.position) for one in ours.recent] == [
        (1, b"ours", 0), (2, b"a\xff", 1), (3, b"b", 0)
    ]  # fmt: skip
    assert (ours.count, ours.recent[-1].client) == (3, ("192.0.2.1", 1))


def test_aDumpIsThatOfHAProxy():
    data = b"HTTP/1.1 200 OK\r\nBad Field: \x80abc\\\x1b\t\r\n\r\nabc"
    assert list(dumped(data)) == [
        r"  00000  HTTP/1.1 200 OK\r\n",
        r"  00017  Bad Field: \x80abc\\\e\t\r\n",
        r"  00037  \r\n",
        "  00039  abc",
    ]


def test_aDumpHasItsPositionMarked():
    assert list(dumped(b"ab\x00c", 100, 103)) == ["  00100  ab\\x00c", " " * 15 + "^"]
    assert list(dumped(b"ab", 0, 2)) == ["  00000  ab", "  00002  ", " " * 9 + "^"]


def test_longLinesGoOn():
    lines = list(dumped(b"a" * 100 + b"\n"))
    assert lines == [f"  00000  {'a' * 70}", f"  00070+ {'a' * 30}\\n"]
