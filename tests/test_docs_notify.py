"""What C{docs/health.md} shows of checks, events and draining is so."""

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import attr
import pytest
from told import event, pooled
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from lbtwist.announcing import HealthLog
from lbtwist.config.load import loadText
from lbtwist.draining import Drains
from lbtwist.events import EVENTS
from lbtwist.health import Result
from lbtwist.notices import webhook
from lbtwist.registry import installed
from lbtwist.testing import Balancer

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "health.md").read_text()
REFUSED = Result(False, "L4CON", "connection refused", 0.0008)
PASSED = Result(True, "L7OK", "200 OK", 0.0011)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


def code(first):
    """@return: the block that has this in it."""
    [found] = [block for block in blocks("python") if first in block]
    return found


def test_configurations():
    for text in blocks("ini"):
        _, problems = loadText(text, installed())
        assert problems == []


def test_everyEvent():
    table = PAGE.partition("| event | what happened |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row]
    named = re.findall(r"`(\w+)`", "\n".join(rows))
    assert sorted(named) == sorted(EVENTS)


def test_everyState():
    table = PAGE.partition("| state | new clients |")[2].partition("\n\n")[0]
    states = set(re.findall(r"^\| `([A-Z]+)` \|", table, re.M))
    assert states == {"UP", "DOWN", "EJECTED", "DRAIN", "MAINT", "LEAVING"}


def test_linesOfTheLog():
    told = [
        event(reason="L4CON connection refused", result=REFUSED, active=1, backup=1),
        event(what="up", after="UP", reason="L7OK 200 OK", result=PASSED, active=2, backup=1),
        event(what="drain", after="DRAIN", reason="drained by an administrator", active=1,
              backup=1),
        event(what="weight", weight=50, maxconn=7, reason="L7OK half", result=PASSED),
    ]  # fmt: skip
    with capturedLogs() as events:
        for one in told:
            HealthLog().healthChanged(one)
    [shown] = [block for block in blocks("text") if "Server app/a is DOWN" in block]
    assert shown.splitlines() == [formatEvent(one) for one in events]


def test_aWebhookGets(monkeypatch):
    """All of it, in this order, and nothing else."""
    [shown] = blocks("json")
    found = json.loads(shown)
    told = event(
        reason="L4CON connection refused", result=REFUSED, active=1, backup=1, sessions=3,
        address="10.0.0.1:8000",
    )  # fmt: skip
    told = attr.evolve(told, at=1795281725.25)
    sent = []
    fetcher = SimpleNamespace(post=lambda url, fields, body: sent.append(body) or Deferred())
    monkeypatch.setattr(webhook, "Fetcher", lambda *_: fetcher)
    options = webhook.Webhook.Options("http://h.test/")
    webhook.Webhook(options, SimpleNamespace(reactor=None, names=None))._deliver(
        [(found["id"], told)], 0
    )
    assert list(json.loads(sent[0]).items()) == [*{**found, "host": webhook.HOST}.items()]


def test_aSignature(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("a secret\n")
    sent = []
    fetcher = SimpleNamespace(
        post=lambda url, fields, body: sent.append((fields, body)) or Deferred()
    )
    monkeypatch.setattr(webhook, "Fetcher", lambda *_: fetcher)
    options = webhook.Webhook.Options("http://h.test/", str(tmp_path / "key"))
    webhook.Webhook(options, SimpleNamespace(reactor=None, names=None))._deliver(
        [("1", event())], 0
    )
    names = {}
    exec(code("def isOurs"), names)
    [(fields, body)] = sent
    assert names["isOurs"](b"a secret", body, fields["X-Lbtwist-Signature"])
    assert not names["isOurs"](b"another", body, fields["X-Lbtwist-Signature"])


@pytest.fixture
def flagged(tmp_path, monkeypatch):
    """The observer of one's own, as somebody who copies it has it."""
    (tmp_path / "flagged.py").write_text(code("# flagged.py\n"))
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("flagged")


CONFIGURATION = """
[frontend www]
bind = ${bind}
pool = app
[pool app]
server a = ${a}
"""


def test_anObserverOfOnesOwn(flagged, tmp_path):
    text = f"{CONFIGURATION}notify = flagged {tmp_path}\n"
    with Balancer(text, "a", registry=installed(flagged.observer)) as balancer:
        pool = balancer.running.pool("app")
        [server] = pool.servers
        server.health.up = False
        pool.announcer.tell(pool, server, "down", "UP", "why")
        assert (tmp_path / "app.a").read_text().startswith("Server app/a is DOWN, reason: why.")
        server.health.up = True
        pool.announcer.tell(pool, server, "up", "DOWN", "why")
        assert not (tmp_path / "app.a").exists()


def test_results(capsys):
    with Balancer(CONFIGURATION, "a") as balancer:
        [server] = balancer.running.pool("app").servers
        server.health.results.append(attr.evolve(REFUSED, at=balancer.pump.seconds() - 3))
        names = {"balancer": balancer.running, "clock": balancer.pump.seconds}
        exec(code("health.results"), names)
    assert capsys.readouterr().out == "False L4CON connection refused 0.0008 3.0\n"


def test_taking(capsys):
    """A server is taken away."""
    pool, _ = pooled(1, 1)
    pool.servers[0].active = 2
    drains = Drains(lambda pool, server: None)
    balancer = SimpleNamespace(drainServer=lambda _pool, _name: drains.drain(pool, pool.servers[0]))
    names = {}
    exec(code("def takeAway"), names)
    gone = []
    for active in (0, 2):
        pool.servers[0].active = 2
        going = Deferred.fromCoroutine(names["takeAway"](balancer, "app", "a"))
        going.addCallback(gone.append)
        pool.reactor.advance(1)
        pool.servers[0].active = active
        pool.reactor.pump([1] * 3600)
    assert gone == [True, False]
    assert capsys.readouterr().out == "2 sessions and 0 clients do not go\n"

