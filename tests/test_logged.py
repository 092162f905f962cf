"""Lines as syslog servers get them, of what a configuration says."""

import os
import socket
from functools import cache
from types import SimpleNamespace

import pytest
from heads import get
from hypothesis import given
from hypothesis import strategies as st
from syslogs import parsed
from test_accesslog import SESSION, STARTED, WALL, ended, paris  # noqa: F401
from twisted.internet.task import Clock

from lbtwist.config.load import loadText
from lbtwist.exchange import Cause, Stage
from lbtwist.logged import observerOf, writerOf
from lbtwist.logs import Logs
from lbtwist.logwriter import Writer
from lbtwist.registry import installed
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage as Asked
from lbtwist.sansio.syslogline import messages
from lbtwist.syslog import SyslogWriter

LINE = (
    "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109"
    ' 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"'
)
HEAD = "lb1 lbtwist 17 access"
NAMES = "hostname=lb1 procid=17"


@cache
def configured(log, more="", mode="http"):
    text = f"[frontend http-in]\nmode = {mode}\nbind = :80\npool = static\nlog = {log}\n{more}\n"
    config, _ = loadText(f"{text}\n[pool static]\nserver srv1 = demo:a", installed())
    return config


def written(log, *exchanges, more="", mode="http", draw=None):
    """@return: the lines of exchanges."""
    config = configured(log, more, mode)
    frontend = config.frontends["http-in"]
    lines = []
    observe = observerOf(
        frontend.log[0], SimpleNamespace(write=lines.append), frontend, config,
        Scope(Asked.LOG, mode == "http"), lambda: STARTED, lambda: STARTED + WALL, draw,
    )  # fmt: skip
    for exchange in exchanges:
        observe(exchange)
    return lines


@pytest.mark.parametrize("log, line", [
    (f"udp:127.0.0.1:514 {NAMES}", f"<134>1 2009-02-06T12:14:14.764+01:00 {HEAD} - {LINE}"),
    (f"udp:127.0.0.1:514 local3 app-name=edge msgid=www {NAMES}",
     f"<158>1 2009-02-06T12:14:14.764+01:00 lb1 edge 17 www - {LINE}"),
    (f"udp:127.0.0.1:514 syslog=rfc3164 {NAMES}",
     f"<134>Feb  6 12:14:14 lb1 lbtwist[17]: {LINE}"),
    ("unix:/dev/log procid=17", f"<134>Feb  6 12:14:14 lbtwist[17]: {LINE}"),
    ("tcp:127.0.0.1:514 syslog=raw", LINE),
    (f"udp:127.0.0.1:514 severity=debug {NAMES}",
     f"<135>1 2009-02-06T12:14:14.764+01:00 {HEAD} - {LINE}"),
    (f"udp:127.0.0.1:514 sd {NAMES}",
     f"<134>1 2009-02-06T12:14:14.764+01:00 {HEAD} "
     '[lbtwist@32473 client="10.0.1.2" client_port="33317" frontend="http-in" pool="static"'
     ' server="srv1" bytes_in="80" bytes_out="2750" retries="0" status="200"'
     f' termination="----" took="109" request_id="-"] {LINE}'),
    (f"udp:127.0.0.1:514 sd sd-id=site@1 format=clf {NAMES}", None),
])  # fmt: skip
def test_lines(log, line):
    [found] = written(log, ended())
    if line is not None:
        assert found == line
    if found.startswith("<1") and found[5] == "1":
        assert parsed(*messages([found], 8192)).host == "lb1"


def test_sessions():
    [found] = written(
        f"udp:127.0.0.1:514 sd {NAMES}", ended(**SESSION, accepted=0, stage=Stage.DONE), mode="tcp"
    )
    message = parsed(found.encode())
    assert message.data["termination"] == "--" and "status" not in message.data


def test_whoSends():
    """Without a word on it: this machine and this process."""
    [found] = written("udp:127.0.0.1:514", ended())
    message = parsed(found.encode())
    assert (message.host, message.proc) == (socket.gethostname(), str(os.getpid()))
    assert (message.facility, message.severity) == (16, 6)


@pytest.mark.parametrize("story, severity", [
    ({}, 6), ({"status": 404}, 5), ({"status": 503, "cause": Cause.SERVER}, 3),
])  # fmt: skip
def test_theSeverityIsThatOfTheOutcome(story, severity):
    [found] = written("udp:127.0.0.1:514", ended(**story))
    assert parsed(found.encode()).severity == severity


SD = r'log-format-sd = [site@1 agent=\"%[header["user-agent"]]\" line=\"%r\"][other@1]'


@given(st.binary(max_size=60).filter(lambda one: not set(one) & set(b"\r\n\0")))
def test_noValueForgesAMessage(value):
    """Quotes, brackets, backslashes, bytes that are no UTF-8: a strict reader gets all apart."""
    request = get(b"User-Agent: X")
    request.line = b"GET /" + value.replace(b" ", b"") + b" HTTP/1.1"
    exchange = ended()
    exchange.request = request
    [found] = written("udp:127.0.0.1:514", exchange, more=SD)
    [data] = messages([found], 8192)
    message = parsed(data)
    assert set(message.data) == {"agent", "line"}
    assert message.data["agent"] == "X"
    assert message.text.endswith(f'"{message.data["line"]}"')


def test_valuesOfStructuredDataAreEscaped():
    exchange = ended()
    exchange.request = get(b'User-Agent: a]b\\c"d')
    [found] = written("udp:127.0.0.1:514", exchange, more=SD)
    assert r'agent="a\]b\\c#22d"' in found
    assert parsed(found.encode()).data["agent"] == 'a]b\\c#22d'


def test_structuredDataAreOfRFC5424Alone():
    [found] = written(f"udp:127.0.0.1:514 syslog=rfc3164 {NAMES}", ended(), more=SD)
    assert found == f"<134>Feb  6 12:14:14 lb1 lbtwist[17]: {LINE}"


def test_aLogOfErrors():
    exchanges = [ended(status=one) for one in (200, 404, 500)]
    assert len(written("file:errors.log only=errors", *exchanges)) == 1
    assert len(written("file:errors.log only=errors,400-499", *exchanges)) == 2
    assert len(written("file:errors.log level=notice", *exchanges)) == 2


def test_aSample():
    exchanges = [ended(status=500 if number == 5 else 200) for number in range(1000)]
    assert len(written("file:few.log sample=1:100", *exchanges)) == 11
    assert len(written("file:few.log sample=1:100 sample-errors", *exchanges)) == 10
    draws = iter([0.009, 0.011] * 500)
    assert len(written("file:few.log sample=1%", *exchanges, draw=draws.__next__)) == 501


def test_aRuleKeepsAnExchangeOutOfASampleToo():
    silent = ended(settings={"log": False})
    assert written("file:few.log only=normal", silent) == []


# who writes


def writers(*logs):
    clock = Clock()
    kept = Logs(clock)
    return [
        writerOf(configured(log).frontends["http-in"].log[0], kept, clock, None) for log in logs
    ]


def test_oneWriterForAPlace():
    one, other = writers(
        "udp:127.0.0.1:514 local1 buffer=1m", "udp:127.0.0.1:514 local2 buffer=2m format=json"
    )
    assert one is other and isinstance(one, SyslogWriter)
    assert one.capacity == 2 << 20


def test_differentPlaces():
    found = writers(
        "udp:127.0.0.1:514", "udp:127.0.0.1:515", "tcp:127.0.0.1:514", "unix:/dev/log",
        "tcp:127.0.0.1:514 framing=newline", "tls:127.0.0.1:514", "stdout", "file:a",
        "tls:127.0.0.1:514 verify=none", "udp:127.0.0.1:514 len=1k",
    )  # fmt: skip
    assert len(set(found)) == len(found)
    assert [type(one) for one in found[6:8]] == [Writer, Writer]


@pytest.mark.parametrize("log, counted", [
    ("tcp:127.0.0.1:601", True), ("tls:127.0.0.1:6514", True),
    ("tcp:127.0.0.1:601 syslog=rfc3164", False), ("tcp:127.0.0.1:601 syslog=raw", False),
    ("tcp:127.0.0.1:601 framing=newline", False), ("unix:/dev/log", False),
    ("unix:/dev/log syslog=rfc5424", False), ("unix:/dev/log framing=octets", True),
    ("tcp:127.0.0.1:601 syslog=raw framing=octets", True),
])  # fmt: skip
def test_howLinesAreToldApart(log, counted):
    [writer] = writers(log)
    assert writer.place.counted is counted
