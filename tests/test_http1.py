"""
What L{lbtwist.sansio} accepts of a request line, a target, C{Host}, a status
line and fields, and what it refuses: RFC 9112 and RFC 9110 by example.
"""

import pytest
from heads import BAD_FIELDS, HOST, get, ok, refusal, request, response

from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader


class TestRequestLine:
    def test_aRequest(self):
        data = b"GET /a?b=c HTTP/1.1\r\nHost: A.example:8080\r\nX-Mixed: Case\r\n\r\nrest"
        head = RequestReader().read(data)
        assert (head.method, head.target, head.version) == (b"GET", b"/a?b=c", 11)
        assert head.line == b"GET /a?b=c HTTP/1.1"
        assert head.host == b"a.example:8080"
        assert head.fields.items() == [(b"Host", b"A.example:8080"), (b"X-Mixed", b"Case")]
        assert data[head.size :] == b"rest"
        assert (head.length, head.chunked, head.keepAlive, head.upgrade) == (0, False, True, b"")
        assert repr(head) == "<RequestHead b'GET /a?b=c HTTP/1.1'>"

    def test_asItGoesToAServer(self):
        head = get(b"Connection: close", b"A:b", version=b"1.0")
        assert head.encode(b"Via: x\r\n") == (
            b"GET / HTTP/1.1\r\nHost: a.example\r\nA:b\r\nVia: x\r\n\r\n"
        )
        assert head.encode() == b"GET / HTTP/1.1\r\nHost: a.example\r\nA:b\r\n\r\n"

    @pytest.mark.parametrize(
        ("method", "idempotent"),
        [(b"GET", True), (b"HEAD", True), (b"PUT", True), (b"DELETE", True), (b"OPTIONS", True),
         (b"TRACE", True), (b"POST", False), (b"PATCH", False), (b"get", False)],
    )  # fmt: skip
    def test_idempotence(self, method, idempotent):
        """RFC 9110 section 9.2.2."""
        assert request(method + b" / HTTP/1.1").idempotent is idempotent

    @pytest.mark.parametrize("method", [b"GET", b"get", b"M-SEARCH", b"!#$%&'*+-.^_`|~", b"9"])
    def test_anyTokenIsAMethod(self, method):
        assert request(method + b" / HTTP/1.1").method == method

    @pytest.mark.parametrize(
        "method", [b"", b"G(T", b"G@T", b"G,T", b'"GET"', b"G\xc3\x84T", b"G:T", b"\tGET", b"G/"]
    )
    def test_otherMethods(self, method):
        assert refusal(request, method + b" / HTTP/1.1") == (400, "the method is not a token")

    @pytest.mark.parametrize(
        "target", [b"/", b"//", b"/%2F", b"/%zz", b"/?", b"/a?b", b"/a'\"<>\\^`{|}~"]
    )
    def test_targetsPassAsTheyAre(self, target):
        assert request(b"GET " + target + b" HTTP/1.1").target == target

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"GET /#a HTTP/1.1", "a fragment in the target"),
            (b"GET /a?b#c HTTP/1.1", "a fragment in the target"),
            (b"GET /\xc3\xa4 HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET /\x7f HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET /\x01 HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET /a b HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET  / HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET /  HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET /\t HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET HTTP/1.1", "a character in the target that must be encoded"),
            (b"GET\t/\tHTTP/1.1", "the method is not a token"),
            (b" GET / HTTP/1.1", "the method is not a token"),
            (b"GET / HTTP/1.1 ", "the request line is not well formed"),
            (b"GET / http/1.1", "the request line is not well formed"),
            (b"GET / HTTP/11", "the request line is not well formed"),
            (b"GET / HTTP/1.10", "the request line is not well formed"),
            (b"GET / HTTP/2", "the request line is not well formed"),
            (b"GET / HTTP / 1.1", "the request line is not well formed"),
            (b"GET / ICY/1.1", "the request line is not well formed"),
            (b"GET /", "no HTTP version: HTTP/0.9 is not spoken"),
            (b"GET", "no HTTP version: HTTP/0.9 is not spoken"),
            (b"", "the method is not a token"),
        ],
    )
    def test_linesThatAreNotWellFormed(self, line, reason):
        """RFC 9112 section 3."""
        assert refusal(request, line) == (400, reason)

    @pytest.mark.parametrize("version", [b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9"])
    def test_otherVersions(self, version):
        assert refusal(get, version=version) == (505, "an HTTP version that is not spoken")

    def test_thePrefaceOfHTTP2(self):
        assert refusal(RequestReader().read, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[0] == 505

    def test_oneEmptyLineBefore(self):
        """RFC 9112 section 2.2."""
        data = b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n"
        assert RequestReader().read(data + b"rest").size == len(data)

    @pytest.mark.parametrize("before", [b"\r\n\r\n", b"\n", b"\r", b" \r\n", b"\r\n\n", b"\r\n "])
    def test_noMoreThanThat(self, before):
        data = before + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
        assert refusal(RequestReader().read, data)[0] == 400


class TestTargetForms:
    """RFC 9112 section 3.2."""

    @pytest.mark.parametrize(
        ("target", "host", "sent"),
        [
            (b"http://a.example/b?c", b"a.example", b"/b?c"),
            (b"http://a.example", b"a.example", b"/"),
            (b"http://a.example?b", b"a.example", b"/?b"),
            (b"http://a.example//b", b"a.example", b"//b"),
            (b"http://a.example/@b", b"a.example", b"/@b"),
            (b"HTTP://A.Example/", b"a.EXAMPLE", b"/"),
            (b"http://a.example:80/", b"a.example", b"/"),
            (b"http://a.example/", b"a.example:80", b"/"),
            (b"http://a.example:/", b"a.example", b"/"),
            (b"https://a.example/", b"a.example:443", b"/"),
            (b"https://a.example:443/", b"a.example", b"/"),
            (b"http://a.example:8080/", b"a.example:8080", b"/"),
            (b"http://[::1]:80/", b"[::1]", b"/"),
        ],
    )
    def test_absoluteFormThatNamesTheHost(self, target, host, sent):
        head = request(b"GET " + target + b" HTTP/1.1", b"Host: " + host)
        assert (head.target, head.host) == (sent, host.lower())
        assert head.fields.items() == [(b"Host", host)]
        assert head.line == b"GET " + target + b" HTTP/1.1"

    @pytest.mark.parametrize(
        ("target", "host"),
        [
            (b"http://a.example/", b"b.example"),
            (b"http://a.example/", b"a.example:8080"),
            (b"http://a.example/", b"a.example:443"),
            (b"https://a.example/", b"a.example:80"),
            (b"http://a.example:81/", b"a.example:8"),
            (b"http://a.example./", b"a.example"),
            (b"http://xa.example/", b"a.example"),
        ],
    )
    def test_absoluteFormThatNamesAnother(self, target, host):
        assert refusal(request, b"GET " + target + b" HTTP/1.1", b"Host: " + host) == (
            400,
            "the target and the Host field differ",
        )

    @pytest.mark.parametrize("fields", [(), (b"Host:",)])
    def test_absoluteFormWithoutHost(self, fields):
        """HTTP/1.0 has no C{Host}; the server gets the one that was named."""
        head = request(b"GET http://A.example/b HTTP/1.0", *(fields or (b"A: b",)))
        assert (head.host, head.target) == (b"a.example", b"/b")
        assert head.fields.getAll(b"host") == [b"A.example"]

    def test_absoluteFormDoesNotReplaceAMissingHost(self):
        assert refusal(request, b"GET http://a.example/ HTTP/1.1", b"A: b") == (
            400,
            "no Host field",
        )

    @pytest.mark.parametrize(
        "target", [b"http:///b", b"http://", b"http://?b", b"http://:80/", b"http://a b.example/"]
    )
    def test_absoluteFormWithoutAHost(self, target):
        assert refusal(request, b"GET " + target + b" HTTP/1.1")[0] == 400

    @pytest.mark.parametrize(
        "authority",
        [b"a@a.example", b"a:b@a.example", b"@a.example", b"a.example@b.example",
         b"a.example:99999", b"a.example:x", b"a.example,b.example", b"a.example\\@b", b"[::1",
         b"[a.example]", b"[1:2]", b"%zz"],
    )  # fmt: skip
    def test_absoluteFormWithABadAuthority(self, authority):
        """User information among it (RFC 9110 section 4.2.4)."""
        line = b"GET http://" + authority + b"/ HTTP/1.1"
        assert refusal(request, line) == (400, "the target names no host")

    @pytest.mark.parametrize(
        "target", [b"ftp://a.example/", b"ws://a.example/", b"a.example:80", b"a", b"?a", b"*a",
                   b"http:/a.example/", b"://a.example/", b"mailto:a@a.example", b"*"],
    )  # fmt: skip
    def test_otherForms(self, target):
        assert refusal(request, b"GET " + target + b" HTTP/1.1")[0] == 400

    @pytest.mark.parametrize(
        "target", [b"a.example:443", b"192.0.2.1:80", b"[2001:db8::1]:443", b"a.example:0"]
    )
    def test_authorityFormIsForConnect(self, target):
        head = request(b"CONNECT " + target + b" HTTP/1.1", b"Host: " + target)
        assert (head.method, head.target, head.length) == (b"CONNECT", target, 0)

    @pytest.mark.parametrize(
        "target",
        [b"/", b"*", b"a.example", b"a.example:", b":443", b"a.example:65536", b"a:443/",
         b"a@a.example:443", b"http://a.example:443", b"[::1]", b"[::g]:443", b"a.example:443,"],
    )  # fmt: skip
    def test_connectNeedsHostAndPort(self, target):
        assert refusal(request, b"CONNECT " + target + b" HTTP/1.1") == (
            400,
            "CONNECT without host and port",
        )

    @pytest.mark.parametrize("field", [b"Content-Length: 1", b"Transfer-Encoding: chunked"])
    def test_connectHasNoBody(self, field):
        line = b"CONNECT a.example:443 HTTP/1.1"
        assert refusal(request, line, b"Host: a", field) == (400, "CONNECT with a body")
        assert request(line, b"Host: a.example", b"Content-Length: 0").length == 0

    @pytest.mark.parametrize("host", [b"a.example:443", b"A.Example", b"a.example:"])
    def test_connectAndHostAgree(self, host):
        line = b"CONNECT a.example:443 HTTP/1.1"
        assert request(line, b"Host: " + host).host == host.lower()

    @pytest.mark.parametrize("host", [b"b.example:443", b"a.example:80", b"a"])
    def test_connectThatDiffersFromHost(self, host):
        line = b"CONNECT a.example:443 HTTP/1.1"
        reason = "the target and the Host field differ"
        assert refusal(request, line, b"Host: " + host) == (400, reason)

    def test_connectNamesTheHostOfHTTP10(self):
        head = request(b"CONNECT A.example:443 HTTP/1.0", b"X: y")
        assert head.host == b"a.example:443"
        assert head.fields.get(b"host") == b"A.example:443"

    def test_connectInAnyCase(self):
        line = b"ConneCT a.example:443 HTTP/1.1"
        host = b"Host: a.example:443"
        assert refusal(request, line, host)[0] == 400
        head = request(line, host, anyCase=True)
        assert (head.method, head.line) == (b"CONNECT", line)
        # What has a path is some method of somebody's own.
        assert request(b"connect /x HTTP/1.1", host, anyCase=True).method == b"connect"

    def test_asteriskFormIsForOptions(self):
        assert request(b"OPTIONS * HTTP/1.1").target == b"*"
        assert request(b"OPTIONS http://a.example HTTP/1.1").target == b"*"
        assert request(b"OPTIONS http://a.example/ HTTP/1.1").target == b"/"
        assert request(b"OPTIONS http://a.example?a HTTP/1.1").target == b"/?a"
        assert refusal(request, b"GET * HTTP/1.1") == (
            400,
            "the target * with a method other than OPTIONS",
        )


class TestHost:
    """RFC 9112 section 3.2."""

    @pytest.mark.parametrize(
        "host", [b"a.example", b"A.EXAMPLE", b"a.example:80", b"a.example:", b"a_b", b"a.example.",
                 b"192.0.2.1", b"[2001:db8::1]", b"[::ffff:192.0.2.1]:8080", b"a%20b", b"a:65535",
                 b"x" * 300, b""],
    )  # fmt: skip
    def test_hosts(self, host):
        for spelled in (b"Host: " + host, b"hOST:" + host, b"Host:\t " + host + b" \t"):
            assert request(b"GET / HTTP/1.1", spelled).host == host.lower()

    @pytest.mark.parametrize(
        "host", [b"a b", b"a/b", b"a,b", b"a@b", b"a?b", b"a#b", b"a:b", b"a:80:80", b"a:65536",
                 b"a:123456", b"[::1", b"::1", b"[::1]a", b"[a]", b"[:::]", b"[1.2.3.4]", b"a\\b",
                 b"a%2", b"a%gg", b"\xc3\xa4", b"http://a", b'"a"', b"a:-1", b"[fe80::1%25eth0]"],
    )  # fmt: skip
    def test_noHosts(self, host):
        for name in (b"Host: ", b"hOST: "):
            line = name + host
            assert refusal(request, b"GET / HTTP/1.1", line) == (
                400,
                "the Host field is not a host",
            )

    def test_missing(self):
        assert refusal(request, b"GET / HTTP/1.1", b"A: b") == (400, "no Host field")
        assert refusal(RequestReader().read, b"GET / HTTP/1.1\r\n\r\n") == (400, "no Host field")
        assert request(b"GET / HTTP/1.0", b"A: b").host == b""

    @pytest.mark.parametrize("second", [b"Host: a.example", b"Host: b", b"HOST:", b"host:  a"])
    def test_repeated(self, second):
        assert refusal(get, second) == (400, "more than one Host field")
        assert refusal(get, b"A: b", second, version=b"1.0") == (400, "more than one Host field")

    def test_aCheckedOneIsRemembered(self):
        """Nothing of one request is seen in the next, and no bad one is remembered."""
        reader = RequestReader()
        for host, answer in [(b"A", b"a"), (b"b", b"b"), (b"A", b"a"), (b"a", b"a")] * 2:
            assert reader.read(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).host == answer
            assert refusal(reader.read, b"GET / HTTP/1.1\r\nHost: b,\r\n\r\n")[0] == 400
            assert refusal(reader.read, b"GET / HTTP/1.1\r\n\r\n")[0] == 400

    def test_anyNumberOfHosts(self):
        """As many and as long ones as anybody sends do not fill the memory."""
        reader = RequestReader()
        for number in range(3000):
            host = b"h%d.example" % number
            assert reader.read(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).host == host
            long = b"x" * 256 + host
            assert reader.read(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % long).host == long
        assert 0 < len(reader._goodHosts) <= 1024
        assert max(map(len, reader._goodHosts)) < 256


class TestStatusLine:
    def test_aResponse(self):
        data = b"HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Length: 3\r\n\r\nabc"
        head = ResponseReader().read(data, b"GET")
        assert (head.status, head.version, head.line) == (404, 11, b"HTTP/1.1 404 Not Found")
        assert head.fields.items() == [(b"Server", b"x"), (b"Content-Length", b"3")]
        assert (head.length, head.chunked, head.keepAlive, head.upgrade) == (3, False, True, b"")
        assert data[head.size :] == b"abc"
        assert repr(head) == "<ResponseHead b'HTTP/1.1 404 Not Found'>"

    @pytest.mark.parametrize("code", [100, 199, 200, 299, 418, 599, 600, 999])
    def test_statuses(self, code):
        assert response(b"HTTP/1.1 %d X" % code).status == code

    @pytest.mark.parametrize("reason", [b"", b" ", b" OK", b"  OK ", b" \t", b" \xe4 (x) [\"y\"]"])
    def test_reasons(self, reason):
        """Some servers leave the space out, too."""
        head = response(b"HTTP/1.0 200" + reason)
        assert (head.line, head.version) == (b"HTTP/1.0 200" + reason, 10)

    @pytest.mark.parametrize(
        "line", [b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20", b"HTTP/1.1 2000",
                 b"HTTP/1.1 099 X", b"HTTP/1.1 000 X", b"HTTP/1.1 20x X", b"HTTP/1.1  200 OK",
                 b"HTTP/1.1\t200 OK",
                 b"HTTP/1.1 200\tOK", b"HTTP/1.1 -20 OK", b"HTTP/1.1 200OK", b"HTTP/1.2 200 OK",
                 b"HTTP/2.0 200 OK", b"HTTP/2 200 OK", b"http/1.1 200 OK", b"ICY 200 OK", b"200 OK",
                 b" HTTP/1.1 200 OK", b"HTTP/1.1 200 O\x01K", b"HTTP/1.1 200 O\x7fK",
                 b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK",
                 b"HTTP/1.1 OK", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1 \xb200 OK"],
    )  # fmt: skip
    def test_linesThatAreNotWellFormed(self, line):
        assert refusal(response, line, b"Content-Length: 0")[0] == 502

    @pytest.mark.parametrize("data", [b"<html>", b"\x16\x03\x01\x02", b"SSH-2.0-x", b"h", b"\r\n"])
    def test_whatIsNotHTTPIsRefusedAtOnce(self, data):
        assert refusal(ResponseReader().read, data, b"GET") == (
            502,
            "it does not begin like HTTP/1" if data != b"\r\n" else
            "the status line is not well formed",
        )  # fmt: skip


class TestFieldLines:
    """RFC 9112 section 5, in both directions, first, last and between others."""

    @pytest.mark.parametrize(("line", "reason"), BAD_FIELDS)
    def test_linesThatAreNotWellFormed(self, line, reason):
        for lines in ([line], [b"X: y", line], [line, b"X: y"]):
            assert refusal(get, *lines) == (400, reason)
            assert refusal(ok, *lines) == (502, reason)

    @pytest.mark.parametrize("value", [b"", b"a", b"\ta\t", b"a \t b", b"\x80\xff", b'"a:b"', b":"])
    def test_values(self, value):
        for head in (get(b"A:" + value), ok(b"A:" + value)):
            assert head.fields.getAll(b"a") == [value.strip(b" \t")]
            assert b"\nA:" + value + b"\r\n" in head.fields.block

    def test_orderSpellingAndRepetitionStay(self):
        lines = [b"b: 1", b"A:  2", b"B:3 ", b"!#$%&'*+-.^_`|~9: 4"]
        block = b"".join(line + b"\r\n" for line in lines)
        assert ok(*lines).fields.block == b"\n" + block
        assert get(*lines).fields.block == b"\n" + HOST + block

    @pytest.mark.parametrize("end", [b"\n", b"\r\n\n", b"\n\r\n", b"\r\r\n", b"\r\n\r\r\n"])
    def test_linesEndWithCRLF(self, end):
        assert refusal(RequestReader().read, b"GET / HTTP/1.1\r\nHost: a" + end + b"\r\n")[0] == 400
        assert refusal(ResponseReader().read, b"HTTP/1.1 200 OK\r\nA: b" + end + b"\r\n", b"GET")


class TestLimits:
    def test_target(self):
        assert request(b"GET /%b HTTP/1.1" % (b"a" * 99), maxTarget=100).size
        assert refusal(request, b"GET /%b HTTP/1.1" % (b"a" * 100), maxTarget=100) == (
            414,
            "the target is longer than 100 bytes",
        )

    def test_method(self):
        """It has no status of its own; the line is what is too long."""
        assert request(b"M" * 50 + b" / HTTP/1.1", maxTarget=10).size
        assert refusal(request, b"M" * 70 + b" / HTTP/1.1", maxTarget=10)[0] == 414

    def test_targetBeforeAllElse(self):
        line = b"GET /%b HTTP/1.1" % (b"a" * 9000)
        assert refusal(request, line, b"Host: a", b"A: " + b"b" * 40000)[0] == 414

    def test_lineWithoutEnd(self):
        assert RequestReader(maxTarget=100).read(b"GET /" + b"a" * 159) is None
        assert refusal(RequestReader(maxTarget=100).read, b"GET /" + b"a" * 161)[0] == 414

    @pytest.mark.parametrize("field", [b"A:b", b"TE:b"])
    def test_count(self, field):
        """Of all fields, those removed among them."""
        assert get(*[field] * 9, maxFields=10).size
        assert refusal(get, *[field] * 10, maxFields=10) == (431, "more than 10 fields")
        assert response(b"HTTP/1.1 200 OK", *[field] * 10, maxFields=10).size
        assert refusal(response, b"HTTP/1.1 200 OK", *[field] * 11, maxFields=10) == (
            502,
            "more than 10 fields",
        )

    @pytest.mark.parametrize("field", [b"A: %b", b"Keep-Alive: %b"])
    def test_bytes(self, field):
        """The empty line counts, and so does what is removed."""
        room = 200 - len(b"GET / HTTP/1.1\r\n" + HOST + field % b"" + b"\r\n\r\n")
        assert get(field % (b"b" * room), maxBytes=200).size == 200
        assert refusal(get, field % (b"b" * (room + 1)), maxBytes=200) == (
            431,
            "the head is longer than 200 bytes",
        )
        room = 200 - len(b"HTTP/1.1 200 OK\r\n" + field % b"" + b"\r\n\r\n")
        line = b"HTTP/1.1 200 OK"
        assert response(line, field % (b"b" * room), maxBytes=200).size == 200
        assert refusal(response, line, field % (b"b" * (room + 1)), maxBytes=200) == (
            502,
            "the head is longer than 200 bytes",
        )

    def test_bytesWithoutEnd(self):
        data = b"GET / HTTP/1.1\r\nA: " + b"b" * 200
        assert RequestReader(maxBytes=len(data)).read(data) is None
        assert refusal(RequestReader(maxBytes=len(data) - 1).read, data)[0] == 431
        data = b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200
        assert ResponseReader(maxBytes=len(data)).read(data, b"GET") is None
        assert refusal(ResponseReader(maxBytes=len(data) - 1).read, data, b"GET")[0] == 502

    def test_bodyDoesNotCount(self):
        data = b"POST / HTTP/1.1\r\nContent-Length: 999\r\n" + HOST + b"\r\n"
        assert RequestReader(maxBytes=100).read(data + b"b" * 999).size == len(data)
