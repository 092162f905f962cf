"""What has to hold after a reload: how it is written, and when it is broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from renewed import Counted

from lbtwist.guards import LEAST_REQUESTS, SETTLING, GuardError, Since, parsed


@pytest.mark.parametrize(
    ("text", "subject", "pool", "compared", "limit"),
    [
        ("errors < 1%", "errors", "", "<", 0.01),
        ("errors<=0.5%", "errors", "", "<=", 0.005),
        ("  5xx  in app <  2% ", "5xx", "app", "<", 0.02),
        ("4xx < 100%", "4xx", "", "<", 1.0),
        ("p99 < 500ms", "p99", "", "<", 0.5),
        ("p99.9 in my-app <= 2s", "p99.9", "my-app", "<=", 2.0),
        ("p50 < 1.5s", "p50", "", "<", 1.5),
        ("servers >= 2", "servers", "", ">=", 2),
        ("servers in app > 0", "servers", "app", ">", 0),
    ],
)
def test_forms(text, subject, pool, compared, limit):
    guard = parsed(text)
    assert (guard.subject, guard.pool, guard.compared) == (subject, pool, compared)
    assert guard.limit == pytest.approx(limit)
    assert parsed(str(guard)) == guard


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no guard: write errors < 1%"),
        ("errors", "is no guard"),
        ("errors < 1% 2%", "is no guard"),
        ("errors < 1", "'1' is no part of all: write 1%"),
        ("errors < 101%", "is no part of all"),
        ("errors < -1%", "is no part of all"),
        ("errors > 1%", "errors is compared with < or <="),
        ("5xx == 1%", "5xx is compared with < or <="),
        ("3xx < 1%", "unknown '3xx'"),
        ("p99 < 500", "'500' is no time: write 500ms"),
        ("p99 < fast", "'fast' is no time"),
        ("p99 < 5parsecs", "p99 < 5parsecs"),
        ("p99 > 500ms", "p99 is compared with < or <="),
        ("p0 < 1s", "unknown 'p0'"),
        ("p100 < 1s", "unknown 'p100'"),
        ("servers >= few", "'few' is no number of servers"),
        ("servers < 3", "servers is compared with > or >="),
        ("latency < 1s", "unknown 'latency'"),
        ("errors in < 1%", "is no guard"),
        ("errors in a b < 1%", "is no guard"),
    ],
)
def test_whatIsNone(text, said):
    with pytest.raises(GuardError) as refused:
        parsed(text)
    assert said in str(refused.value)


def test_aPoolThatIsNotThere():
    assert parsed("errors in app < 1%", ["app"]).pool == "app"
    with pytest.raises(GuardError, match="there is no pool 'ap'"):
        parsed("errors in ap < 1%", ["app"])


@given(st.text())
def test_anyTextIsReadOrRefused(text):
    try:
        guard = parsed(text)
    except GuardError:
        return
    assert parsed(str(guard)) == guard


@pytest.fixture
def counted():
    return Counted("app", "chat")


def broken(text, since):
    return parsed(text).broken(since)


def test_partsOfAllThatCame(counted):
    """Only what has come since counts, and of that enough."""
    counted.ends(1000, 502, failed=1, responseErrors=1)
    since = Since(counted)
    counted.ends(LEAST_REQUESTS - 2)
    counted.ends(1, 502, failed=1, responseErrors=1)
    for text in ("errors < 1%", "5xx < 1%", "errors in app < 1%", "5xx in app < 1%"):
        assert broken(text, since) == "", "too few to say anything"
    counted.ends(1, 502, failed=1, responseErrors=1)
    assert broken("errors < 10%", since) == "2 errors in 20 exchanges, 10%"
    assert broken("errors <= 10%", since) == ""
    assert broken("5xx < 1%", since) == "2 answers 5xx in 20 exchanges, 10%"
    assert broken("5xx in app < 1%", since) == "2 answers 5xx in 20 exchanges in app, 10%"
    assert broken("errors in app < 5%", since) == "2 errors in 20 exchanges in app, 10%"
    assert broken("errors in chat < 5%", since) == ""
    assert broken("4xx < 1%", since) == ""


def test_answersOfServersAreNoErrors(counted):
    """A 500 that a server has sent in good order is a 5xx."""
    since = Since(counted)
    counted.ends(100, 500)
    counted.ends(100, 404)
    assert broken("errors < 1%", since) == ""
    assert broken("5xx < 50%", since) == "100 answers 5xx in 200 exchanges, 50%"
    assert broken("4xx < 50%", since) == "100 answers 4xx in 200 exchanges, 50%"


def test_whatClientsDoIsNoError(counted):
    """They go away, send what is not acceptable, and ask for what a rule refuses."""
    since = Since(counted)
    counted.ends(100, failed=1, clientAborts=1)
    counted.ends(100, 400, pool="", failed=1, refused=1, requestErrors=1)
    counted.ends(100, 403, pool="", failed=1, refused=1, denied=1)
    assert broken("errors < 0.1%", since) == ""
    assert broken("errors in app < 0.1%", since) == ""
    counted.ends(100, 503, pool="", failed=1)
    assert broken("errors < 25%", since) == "100 errors in 400 exchanges, 25%"


def test_percentiles(counted):
    counted.ends(1000, took=9.0)
    since = Since(counted)
    counted.ends(LEAST_REQUESTS - 1, took=3.0)
    assert broken("p99 < 500ms", since) == ""
    counted.ends(1, took=3.0)
    said = broken("p99 < 500ms", since)
    assert said.startswith("p99 is ") and said.endswith("ms, of 20 answers")
    assert float(said.split()[2].removesuffix("ms,")) == pytest.approx(3000, rel=1 / 32)
    assert broken("p99 < 4s", since) == "", "what was before does not count"
    counted.ends(80)
    assert broken("p50 < 500ms", since) == ""
    assert broken("p75 < 500ms", since) == ""
    assert broken("p90 in app < 500ms", since).endswith("of 100 answers in app")
    assert broken("p90 in chat < 500ms", since) == ""


def test_servers(counted):
    since = Since(counted)
    assert broken("servers >= 2", since) == ""
    assert broken("servers > 2", since) == "2 usable in app"
    counted.server("b", "chat").usable = False
    assert broken("servers >= 2", since) == "1 usable in chat"
    assert broken("servers in app >= 2", since) == ""
    assert parsed("servers >= 2").patience == SETTLING
    assert parsed("errors < 2%").patience == 1


def test_aPoolThatHasGone(counted):
    since = Since(counted)
    del counted.pools["chat"]
    assert broken("servers in chat >= 1", since) == "there is no pool"
    assert broken("errors in chat < 1%", since) == ""


def test_whatHasCome(counted):
    """All that is counted by what was not there before is new."""
    since = Since(counted)
    counted.addPool("new")
    counted.addFrontend("other")
    counted.ends(50, 502, "new", "other", 2.0, failed=1, responseErrors=1)
    assert broken("errors < 1%", since) == "50 errors in 50 exchanges, 100%"
    assert broken("p99 < 1s", since).endswith("of 50 answers")


def test_countedAnew(counted):
    """An administrator clears the counters."""
    counted.ends(1000, 502, failed=1, responseErrors=1, took=5.0)
    since = Since(counted)
    counted.frontends["www"].inbound.traffic.clear()
    counted.pools["app"].traffic.clear()
    counted.server().traffic.clear()
    counted.ends(100, took=0.01)
    assert broken("errors < 1%", since) == ""
    assert broken("errors in app < 1%", since) == ""
    assert broken("p99 < 1s", since) == ""
    counted.ends(100, 502, failed=1, responseErrors=1)
    assert broken("errors < 1%", since) == "100 errors in 200 exchanges, 50%"
