"""
Every reader of heads and bodies in all pieces: whole, byte by byte and cut in
two at every place, good and bad messages alike, and what follows them is not lost.

A bad head may be refused before its end has come, with the same status; so each of
those here has one fault.
"""

import pytest
from heads import saidBy

from lbtwist.errors import BadResponse, MessageError
from lbtwist.sansio.chunked import ChunkedReader
from lbtwist.sansio.http1 import Partial
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a?b HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost:a\r\ncontent-length: 5\r\nConnection: close\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n",
    b"GET http://a:80/b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nX: y\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01\0\n\r",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X, upgrade\r\nUpgrade: b\r\nX: \r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n",
    b"GET /" + b"a" * 99 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"M" * 153 + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
]

BAD_REQUESTS = [
    (400, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\n\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nA: \x01\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    (400, b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /\r\n\r\n"),
    (400, b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"),
    (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (414, b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    (414, b"\r\nGET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    (414, b"M" * 180 + b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A:\r\n" * 10 + b"\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 600 + b"\r\n\r\n"),
    (417, b"GET / HTTP/1.1\r\nHost: a\r\nExpect: b\r\n\r\n"),
    (501, b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
]

RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    b"HTTP/1.1 200\r\nConnection: close\r\n\r\nabc",
    b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\n\r\n",
    b"HTTP/1.1 999\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n\x81\0\r\n",
    b"HTTP/1.1 204 No Content\r\ncontent-length:0\r\nKeep-Alive: x\r\n\r\n",
]

BAD_RESPONSES = [
    b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 20\r\n\r\n",
    b"HTTP/1.1 2000\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 200\rOK\r\n\r\n",
    b"HTTP/1.1 200 O\x01K\r\n\r\n",
    b"HTTP/1.1 200 OK\n\n",
    b"HTTP/1.2 200 OK\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"<html>\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"b" * 600 + b"\r\n\r\n",
    b"HTTP/1.1 200 " + b"b" * 600 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A:\r\n" * 11 + b"\r\n",
]

BODIES = [
    b"0\r\n\r\n",
    b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\nrest",
    b"5\r\n\r\n\r\n0\r\n00\r\n\r\n\r\n",
    b'A;a;b="c"\r\n0123456789\r\n1;\r\nx\r\n0;d\r\n\r\n3\r\n',
    b"1\r\na\r\n0\r\nA: b\r\nTE: c\r\nD:\r\n\r\nA: b\r\n",
    b"1;" + b"a" * 1023 + b"\r\nb\r\n0\r\n\r\n",
    b"00000000000000f\r\n0123456789abcde\r\n0\r\n\r\n",
]

BAD_BODIES = [
    b"\r\n0\r\n\r\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3\rabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\r\nabc\r0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"x\r\n",
    b"1;a\rb\r\nc\r\n0\r\n\r\n",
    b"1;\0\r\nc\r\n0\r\n\r\n",
    b"1;" + b"a" * 1025 + b"\r\nb\r\n0\r\n\r\n",
    b"0000000000000001\r\na\r\n0\r\n\r\n",
    b"0\r\nA : b\r\n\r\n",
    b"0\r\n\n",
    b"0\r\n\r\r\n",
    b"0\r\n A: b\r\n\r\n",
    b"0\r\nA: b\nC: d\r\n\r\n",
    b"0\r\nA: b\rC: d\r\n\r\n",
    b"0\r\nA: b\0\r\n\r\n",
    b"0\r\nA: " + b"b" * 16400 + b"\r\n\r\n",
]


def piecesOf(data):
    """All ways in which C{data} is cut here; long ones not in two at every place."""
    yield [data[i : i + 1] for i in range(len(data))]
    yield [data[i : i + 3] for i in range(0, len(data), 3)]
    step = 1 if len(data) < 2000 else 97
    for i in range(1, len(data), step):
        yield [data[:i], data[i:]]
        yield [data[:i], data[i : i + 1], data[i + 1 :]]


def readHead(reader, pieces, *method):
    """
    Read a head as a connection does.

    @return: its values and what is left; the status it is refused with; L{None} if
        more is needed.
    """
    partial = None
    for number, piece in enumerate(pieces, 1):
        data = piece
        try:
            if partial is not None:
                data = partial.feed(piece)
                if data is None:
                    continue
            head = reader.read(data, *method)
        except MessageError as refused:
            return refused.status
        if head is None:
            assert partial is None, "a whole head was found where there is none"
            partial = Partial(reader, data)
            continue
        values = {name: getattr(head, name) for name in saidBy(head)}
        values["fields"] = head.fields.block
        return values, data[head.size :] + b"".join(pieces[number:])
    return None


def requestReader():
    return RequestReader(maxBytes=500, maxFields=10, maxTarget=100, drop=[b"x-forwarded-for"])


def responseReader():
    return ResponseReader(maxBytes=500, maxFields=10)


class TestHeads:
    @pytest.mark.parametrize("data", REQUESTS)
    def test_goodRequests(self, data):
        whole = readHead(requestReader(), [data])
        values, rest = whole
        assert values["size"] + len(rest) == len(data)
        for pieces in piecesOf(data):
            assert readHead(requestReader(), pieces) == whole

    @pytest.mark.parametrize(("status", "data"), BAD_REQUESTS)
    def test_badRequests(self, status, data):
        assert readHead(requestReader(), [data]) == status
        for pieces in piecesOf(data):
            assert readHead(requestReader(), pieces) == status

    @pytest.mark.parametrize("data", RESPONSES)
    def test_goodResponses(self, data):
        whole = readHead(responseReader(), [data], b"GET")
        values, rest = whole
        assert values["size"] + len(rest) == len(data)
        for pieces in piecesOf(data):
            assert readHead(responseReader(), pieces, b"GET") == whole

    @pytest.mark.parametrize("data", BAD_RESPONSES)
    def test_badResponses(self, data):
        assert readHead(responseReader(), [data], b"GET") == 502
        for pieces in piecesOf(data):
            assert readHead(responseReader(), pieces, b"GET") == 502

    @pytest.mark.parametrize("data", REQUESTS)
    def test_aBeginningIsNeitherGoodNorBad(self, data):
        values, _ = readHead(requestReader(), [data])
        for end in range(values["size"]):
            assert readHead(requestReader(), [data[:end]]) is None
            assert readHead(requestReader(), [data[i : i + 1] for i in range(end)]) is None

    @pytest.mark.parametrize("data", RESPONSES)
    def test_aBeginningOfAResponse(self, data):
        values, _ = readHead(responseReader(), [data], b"GET")
        for end in range(values["size"]):
            assert readHead(responseReader(), [data[:end]], b"GET") is None

    def test_isRefusedWhenItsLineEnds(self):
        """Not when the head is complete: a peer could keep that from us for long."""
        reader = requestReader()
        partial = Partial(reader, b"GET / HTTP/1.1\r\nA : b\r")
        with pytest.raises(MessageError):
            partial.feed(b"\n")

    def test_aBareCRIsRefusedAtOnce(self):
        partial = Partial(requestReader(), b"GET / HTTP/1.1\r\nA: b\r")
        with pytest.raises(MessageError):
            partial.feed(b"c")

    @pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"\r\nGET / HTTP/1.1\r\n"])
    @pytest.mark.parametrize("more", [b"A: b\r\n", b"A", b"A: b\r\nC: d\r\nE: f\r\n"])
    def test_aHeadWithoutEnd(self, line, more):
        """It is refused when it is too long, and not held until then some day."""
        partial = Partial(requestReader(), line)
        with pytest.raises(MessageError) as caught:
            for _ in range(999):
                partial.feed(more)
        assert caught.value.status == 431
        assert len(partial.data) <= 500 + len(more)

    def test_whatHasComeIsKept(self):
        partial = Partial(requestReader(), b"GET / ")
        assert partial.feed(b"HTTP/1.1\r\n") is None
        assert partial.data == b"GET / HTTP/1.1\r\n"


def readBody(pieces):
    """
    @return: payload, trailers and what is left; C{"refused"}; L{None} if more is
        needed.
    """
    reader = ChunkedReader(BadResponse)
    payload = b""
    for number, piece in enumerate(pieces, 1):
        try:
            payload += reader.feed(piece)
        except MessageError:
            return "refused"
        if reader.done:
            return payload, reader.trailers, reader.rest + b"".join(pieces[number:])
    return None


class TestBodies:
    @pytest.mark.parametrize("data", BODIES)
    def test_good(self, data):
        whole = readBody([data])
        assert whole is not None
        assert data.endswith(whole[2])
        for pieces in piecesOf(data):
            assert readBody(pieces) == whole

    @pytest.mark.parametrize("data", BAD_BODIES)
    def test_bad(self, data):
        assert readBody([data]) == "refused"
        for pieces in piecesOf(data):
            assert readBody(pieces) == "refused"

    @pytest.mark.parametrize("data", BODIES)
    def test_aBeginningIsNeitherGoodNorBad(self, data):
        for end in range(len(data) - len(readBody([data])[2])):
            assert readBody([data[:end]]) is None

    def test_nothingIsHeldOfThePayload(self):
        reader = ChunkedReader(BadResponse)
        reader.feed(b"ff\r\n")
        for _ in range(255):
            assert reader.feed(b"x") == b"x"


class Counted(bytearray):
    """Counts how many of its bytes are looked at."""

    looked = 0

    def find(self, what, start=0):
        at = super().find(what, start)
        self.looked += max(0, (len(self) if at < 0 else at + len(what)) - start)
        return at

    def __getitem__(self, where):
        got = super().__getitem__(where)
        self.looked += len(got) if isinstance(where, slice) else 1
        return got


DRIPS = [
    b"A: b\r\n" * 2000,
    b"A: " + b"b" * 12000 + b"\r\n",
    b"A:\r\n" * 3000,
    (b"A: " + b"b" * 3990 + b"\r\n") * 3,
]


class TestDrips:
    """
    A byte is looked at a few times, however small the pieces are: a client that
    sends one by one costs no more than in proportion.
    """

    @pytest.mark.parametrize("fields", DRIPS)
    @pytest.mark.parametrize(
        ("reader", "line"),
        [(RequestReader(maxFields=9999), b"GET / HTTP/1.1\r\n"),
         (RequestReader(), b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n"),
         (ResponseReader(), b"HTTP/1.1 200 " + b"a" * 8000 + b"\r\n")],
    )  # fmt: skip
    def test_heads(self, reader, line, fields):
        data = line + fields
        partial = Partial(reader, b"")
        partial.data = held = Counted()
        for i in range(len(data)):
            assert partial.feed(data[i : i + 1]) is None
        assert held == data
        # A look at a response's first bytes is one at 13, as long as its line lasts.
        assert held.looked < 13 * len(data) + 13 * len(line)

    @pytest.mark.parametrize("fields", DRIPS)
    def test_trailers(self, fields):
        reader = ChunkedReader(BadResponse)
        reader.feed(b"0\r\n")
        reader._section = section = Counted()
        for i in range(len(fields)):
            reader.feed(fields[i : i + 1])
        assert section == fields
        assert section.looked < 4 * len(fields)

    def test_chunkLinesAreNotHeld(self):
        """Only as much as a size has, so what is looked at again is as little."""
        reader = ChunkedReader(BadResponse)
        line = b"00000000000000a;" + b"b" * 1000 + b"\r\n0123456789\r\n"
        for i in range(len(line)):
            reader.feed(line[i : i + 1])
            assert len(reader._data) <= 16
