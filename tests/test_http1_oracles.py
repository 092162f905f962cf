"""
h11 and llhttp (in httptools) as second opinions on L{lbtwist.sansio}.

What is asked of all heads, valid ones and broken ones alike:

  - A message that we accept ends at the same byte for everybody who accepts it, with
    the same body: nobody sees two where we see one.
  - The same holds for what a server gets from us, and h11 accepts all of that.
  - What both of them and the grammar of RFC 9112 accept we accept with the same
    meaning, but for what L{ON_PURPOSE} lists.

The examples are the same in every run.
"""

import re
from ipaddress import IPv6Address

import h11
import httptools
import pytest
from heads import saidBy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbtwist.errors import BadResponse, MessageError
from lbtwist.sansio.chunked import ChunkedReader, chunk, lastChunk
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader

ORACLES = settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

REFUSED = "refused"
INCOMPLETE = "incomplete"


class Seen:
    """
    A message as somebody reads it.

    @ivar end: the offset of what follows it.
    """

    def __init__(self, end, body, **meaning):
        self.end = end
        self.body = body
        self.__dict__.update(meaning)

    def __repr__(self):
        return f"Seen({self.__dict__})"


def readBody(head, data):
    """The body after a head, as L{lbtwist.http} reads it."""
    data = data[head.size :]
    if head.chunked:
        reader = ChunkedReader(BadResponse)
        body = reader.feed(data)
        return (body, len(reader.rest)) if reader.done else None
    if len(data) < head.length:
        return None
    return data[: head.length], len(data) - head.length


def ours(data, method=None):
    """
    @param method: of the request, for a response.
    """
    try:
        if method is None:
            head = RequestReader().read(data)
        else:
            head = ResponseReader().read(data, method)
            if head is not None and head.length is None and not head.chunked:
                return Seen(None, data[head.size :], head=head)
        read = None if head is None else readBody(head, data)
    except MessageError:
        return REFUSED
    if read is None:
        return INCOMPLETE
    body, left = read
    return Seen(len(data) - left, body, head=head)


def byH11(data, method=None):
    connection = h11.Connection(h11.SERVER if method is None else h11.CLIENT)
    if method is not None:
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    body = b""
    head = None
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request | h11.Response):
                head = event
            elif isinstance(event, h11.InformationalResponse):
                left = len(connection.trailing_data[0])
                return Seen(len(data) - left, b"", head=event)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                left = len(connection.trailing_data[0])
                return Seen(len(data) - left, body, head=head)
            elif event is h11.NEED_DATA:
                if method is not None and connection.their_state is h11.SEND_BODY:
                    connection.receive_data(b"")
                    event = connection.next_event()
                    if isinstance(event, h11.EndOfMessage):
                        return Seen(None, body, head=head)
                return INCOMPLETE
    except h11.RemoteProtocolError:
        return REFUSED


class Parsed:
    """What httptools tells of."""

    def __init__(self):
        self.target = b""
        self.body = b""
        self.fields = []
        self.done = False
        self.keepAlive = False
        self.shouldKeepAlive = None

    def on_url(self, data):
        self.target += data

    def on_header(self, name, value):
        self.fields.append((name, value))

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        # Later the parser has forgotten it.
        self.keepAlive = self.shouldKeepAlive()
        self.done = True


def byLLHTTP(data, method=None):
    parsed = Parsed()
    if method is None:
        parser = httptools.HttpRequestParser(parsed)
    else:
        parser = httptools.HttpResponseParser(parsed)
    parsed.shouldKeepAlive = parser.should_keep_alive
    # One by one, so that the end of the first message is known.
    for end in range(1, len(data) + 1):
        try:
            parser.feed_data(data[end - 1 : end])
        except httptools.HttpParserUpgrade:
            assert parsed.done
        except (httptools.HttpParserError, httptools.HttpParserCallbackError):
            return REFUSED
        if parsed.done:
            return Seen(
                end,
                parsed.body,
                target=parsed.target,
                fields=parsed.fields,
                keepAlive=parsed.keepAlive,
                method=parser.get_method() if method is None else None,
            )
    return INCOMPLETE


# heads

NAMES = st.sampled_from(
    [b"A", b"X-Foo", b"x_foo", b"Accept", b"Cookie", b"Trailer", b"!#$%&'*+-.^_`|~"]
)
WORDS = st.text("abXY09-_./=;, \t\"'()<>@[]{}\\\x80\xff", max_size=8).map(
    lambda text: text.encode("latin-1")
)
OWS = st.sampled_from([b"", b" ", b" ", b" ", b"\t", b"  ", b" \t "])
HOSTS = st.sampled_from(
    [b"a", b"a:80", b"A.example", b"a.example:8080", b"[::1]", b"[::1]:80", b"192.0.2.1", b"a:"]
)
OPTIONS = st.lists(
    st.sampled_from(
        [b"close", b"keep-alive", b"Keep-Alive", b"X-Foo", b"a", b"TE", b"upgrade", b""]
    ),
    max_size=3,
).map(b", ".join)
PATHS = st.text("abAZ09-._~!$&'()*+,;=:@/%?", max_size=8).map(lambda text: b"/" + text.encode())
HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
    b"http2-settings",
}  # fmt: skip

TAILS = [
    b"",
    b"abcde",
    b"abcdeGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    b"5\r\nabcde\r\n0\r\n\r\n",
    b"5;a=b\r\nabcde\r\n0\r\nA: b\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    b"2d\r\nGET /second HTTP/1.1\r\nHost: a\r\nA: bcdefgh\r\n\r\n\r\n0\r\n\r\n",
    b"\r\n0\r\n\r\n",
]


@st.composite
def fieldLines(draw, hosts):
    """The lines of valid fields, in any order and spelling."""
    fields = [(b"Host", host) for host in hosts]
    fields += draw(st.lists(st.tuples(NAMES, WORDS), max_size=3))
    framing = draw(st.sampled_from(["", "", "length", "length", "twice", "chunked", "chunked"]))
    if framing == "chunked":
        fields.append((b"Transfer-Encoding", draw(st.sampled_from([b"chunked", b"Chunked"]))))
    elif framing:
        length = draw(st.sampled_from([b"0", b"5", b"5", b"05", b"41"]))
        fields += [(b"Content-Length", length)] * (2 if framing == "twice" else 1)
    if draw(st.booleans()):
        fields += [(b"Connection", draw(OPTIONS))] * draw(st.sampled_from([1, 1, 2]))
    for name in draw(st.lists(st.sampled_from([b"Keep-Alive", b"TE", b"Upgrade"]), max_size=1)):
        fields.append((name, b"x"))
    lines = []
    for name, value in draw(st.permutations(fields)):
        name = draw(st.sampled_from([name, name, name.lower(), name.upper()]))
        lines.append(name + b":" + draw(OWS) + value.strip(b" \t") + draw(OWS))
    return lines


@st.composite
def requestHeads(draw):
    """Heads that are valid, most of them."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT"]))
    host = draw(HOSTS)
    target = draw(PATHS)
    if method == b"CONNECT":
        target = draw(st.sampled_from([b"a:443", b"[::1]:80"]))
        host = draw(st.sampled_from([host, target, target, target.rpartition(b":")[0]]))
    elif draw(st.integers(0, 5)) == 0:
        target = b"http://" + host + draw(st.sampled_from([b"", target]))
    elif method == b"OPTIONS" and draw(st.booleans()):
        target = b"*"
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    hosts = [host] if version == b"1.1" else draw(st.sampled_from([[host], []]))
    lines = [method + b" " + target + b" HTTP/" + version, *draw(fieldLines(hosts))]
    return b"\r\n".join([*lines, b"", b""])


@st.composite
def responseHeads(draw):
    status = draw(st.sampled_from([b"200", b"200", b"404", b"204", b"304", b"100", b"999"]))
    reason = draw(st.sampled_from([b" OK", b" ", b"", b" Not \xe4"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    lines = [b"HTTP/" + version + b" " + status + reason, *draw(fieldLines([]))]
    return b"\r\n".join([*lines, b"", b""])


INSERTED = [b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b"\x0b", b"\x7f", b"\x80",
            b";", b"#", b"0", b"chunked", b"\r\n ", b"\r\nContent-Length: 5",
            b"\r\nTransfer-Encoding: chunked", b"\r\nTransfer-Encoding: x", b"\r\nHost: b",
            b"Content-Length: 5\r\n"]  # fmt: skip
SWAPPED = [(b": ", b" : "), (b":", b" :"), (b"\r\n", b"\n"), (b"\r\n", b"\r"), (b" ", b"  "),
           (b" ", b"\t"), (b"chunked", b"x, chunked"), (b"chunked", b"chunked, x"),
           (b"chunked", b"xchunked"), (b"5", b"+5"), (b"5", b"5,5"), (b"5", b"6"), (b"5", b"0x5"),
           (b"HTTP/1.1", b"HTTP/1.0"), (b"HTTP/1.1", b"HTTP/1.2"), (b"-", b"_"),
           (b"\r\n", b"\r\n\r\n"), (b"keep-alive", b"content-length"), (b"a", b"A"),
           (b"e", b"\xe4")]  # fmt: skip


@st.composite
def mutated(draw, heads):
    """A head to which up to three things were done."""
    data = draw(heads)
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        how = draw(st.sampled_from(["insert", "swap", "swap", "repeat", "remove"]))
        at = draw(st.integers(0, len(data)))
        if how == "insert":
            data = data[:at] + draw(st.sampled_from(INSERTED)) + data[at:]
        elif how == "swap":
            old, new = draw(st.sampled_from(SWAPPED))
            found = data.find(old, at)
            if found < 0:
                found = data.find(old)
            if found >= 0:
                data = data[:found] + new + data[found + len(old) :]
        elif how == "repeat":
            lines = data.split(b"\r\n")
            line = lines[draw(st.integers(0, len(lines) - 1))]
            lines.insert(draw(st.integers(0, len(lines) - 1)), line)
            data = b"\r\n".join(lines)
        else:
            data = data[:at] + data[at + 1 :]
    return data


def agree(seen, other):
    """Whoever accepts a message that we accept sees what we see."""
    if seen is INCOMPLETE:
        assert other in (INCOMPLETE, REFUSED)
    elif other is not REFUSED:
        assert other is not INCOMPLETE
        assert (other.end, other.body) == (seen.end, seen.body)


def asForwarded(head, body):
    """A request as L{lbtwist.http} sends it to a server."""
    more = b""
    if head.chunked:
        more += b"Transfer-Encoding: chunked\r\n"
        body = (chunk(body) if body else b"") + lastChunk(b"")
    if head.upgrade:
        more += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
    return head.encode(more) + body


class TestNobodySeesTwo:
    @ORACLES
    @given(mutated(requestHeads()), st.sampled_from(TAILS))
    def test_requests(self, head, tail):
        data = head + tail
        seen = ours(data)
        if seen is REFUSED:
            return
        agree(seen, byH11(data))
        # Whatever has Upgrade ends with its head for llhttp; that we take none with a
        # body is what test_whatAServerGets shows.
        if b"upgrade:" not in head.lower():
            agree(seen, byLLHTTP(data))

    @ORACLES
    @given(mutated(responseHeads()), st.sampled_from(TAILS), st.sampled_from([b"GET", b"POST"]))
    def test_responses(self, head, tail, method):
        data = head + tail
        seen = ours(data, method)
        if seen is REFUSED:
            return
        others = [byH11(data, method)]
        if re.search(rb"chunked *\t", head.lower()) is None:
            # llhttp takes the tab for a part of the coding's name.
            others.append(byLLHTTP(data, method))
        for other in others:
            if seen is not INCOMPLETE and seen.end is None:
                # Until the server closes, and llhttp is not told of that.
                assert other in (REFUSED, INCOMPLETE) or other.body == seen.body
                assert other in (REFUSED, INCOMPLETE) or other.end is None
            else:
                agree(seen, other)

    @ORACLES
    @given(mutated(responseHeads()), st.sampled_from(TAILS))
    def test_responsesToHead(self, head, tail):
        data = head + tail
        seen = ours(data, b"HEAD")
        if isinstance(seen, Seen):
            agree(seen, byH11(data, b"HEAD"))

    @ORACLES
    @given(mutated(requestHeads()), st.sampled_from(TAILS))
    def test_whatAServerGets(self, head, tail):
        """It is one request, with the same meaning, and nothing after it."""
        seen = ours(head + tail)
        if not isinstance(seen, Seen):
            return
        head = seen.head
        if not head.host:
            # HTTP/1.0: the server's name comes from whoever knows it.
            head.fields.set(b"Host", b"a")
        data = asForwarded(head, seen.body)
        other = byH11(data)
        assert isinstance(other, Seen)
        assert (other.end, other.body) == (len(data), seen.body)
        assert (other.head.method, other.head.target) == (head.method, head.target)
        other = byLLHTTP(data)
        if other is not REFUSED:
            assert (other.end, other.body) == (len(data), seen.body)
            assert (other.method, other.target) == (head.method, head.target)


# what is valid

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
HOST = rb"(?:\[[0-9A-Fa-f:]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
PCHAR = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
PATH = rb"(?:/" + PCHAR + rb"*)+(?:\?(?:" + PCHAR + rb"|[/?])*)?"
TARGET = rb"(?:%b|http://%b(?:%b|\?(?:%b|[/?])*)?|\*|%b)" % (PATH, HOST, PATH, PCHAR, HOST)
REQUEST_LINE = re.compile(rb"(%b) (%b) HTTP/(1\.[01])" % (TOKEN, TARGET))
STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2}) [\t \x21-\x7e\x80-\xff]*")
FIELD_LINE = re.compile(
    rb"(%b):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[ \t]+(?=[^ \t]))?)*)[ \t]*" % TOKEN
)


def grammatical(data, line):
    """
    Whether the head that all of C{data} is fits the grammar of RFC 9112, with at
    most one C{Host}, which is a host.

    @return: the match of the first line and the fields, or L{None}.
    """
    if not data.endswith(b"\r\n\r\n"):
        return None
    first, *lines = data[:-4].split(b"\r\n")
    found = line.fullmatch(first)
    matches = [FIELD_LINE.fullmatch(each) for each in lines]
    if found is None or None in matches:
        return None
    fields = [(match[1], match[2]) for match in matches]
    hosts = [value for name, value in fields if name.lower() == b"host"]
    if len(hosts) > 1 or not all(map(isHost, hosts)):
        return None
    return found, fields


def isHost(value):
    if not re.fullmatch(HOST, value):
        return False
    literal = re.match(rb"\[(.*)\]", value)
    try:
        return literal is None or bool(IPv6Address(literal[1].decode()))
    except ValueError:
        return False


def valuesOf(fields, name):
    return b",".join(value for key, value in fields if key.lower() == name).lower()


def firstLength(fields):
    return next((value for name, value in fields if name.lower() == b"content-length"), b"")


def optionsOf(fields):
    options = [option.strip(b" \t") for option in valuesOf(fields, b"connection").split(b",")]
    return [option for option in options if option]


def passedOn(fields, line=b""):
    """What of the fields goes on: the reading of RFC 9110 section 7.6.1 in one line each."""
    gone = HOP_BY_HOP | (set(optionsOf(fields)) - {b"close", b"keep-alive"})
    kept = [(name, value) for name, value in fields if name.lower() not in gone]
    lengths = [field for field in kept if field[0].lower() == b"content-length"]
    return [field for field in kept if field not in lengths or field is lengths[0]]


def keepsAlive(version, fields):
    options = optionsOf(fields)
    return b"close" not in options and (version == b"1.1" or b"keep-alive" in options)


def authorityOf(target):
    found = re.match(rb"http://([^/?]*)", target)
    return None if found is None else found[1].lower()


def withoutPort(host):
    return re.sub(rb":(?:80)?$", b"", host)


ON_PURPOSE = {
    "a fragment in the target": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a comma in Host, which some read as a list": b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
    "no port of that number": b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    "no IPv6 address": b"GET / HTTP/1.1\r\nHost: [:::]\r\n\r\n",
    "an absolute URI that names another host": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute URI with user information": b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
    "an absolute URI without a host": b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target of another form": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "the form of OPTIONS": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT to a path": b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT to one host, Host: another": b"CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\n",
    "CONNECT with a body": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb",
    "a list in Content-Length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": (
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a coding before chunked": (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "an expectation that is not known": b"GET / HTTP/1.1\r\nHost: a\r\nExpect: b\r\n\r\n",
    "Connection lists what frames": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n",
    "Connection is not a list": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n",
    "a bare LF": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\nHost: a\r\nA: \x01\r\n\r\n",
    "another HTTP/1": b"GET / HTTP/1.9\r\nHost: a\r\n\r\n",
    "a second empty line before": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space after a chunk's size": (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0 \r\n\r\n"
    ),
    "an extension of a chunk without end": (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0;%b\r\n\r\n" % (b"a" * 2000)
    ),
}
"""Requests that h11 or llhttp accept and we refuse, by why."""


@pytest.mark.parametrize("data", ON_PURPOSE.values(), ids=ON_PURPOSE)
def test_refusedOnPurpose(data):
    assert ours(data) is REFUSED
    assert isinstance(byH11(data), Seen) or isinstance(byLLHTTP(data), Seen)


def sameHost(host, target):
    """Whether C{Host} names what a CONNECT does; it may leave out the port."""
    return host.lower() in (target.lower(), target.lower().rpartition(b":")[0])


def refusedOnPurpose(line, fields):
    """Whether a request that is grammatical is in L{ON_PURPOSE}."""
    method, target, version = line.groups()
    host = valuesOf(fields, b"host")
    options = optionsOf(fields)
    named = authorityOf(target)
    length = valuesOf(fields, b"content-length")
    coding = valuesOf(fields, b"transfer-encoding")
    return (
        b"," in host
        or (named is not None and (not withoutPort(named) or b"," in named))
        or (named is not None and bool(host) and withoutPort(host) != withoutPort(named))
        or (method == b"CONNECT" and bool(host) and not sameHost(host, target))
        or (target == b"*" and method != b"OPTIONS")
        or (named is None and target != b"*" and method != b"CONNECT" and target[:1] != b"/")
        or (
            method == b"CONNECT"
            and (
                re.fullmatch(rb"[^/*,]+:[0-9]+", target) is None
                or length not in (b"", b"0")
                or bool(coding)
            )
        )
        or (bool(coding) and (version == b"1.0" or coding != b"chunked"))
        or not {b"host", b"content-length", b"transfer-encoding"}.isdisjoint(options)
        or not all(re.fullmatch(TOKEN, option) for option in options)
        or len({value for name, value in fields if name.lower() == b"content-length"}) > 1
        or not re.fullmatch(rb"[0-9]*", length.partition(b",")[0])
    )


class TestWhatIsValid:
    @ORACLES
    @given(mutated(requestHeads()))
    def test_requests(self, head):
        found = grammatical(head, REQUEST_LINE)
        if found is None:
            return
        line, fields = found
        body = b""
        if valuesOf(fields, b"transfer-encoding"):
            body = b"5\r\nabcde\r\n0\r\n\r\n"
        elif valuesOf(fields, b"content-length"):
            body = b"abcde" * 20
        one, two = byH11(head + body), byLLHTTP(head + body)
        if not isinstance(one, Seen) or not isinstance(two, Seen):
            return
        seen = ours(head + body)
        if refusedOnPurpose(line, fields):
            return
        assert isinstance(seen, Seen)
        method, target, version = line.groups()
        got = seen.head
        assert got.method == method == one.head.method == two.method
        assert got.line == line[0]
        assert one.head.target == two.target == target
        named = authorityOf(target)
        if named is None:
            assert got.target == target
        else:
            rest = target[len(b"http://") + len(named) :]
            assert got.target in (rest, b"/" + rest, b"*")
        if method == b"CONNECT":
            named = target.lower()
        expected = passedOn(one.head.headers.raw_items())
        assert [field for field in got.fields.items() if field[0] != b"Host"] == [
            field for field in expected if field[0] != b"Host"
        ]
        assert got.fields.items() == passedOn(fields) or (named is not None and version == b"1.0")
        assert got.host == valuesOf(fields, b"host") or got.host == named
        assert got.keepAlive is keepsAlive(version, fields)
        if version == b"1.1":
            assert got.keepAlive is two.keepAlive
        assert got.chunked is bool(valuesOf(fields, b"transfer-encoding"))
        assert seen.body == one.body

    @ORACLES
    @given(mutated(responseHeads()), st.sampled_from([b"GET", b"HEAD"]))
    def test_responses(self, head, method):
        found = grammatical(head, STATUS_LINE)
        if found is None:
            return
        line, fields = found
        body = b""
        if valuesOf(fields, b"transfer-encoding"):
            body = b"5\r\nabcde\r\n0\r\n\r\n"
        elif valuesOf(fields, b"content-length"):
            body = b"abcde" * 20
        one = byH11(head + body, method)
        if not isinstance(one, Seen) or byLLHTTP(head + body, method) is REFUSED:
            return
        version, status = line.groups()
        options = optionsOf(fields)
        if (
            (valuesOf(fields, b"transfer-encoding") and version == b"1.0")
            or not {b"content-length", b"transfer-encoding", b"host"}.isdisjoint(options)
            or not all(re.fullmatch(TOKEN, option) for option in options)
            or re.search(rb"[^0-9]", firstLength(fields))
        ):
            return
        seen = ours(head + body, method)
        assert isinstance(seen, Seen)
        got = seen.head
        assert (got.status, got.line) == (int(status), line[0])
        assert seen.body == one.body
        assert seen.end == one.end
        dropped = b"content-length" if status in (b"100", b"204") else None
        assert got.fields.items() == [
            field for field in passedOn(fields) if field[0].lower() != dropped
        ]
        if seen.end is not None:
            assert got.keepAlive is keepsAlive(version, fields)
        else:
            assert not got.keepAlive


class TestPlainHeads:
    """A head that is read at once says the same as the same head read field by field."""

    @ORACLES
    @given(mutated(requestHeads()))
    def test_requests(self, head):
        # A field that means something, is not plain, and says nothing.
        other = head.replace(b"\r\n\r\n", b"\r\nKeep-Alive:\r\n\r\n", 1)
        self.compare(ours(head + b"abcde" * 9), ours(other + b"abcde" * 9))

    @ORACLES
    @given(mutated(responseHeads()), st.sampled_from([b"GET", b"HEAD", b"CONNECT"]))
    def test_responses(self, head, method):
        other = head.replace(b"\r\n\r\n", b"\r\nKeep-Alive:\r\n\r\n", 1)
        self.compare(ours(head + b"abcde" * 9, method), ours(other + b"abcde" * 9, method))

    def compare(self, one, two):
        if not isinstance(one, Seen):
            assert one is two
            return
        assert one.body == two.body
        for name in saidBy(one.head):
            if name not in ("fields", "size"):
                assert getattr(one.head, name) == getattr(two.head, name)
        assert one.head.fields.block == two.head.fields.block


# chunked bodies

EXTENSIONS = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c";d', b";"])
TRAILERS = st.lists(
    st.tuples(st.sampled_from([b"A", b"X-Sum"]), st.sampled_from([b"", b"b", b"c d"])), max_size=2
)


@st.composite
def chunkedBodies(draw):
    """@return: the payload, the body in chunks, its trailers."""
    payload = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    body = b""
    for piece in payload:
        digits = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"00%X"])) % len(piece)
        body += digits + draw(EXTENSIONS) + b"\r\n" + piece + b"\r\n"
    trailers = b"".join(b"%b: %b\r\n" % field for field in draw(TRAILERS))
    last = draw(st.sampled_from([b"0", b"00"])) + draw(EXTENSIONS)
    return b"".join(payload), body + last + b"\r\n" + trailers + b"\r\n", trailers


@st.composite
def inPieces(draw, data):
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class TestChunkedBodies:
    HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    @ORACLES
    @given(st.data(), chunkedBodies(), st.sampled_from([b"", b"GET / HTTP/1.1\r\n"]))
    def test_payload(self, data, made, rest):
        payload, body, trailers = made
        reader = ChunkedReader(BadResponse)
        got = b""
        pieces = data.draw(inPieces(body + rest))
        while pieces and not reader.done:
            got += reader.feed(pieces.pop(0))
        assert reader.done
        assert (got, reader.rest + b"".join(pieces)) == (payload, rest)
        assert reader.trailers == trailers
        other = byH11(self.HEAD + body + rest)
        assert (other.body, other.end) == (payload, len(self.HEAD + body))

    @ORACLES
    @given(mutated(chunkedBodies().map(lambda made: made[1])))
    def test_broken(self, body):
        data = self.HEAD + body
        seen = ours(data)
        if seen is not REFUSED:
            agree(seen, byH11(data))
            agree(seen, byLLHTTP(data))
