"""Parts by interface and name: the built-in ones and those of others."""

import subprocess
import sys
from types import SimpleNamespace

import attr
import pytest
from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

import lbtwist.registry
from lbtwist.interfaces import (
    IBalancer,
    IExtension,
    IHealthCheck,
    IHealthObserver,
    IPersistence,
    IPersistenceStore,
    ISharedStore,
)
from lbtwist.options import Integer, option
from lbtwist.registry import Context, Extension, Registry, installed


class Mine:
    """A part of somebody else's."""

    @attr.frozen
    class Options:
        depth: int = option(Integer(), 3, "How deep.")

    def __init__(self, options, context):
        self.options = options
        self.context = context


MINE = Extension(IBalancer, "mine", f"{__name__}.Mine")


def test_anExtension():
    assert verifyObject(IExtension, MINE)
    assert IPlugin.providedBy(MINE)
    assert MINE.options is Mine.Options
    context = Context(pool="app")
    made = MINE.make(Mine.Options(5), context)
    assert (made.options.depth, made.context) == (5, context)


def test_isFound():
    registry = Registry([MINE])
    assert registry.find(IBalancer, "mine") is MINE
    assert registry.names(IBalancer) == ["mine"]


def test_isNotFound():
    registry = Registry([MINE])
    for makes, name in ((IBalancer, "other"), (IHealthCheck, "mine")):
        with pytest.raises(KeyError):
            registry.find(makes, name)
    assert registry.names(IHealthCheck) == []


def test_oneNameForTwoKinds():
    check = Extension(IHealthCheck, "mine", f"{__name__}.Mine")
    registry = Registry([MINE, check])
    assert registry.find(IBalancer, "mine") is MINE
    assert registry.find(IHealthCheck, "mine") is check


def test_theFirstOfANameWins():
    """So an embedding program replaces a built-in part by putting its own before."""
    other = Extension(IBalancer, "mine", "no.such.module")
    assert Registry([MINE, other]).find(IBalancer, "mine") is MINE


def test_namesInOrder():
    parts = [Extension(IBalancer, name, "x") for name in ("c", "a", "b")]
    assert Registry(parts).names(IBalancer) == ["a", "b", "c"]


def test_whatIsBuiltIn():
    registry = installed()
    assert registry.names(IBalancer) == [
        "first", "hash", "leastconn", "peak-ewma", "random", "rdp-cookie", "roundrobin",
        "source", "uri",
    ]  # fmt: skip
    assert registry.names(IHealthCheck) == [
        "agent", "dns", "exec", "grpc", "http", "ldap", "mysql", "postgresql", "redis", "smtp",
        "tcp", "tls",
    ]  # fmt: skip
    assert registry.names(IHealthObserver) == ["log", "mail", "webhook"]
    assert registry.names(IPersistence) == [
        "cookie", "destination", "expression", "hash", "header", "learn", "parameter",
        "rdp-cookie", "source", "ssl-session-id",
    ]  # fmt: skip
    assert registry.names(IPersistenceStore) == ["memory", "redis", "sqlite"]
    assert registry.names(ISharedStore) == ["redis"]


@pytest.mark.parametrize("makes", [IBalancer, IHealthCheck])
def test_everyBuiltInPartCanBeMade(makes):
    registry = installed()
    for name in registry.names(makes):
        part = registry.find(makes, name)
        assert verifyObject(IExtension, part)
        required = [
            field.name for field in attr.fields(part.options) if field.default is attr.NOTHING
        ]
        # It needs one of two.
        required += ["field"] if name == "hash" else []
        made = part.make(part.options(**dict.fromkeys(required, "X-User")), Context())
        assert makes.providedBy(made), name


@pytest.mark.parametrize("several", [True, False])
def test_anEntryPoint(monkeypatch, several):
    """One part, or several, behind C{lbtwist.plugins} of an installed distribution."""
    asked = []

    def entries(group):
        asked.append(group)
        return [SimpleNamespace(load=lambda: [MINE] if several else MINE)]

    monkeypatch.setattr(lbtwist.registry, "entry_points", entries)
    registry = installed()
    assert registry.find(IBalancer, "mine") is MINE
    assert "roundrobin" in registry.names(IBalancer)
    assert asked == ["lbtwist.plugins"]


def test_aModuleOfThePluginPackage(tmp_path):
    """C{lbtwist/plugins/} of any directory on the path."""
    package = tmp_path / "lbtwist" / "plugins"
    package.mkdir(parents=True)
    (package / "theirs.py").write_text(
        "from lbtwist.interfaces import IBalancer\n"
        "from lbtwist.registry import Extension\n"
        "theirs = Extension(IBalancer, 'theirs', 'theirs.Balancer')\n"
    )
    code = (
        "from lbtwist.registry import installed\n"
        "from lbtwist.interfaces import IBalancer\n"
        "print(*installed().names(IBalancer))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(tmp_path)!r})\n{code}"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    names = done.stdout.split()
    assert "theirs" in names and "roundrobin" in names


def test_lookingImportsNothingOfAPart():
    """A part is imported when it is used."""
    code = (
        "import sys\n"
        "from lbtwist.registry import installed\n"
        "installed()\n"
        "assert 'lbtwist.checks' not in sys.modules\n"
        "assert 'lbtwist.balance' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
