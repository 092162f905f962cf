"""
What real traffic says of servers: which end of an exchange counts as what, who is an outlier
and for how long, and who is offered to new clients. No clock runs and nothing is opened.
"""

import errno
from dataclasses import dataclass

import pytest
from pooled import Client, pooled
from twisted.logger import LogLevel, capturedLogs, formatEvent

from lbtwist.config.model import OutlierOptions
from lbtwist.config.passive import Observed
from lbtwist.exchange import Cause, Stage
from lbtwist.health import Admin
from lbtwist.passive import Ejections, Offer, Watch, exchangeFinished
from lbtwist.testing import fakeExchange, fakeResponse, makeServers

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
NEVER = 1 << 30


class Watched:
    """A server C{a} that is watched, and what came of it."""

    def __init__(self, observe="", limit=NEVER, onError="fail-check", **outlier):
        [self.server] = makeServers(1)
        self.suspected = []
        self.outliers = []
        observed = Observed(observe == "layer7", limit, onError) if observe else None
        self.watch = self.server.watch = Watch(
            self.server, observed, self._suspect, OutlierOptions(**outlier), self._outlier
        )

    def _suspect(self, server, onError, reason):
        assert server is self.server
        self.suspected.append((onError, reason))

    def _outlier(self, watch, reason):
        assert watch is self.watch
        self.outliers.append(reason)

    def ends(self, *ends):
        """Exchanges end so, one after the other."""
        for end in ends:
            if isinstance(end, int):
                end = ENDS[f"status {end}"]
            exchange = end.exchange()
            exchange.server = self.server
            exchangeFinished(exchange)
        return self


@dataclass
class End:
    """
    How an exchange ended; which of the counts says what of it.

    @ivar layer4: C{True} counts an error, C{False} a good one, C{None} says nothing; so does
        C{layer7}.
    @ivar outlier: likewise.
    """

    status: int = 0
    cause: str = Cause.DONE
    stage: str = Stage.DONE
    layer4: bool | None = None
    layer7: bool | None = None
    outlier: bool | None = None
    reused: bool = False
    passthrough: str = ""
    page: int = 0
    session: bool = False

    def exchange(self):
        exchange = fakeExchange(None if self.session else "/")
        if self.status:
            fakeResponse(exchange, self.status)
        if self.page:
            exchange.status = self.page
        exchange.stage = self.stage
        exchange.cause = self.cause
        exchange.reused = self.reused
        exchange.passthrough = self.passthrough
        return exchange


GOOD = {"layer7": False, "outlier": False}
BAD = {"layer7": True, "outlier": True}
ENDS = {
    **{f"status {status}": End(status, **GOOD) for status in (101, 200, 304, 404, 429, 499)},
    **{f"status {status}": End(status, **BAD) for status in (500, 502, 503, 504, 507, 599)},
    # HAProxy's manual, 5.2, observe: "Valid status codes include 100 to 499, 501 and 505."
    "status 501": End(501, layer7=False, outlier=True),
    "status 505": End(505, layer7=False, outlier=True),
    "status 600": End(600, layer7=True, outlier=False),
    "a connection that stood": End(200, reused=True, layer4=False, **GOOD),
    "an error on one that stood": End(500, reused=True, layer4=False, **BAD),
    # The server's fault, before a head of a response and after it.
    "closed before the head": End(cause=Cause.SERVER, stage=Stage.RESPONSE, page=502, **BAD),
    "closed an idle connection": End(
        cause=Cause.SERVER, stage=Stage.RESPONSE, page=502, reused=True
    ),
    "no head in time": End(cause=Cause.SERVER_TIMEOUT, stage=Stage.RESPONSE, page=504, **BAD),
    "not HTTP": End(cause=Cause.REFUSED, stage=Stage.RESPONSE, page=502, **BAD),
    "closed in the body": End(200, cause=Cause.SERVER, stage=Stage.DATA, **BAD),
    "closed in the body, after reuse": End(
        200, cause=Cause.SERVER, stage=Stage.DATA, reused=True, **BAD
    ),
    "silent in the body": End(200, cause=Cause.SERVER_TIMEOUT, stage=Stage.DATA, **BAD),
    # Not the server's fault.
    "client gone, no head yet": End(cause=Cause.CLIENT, stage=Stage.RESPONSE),
    "client gone in the body": End(200, cause=Cause.CLIENT, stage=Stage.DATA, **GOOD),
    "client gone in an error": End(500, cause=Cause.CLIENT, stage=Stage.DATA, **BAD),
    "client too slow": End(200, cause=Cause.CLIENT_TIMEOUT, stage=Stage.DATA, **GOOD),
    "request too long": End(cause=Cause.REFUSED, stage=Stage.RESPONSE, page=413),
    "request broken": End(cause=Cause.REFUSED, stage=Stage.RESPONSE, page=400),
    "request broken in the body": End(200, cause=Cause.REFUSED, stage=Stage.DATA),
    "marked down": End(cause=Cause.DOWN, stage=Stage.RESPONSE, page=503),
    "killed": End(cause=Cause.KILLED, stage=Stage.RESPONSE, page=503),
    "a rule failed": End(cause=Cause.INTERNAL, stage=Stage.RESPONSE, page=500),
    # Each connect was told of when it failed.
    "not connected": End(cause=Cause.SERVER, stage=Stage.CONNECT, page=503),
    "not connected in time": End(cause=Cause.SERVER_TIMEOUT, stage=Stage.CONNECT, page=503),
    "not out of the queue": End(cause=Cause.SERVER_TIMEOUT, stage=Stage.QUEUE, page=503),
    # Of a tunnel the beginning counts, whatever becomes of it.
    "tunnel": End(101, passthrough="Web Sockets", **GOOD),
    "tunnel reset": End(
        101, cause=Cause.SERVER, stage=Stage.DATA, passthrough="Web Sockets", **GOOD
    ),
    "tunnel silent": End(
        101, cause=Cause.SERVER_TIMEOUT, stage=Stage.DATA, passthrough="Web Sockets", **GOOD
    ),
    "session": End(session=True),
    "session reset": End(session=True, cause=Cause.SERVER, stage=Stage.DATA),
    "session silent": End(session=True, cause=Cause.SERVER_TIMEOUT, stage=Stage.DATA),
}


@pytest.mark.parametrize("observe", ["layer4", "layer7"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_whatAnEndMeansToObserve(end, observe):
    watched = Watched(observe)
    watched.watch.connectFailed(REFUSED)
    watched.watch.connectFailed(REFUSED)
    before = watched.watch.errors
    assert before == 2
    watched.ends(end)
    expected = {True: before + 1, False: 0, None: before}[getattr(end, observe)]
    assert watched.watch.errors == expected


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_whatAnEndMeansToOutliers(end):
    watched = Watched(consecutive_5xx=100, consecutive_gateway=100).ends(500)
    watch = watched.ends(end).watch
    expected = {True: (2, 2, 2), False: (2, 1, 0), None: (1, 1, 1)}[end.outlier]
    assert (watch.requests, watch.failures, watch.inARow) == expected


def test_exchangesOfWhoeverIsNotWatched():
    exchange = fakeResponse(fakeExchange())
    exchangeFinished(exchange)
    [exchange.server] = makeServers(1)
    exchangeFinished(exchange)


# Errors in a row.


def test_errorsInARow():
    watched = Watched("layer7", limit=3).ends(500, 500, 200, 500, 503)
    assert watched.suspected == []
    watched.ends(ENDS["no head in time"])
    [told] = watched.suspected
    assert told == (
        "fail-check", "3 errors in a row, the last: the server was silent for too long"
    )  # fmt: skip
    assert watched.server.traffic.suspected == 1
    watched.ends(500, 500)
    assert len(watched.suspected) == 1
    watched.ends(500)
    assert len(watched.suspected) == 2


def test_aStatusOnDemandIsNoError():
    """A client could take servers out with requests that they do not implement."""
    assert Watched("layer7", limit=2).ends(501, 505, 501, 505).suspected == []


@pytest.mark.parametrize("observe", ["layer4", "layer7"])
def test_connectsCountInBoth(observe):
    watched = Watched(observe, limit=2)
    watched.watch.connectFailed(TimeoutError("the connection was not made in time"))
    watched.watch.connectFailed(REFUSED)
    assert [reason for _, reason in watched.suspected] == [
        "2 errors in a row, the last: a connect failed: Connection refused"
    ]


@pytest.mark.parametrize(("observe", "errors"), [("layer4", 0), ("layer7", 1)])
def test_aConnectionIsGoodToLayer4Only(observe, errors):
    """Of layer 7 a response has to come over it."""
    watched = Watched(observe)
    watched.watch.connectFailed(REFUSED)
    watched.watch.connected(fakeExchange())
    assert watched.watch.errors == errors


@pytest.mark.parametrize(
    ("observe", "status", "errors"),
    [("layer4", 503, 0), ("layer7", 503, 1), ("layer7", 504, 1), ("layer7", 501, 0)],
)
def test_failedAndAskedElsewhere(observe, status, errors):
    watched = Watched(observe)
    watched.watch.failed(status, "it is not wanted")
    assert watched.watch.errors == errors
    assert (watched.watch.requests, watched.watch.failures) == (1, 1)


def test_nothingIsSuspectedThatIsNotObserved():
    watched = Watched().ends(*[500] * 100)
    for _ in range(100):
        watched.watch.connectFailed(REFUSED)
    assert watched.suspected == [] and watched.server.traffic.suspected == 0


# Failures in a row.


def test_failuresInARow():
    watched = Watched(consecutive_5xx=3, consecutive_gateway=0).ends(500, 500, 200, 500, 501)
    assert watched.outliers == []
    assert watched.ends(503).outliers == [
        "3 failures in a row, the last: a response with 503"
    ]
    assert watched.ends(500, 500).outliers[1:] == []
    assert len(watched.ends(500).outliers) == 2


def test_gatewayFailuresInARow():
    """A word of the server itself, though a bad one, comes in between."""
    watched = Watched(consecutive_5xx=0, consecutive_gateway=3).ends(502, 503, 500, 504, 502)
    assert watched.outliers == []
    watched.watch.connectFailed(REFUSED)
    assert watched.outliers == [
        "3 failures in a row, the last: a connect failed: Connection refused"
    ]


def test_bothAtOnceAreOne():
    watched = Watched(consecutive_5xx=2, consecutive_gateway=2).ends(503, 503)
    assert len(watched.outliers) == 1
    assert watched.watch.inARow == watched.watch.gateways == 0


def test_neitherIsCounted():
    watched = Watched(consecutive_5xx=0, consecutive_gateway=0).ends(*[503] * 20, *[500] * 20)
    assert watched.outliers == []


def test_aSessionIsGoodWhenItIsConnected():
    """It may last for days; how it ends does not matter."""
    watch = Watched(consecutive_5xx=3).watch
    watch.connectFailed(REFUSED)
    watch.connected(fakeExchange())
    assert watch.inARow == 1
    watch.connected(fakeExchange(None))
    assert (watch.requests, watch.inARow) == (2, 0)


# Who is ejected.


def watches(count):
    """@return: watched servers of one pool."""
    servers = makeServers(*[1] * count)
    nothing = [].append
    return [Watch(one, None, nothing, OutlierOptions(), nothing) for one in servers]


def serversOf(found):
    return [watch.server for watch in found]


@pytest.mark.parametrize(
    ("count", "percent", "most"),
    [
        (10, 50, 5), (10, 49, 4), (10, 0, 1), (10, 10, 1), (10, 19, 1), (10, 20, 2),
        (10, 100, 9), (3, 50, 1), (2, 50, 1), (2, 100, 1), (1, 100, 0),
    ],
)  # fmt: skip
def test_howManyAreEjected(count, percent, most):
    """One where that is more than the share, and never the last."""
    ejections = Ejections(OutlierOptions(max_ejection=percent))
    found = watches(count)
    for watch in found:
        if not ejections.refusal(watch.server, serversOf(found)):
            ejections.begin(watch)
    assert sum(watch.server.health.ejected for watch in found) == most


def test_whyOneCannotBeEjected():
    found = watches(4)
    a, b, c, d = servers = serversOf(found)
    ejections = Ejections(OutlierOptions(max_ejection=25))
    ejections.begin(found[0])
    assert ejections.refusal(b, servers) == "1 of 4 servers are ejected, and max-ejection is 25%"
    a.health.ejected = False
    a.health.up = False
    b.health.admin = Admin.MAINT
    c.weight = 0
    assert ejections.refusal(d, servers) == "no other server is usable"
    a.health.up = a.backup = True
    assert ejections.refusal(d, servers) == ""


def test_whoIsLeavingDoesNotCount():
    found = watches(4)
    ejections = Ejections(OutlierOptions(max_ejection=50))
    ejections.begin(found[0])
    servers = serversOf(found)
    servers[2].leaving = True
    assert ejections.refusal(servers[1], servers).startswith("1 of 3 ")


def test_ejectionsGrow():
    """By one base each time, up to the longest."""
    [watch] = watches(1)
    ejections = Ejections(OutlierOptions(base_ejection=30.0, max_ejection_time=100.0))
    seconds = []
    for _ in range(6):
        seconds.append(ejections.begin(watch))
        ejections.end(watch, 0.0)
    assert seconds == [30, 60, 90, 100, 100, 100]
    assert watch.server.traffic.ejections == 6


def test_ejectionsShrinkAgain():
    """By one base for every good interval, the first after the return not counted."""
    [watch] = watches(1)
    ejections = Ejections(OutlierOptions(interval=10.0, base_ejection=30.0))
    for _ in range(3):
        ejections.begin(watch)
        ejections.end(watch, 1000.0)
    counts = []
    for now in (1005.0, 1015.0, 1025.0, 1035.0, 1045.0):
        assert ejections.look([watch], now) == []
        counts.append(watch.ejections)
    assert counts == [3, 2, 1, 0, 0]
    assert ejections.begin(watch) == 30


def test_anEjectedOneIsNotForgiven():
    [watch] = watches(1)
    ejections = Ejections(OutlierOptions(interval=10.0))
    ejections.begin(watch)
    ejections.end(watch, 0.0)
    ejections.begin(watch)
    ejections.look([watch], 1000.0)
    assert watch.ejections == 2


def test_itBeginsAnewWhenItReturns():
    [watch] = watches(1)
    ejections = Ejections(OutlierOptions())
    watch.requests, watch.failures, watch.inARow, watch.gateways = 9, 8, 4, 3
    ejections.begin(watch)
    ejections.end(watch, 0.0)
    assert (watch.requests, watch.failures, watch.inARow, watch.gateways) == (0, 0, 0, 0)
    assert not watch.server.health.ejected


@pytest.mark.parametrize(
    ("requests", "failures", "found"),
    [(50, 43, True), (50, 42, False), (49, 49, False), (1000, 850, True), (1000, 849, False)],
)
def test_inPercent(requests, failures, found):
    [watch] = watches(1)
    ejections = Ejections(OutlierOptions(failure_percentage=85, minimum_requests=50))
    watch.requests, watch.failures = requests, failures
    assert bool(ejections.look([watch], 0.0)) is found
    assert (watch.requests, watch.failures) == (0, 0)


def test_theWorstGoesFirst():
    """Not all that should go can."""
    a, b, c = watches(3)
    for watch, failures in ((a, 90), (b, 100), (c, 95)):
        watch.requests, watch.failures = 100, failures
    assert Ejections(OutlierOptions()).look([a, b, c], 0.0) == [
        (b, "100% of the requests in 10 s failed"),
        (c, "95% of the requests in 10 s failed"),
        (a, "90% of the requests in 10 s failed"),
    ]


def test_percentsAreNotWanted():
    [watch] = watches(1)
    watch.requests = watch.failures = 100
    assert Ejections(OutlierOptions(failure_percentage=0)).look([watch], 0.0) == []


# Who is offered.


def pool(said, backup=""):
    """
    @param said: a letter for each server: up, down, ejected, maintenance, drained, without
        an address, leaving, weight 0.
    @param backup: the names of those that are one.
    """
    servers = makeServers(*[1] * len(said))
    for letter, server in zip(said, servers, strict=True):
        server.backup = server.name in backup
        if letter == "d":
            server.health.up = False
        elif letter == "e":
            server.health.ejected = True
        elif letter == "m":
            server.health.admin = Admin.MAINT
        elif letter == "r":
            server.health.admin = Admin.DRAIN
        elif letter == "a":
            server.endpoint = None
        elif letter == "l":
            server.leaving = True
        elif letter == "0":
            server.weight = 0
    return servers


def names(servers):
    return "".join(server.name for server in servers)


@pytest.mark.parametrize(
    ("said", "backup", "threshold", "offered", "panicking"),
    [
        ("uuuu", "", 50, "abcd", False),
        # Half of them are half of them.
        ("uudd", "", 50, "ab", False),
        ("uddd", "", 50, "abcd", True),
        ("uded", "", 50, "abcd", True),
        ("dddd", "", 50, "abcd", True),
        ("uddd", "", 25, "a", False),
        ("uddd", "", 0, "a", False),
        ("dddd", "", 0, "", False),
        ("uuud", "", 100, "abcd", True),
        ("uuuu", "", 100, "abcd", False),
        # Who is not in service is neither healthy nor ill, and gets nothing.
        ("ummm", "", 50, "a", False),
        ("udmr", "", 50, "a", False),
        ("uddmral0", "", 50, "abc", True),
        ("dmral0", "", 50, "a", True),
        ("mral0", "", 50, "", False),
        # Backups do not count; none healthy, and they are what they are there for.
        ("uduu", "cd", 50, "a", False),
        ("udduu", "de", 50, "abc", True),
        ("dduu", "cd", 50, "c", False),
        ("dddd", "cd", 50, "ab", True),
        ("dduu", "cd", 0, "c", False),
        ("dddu", "cd", 0, "d", False),
        # Better one that is ejected than nobody.
        ("ed", "", 0, "a", False),
        ("eed", "", 0, "ab", False),
        ("eue", "b", 0, "b", False),
        ("ded", "bc", 0, "b", False),
        ("dee", "bc", 0, "b", False),
    ],
)
def test_whoIsOffered(said, backup, threshold, offered, panicking):
    offer = Offer("app", threshold)
    assert names(offer.of(pool(said, backup))) == offered
    assert offer.panicking is panicking


def test_aPanicIsToldOnce():
    offer = Offer("app", 50)
    with capturedLogs() as events:
        for said in ("uuuu", "uddd", "dddd", "uddd", "uudd", "uuuu", "uuuu"):
            offer.of(pool(said))
    assert [(event["log_level"], formatEvent(event)) for event in events] == [
        (
            LogLevel.warn,
            "Pool app panics, all get requests: 1 of 4 servers are healthy, and "
            "panic-threshold is 50%.",
        ),
        (
            LogLevel.info,
            "Pool app panics no more: 2 of 4 servers are healthy, and panic-threshold is 50%.",
        ),
    ]


def test_reprs():
    watched = Watched("layer7").ends(200, 500)
    assert repr(watched.watch) == "<Watch app/a 1 errors 1/2 failed>"
    offer = Offer("app", 50)
    assert repr(offer) == "<Offer app in order>"
    offer.of(pool("d"))
    assert repr(offer) == "<Offer app panics>"


# What the pool tells.


@pytest.mark.parametrize(
    ("number", "failures"),
    [(errno.ECONNREFUSED, 2), (errno.EMFILE, 0), (errno.EADDRNOTAVAIL, 0), (errno.ENOBUFS, 0)],
)
def test_whatThisMachineHasNotIsNoFailureOfAServer(number, failures):
    """All of them would be ejected when it has no ports left."""
    with pooled(retries=1) as app:
        [server] = app.servers
        watched = Watched("layer4")
        server.watch = watched.watch
        client = Client(app).connects()
        client.attempt.fails(OSError(number, "it failed"))
        app.reactor.advance(1.1)
        client.attempt.fails(OSError(number, "it failed"))
        assert watched.watch.errors == watched.watch.failures == failures
        assert client.told
