"""Several logs of one balancer: what each takes, what becomes of them in a reload."""

import json
import os

from spoken import GET, OK, asks
from syslogs import Datagrams, parsed

from lbtwist.admin.whole import render
from lbtwist.logwriter import TICK
from lbtwist.testing import Balancer

BAD = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
CONFIG = """
[global]
admin = ${admin}
event-log = ${log}.events format=json
[frontend www]
bind = ${bind}
pool = app
log =
    LOG
[pool app]
server a = ${a}
"""


def balancer(*log):
    return Balancer(configured(*log), "a")


def configured(*log):
    return CONFIG.replace("LOG", "\n    ".join(log))


def lines(balancer, suffix=""):
    """@return: the lines of C{${log}} and a suffix."""
    balancer.advance(TICK)
    path = f"{balancer._directory}/log{suffix}"
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return file.read().splitlines()


def exchange(balancer, answer=OK):
    client, server = asks(balancer, GET)
    server.sends(answer)
    client.receives(answer.split(b"\r\n")[0] + b".*")
    client.closes()


def test_aLogOfItsOwnForErrors():
    with balancer("${log}", "${log}.errors only=errors format=json") as running:
        exchange(running)
        exchange(running, BAD)
        assert len(lines(running)) == 2
        [line] = lines(running, ".errors")
        assert json.loads(line)["status"] == 500


def test_overUDP():
    server = Datagrams()
    with balancer(f"udp:127.0.0.1:{server.port} local2 sd") as running:
        exchange(running)
        exchange(running, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        exchange(running, BAD)
        running.advance(1)
        good, absent, bad = map(parsed, server.reads())
        assert (good.facility, good.severity, good.data["status"]) == (18, 6, "200")
        assert (absent.severity, absent.data["status"]) == (5, "404")
        assert (bad.severity, bad.data["status"], bad.data["server"]) == (3, "500", "a")
    server.dies()


def test_whatHappensIsInTheEventLog():
    with balancer("${log}") as running:
        running.asks("set server app/a state maint")
        events = list(map(json.loads, lines(running, ".events")))
        [maint] = [one for one in events if one.get("what") == "maint"]
        assert (maint["pool"], maint["server"], maint["after"]) == ("app", "a", "MAINT")
        [told] = [one for one in events if "set server app/a state maint" in one["text"]]
        assert told["level"] == "info"


def test_lostLinesAreCounted():
    gone = Datagrams()
    gone.dies()
    name = f"udp:127.0.0.1:{gone.port}"
    with balancer("${log}", name) as running:
        exchange(running)
        running.advance(1)
        assert running.running.droppedLinesBy[name] == 1
        assert "DroppedLogs: 1\n" in running.asks("show info")
        text = render(running.running).decode()
        assert f'lbtwist_log_lines_dropped_total{{target="{name}"}} 1\n' in text
        assert "lbtwist_process_dropped_logs_total 1\n" in text
        events = [json.loads(one)["text"] for one in lines(running, ".events")]
        assert f"log {name} takes nothing more: lines are dropped" in events


def test_aReloadTakesNoLineAway():
    """What began before ends in the log of before; the event log is another, too."""
    with balancer("${log}.old") as running:
        client, server = asks(running, GET)
        running.becomes(configured("${log}.new").replace("log}.events", "log}.more"))
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        client.closes()
        exchange(running)
        assert [len(lines(running, one)) for one in (".old", ".new")] == [1, 1]
        running.asks("set server app/a state maint")
        assert not any("maint" in one for one in lines(running, ".events"))
        assert any("maint" in one for one in lines(running, ".more"))
        fds = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
               if os.path.exists(f"/proc/self/fd/{fd}")}  # fmt: skip
        assert {one.rpartition("/log")[2] for one in fds if running._directory in one} >= {
            ".new", ".more",
        }  # fmt: skip
        assert not any(one.endswith(("/log.old", "/log.events")) for one in fds)


def test_aReloadThatChangesNoLogKeepsTheConnection():
    server = Datagrams()
    with balancer(f"udp:127.0.0.1:{server.port}") as running:
        exchange(running)
        running.advance(1)
        [writer] = [one for one in running.running._logs.writers if one.name.startswith("udp")]
        link = writer._link
        running.becomes(configured(f"udp:127.0.0.1:{server.port}") + "server b = ${a}\n")
        assert writer in running.running._logs.writers and writer._link is link
    server.dies()
