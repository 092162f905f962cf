"""
Where a message ends, and what a connection is told of it: the fields that mean
something to L{lbtwist.sansio}, in both directions.
"""

import pytest
from heads import HOST, get, names, ok, post, refusal, response

from lbtwist.sansio.requesthead import RequestReader

BOTH = [post, ok]
"""A request and a response."""


def status(read, code):
    """Of a refusal: a response's fault is always a bad gateway."""
    return code if read is post else 502


@pytest.mark.parametrize("read", BOTH)
class TestFraming:
    """RFC 9112 section 6, in both directions."""

    @pytest.mark.parametrize("value", [b"0", b"5", b"00005", b"9" * 18])
    def test_contentLength(self, read, value):
        for line in (b"Content-Length: " + value, b"CONTENT-LENGTH:\t" + value + b" "):
            head = read(line)
            assert (head.length, head.chunked, head.keepAlive) == (int(value), False, True)
            assert line in head.fields.block

    @pytest.mark.parametrize(
        "value", [b"", b"-1", b"+1", b"1 1", b"0x10", b"1_0", b"5,5", b"5, 5", b"5, 6", b"5,",
                  b"1.0", b"1e3", b"ten", b"9" * 19, b"9" * 4000, b'"5"', b"\xb2",
                  b"\xd9\xa1", b"5;q=1"],
    )  # fmt: skip
    def test_contentLengthThatIsNoNumber(self, read, value):
        for name in (b"Content-Length: ", b"cONTENT-LENGTH:"):
            assert refusal(read, name + value) == (
                status(read, 400),
                "Content-Length is not a number",
            )

    def test_contentLengthTwiceTheSame(self, read):
        head = read(b"Content-Length: 5", b"A: b", b"content-length:5", b"Content-Length: 5 ")
        assert head.length == 5
        assert names(head)[-2:] == [b"Content-Length", b"A"]

    @pytest.mark.parametrize("other", [b"6", b"05", b"", b"5,5", b"-5"])
    def test_contentLengthTwiceDifferent(self, read, other):
        for lines in ([b"5", other], [other, b"5"], [b"5", b"5", other]):
            assert refusal(read, *[b"Content-Length: " + line for line in lines]) == (
                status(read, 400),
                "Content-Length fields that differ",
            )

    @pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED ", b"\tchunked\t"])
    def test_chunked(self, read, coding):
        head = read(b"Transfer-Encoding: " + coding)
        assert (head.length, head.chunked, head.keepAlive) == (None, True, True)
        assert b"Transfer-Encoding" not in names(head)

    @pytest.mark.parametrize(
        "fields",
        [
            (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 0"),
            (b"Content-Length: x", b"Transfer-Encoding: chunked"),
            (b"Content-Length: 5", b"Transfer-Encoding:"),
            (b"Content-Length: 5", b"Transfer-Encoding: identity"),
        ],
    )
    def test_bothFramings(self, read, fields):
        assert refusal(read, *fields) == (
            status(read, 400),
            "both Transfer-Encoding and Content-Length",
        )

    @pytest.mark.parametrize(
        "coding", [b"", b"identity", b"gzip", b"chunked, gzip", b"chunked, identity",
                   b"chunked, chunked", b"gzip, chunked, chunked", b"chunked,", b",chunked",
                   b"chunked;a=b", b"xchunked", b"chunkedx", b"chunke", b'"chunked"', b"chun ked",
                   b"'chunked'", b"(gzip), chunked", b"chunked;, chunked",
                   b"chunked\xa0", b"gzip, , chunked"],
    )  # fmt: skip
    def test_codingsThatDoNotEndWithChunked(self, read, coding):
        assert refusal(read, b"Transfer-Encoding: " + coding) == (
            status(read, 400),
            "Transfer-Encoding is not exactly chunked",
        )

    @pytest.mark.parametrize("other", [b"chunked", b"identity", b"", b"x"])
    def test_chunkedTwice(self, read, other):
        code, _ = refusal(read, b"Transfer-Encoding: chunked", b"Transfer-Encoding: " + other)
        assert code == status(read, 400)

    @pytest.mark.parametrize(
        "fields",
        [
            (b"Transfer-Encoding: gzip, chunked",),
            (b"Transfer-Encoding: GZIP,Chunked",),
            (b"Transfer-Encoding: foo;q=1, bar , chunked",),
            (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: identity, chunked",),
        ],
    )
    def test_aCodingBeforeChunked(self, read, fields):
        """It ends where chunks end, so it is only not known (RFC 9112 section 6.1)."""
        assert refusal(read, *fields) == (
            status(read, 501),
            "a transfer coding other than chunked",
        )

    def test_chunkedInHTTP10(self, read):
        assert refusal(read, b"Transfer-Encoding: chunked", version=b"1.0") == (
            status(read, 400),
            "Transfer-Encoding in HTTP/1.0",
        )


@pytest.mark.parametrize("read", BOTH)
class TestConnection:
    """RFC 9110 section 7.6.1, in both directions."""

    @pytest.mark.parametrize(
        ("version", "lines", "keepAlive"),
        [
            (b"1.1", [], True),
            (b"1.1", [b"keep-alive"], True),
            (b"1.1", [b"Keep-Alive"], True),
            (b"1.1", [b"close"], False),
            (b"1.1", [b"Close"], False),
            (b"1.1", [b"keep-alive, close"], False),
            (b"1.1", [b"close", b"keep-alive"], False),
            (b"1.1", [b"upgrade,, close"], False),
            (b"1.1", [b"closed"], True),
            (b"1.1", [b""], True),
            (b"1.0", [], False),
            (b"1.0", [b"close"], False),
            (b"1.0", [b"keep-alive"], True),
            (b"1.0", [b"Keep-Alive"], True),
            (b"1.0", [b"KEEP-ALIVE "], True),
            (b"1.0", [b"x, keep-alive"], True),
            (b"1.0", [b"keep-alive", b"close"], False),
        ],
    )
    def test_keepAlive(self, read, version, lines, keepAlive):
        fields = [b"Connection: " + line for line in lines]
        head = read(b"Content-Length: 0", *fields, version=version)
        assert head.keepAlive is keepAlive
        assert b"Connection" not in names(head)

    def test_proxyConnectionMeansNothing(self, read):
        """It is not in any RFC, and whom it is meant for is not known."""
        assert read(b"Content-Length: 0", b"Proxy-Connection: close").keepAlive
        head = read(b"Content-Length: 0", b"Proxy-Connection: keep-alive", version=b"1.0")
        assert not head.keepAlive

    @pytest.mark.parametrize(
        "name", [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Upgrade",
                 b"HTTP2-Settings", b"tE", b"UPGRADE", b"proxy-connection"],
    )  # fmt: skip
    def test_hopByHopFieldsAreRemoved(self, read, name):
        before = names(read(b"A: b", b"C: d"))
        assert names(read(b"A: b", name + b": x", b"C: d", name + b":y")) == before

    def test_namesThatOnlyLookLikeThem(self, read):
        fields = [b"TE-X", b"X-TE", b"Connections", b"Upgrade-Insecure-Requests", b"T", b"Keep_Al"]
        assert names(read(*[name + b": x" for name in fields]))[-6:] == fields

    @pytest.mark.parametrize(
        "lines", [[b"X-Foo, bar"], [b"bar,X-FOO"], [b"x-foo", b"BAR"], [b"close, X-FOO ,, bar"],
                  [b"bar,x-foo,te"]],
    )  # fmt: skip
    def test_listedFieldsAreRemoved(self, read, lines):
        listing = [b"Connection: " + line for line in lines]
        fields = [b"X-Foo: 1", b"Keep: 2", b"bar:", b"X-FOO: 3", b"X-Foo-Bar: 4"]
        plain = names(read())
        assert names(read(*fields, *listing)) == [*plain, b"Keep", b"X-Foo-Bar"]
        assert names(read(*listing, *fields)) == [*plain, b"Keep", b"X-Foo-Bar"]

    @pytest.mark.parametrize("name", [b"Host", b"content-length", b"Transfer-Encoding"])
    def test_whatFramesIsNeverListed(self, read, name):
        for line in (name, b"close, " + name, b"x,\t" + name):
            assert refusal(read, b"Connection: " + line) == (
                status(read, 400),
                "Connection lists a field that frames the message",
            )

    @pytest.mark.parametrize("value", [b"a b", b"close; x", b'"close"', b"close/1", b"\xff"])
    def test_aListOfTokens(self, read, value):
        assert refusal(read, b"Connection: " + value) == (
            status(read, 400),
            "the Connection field is not a list",
        )


class TestDroppedFields:
    drop = (b"x-forwarded-for", b"Forwarded", b"x_id", b"a+b", b"-u")

    @pytest.mark.parametrize(
        "name", [b"X-Forwarded-For", b"x-forwarded-for", b"X_Forwarded_For", b"X_FORWARDED-For",
                 b"Forwarded", b"X_Id", b"X-ID", b"a+b", b"-U", b"_u"],
    )  # fmt: skip
    def test_inAnySpelling(self, name):
        """C{_} is C{-} to servers that make variables of fields."""
        assert names(get(name + b": x", b"Y: z", name + b":", drop=self.drop)) == [b"Host", b"Y"]
        head = response(b"HTTP/1.1 200 OK", name + b": x", b"Y: z", drop=self.drop)
        assert names(head) == [b"Y"]

    @pytest.mark.parametrize(
        "name", [b"X-Forwarded-Fo", b"X-Forwarded-For-", b"XForwardedFor", b"X.Id", b"aab", b"ab"]
    )
    def test_noOther(self, name):
        assert names(get(name + b": x", drop=self.drop)) == [b"Host", name]

    def test_theNamesMayComeFromAnywhere(self):
        reader = RequestReader(drop=iter(self.drop))
        head = reader.read(b"GET / HTTP/1.1\r\nX_Id: 1\r\n" + HOST + b"\r\n")
        assert names(head) == [b"Host"]

    def test_listedByConnectionToo(self):
        head = get(b"X_Id: 1", b"Connection: x-id, x_id", b"Y: z", drop=self.drop)
        assert names(head) == [b"Host", b"Y"]


class TestUpgrade:
    """RFC 9110 section 7.8."""

    @pytest.mark.parametrize(
        ("fields", "upgrade"),
        [
            ([b"Connection: Upgrade", b"Upgrade: websocket"], b"websocket"),
            ([b"Upgrade: WebSocket", b"Connection: keep-alive, UPGRADE"], b"websocket"),
            ([b"Connection: upgrade", b"Upgrade: a/1,b", b"Upgrade: c"], b"a/1, b, c"),
            ([b"Connection: upgrade, HTTP2-Settings", b"HTTP2-Settings: x", b"Upgrade: h2c"], b""),
            ([b"Connection: upgrade", b"Upgrade: H2C, websocket"], b"websocket"),
            ([b"Connection: upgrade", b"Upgrade: websocket, h2c"], b"websocket"),
            ([b"Connection: upgrade", b"Upgrade: a b, (c), , d/e/f, g"], b"g"),
            ([b"Connection: upgrade"], b""),
            ([b"Connection: upgrade", b"Upgrade:"], b""),
            ([b"Upgrade: websocket"], b""),
            ([b"Connection: keep-alive", b"Upgrade: websocket"], b""),
        ],
    )
    def test_requests(self, fields, upgrade):
        head = get(*fields)
        assert head.upgrade == upgrade
        assert names(head) == [b"Host"]

    @pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
    def test_overlookedWithABody(self, field):
        """Some servers, llhttp's among them, take the body for the new protocol."""
        head = post(b"Connection: upgrade", b"Upgrade: websocket", field)
        assert head.upgrade == b""
        assert b"Upgrade" not in names(head)

    def test_aBodyOfNothing(self):
        head = post(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 0")
        assert head.upgrade == b"websocket"

    def test_notInHTTP10(self):
        head = get(b"Connection: upgrade", b"Upgrade: websocket", version=b"1.0")
        assert (head.upgrade, names(head)) == (b"", [b"Host"])

    def test_responses(self):
        head = response(
            b"HTTP/1.1 101 Switch", b"Upgrade: WebSocket", b"Connection: Upgrade", b"A: b"
        )
        assert (head.status, head.upgrade, head.length) == (101, b"websocket", 0)
        assert names(head) == [b"A"]
        assert ok(b"Upgrade: h2").upgrade == b""


class TestExpect:
    """RFC 9110 section 10.1.1."""

    @pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b" 100-CONTINUE "])
    def test_continue(self, value):
        assert post(b"Expect:" + value).fields.get(b"expect") == value.strip()

    @pytest.mark.parametrize(
        "value", [b"", b"200-ok", b"100-continue, x", b"100-continue;q=1", b"100"]
    )
    def test_unknown(self, value):
        assert refusal(post, b"Expect: " + value) == (417, "an expectation that is not known")

    def test_knownAndUnknown(self):
        assert refusal(post, b"Expect: 100-continue", b"Expect: x")[0] == 417

    @pytest.mark.parametrize("value", [b"100-continue", b"x"])
    def test_overlookedInHTTP10(self, value):
        head = post(b"Expect: " + value, b"Content-Length: 1", version=b"1.0")
        assert names(head) == [b"Host", b"Content-Length"]


class TestResponseBodies:
    """RFC 9112 section 6.3."""

    LENGTH = (b"Content-Length: 5",)
    CHUNKED = (b"Transfer-Encoding: chunked",)

    @pytest.mark.parametrize("fields", [(), LENGTH, CHUNKED, (b"Keep-Alive:", *LENGTH)])
    @pytest.mark.parametrize("version", [b"1.1", b"1.0"])
    @pytest.mark.parametrize(
        ("code", "method"), [(100, b"GET"), (103, b"POST"), (199, b"GET"), (204, b"GET"),
                             (204, b"HEAD"), (200, b"CONNECT"), (299, b"CONNECT")],
    )  # fmt: skip
    def test_noneWhateverTheySay(self, fields, version, code, method):
        line = b"HTTP/" + version + b" %d X" % code
        head = response(line, b"A: b", *fields, b"Connection: keep-alive", method=method)
        assert (head.length, head.chunked, head.keepAlive) == (0, False, True)
        assert names(head) == [b"A"]

    def test_connectSaysBoth(self):
        """To be ignored there (RFC 9110 section 9.3.6)."""
        head = ok(*self.LENGTH, *self.CHUNKED, method=b"CONNECT")
        assert (head.length, names(head)) == (0, [])

    @pytest.mark.parametrize(("code", "method"), [(304, b"GET"), (200, b"HEAD"), (404, b"HEAD")])
    @pytest.mark.parametrize("fields", [(), LENGTH, CHUNKED])
    def test_noneButTheLengthItWouldHave(self, code, method, fields):
        head = response(b"HTTP/1.1 %d X" % code, *fields, method=method)
        assert (head.length, head.chunked, head.keepAlive) == (0, False, True)
        assert names(head) == ([b"Content-Length"] if fields == self.LENGTH else [])

    @pytest.mark.parametrize(("code", "method"), [(304, b"GET"), (200, b"HEAD")])
    def test_theyStillSayItOnce(self, code, method):
        line = b"HTTP/1.1 %d X" % code
        assert refusal(response, line, *self.LENGTH, *self.CHUNKED, method=method)[0] == 502
        assert refusal(response, line, b"Content-Length: x", method=method)[0] == 502

    @pytest.mark.parametrize(
        ("code", "method"), [(200, b"GET"), (205, b"GET"), (300, b"CONNECT"), (407, b"CONNECT")]
    )
    def test_others(self, code, method):
        line = b"HTTP/1.1 %d X" % code
        assert response(line, *self.LENGTH, method=method).length == 5
        assert response(line, *self.CHUNKED, method=method).chunked

    @pytest.mark.parametrize("version", [b"1.1", b"1.0"])
    @pytest.mark.parametrize("fields", [(), (b"Connection: keep-alive",), (b"TE: x",)])
    def test_untilTheServerCloses(self, version, fields):
        head = ok(*fields, version=version)
        assert (head.length, head.chunked, head.keepAlive) == (None, False, False)
