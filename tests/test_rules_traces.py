"""C{trace}: requests are of a trace, one of the client's or one that begins here."""

import random
import re

import attr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from verbs import asked, contractOf, verb

from lbtwist.registry import Context
from lbtwist.rules.traces import LONGEST, Trace, traceOf
from lbtwist.testing import fakeExchange
from lbtwist.testing.memory import Balancer

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
BEGUN = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-(0[01])")

TraceContractTests = contractOf("trace any sample=10%")


def exchangeOf(*parents, trusted=False, state="vendor=1"):
    fields = {"Tracestate": state, "X-Other": "1"}
    exchange = fakeExchange("/", fields)
    for parent in parents:
        exchange.request.fields.add(b"Traceparent", parent.encode("latin-1"))
    exchange.connection = attr.evolve(exchange.connection, trusted=trusted)
    return exchange


def parentsOf(exchange):
    return exchange.request.fields.getAll(b"traceparent")


@pytest.mark.parametrize(("line", "trusted"), [("trace", True), ("trace any", False)])
def test_aTraceThatIsBelievedGoesOnAsItIs(line, trusted):
    exchange = exchangeOf(PARENT, trusted=trusted)
    before = exchange.request.fields.block
    assert asked(line, exchange) is None
    assert exchange.request.fields.block == before
    assert exchange.vars == {"trace": TRACE}


def begun(exchange):
    """@return: the trace that has begun here, and whether it is recorded."""
    [parent] = parentsOf(exchange)
    found = BEGUN.fullmatch(parent)
    assert found and found[1] != b"0" * 32
    assert exchange.vars["trace"] == found[1].decode() != TRACE
    assert exchange.request.fields.get(b"tracestate") is None
    assert exchange.request.fields.get(b"x-other") == b"1"
    return found[1], found[2] == b"01"


@pytest.mark.parametrize(("line", "parents"), [
    ("trace", [PARENT]), ("trace", []), ("trace any", []), ("trace any", [PARENT, PARENT]),
    ("trace any", ["nonsense"]),
])  # fmt: skip
def test_whereNoneIsBelievedOneBegins(line, parents):
    exchange = exchangeOf(*parents)
    asked(line, exchange)
    assert begun(exchange)[1]


def test_eachIsAnother():
    found, trace = set(), verb("trace")
    for _ in range(100):
        exchange = exchangeOf()
        trace.requestReceived(exchange)
        found.add(begun(exchange)[0])
    assert len(found) == 100


@pytest.mark.parametrize(
    ("sample", "least", "most"), [(0, 0, 0), (100, 1000, 1000), (25, 200, 300)]
)
def test_someAreRecorded(sample, least, most):
    trace = Trace(Trace.Options(sample=sample), Context(random=random.Random(7)))
    count = 0
    for _ in range(1000):
        exchange = exchangeOf()
        trace.requestReceived(exchange)
        count += begun(exchange)[1]
    assert least <= count <= most


def test_whatRulesHaveKeptStays():
    exchange = exchangeOf(PARENT)
    exchange.vars = {"other": "1"}
    asked("trace any", exchange)
    assert exchange.vars == {"other": "1", "trace": TRACE}


@pytest.mark.parametrize("parent", [
    PARENT, PARENT[:-2] + "00", "01" + PARENT[2:], "cc" + PARENT[2:] + "-what.comes",
])  # fmt: skip
def test_parents(parent):
    assert traceOf(parent.encode()) == TRACE


@pytest.mark.parametrize("parent", [
    "", "00", PARENT + "-more", "ff" + PARENT[2:], PARENT.upper(), PARENT[:-1], PARENT + "0",
    f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", PARENT + "\n",
    " " + PARENT, "cc" + PARENT[2:] + "x", "01" + PARENT[2:] + "-" + "x" * LONGEST,
    PARENT.replace("-", "_"), "0x" + PARENT[2:],
])  # fmt: skip
def test_whatIsNone(parent):
    assert traceOf(parent.encode()) is None


@given(st.binary(max_size=80))
def test_anythingIsATraceOrNone(parent):
    found = traceOf(parent)
    assert found is None or re.fullmatch("[0-9a-f]{32}", found)


@pytest.mark.parametrize(("line", "why"), [
    ("trace sample=101%", "100"), ("trace sample=often", "often"),
    ("trace everything", "everything"),
])  # fmt: skip
def test_whatIsWrongWithALine(line, why):
    with pytest.raises(ValueError, match=why):
        verb(line)


def test_theServerAndTheLogAreToldTheSame():
    config = """
[frontend www]
bind = ${bind}
log = ${log} format=http
pool = app
request =
    trace
    capture trace {var["trace"]}
[pool app]
server a = ${a}
"""
    with Balancer(config, "a") as balancer:
        client = balancer.client()
        client.sends(f"GET / HTTP/1.1\r\nHost: h\r\nTraceparent: {PARENT}\r\n\r\n".encode())
        server = balancer.server("a").accepts()
        [trace] = server.receives(rb".*\r\ntraceparent: 00-([0-9a-f]{32})-.*").groups()
        server.sends(b"HTTP/1.1 204 No Content\r\n\r\n")
        client.receives(rb"HTTP/1.1 204 .*")
        assert trace.decode() != TRACE
        assert trace.decode() in balancer.lines[0]
