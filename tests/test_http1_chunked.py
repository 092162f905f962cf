"""Chunked bodies, as L{lbtwist.sansio.chunked} reads and writes them."""

import pytest
from heads import BAD_FIELDS, refusal

from lbtwist.errors import BadRequest, BadResponse
from lbtwist.sansio.chunked import ChunkedReader, chunk, lastChunk, trailerLines


def decode(*pieces):
    """Read a chunked body."""
    reader = ChunkedReader(BadResponse)
    return b"".join(map(reader.feed, pieces)), reader


class TestChunked:
    """RFC 9112 section 7.1."""

    @pytest.mark.parametrize(
        ("body", "payload"),
        [
            (b"0\r\n\r\n", b""),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
            (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
            (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            (b"A\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
            (b"00000000000000a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            (b"5\r\n\r\n\r\n0\r\n0\r\n\r\n", b"\r\n\r\n0"),
            (b'3;a\r\nabc\r\n0;a=b;c="d e"\t\r\n\r\n', b"abc"),
            (b"3;\r\nabc\r\n0;\xe4\r\n\r\n", b"abc"),
        ],
    )
    def test_payload(self, body, payload):
        got, reader = decode(body + b"rest")
        assert (got, reader.done, reader.rest, reader.trailers) == (payload, True, b"rest", b"")

    @pytest.mark.parametrize(
        "line",
        [b"", b"x", b"-1", b"+1", b"0x3", b" 3", b"3 ", b"3\t", b"3 ;a", b"g", b"3g", b";a", b"3,a",
         b"3\r", b"\r3", b"3;a\0", b"3;a\x01", b"3;a\x7f", b"3;a\rb", b"1" + b"0" * 15, b"f" * 5000,
         b"0" * 16, b"\xb2", b"3;a\nb"],
    )  # fmt: skip
    def test_badSizes(self, line):
        assert refusal(decode, line + b"\r\nabc\r\n0\r\n\r\n")[0] == 502

    @pytest.mark.parametrize("line", [b"3\n", b"3;a\n", b"3\r", b"3\n\r"])
    def test_badLineEnds(self, line):
        assert refusal(decode, line + b"abc\r\n0\r\n\r\n")[0] == 502

    @pytest.mark.parametrize("end", [b"d\r\n", b"\n", b"\r", b"0\r\n", b"\n\r", b" \r\n"])
    def test_dataThatDoesNotEndWhereItShould(self, end):
        assert refusal(decode, b"3\r\nabc" + end + b"0\r\n\r\n") == (
            502,
            "a chunk longer than it says",
        )

    def test_extensionsAreBounded(self):
        most = b";" + b"a" * ChunkedReader.MAX_EXTENSION
        assert decode(b"1" + most + b"\r\nb\r\n0\r\n\r\n")[0] == b"b"
        code = 502, "chunk extensions without end"
        assert refusal(decode, b"1" + most + b"a\r\nb\r\n0\r\n\r\n") == code
        assert refusal(decode, b"1" + most + b"a") == code
        times = ChunkedReader.MAX_EXTENSIONS // ChunkedReader.MAX_EXTENSION
        many = (b"1" + most + b"\r\nb\r\n") * times
        assert decode(many + b"0\r\n\r\n")[0] == b"b" * times
        assert refusal(decode, many + b"0;a\r\n\r\n") == code
        assert refusal(decode, *[b"1;a\r\nb\r\n"] * (ChunkedReader.MAX_EXTENSIONS + 1)) == code

    def test_trailers(self):
        _, reader = decode(b"0\r\nX-Sum: 1\r\nb:\r\nX-Sum: 2 \r\n\r\nrest")
        assert (reader.trailers, reader.rest) == (b"X-Sum: 1\r\nb:\r\nX-Sum: 2 \r\n", b"rest")

    @pytest.mark.parametrize(
        "name", [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"TE", b"Upgrade",
                 b"Trailer", b"Content-Type", b"Content-Encoding", b"Content-Range", b"Cookie",
                 b"Authorization", b"Proxy-Authorization", b"WWW-Authenticate", b"Set-Cookie",
                 b"Expect", b"Cache-Control", b"Max-Forwards", b"Range", b"If-Match", b"Vary",
                 b"Location", b"content_length", b"X-Forwarded-For", b"x_forwarded_for",
                 b"Forwarded", b"X-Real-IP", b"X-SSL-Client-CN", b"client_cert",
                 b"X-Forwarded-Client-Cert"],
    )  # fmt: skip
    def test_trailersThatMustNotCome(self, name):
        """RFC 9110 section 6.5.1."""
        _, reader = decode(b"0\r\nA: b\r\n" + name + b": 5\r\nC: d\r\n\r\n")
        assert reader.trailers == b"A: b\r\nC: d\r\n"
        assert trailerLines(name.upper() + b": 5\r\n") == b""

    def test_noTrailers(self):
        assert trailerLines(b"") == b""

    @pytest.mark.parametrize(
        "line", [line for line, _ in BAD_FIELDS if b"GET" not in line and line != b"A: b\rC: d"]
    )
    def test_trailersThatAreNotWellFormed(self, line):
        for section in (line + b"\r\n\r\n", b"A: b\r\n" + line + b"\r\n\r\n"):
            assert refusal(decode, b"0\r\n" + section) == (
                502,
                "trailers that are not well formed",
            )

    def test_trailersAreBounded(self):
        room = ChunkedReader.MAX_TRAILERS - len(b"A: \r\n\r\n")
        reader = decode(b"0\r\nA: " + b"b" * room + b"\r\n\r\n" + b"rest" * 9999)[1]
        assert len(reader.trailers) == room + 5
        for trailers in (
            b"A: " + b"b" * (room + 1) + b"\r\n\r\n",
            b"A: " + b"b" * (room + 20),
            b"A: b\r\n" * ChunkedReader.MAX_TRAILERS,
        ):
            assert refusal(decode, b"0\r\n" + trailers) == (502, "trailers without end")

    def test_writtenAndRead(self):
        body = chunk(b"abc") + chunk(b"d" * 300) + lastChunk(b"A: b\r\n")
        payload, reader = decode(body)
        assert (payload, reader.trailers, reader.done) == (b"abc" + b"d" * 300, b"A: b\r\n", True)
        assert chunk(b"d" * 300) == b"12c\r\n" + b"d" * 300 + b"\r\n"

    def test_theErrorIsTheCallers(self):
        with pytest.raises(BadRequest):
            ChunkedReader(lambda reason: BadRequest(400, reason)).feed(b"x")
