"""
A server that takes its time, and a second one that is asked the same: whoever answers first is
heard, the other is let go, and there is one exchange.
"""

import gc
import json

import pytest
from hedged import ASKED, SOON, both, hedging, logged, traffic
from resent import ALL, counts
from spoken import GET, OK, POST, answered, asks, request

# who is first


def test_theSecondIsFirst():
    with hedging() as balancer:
        client, a, b = both(balancer)
        b.sends(OK)
        client.receivesExactly(OK)
        a.isReset()
        assert counts(balancer) == [0, 0, 0]
        assert logged(balancer) == ("b", 200, 0, f"{ASKED}; b was first")
        assert traffic(balancer) == (1, 1, 1)
        [line] = map(json.loads, balancer.lines)
        assert line["timers"] == {"TR": 0, "Tw": 220, "Tc": 0, "Tr": 80, "Ta": 300}


def test_theFirstIsFirst():
    with hedging() as balancer:
        client, a, b = both(balancer)
        a.sends(OK)
        client.receivesExactly(OK)
        b.isReset()
        assert counts(balancer) == [0, 0, 0]
        assert logged(balancer) == ("a", 200, 0, f"{ASKED}; a was first")
        assert traffic(balancer) == (1, 1, 0)


def test_nobodyElseIsAskedInTime():
    with hedging() as balancer:
        client, a = asks(balancer)
        balancer.advance(0.15)
        a.sends(OK)
        client.receivesExactly(OK)
        balancer.advance(1)
        balancer.server("b").acceptsNothing()
        assert logged(balancer) == ("a", 200, 0, None)
        assert traffic(balancer) == (1, 0, 0)


def test_atMostOneIsAsked():
    with hedging("a", "b", "c") as balancer:
        both(balancer)
        balancer.advance(5)
        balancer.server("c").acceptsNothing()


@pytest.mark.parametrize("first", "ab")
def test_theConnectionOfWhoWasHeardIsUsedAgain(first):
    with hedging(pool=f"{SOON}\nhttp-reuse = always") as balancer:
        client, a, b = both(balancer)
        heard = a if first == "a" else b
        heard.sends(OK)
        client.receivesExactly(OK)
        app = balancer.running.pool("app")
        assert [len(server.idle) for server in app.servers] == [first == "a", first == "b"]
        heard.receivesNothing()


RESPONSES = {
    "in two": [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", b"56789"],
    "head by byte": [*(bytes([one]) for one in OK)],
    "chunks": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n"
    ],
    "long": [b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n", *[b"x" * 60000] * 10],
    "interim, then final": [b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n", OK],
    "interim and final": [b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK],
}  # fmt: skip


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("first", "ab")
def test_responsesInPieces(response, first):
    """It begins with a head; the rest comes from the same server, byte for byte."""
    with hedging() as balancer:
        client, a, b = both(balancer)
        heard, other = (a, b) if first == "a" else (b, a)
        seen = b""
        for piece in response:
            heard.sends(piece)
            client._take()
        other.isReset()
        seen = client.receives(rb".*")[0]
        assert seen == b"".join(response)
        assert counts(balancer) == [0, 0, 0]
        assert logged(balancer)[0] == first


def test_whoWasHeardBreaksOff():
    """It is too late for the other."""
    with hedging(pool=f"{SOON}\n{ALL}") as balancer:
        client, a, b = both(balancer)
        b.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        a.isReset()
        b.closes()
        client.receives(rb".*01234")
        client.isReset()
        assert counts(balancer) == [0, 0, 0]
        assert logged(balancer)[:2] == ("b", 200)


# which requests


@pytest.mark.parametrize(
    "asked",
    [
        POST + b"body",
        POST.replace(b"POST", b"PUT") + b"body",
        request(method="PATCH"),
        request("/", "Transfer-Encoding: chunked", method="PUT", body=b"0\r\n\r\n"),
        request("/", "Connection: Upgrade", "Upgrade: websocket"),
        request("/once"),
        request("/there"),
        request("/", "Content-Length: 4", method="DELETE", body=b"body"),
    ],
)
def test_whichAreNot(asked):
    rules = "request =\n    no-retry if path == '/once'\n    server a if path == '/there'"
    with hedging(frontend=rules) as balancer:
        asks(balancer, asked)
        balancer.advance(1)
        balancer.server("b").acceptsNothing()


def test_connectIsNot():
    with hedging(frontend="connect = forward") as balancer:
        client = balancer.client()
        client.sends(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        balancer.server("a").accepts().receives(rb"CONNECT .*")
        balancer.advance(1)
        balancer.server("b").acceptsNothing()


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "DELETE", "PUT"])
def test_whichAre(method):
    with hedging() as balancer:
        empty = ["Content-Length: 0"] if method == "PUT" else []
        both(balancer, request("/", *empty, method=method), method.encode() + rb" .*")


def test_whoHasHadAnInterimResponseIsNot():
    with hedging() as balancer:
        client, a = asks(balancer)
        a.sends(b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n")
        balancer.advance(1)
        balancer.server("b").acceptsNothing()
        a.sends(OK)


# whether there is a second server


def test_thereIsNoOther():
    with hedging("a") as balancer:
        client, a = asks(balancer)
        balancer.advance(1)
        balancer.server("a").acceptsNothing()
        a.sends(OK)
        client.receivesExactly(OK)
        assert logged(balancer) == ("a", 200, 0, None)
        assert traffic(balancer) == (1, 0, 0)


def test_theOtherIsFull():
    """Nobody waits for a slot only to ask twice."""
    with hedging("a maxconn=1", "b maxconn=1") as balancer:
        asks(balancer)
        asks(balancer, server="b")
        balancer.advance(1)
        assert counts(balancer) == [2, 1, 1]
        assert balancer.running.pool("app").queued == 0


def test_theSlotsServeTheQueue():
    """Both of them: that of who is let go, too."""
    with hedging("a maxconn=1", "b maxconn=1", pool=f"{SOON}\nhttp-reuse = never") as balancer:
        client, a, b = both(balancer)
        waiting = [balancer.client() for _ in range(2)]
        for one in waiting:
            one.sends(GET)
        assert balancer.running.pool("app").queued == 2
        b.sends(OK)
        client.receivesExactly(OK)
        for name in "ab":
            balancer.server(name).accepts().receives(rb"GET .*")
        assert counts(balancer) == [2, 1, 1]


def test_overTheBudget():
    with hedging(pool=f"{SOON}\nretry-budget = 0% min 0/s") as balancer:
        client, a = asks(balancer)
        balancer.advance(1)
        balancer.server("b").acceptsNothing()
        a.sends(OK)
        client.receivesExactly(OK)
        assert logged(balancer) == ("a", 200, 0, "the retry budget is used up")
        assert balancer.running.pool("app").traffic.overBudget == 1


# who goes away


def test_theClientGoes():
    with hedging() as balancer:
        client, a, b = both(balancer)
        client.resets()
        a.isReset()
        b.isReset()
        assert counts(balancer) == [0, 0, 0]
        [line] = map(json.loads, balancer.lines)
        assert (line["server"], line["termination"]) == ("a", "CH--")


def test_theClientGoesWhileTheSecondIsConnectedTo():
    with hedging() as balancer:
        balancer.server("b").hesitates()
        client, a = asks(balancer)
        balancer.advance(0.3)
        client.resets()
        a.isReset()
        assert counts(balancer) == [0, 0, 0]


def test_theSessionsOfTheFirstAreEnded():
    with hedging(pool=f"{SOON}\non-marked-down = shutdown-sessions") as balancer:
        client, a, b = both(balancer)
        for session in balancer.running.pool("app").find("a").sessions.copy():
            session.abortSession("D")
        client.receives(rb"HTTP/1.1 503 .*")
        a.isReset()
        b.isReset()
        assert counts(balancer) == [0, 0, 0]


# persistence


def test_whoIsBoundToAServerIsNot():
    """Another would not know it."""
    with hedging(pool=f"{SOON}\npersist = source") as balancer:
        asks(balancer)
        balancer.advance(1)
        balancer.server("b").acceptsNothing()


def test_pipelinedRequestsAreAnsweredInOrder():
    with hedging() as balancer:
        client = balancer.client()
        client.sends(request("/1") + request("/2"))
        a = balancer.server("a").accepts()
        a.receives(rb"GET /1 .*")
        balancer.advance(0.3)
        b = balancer.server("b").accepts()
        b.receives(rb"GET /1 .*")
        b.sends(OK.replace(b"hi", b"b1"))
        a = balancer.server("a").accepts()
        a.receives(rb"GET /2 .*")
        a.sends(OK.replace(b"hi", b"a2"))
        client.receivesExactly(OK.replace(b"hi", b"b1") + OK.replace(b"hi", b"a2"))


@pytest.mark.parametrize("first", "ab")
def test_nothingIsLeftForTheCollector(first):
    """Circles would keep all of an exchange until it comes."""
    with hedging() as balancer:
        gc.collect()
        gc.disable()
        try:
            client, a, b = both(balancer)
            (a if first == "a" else b).sends(OK)
            client.receivesExactly(OK)
            client.closes()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [one for one in gc.garbage if type(one).__module__.startswith("lbtwist.")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert left == []


def test_itStopsInTheMiddle():
    """What is under way comes to its end, or is ended, with nothing left."""
    with hedging() as balancer:
        both(balancer)


def test_aConnectionThatStandsIsHedged():
    with hedging() as balancer:
        client, a = answered(balancer)
        client.sends(GET)
        a.receives(rb"GET .*")
        balancer.advance(0.3)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        b.sends(OK)
        client.receivesExactly(OK)
        a.isReset()
