"""
A configuration that cannot be made to run, whatever of it fails: everything is as it was, what
can be seen, every object, every timer, every descriptor, and what is on the disk.
"""

import os
import socket
from random import Random

import attr
import pytest
from authority import Authority
from test_applied_at_random import view
from test_applied_in_a_crowd import REGISTRY, Asked, Slow, crowded
from zope.interface import Invalid

from lbtwist.admin.socket import AdminSocket
from lbtwist.applying import _Change
from lbtwist.building import Building
from lbtwist.errors import StartError
from lbtwist.frontend import Sockets
from lbtwist.interfaces import IServerSource
from lbtwist.logwriter import Writer
from lbtwist.registry import Extension, installed
from lbtwist.testing import Balancer
from lbtwist.tlsfiles import TLSFiles

OPERATIONS = [
    (socket.socket, "bind", OSError), (socket.socket, "listen", OSError),
    (Writer, "open", StartError), (AdminSocket, "open", StartError),
    (TLSFiles, "change", StartError), (TLSFiles, "server", StartError),
    (Extension, "make", RuntimeError), (Sockets, "_opened", RuntimeError),
    (Building, "rules", StartError), (Building, "queue", StartError),
    (Building, "events", StartError), (_Change, "_isAround", RuntimeError),
]  # fmt: skip


class Failing:
    """Has the operation of a number fail, of all that make a configuration ready."""

    def __init__(self, monkeypatch):
        self.left = -1
        for owner, name, error in OPERATIONS:
            monkeypatch.setattr(owner, name, self._operation(getattr(owner, name), error))

    def _operation(self, do, error):
        def operation(*args, **options):
            self.left -= 1
            if not self.left:
                raise error(5, "it is meant to fail")
            return do(*args, **options)

        return operation


def whole(balancer, directory):
    """All that there is."""
    running = balancer.running
    building = running.applying.__self__._building
    pools, frontends = running.pools.values(), running.frontends.values()
    return {
        "view": view(balancer),
        "pools": [
            (one, one.balancer, one.persistence, one.reuse, one.rules, one.announcer, one.servers,
             one.memberships, one.tellsSource)
            for one in pools
        ],
        "frontends": [
            (one, one.inbound, one.inbound.shared, one.inbound.rules, *one.inbound.listeners)
            for one in frontends
        ],
        "others": [list(running.process.frontends), list(running.doors), dict(running.stores)],
        "building": [building.config, set(building.used), list(building.starting), building.coming],
        "logs": [set(running._logs.writers), running._logs.events],
        "tls": [list(running._files._watched), dict(running._files._users)],
        "names": sorted(running._names._names),
        "timers": sorted(call.getTime() for call in balancer.pump.getDelayedCalls()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "disk": sorted(os.listdir(directory)) + sorted(os.listdir(balancer._directory)),
        "stores": Slow.running,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_oneOperationAfterTheOtherFails(seed, tmp_path, monkeypatch):
    dice = Random(seed)
    listed = tmp_path / "list"
    listed.write_text("127.0.0.9:81\n")
    Asked.waiting.clear()
    before, after = (
        crowded(dice, str(listed)).replace("${log}", f"file:{tmp_path}/{name}")
        for name in ("before", "after")
    )
    with Balancer(before, *"abcd", registry=REGISTRY) as balancer:
        balancer.advance(3)
        config = balancer.reads(after)
        failing = Failing(monkeypatch)
        expected = whole(balancer, tmp_path)
        for number in range(1, 200):
            failing.left = number
            try:
                balancer.running.apply(config)
            except (OSError, RuntimeError, StartError):
                failing.left = -1
                balancer.pump.turn()
            else:
                break
            found = whole(balancer, tmp_path)
            for name, value in expected.items():
                assert found[name] == value, f"{name} after failure {number}"
        assert number > 5
        assert balancer.running.config is config


def test_certificatesAreThoseOfBefore(tmp_path):
    authority, path = Authority(), tmp_path / "site.pem"
    authority.issue("www.example.com").write(path)
    text = "[frontend www]\nbind = ${bind} tls=site\npool = app\n[pool app]\nserver a = ${a}\n"
    text += f"[tls site]\ncertificate = {path}\nreload = 0\n"
    with Balancer(text, "a") as balancer:
        section = balancer.running.tls("site")
        before = section.certificates[0].digest
        authority.issue("www.example.com").write(path)
        with pytest.raises(StartError):
            balancer.becomes(f"{text}[frontend new]\nbind = unix:{tmp_path}/no/x\npool = app\n")
        assert section.certificates[0].digest == before
        balancer.becomes(text)
        assert balancer.running.tls("site") is section
        assert section.certificates[0].digest != before


class Incomplete:
    """A source of servers that does not do what it should."""

    @attr.frozen
    class Options:
        pass

    def __init__(self, options, context):
        pass


def test_aSourceThatIsNone():
    registry = installed(Extension(IServerSource, "incomplete", f"{__name__}.Incomplete"))
    text = "[frontend www]\nbind = ${bind}\npool = app\n[pool app]\nserver a = ${a}\n"
    with Balancer(text, "a", "b", registry=registry) as balancer:
        with pytest.raises(Invalid):
            balancer.becomes(text.replace("${a}", "${b} weight=7\nservers web = incomplete"))
        assert balancer.running.pool("app").find("a").weight == 1


def test_whoseSocketItIsToBe(tmp_path):
    text = "[frontend www]\nbind = ${bind}\npool = app\n[pool app]\nserver a = ${a}\n"
    with Balancer(text, "a") as balancer:
        with pytest.raises(StartError, match="no user"):
            balancer.becomes(text.replace("${bind}", f"unix:{tmp_path}/x user=nobody0"))
        assert os.listdir(tmp_path) == []
