"""
Imports of L{lbtwist} go one way: a module imports what is written before it in
L{LAYERS}. A module that is not written there fails the test.
"""

import ast
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The order counts within a layer too; among the modules that one pattern with a star
# names it does not, but they too may have no circle. Below the line "net" no module
# knows that there is a reactor.
LAYERS = (
    ("", "errors", "options", "sansio", "sansio.*"),
    ("health", "budget", "histogram", "averages", "exemplars", "captures", "failures", "stats",
     "server", "passive", "events", "exchange", "interfaces"),
    ("rules.decisions", "rules.values", "rules.reading", "rules.tables", "rules.patterns",
     "rules.compiling", "rules.checking", "rules.functions", "rules.operators",
     "rules.expression", "rules.template", "rules.tracing", "rules.rulebook", "rules.*", "rules",
     "balance.*", "balance", "logvalues", "logalias", "logformat", "logline",
     "sampling", "logwriter", "logs", "eventlog", "accesslog"),
    ("plugins", "registry"),
    ("config", "config.*"),
    ("net", "net.*", "deadlines"),
    ("waiting", "asking", "authentication", "sharing", "snat", "greeting", "outbound",
     "objects", "reuse", "discovery", "sysloglinks", "syslog", "logged", "names",
     "checks.probe", "checks.talk", "checks.tcp", "checks.*", "checks", "demo", "fetching",
     "stapling", "sources.lists", "sources.files", "sources.*", "sources", "announcing",
     "notices.*", "notices", "spans"),
    ("persistence.bond", "persistence.chain", "persistence.tokens", "persistence.*",
     "persistence", "stores.memory", "stores.*", "stores"),
    ("retries", "connecting", "queueing", "limiting", "offering", "pool"),
    ("warming", "draining", "monitor", "administering", "ejecting", "members", "roster",
     "membership", "tunnel", "inspecting", "session", "watching", "websocket"),
    ("http", "http.pages", "http.flow", "http.refusing", "http.back"),
    ("http.unread", "http.hedging", "http.retrying", "http.ending", "http.relay",
     "http.deciding", "http.terminating"),
    ("http.tracing", "http.shared", "http.clientside", "http.telling", "http.receiving",
     "http.responding",
     "http.answering", "http.front"),
    ("arrival", "admission", "inbound", "frontend"),
    ("explaining.asked", "explaining.explanation", "explaining.found", "explaining.entrance",
     "explaining.rehearsed", "explaining.*", "explaining"),
    ("callers", "tlsfiles", "joining", "looking", "guards", "renewing", "service",
     "admin.columns", "admin.rows", "admin.audit", "admin.verbs", "admin.*", "admin"),
    ("building", "readying", "applying", "collecting", "workers.board", "workers.asked",
     "workers.kept", "workers.channel", "workers.tally", "workers.states", "upgrading",
     "workers.shares", "workers.sums", "workers.tasks", "workers.doing", "workers.worker",
     "workers.place", "workers.parent", "workers.__main__", "workers", "build", "endpoint",
     "endpointparser"),
    ("dropping", "doctor.*", "doctor", "notifying", "tap", "operating",
     "top.sample", "top.view", "top.drawing",
     "top.*", "top", "investigating", "reloading", "command", "__main__",
     "testing.*", "testing"),
)
ENTRIES = [entry for layer in LAYERS for entry in layer]
FIRST_WITH_A_REACTOR = ENTRIES.index("net")

# What these functions import is needed only when they are called.
LATE = {("registry", "installed"), ("tap", "makeService")}


def place(name):
    """
    @param name: a module's name without C{lbtwist.}.
    @return: its place in the order, or L{None}.
    """
    if name in ENTRIES:
        return ENTRIES.index(name)
    matching = (i for i, entry in enumerate(ENTRIES) if fnmatchcase(name, entry))
    return next(matching, None)


def modulesOf(root):
    """@return: the files of C{root/lbtwist}, by the name without C{lbtwist.}."""
    found = {}
    for path in sorted((root / "lbtwist").rglob("*.py")):
        parts = path.relative_to(root / "lbtwist").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class Imports(ast.NodeVisitor):
    """
    Collects the absolute dotted names a module imports.

    @ivar found: C{(name, line, whether in a function)}; a C{from} import gives
        the module and what is taken from it, joined.
    """

    def __init__(self, name, isPackage):
        self.name = name
        package = ["lbtwist", *name.split(".")] if name else ["lbtwist"]
        self.package = package if isPackage else package[:-1]
        self.functions = []
        self.found = []

    def _add(self, target, node):
        self.found.append((target, node.lineno, bool(self.functions)))

    def visit_Import(self, node):
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node):
        above = self.package[: len(self.package) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            self._add(f"{module}.{alias.name}", node)

    def visit_If(self, node):
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.generic_visit(node)
            return
        for statement in node.orelse:
            self.visit(statement)

    def visit_FunctionDef(self, node):
        if (self.name, node.name) in LATE:
            return
        self.functions.append(node)
        self.generic_visit(node)
        self.functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef


def ours(target, modules):
    """@return: which of C{modules} the dotted name C{target} is in, or L{None}."""
    parts = target.split(".")
    if parts[0] != "lbtwist":
        return None
    for end in range(len(parts), 0, -1):
        if ".".join(parts[1:end]) in modules:
            return ".".join(parts[1:end])
    return None


def within(target, package):
    return f"{target}.".startswith(f"{package}.")


def faults(root):
    """@return: one sentence for everything in the tree that breaks the order."""
    modules = modulesOf(root)
    found = []
    graph = {}
    for name, path in modules.items():
        mine = place(name)
        if mine is None:
            found.append(f"{name} has no layer")
            continue
        imports = Imports(name, path.name == "__init__.py")
        imports.visit(ast.parse(path.read_text(), str(path)))
        edges = graph.setdefault(name, set())
        for target, line, inFunction in imports.found:
            where = f"{name}:{line}"
            if within(name, "sansio") and target.split(".")[0] in ("twisted", "zope"):
                found.append(f"{where} imports {target}: bytes in, values out")
            if within(target, "twisted.internet") and mine < FIRST_WITH_A_REACTOR:
                found.append(f"{where} imports {target}: below net there is no I/O")
            if within(target, "twisted.internet.reactor") and not inFunction:
                found.append(f"{where} installs a reactor by being imported")
            other = ours(target, modules)
            if other is None or other == name:
                continue
            edges.add(other)
            theirs = place(other)
            if theirs is not None and theirs > mine:
                found.append(f"{where} imports {other}, which is above it")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        members = error.args[1][1:]
        first = members.index(min(members))
        circle = [*members[first:], *members[:first], members[first]]
        found.append(f"a circle: {' -> '.join(circle)}")
    return found


def test_importsGoOneWay():
    assert faults(ROOT) == []


def test_theTreeIsSeen():
    modules = modulesOf(ROOT)
    assert {"", "errors", "config.model", "registry"} <= set(modules)


def write(root, files):
    for name, text in files.items():
        path = root / "lbtwist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (
            {"pool.py": "import lbtwist.tunnel\n", "tunnel.py": ""},
            "pool:1 imports tunnel, which is above it",
        ),
        (
            {"pool.py": "from lbtwist import tunnel\n", "tunnel.py": "", "__init__.py": ""},
            "pool:1 imports tunnel, which is above it",
        ),
        (
            {"pool.py": "from .tunnel import Session\n", "tunnel.py": ""},
            "pool:1 imports tunnel, which is above it",
        ),
        (
            {"http/__init__.py": "from . import front\n", "http/front.py": ""},
            "http:1 imports http.front, which is above it",
        ),
        (
            {"pool.py": "def make():\n    from lbtwist.tap import Options\n", "tap.py": ""},
            "pool:2 imports tap, which is above it",
        ),
        (
            {"health.py": "import lbtwist.stats\n", "stats.py": ""},
            "health:1 imports stats, which is above it",
        ),
        (
            {
                "sansio/http1.py": "import lbtwist.sansio.headers\n",
                "sansio/headers.py": "import lbtwist.sansio.http1\n",
            },
            "a circle: sansio.headers -> sansio.http1 -> sansio.headers",
        ),
        ({"extra.py": ""}, "extra has no layer"),
        (
            {"sansio/http1.py": "from zope.interface import Interface\n"},
            "sansio.http1:1 imports zope.interface.Interface: bytes in, values out",
        ),
        (
            {"balance.py": "from twisted.internet.defer import Deferred\n"},
            "balance:1 imports twisted.internet.defer.Deferred: below net there is no I/O",
        ),
        (
            {"pool.py": "from twisted.internet import reactor\n"},
            "pool:1 installs a reactor by being imported",
        ),
    ],
)
def test_aFaultIsFound(tmp_path, files, fault):
    write(tmp_path, files)
    assert faults(tmp_path) == [fault]


@pytest.mark.parametrize(
    "files",
    [
        {"tunnel.py": "from lbtwist.pool import Pool\n", "pool.py": ""},
        {
            "stats.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from lbtwist.exchange import Exchange\n",
            "exchange.py": "import lbtwist.stats\n",
        },
        {"registry.py": "def installed():\n    import lbtwist.tap\n", "tap.py": ""},
        {"command.py": "def main():\n    from twisted.internet import reactor\n"},
        {"net/tcp.py": "from twisted.internet import tcp\n"},
    ],
)
def test_whatIsAllowed(tmp_path, files):
    write(tmp_path, files)
    assert faults(tmp_path) == []
