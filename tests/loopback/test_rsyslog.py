"""A real rsyslogd takes our lines apart: over UDP, TCP and its UNIX socket."""

import http.client
import json
import re
import signal

import pytest
from loopback.running import Balancer, Child, until, write

import programs

CONFIG = """
global(workDirectory="{directory}")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
template(name="json" type="list" option.jsonf="on") {{
    property(outname="pri" name="pri" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="proc" name="procid" format="jsonf")
    property(outname="id" name="msgid" format="jsonf")
    property(outname="sd" name="structured-data" format="jsonf")
    property(outname="text" name="msg" format="jsonf")
    property(outname="by" name="inputname" format="jsonf")
}}
ruleset(name="all") {{ action(type="omfile" file="{directory}/all.json" template="json") }}
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imuxsock" Socket="{directory}/log" CreatePath="on" ruleset="all"
      usePIDFromSystem="off")
"""

FRONTEND = """
[global]
event-log = udp:127.0.0.1:{udp} daemon app-name=events
[frontend www]
bind = 127.0.0.1:{port}
pool = app
log =
    file:access.log
    {log}
log-format = %HM %HU %[header["x-evil"]] %ST
log-format-sd = [site@32473 evil=\\"%[header["x-evil"]]\\" status=\\"%ST\\"]
[pool app]
server a = demo:a
"""


class Rsyslog(Child):
    """@ivar messages: what it has got."""

    def __init__(self, directory, udp, tcp):
        self.udp, self.tcp = udp, tcp
        text = CONFIG.format(directory=directory, udp=udp, tcp=tcp)
        write(directory / "rsyslog.conf", text)
        command = [
            programs.find("rsyslogd"), "-n", "-f", "rsyslog.conf", "-i", f"{directory}/pid", "-C",
        ]  # fmt: skip
        super().__init__(command, directory, "rsyslogd")

    def __enter__(self):
        self.until(lambda: (self.directory / "log").exists())
        return self

    @property
    def messages(self):
        path = self.directory / "all.json"
        if not path.exists():
            return []
        text = path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def found(self, text):
        """@return: the message with a text, as soon as it is there."""
        def look():
            return [one for one in self.messages if text in one["text"]]

        [found] = until(look, what=lambda: self.messages[-3:])
        return found


@pytest.fixture
def rsyslog(tmp_path):
    if programs.find("rsyslogd") is None:
        pytest.skip("there is no rsyslogd")
    directory = tmp_path / "rsyslog"
    with Rsyslog(directory, programs.freePort(), programs.freePort()) as child:
        yield child


def balancer(rsyslog, directory, log):
    port = programs.freePort()
    text = FRONTEND.format(
        port=port, udp=rsyslog.udp,
        log=log.format(udp=rsyslog.udp, tcp=rsyslog.tcp, unix=rsyslog.directory / "log"),
    )  # fmt: skip
    found = Balancer(directory / "lb", text)
    found.port = port
    return found


def asks(balancer, path, evil="-"):
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=15)
    connection.request("GET", path, headers={"X-Evil": evil})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("log, by", [
    ("udp:127.0.0.1:{udp}", "imudp"), ("tcp:127.0.0.1:{tcp}", "imtcp"),
    ("tcp:127.0.0.1:{tcp} framing=newline", "imtcp"),
])  # fmt: skip
def test_rfc5424(rsyslog, tmp_path, log, by):
    options = " local3 hostname=lb.example app-name=edge msgid=www procid=17"
    with balancer(rsyslog, tmp_path, log + options) as lb:
        evil = '"]\\ [x@1 a="b"] %s ü'
        asks(lb, "/one", evil.encode().decode("latin-1"))
        found = rsyslog.found("GET /one ")
    assert found == {
        "pri": str(19 * 8 + 6), "host": "lb.example", "app": "edge", "proc": "17", "id": "www",
        "by": by, "text": found["text"], "sd": found["sd"],
    }  # fmt: skip
    evil = '#22]\\ [x@1 a=#22b#22] %s #C3#BC'
    assert found["text"].strip() == f"GET /one {evil} 200"
    escaped = evil.replace("\\", "\\\\").replace("]", "\\]")
    assert found["sd"] == f'[site@32473 evil="{escaped}" status="200"]'


def test_devLog(rsyslog, tmp_path):
    with balancer(rsyslog, tmp_path, "unix:{unix} local5") as lb:
        asks(lb, "/one")
        found = rsyslog.found("GET /one ")
    assert found["pri"] == str(21 * 8 + 6)
    assert (found["app"], found["proc"]) == ("lbtwist", str(lb.pid))


def test_rfc3164(rsyslog, tmp_path):
    with balancer(rsyslog, tmp_path, "udp:127.0.0.1:{udp} syslog=rfc3164 hostname=lb1") as lb:
        asks(lb, "/one")
        found = rsyslog.found("GET /one ")
    assert (found["host"], found["app"], found["proc"]) == ("lb1", "lbtwist", str(lb.pid))


def test_events(rsyslog, tmp_path):
    with balancer(rsyslog, tmp_path, "stdout"):
        found = rsyslog.found("www listens on")
    assert (found["pri"], found["app"], found["id"]) == (str(3 * 8 + 6), "events", "event")


def test_itDiesAndComesBack(rsyslog, tmp_path):
    """Each line of the file is there once, or is counted."""
    with balancer(rsyslog, tmp_path, "tcp:127.0.0.1:{tcp}, unix:{unix}") as lb:
        for number in range(20):
            asks(lb, f"/before-{number}")
        until(lambda: sum("/before-19 " in one["text"] for one in rsyslog.messages) == 2)
        rsyslog.process.send_signal(signal.SIGTERM)
        rsyslog.process.wait(15)
        for number in range(20):
            asks(lb, f"/while-{number}")
        with Rsyslog(rsyslog.directory, rsyslog.udp, rsyslog.tcp) as again:
            asks(lb, "/after")

            def came():
                texts = [one["text"] for one in again.messages if "GET /" in one["text"]]
                return texts if len(texts) >= 2 * 41 else None

            texts = until(came, what=lambda: len(again.messages))
            found = sorted(re.search("GET (/[a-z0-9-]+)", text)[1] for text in texts)
            wanted = [line.split()[1] for line in lb.lines]
            assert found == sorted(2 * wanted)
