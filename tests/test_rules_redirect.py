"""The verb redirect."""

import attr
import pytest
from verbs import asked, contractOf, verb

from lbtwist.exchange import TLSInfo
from lbtwist.rules.decisions import Answer, Deny
from lbtwist.testing import fakeExchange

NOT_KEPT = (b"Cache-Control", b"no-cache")


def location(line, exchange=None):
    """@return: where the client is sent, as text."""
    found = asked(line, exchange)
    assert isinstance(found, Answer)
    assert found.body == b""
    return dict(found.fields)[b"Location"].decode("ascii")


def withConnection(exchange, **more):
    exchange.connection = attr.evolve(exchange.connection, **more)
    return exchange


def withHost(host, target="/"):
    exchange = fakeExchange(target)
    exchange.request.host = host
    return exchange


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_codes(code):
    found = asked(f"redirect location /b code={code}")
    kept = () if code in (301, 308) else (NOT_KEPT,)
    assert found == Answer(code, ((b"Location", b"/b"), *kept))


@pytest.mark.parametrize("how", ["https", "prefix /", "location /b"])
def test_theUsualCode(how):
    assert asked(f"redirect {how}").status == 302


def test_https():
    """Host, path and query are kept, a port is not."""
    assert location("redirect https", fakeExchange("/a?b=c")) == "https://www.example.com/a?b=c"
    for host in (b"a.example:8080", b"a.example.", b"a.example"):
        assert location("redirect https", withHost(host)) == "https://a.example/"
    assert location("redirect https", withHost(b"[2001:db8::1]:80")) == "https://[2001:db8::1]/"
    assert location("redirect https", fakeExchange("*", method="OPTIONS")).endswith(".com/")


def test_httpsAlready():
    tls = withConnection(fakeExchange(), tls=TLSInfo())
    assert asked("redirect https", tls) is None
    told = fakeExchange("/", {"X-Forwarded-Proto": "https"})
    assert location("redirect https", told) == "https://www.example.com/"
    assert asked("redirect https", withConnection(told, trusted=True)) is None


def test_httpsWithoutHost():
    assert asked("redirect https", withHost(b"")) == Deny(400)
    assert asked("redirect https", withHost(b":80")) == Deny(400)


def test_connect():
    """It names no address that it could be sent to."""
    exchange = fakeExchange("www.example.com:443", method="CONNECT")
    assert asked("redirect https", exchange) is None
    assert asked("redirect prefix https://b.example", exchange) == Deny(400)
    assert location("redirect location https://b.example/", exchange) == "https://b.example/"


@pytest.mark.parametrize(
    ("options", "target", "to"),
    [
        ("", "/a?b=c", "https://b.example/x/a?b=c"),
        ("", "/", "https://b.example/x/"),
        ("drop-query", "/a?b=c", "https://b.example/x/a"),
        ("append-slash", "/a?b=c", "https://b.example/x/a/?b=c"),
        ("append-slash", "/a/?b=c", "https://b.example/x/a/?b=c"),
        ("append-slash drop-query", "/a?b=c", "https://b.example/x/a/"),
        ("no-append-slash", "/a", "https://b.example/x/a"),
    ],
)
def test_prefix(options, target, to):
    exchange = fakeExchange(target)
    assert location(f"redirect prefix https://b.example/x {options}", exchange) == to
    assert location(f"redirect prefix https://{{'b'}}.example/x {options}", exchange) == to


def test_optionsOfHttps():
    exchange = fakeExchange("/a?b=c")
    assert location("redirect https drop-query append-slash", exchange) == (
        "https://www.example.com/a/"
    )


def test_aPrefixOfNothing():
    """The same path, as in HAProxy: with a slash at its end, for instance."""
    assert location("redirect prefix / append-slash", fakeExchange("/a")) == "/a/"
    assert location("redirect prefix {header['X']}", fakeExchange("/a")) == "/a"


@pytest.mark.parametrize("target", ["//evil.example/", "///evil.example/", "/\\evil.example/"])
def test_noOtherHostThanIsMeant(target):
    exchange = fakeExchange(target)
    for line in ("redirect prefix /", "redirect location {uri}", "redirect location /{path}"):
        assert location(line, exchange) == "/evil.example/"
    # Who writes a host means it.
    assert location("redirect location //b.example/", exchange) == "//b.example/"


@pytest.mark.parametrize(
    ("said", "to"),
    [
        ("/a%20b", "/a%20b"),
        ("/%0d%0aSet-Cookie:%20a=b", "/%0D%0ASet-Cookie:%20a=b"),
        ("/%00%7f%09", "/%00%7F%09"),
        ("/%c3%a4", "/%C3%A4"),
        ("/%ff", "/%FF"),
        ('/%22%3c%3e%5c%5e%60%7b%7c%7d"', "/%22%3C%3E%5C%5E%60%7B%7C%7D%22"),
        ("/a?b=c%23d", "/a?b=c#d"),
    ],
)
def test_whatCannotBeInAnAddress(said, to):
    """It is encoded; what was decoded is encoded again."""
    exchange = fakeExchange(f"/?to={said}")
    assert location('redirect location {query["to"]}', exchange) == to


def test_tooLongOrNothing():
    exchange = fakeExchange("/" + "x" * 8000)
    assert location("redirect location {path}{path}", exchange) == ("/" + "x" * 8000) * 2
    assert asked("redirect location {path}{path}{path}", exchange) == Deny(400)
    encoded = fakeExchange("/?q=" + "%ff" * 2600)
    assert asked("redirect location /{query['q']}{query['q']}{query['q']}", encoded) == Deny(400)
    assert asked("redirect location {header['X']}", exchange) == Deny(400)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("redirect", "needs https|prefix|location"),
        ("redirect http", "did you mean 'https'?"),
        ("redirect https //b.example", "takes the host and path of the request"),
        ("redirect prefix", "needs where to: redirect prefix TEXT"),
        ("redirect location", "needs where to: redirect location TEXT"),
        ("redirect location /a code=300", "unknown '300'"),
        ("redirect location /a drop-query", "the whole address"),
        ("redirect location /a append-slash", "the whole address"),
        ("redirect location {status}", "status is not known yet"),
    ],
)
def test_whatIsRefused(line, wrong):
    with pytest.raises(ValueError) as caught:
        verb(line)
    assert wrong in str(caught.value)


HTTPSContractTests = contractOf("redirect https")
PrefixContractTests = contractOf("redirect prefix / append-slash code=308")
LocationContractTests = contractOf('redirect location {query["q"]}{header["X-User"]}')
