"""
What a client or a server sent that no parser accepts, as C{show errors} shows it afterwards,
in HAProxy's form.
"""

import re

import pytest
from spoken import toldOf

from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}
[frontend www]
bind =
    ${bind}
    ${bind}.proxied accept-proxy=yes
pool = app
max-body = 10
[frontend raw]
mode = tcp
bind = ${bind}.raw tls-passthrough
pool = tcp
[pool app]
server a = ${a}
[pool tcp]
mode = tcp
server b = ${b}
"""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def balancer():
    with Balancer(CONFIG, "a", "b") as balancer:
        yield balancer


def captured(balancer, which=""):
    """@return: what C{show errors} says to programs."""
    return toldOf(balancer, f"show errors {which}")["value"]


def refused(balancer, data):
    """A client sends a request, and has it refused."""
    client = balancer.client()
    client.sends(data)
    client.receives(rb"HTTP/1.1 4.*")


def test_aRequestInTheFormOfHAProxy(balancer):
    refused(balancer, b"GET /a b\x01 HTTP/1.1\r\nHost: x\r\n\r\n")
    said = re.sub(r"\[.*?\]", "[when]", balancer.asks("show errors"))
    assert said.splitlines() == [
        "Total events captured on [when] : 1",
        " ",
        "[when] frontend www (#1): invalid request",
        "  backend <NONE> (#-1), server <NONE> (#-1), event #1, src 203.0.113.9:40000",
        "  buffer starts at 0 (including 0 out), 0 free,",
        "  len 31, wraps at 31, error at position 7",
        "  a character in the target that must be encoded :",
        "  ",
        r"  00000  GET /a b\x01 HTTP/1.1\r\n",
        "                ^",
        r"  00020  Host: x\r\n",
        r"  00029  \r\n",
    ]


def test_aResponseInTheFormOfHAProxy(balancer):
    client = balancer.client()
    client.sends(GET)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nBad Field: \x80abc\r\n\r\nabc")
    client.receives(rb"HTTP/1.1 502 .*")
    said = re.sub(r"\[.*?\]", "[when]", balancer.asks("show errors app response"))
    assert said.splitlines()[2:7] == [
        "[when] backend app (#3): invalid response",
        "  frontend www (#1), server a (#1), event #1, src 203.0.113.9:40000",
        "  buffer starts at 0 (including 0 out), 0 free,",
        "  len 58, wraps at 58, error at position 39",
        "  a field name that is not a token :",
    ]
    assert balancer.asks("show errors app request").count("\n") == 1
    assert balancer.asks("show errors www").count("\n") == 1


def test_nothingIsKeptOfWhatIsGood(balancer):
    client = balancer.client()
    client.sends(GET)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    server.sends(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.receives(rb"HTTP/1.1 204 .*")
    assert captured(balancer) == []


def test_aHeadThatComesInPieces(balancer):
    client = balancer.client()
    client.sends(b"GET / HTTP/1.1\r\nHo")
    client.sends(b"st: x\r\nNo field\r\n")
    client.receives(rb"HTTP/1.1 400 .*")
    [one] = captured(balancer)
    assert (bytes.fromhex(one["data"])[-20:], one["position"]) == (
        b"\nHost: x\r\nNo field\r\n", 27
    )  # fmt: skip
    assert one["reason"] == "a field without a colon"


def test_aResponseThatComesInPieces(balancer):
    client = balancer.client()
    client.sends(GET)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    server.sends(b"HTTP/1.1 200 OK\r\nA")
    server.sends(b" : b\r\n")
    client.receives(rb"HTTP/1.1 502 .*")
    [one] = captured(balancer)
    assert (one["size"], one["position"], one["reason"]) == (
        24, 18, "space before the colon of a field"
    )  # fmt: skip


def test_aBodyWithItsPool(balancer):
    client = balancer.client()
    client.sends(POST + b"3\r\nabc\r\n")
    server = balancer.server("a").accepts()
    server.receives(rb"POST.*")
    client.sends(b"no size")
    client.receives(rb"HTTP/1.1 400 .*")
    [one] = captured(balancer, "request")
    assert (one["pool"], one["server"], one["position"]) == ("app", "a", 0)
    assert bytes.fromhex(one["data"]) == b"no size"


def test_aBodyThatComesWithItsHead(balancer):
    refused(balancer, POST + b"3\r\nabcd")
    [one] = captured(balancer)
    assert (bytes.fromhex(one["data"]), one["position"]) == (b"3\r\nabcd", 6)


def test_aBodyOfAResponse(balancer):
    client = balancer.client()
    client.sends(GET)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    server.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    client.receives(rb"HTTP/1.1 200 .*")
    server.sends(b"zz\r\n")
    client.isReset()
    [one] = captured(balancer, "response")
    assert (bytes.fromhex(one["data"]), one["position"]) == (b"zz\r\n", 0)


def test_aBodyThatIsOnlyTooLongIsNoMistake(balancer):
    refused(balancer, GET.replace(b"Host", b"Content-Length: 11\r\nHost") + b"x" * 11)
    assert captured(balancer) == []


def test_aPROXYHeader(balancer):
    client = balancer.client(bind=1)
    client.sends(b"PROXY TCP4 1.2.3.4 5.6.7 1 2\r\n")
    client.isReset()
    [one] = captured(balancer, "www request")
    assert (one["kind"], one["reason"]) == ("PROXY header", "PROXY: not an address of its protocol")
    assert bytes.fromhex(one["data"]) == b"PROXY TCP4 1.2.3.4 5.6.7 1 2\r\n"


def test_aClientHelloThatIsNone(balancer):
    client = balancer.client(frontend="raw")
    client.sends(GET)
    client.isReset()
    [one] = captured(balancer, "raw")
    assert (one["kind"], one["client"], one["position"]) == (
        "ClientHello", ["203.0.113.9", 40000], 0
    )  # fmt: skip


def test_ofALongOneTheBytesAroundAreKept(balancer):
    refused(balancer, GET[:-2] + b"A: %b\r\nB: \0\r\n\r\n" % (b"x" * 5000))
    [one] = captured(balancer)
    assert (one["size"], one["position"], one["start"]) == (5038, 5033, 5038 - 2048)
    assert len(one["data"]) == 2 * 2048


def test_theyAreForgottenWithAllCounters(balancer):
    refused(balancer, b"x\r\n")
    balancer.asks("clear counters all")
    assert captured(balancer) == []
