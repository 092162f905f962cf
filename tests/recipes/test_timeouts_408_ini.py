"""
C{etc/timeouts-408.ini}: clients that are late with their request, on three frontends that
meet them in three ways. Rows 003.1 and 003.2. The times themselves are shortened.
"""

import contextlib
import socket
import time

import pytest
from loopback import wire
from recipe import Mirror, asks, connects, started

from programs import freePort

PAGE = (
    b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 110\r\nCache-Control: no-cache\r\n"
    b"Connection: close\r\nContent-Type: text/html\r\n\r\n"
    b"<html><body><h1>408 Request Time-out</h1>\n"
    b"Your browser didn't send a complete request in time.\n</body></html>\n"
)
FRONTENDS = {"api": ":8080\n", "www": ":80\n", "shop": ":81\n"}

# Of timeout-request and timeout-client: whichever is shorter, it counts.
SHORT = "500ms"
LONG = "1h"


@pytest.fixture(scope="module", params=["timeout-request", "timeout-client"])
def late(request, tmp_path_factory):
    """The recipe, at work, with one of its timeouts short: C{ports} by frontend."""
    ports = {name: freePort() for name in FRONTENDS}
    times = {"timeout-request = 10s": LONG, "timeout-client = 20s": LONG}
    shorter = next(one for one in times if one.startswith(request.param))
    times[shorter] = SHORT
    replaced = {old: f"{old.partition('=')[0]}= {new}" for old, new in times.items()}
    replaced["timeout-keepalive = 15s"] = f"timeout-keepalive = {SHORT}"
    for name, old in FRONTENDS.items():
        replaced[f"bind = {old}"] = f"bind = 127.0.0.1:{ports[name]}\n"
    with Mirror("app") as app:
        replaced["10.0.3.10:8000"] = app
        directory = tmp_path_factory.mktemp("late")
        with started("timeouts-408.ini", directory, replaced) as balancer:
            balancer.ports = ports
            yield balancer


def toTheEnd(late, frontend, sent):
    """@return: what comes after this is sent, until the connection ends; the line, if any."""
    with connects(late.ports[frontend]) as client:
        port = client.getsockname()[1]
        if sent:
            client.sendall(sent)
        return wire.readAll(client), f"127.0.0.1:{port} "


NOTHING, PART, LINE = b"", b"GET /part HTTP/1.1\r\nHost: h\r\nX-", b"GET"
ENDING = " -1/-1/-1/-1/"


def isLogged(late, line, size):
    said = late.line(line)
    assert ENDING in said and f" 408 {size} - - cR-- " in said, said
    assert said.endswith('"<BADREQ>"')


@pytest.mark.parametrize("sent", [NOTHING, LINE, PART])
def test_thePage(late, sent):
    """Row 003.1: status, fields and body of today's HAProxy; the log says cR."""
    said, line = toTheEnd(late, "api", sent)
    assert said == PAGE
    isLogged(late, line, len(PAGE))


@pytest.mark.parametrize("sent", [NOTHING, LINE, PART])
def test_silence(late, sent):
    """Row 003.2: not a byte, and the end; the log says the same."""
    said, line = toTheEnd(late, "www", sent)
    assert said == b""
    isLogged(late, line, 0)


def test_whoHasSentNothingIsForgotten(late):
    """Row 003.2 with C{http-ignore-probes}: no answer, no line."""
    said, line = toTheEnd(late, "shop", NOTHING)
    assert said == b""
    # The line of whoever comes after it has been written.
    said, after = toTheEnd(late, "shop", PART)
    assert said == PAGE
    isLogged(late, after, len(PAGE))
    assert not any(one.startswith(line) for one in late.lines)


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_aByteNowAndThenWinsNoTime(late, frontend):
    """It would go on for ever; the end comes though it does."""
    with connects(late.ports[frontend]) as client:
        client.setblocking(False)
        end = time.monotonic() + wire.SECONDS
        said = None
        sent = b"GET / HTTP/1.1\r\nX-Slow: "
        while said is None and time.monotonic() < end:
            with contextlib.suppress(ConnectionError):
                client.send(sent[:1] or b"x")
            sent = sent[1:]
            time.sleep(0.02)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                said = client.recv(65536)
    assert said == (b"" if frontend == "www" else PAGE)


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_betweenTwoRequests(late, frontend):
    """Nobody is late: no answer, and no line but that of the request."""
    with connects(late.ports[frontend]) as client:
        line = f"127.0.0.1:{client.getsockname()[1]} "
        head, body = asks(client, "Host: h")
        assert head.startswith("HTTP/1.1 200 OK") and body == "app"
        assert wire.readAll(client) == b""
    assert " 200 " in late.line(line, f" {frontend} ")


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_whoLeavesAgain(late, frontend):
    """Connected early and never used: neither an answer nor a line."""
    with connects(late.ports[frontend]) as client:
        port = client.getsockname()[1]
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    _, after = toTheEnd(late, "api", PART)
    late.line(after)
    assert not any(f"127.0.0.1:{port} " in one for one in late.lines)
