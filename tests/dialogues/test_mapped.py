"""
An administrator changes what rules look up in files: it counts for every rule, from the next
request on, and the files stay as they are.
"""

import pytest
from spoken import OK, request, toldOf

from lbtwist.admin import mapping
from lbtwist.rules import tables
from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${{admin}}, ${{admin}}.watch level=operator, ${{admin}}.look level=user
[frontend www]
bind = ${{bind}}
pool = app
trusted-proxies = 0.0.0.0/0
request =
    deny if src in net("192.0.2.0/24", "@{path}/bad.lst")
    answer 418 if path in one_of("{path}/bad.lst")
    answer 200 {{map("{path}/who.map", path, "nobody")}}
[pool app]
server a = ${{a}}
request =
    set-header X-Who {{map("{path}/who.map", path)}}
"""


class Mapped(Balancer):
    """@ivar path: where the files are."""

    def __init__(self, path):
        self.path = path
        (path / "bad.lst").write_text("# those\n198.51.100.7\n")
        (path / "who.map").write_text("/a  ann\n/b  bert and bea\n/a  second\n")
        super().__init__(CONFIG.format(path=path), "a")

    def answer(self, path, host="203.0.113.9"):
        """@return: the status and the text that a request gets."""
        client = self.client(host)
        client.sends(request(path, "Connection: close"))
        found = client.receives(rb"HTTP/1.1 ([0-9]+) .*\r\n\r\n(.*)")
        client.isEnded()
        return int(found[1]), found[2].decode()


@pytest.fixture
def balancer(tmp_path):
    with Mapped(tmp_path) as balancer:
        yield balancer


def test_aMap(balancer):
    who = balancer.path / "who.map"
    assert balancer.answer("/a") == (200, "ann")
    assert balancer.asks(f"set map {who} /a anna marie") == ""
    assert balancer.answer("/a") == (200, "anna marie")
    assert balancer.answer("/c") == (200, "nobody")
    assert balancer.asks(f"add map {who} /c carl; add map who.map <<\n/d dora\n/e  eve\n") == "\n"
    assert [balancer.answer(path)[1] for path in ("/c", "/d", "/e")] == ["carl", "dora", "eve"]
    assert balancer.asks(f"get map {who} /c") == (
        'type=str, case=sensitive, found=yes, idx=tree, key="/c", value="carl", type="str"\n'
    )
    assert balancer.asks("get map #0 /x") == "type=str, case=sensitive, found=no\n"
    assert balancer.asks(f"del map {who} /a") == ""
    assert balancer.answer("/a") == (200, "nobody")
    assert balancer.asks(f"del map {who} /a") == "Key not found.\n"
    assert balancer.asks(f"set map {who} /a x") == "entry not found.\n"
    shown = [line.split(" ", 1) for line in balancer.asks(f"show map {who}").splitlines()]
    assert [line for _, line in shown] == ["/b bert and bea", "/c carl", "/d dora", "/e eve"]
    assert balancer.asks(f"del map {who} #{shown[0][0]}") == ""
    assert balancer.answer("/b") == (200, "nobody")
    assert balancer.asks(f"add map {who} /c another") == ""
    assert balancer.answer("/c") == (200, "another")
    assert balancer.asks(f"clear map {who}; show map {who}") == "\n"
    assert balancer.answer("/c") == (200, "nobody")
    assert who.read_text().startswith("/a  ann\n")


def test_allRulesThatReadIt(balancer):
    balancer.asks("set map who.map /a other")
    frontend, pool = balancer.running.frontend("www"), balancer.running.pool("app")
    found = [
        entries.values["/a"]
        for rules in (frontend.inbound.rules, pool.rules)
        for rule in rules.request.rules
        for (path, isMap), entries in rule.made.entries.items()
        if isMap
    ]
    assert found == ["other", "other"]


def test_aListOfNetworksAndTexts(balancer):
    assert balancer.answer("/a", "198.51.100.7") == (403, balancer.answer("/a", "192.0.2.1")[1])
    assert balancer.answer("/a")[0] == 200
    assert balancer.asks("add acl bad.lst 203.0.113.0/24") == ""
    assert balancer.answer("/a")[0] == 403
    assert balancer.asks("get acl bad.lst 203.0.113.0/24") == (
        'type=str, case=sensitive, match=yes, idx=tree, pattern="203.0.113.0/24"\n'
    )
    assert balancer.asks("get acl bad.lst 203.0.113.9") == "type=str, case=sensitive, match=no\n"
    assert balancer.asks("del acl bad.lst 203.0.113.0/24; clear acl bad.lst") == "\n"
    assert balancer.answer("/a")[0] == 200
    assert balancer.answer("/a", "198.51.100.7")[0] == 200
    # What is not of the file stays.
    assert balancer.answer("/a", "192.0.2.1")[0] == 403


def test_allOfSeveralOrNone(balancer):
    said = balancer.asks("add acl bad.lst <<\n203.0.113.0/24\nnot a network\n")
    assert "'not a network' is not a network" in said
    assert balancer.answer("/a")[0] == 200
    said = balancer.asks("add map who.map <<\n/n new\n/o\n")
    assert "'/o' needs a value" in said
    assert balancer.answer("/n") == (200, "nobody")


@pytest.mark.parametrize(("command", "said"), [
    ("show map nope", "Unknown map identifier. Please use #<id> or <file>."),
    ("show map bad.lst", "Unknown map identifier."),
    ("get map who.map", "'get map' expects two parameters"),
    ("set map who.map /a", "'set map' expects three parameters"),
    ("set map", "'set map' expects three parameters"),
    ("add map who.map", "or one parameter (map identifier) and a payload"),
    ("add map who.map /k v <<\n/x y\n", "or one parameter (map identifier) and a payload"),
    ("add map who.map <<\n\n", "or one parameter (map identifier) and a payload"),
    ("add map who.map #k v", "'#k' can be no line of a file"),
    ("add acl bad.lst 10.0.0.1/8", "has bits of a host"),
    ("del acl bad.lst", "'del acl' expects two parameters"),
    ("clear map", "expects a map identifier"),
])  # fmt: skip
def test_whatCannotBe(balancer, command, said):
    assert said in balancer.asks(command)
    assert balancer.answer("/a") == (200, "ann")


def test_bounds(balancer, monkeypatch):
    lines = "".join(f"/{number} x\n" for number in range(mapping.MOST_ADDED + 1))
    assert "At most 5000 lines" in balancer.asks(f"add map who.map <<\n{lines}")
    monkeypatch.setattr(tables, "MOST_ENTRIES", 3)
    assert balancer.asks("add map who.map /c c") == ""
    assert "no room for more" in balancer.asks("add map who.map /d d")
    assert balancer.asks("set map who.map /c cc") == ""
    monkeypatch.setattr(tables, "MOST_BYTES", 40)
    assert "no room for more" in balancer.asks("set map who.map /c " + "c" * 30)
    assert balancer.answer("/c") == (200, "cc")


def test_whoMay(balancer):
    for command in ("set map who.map /a x", "add acl bad.lst 10.0.0.1", "clear map who.map"):
        peer = balancer.administrator(".watch")
        peer.sends(f"{command}\n".encode())
        peer.receives(rb"Permission denied\n\n")
        peer.isEnded()
    peer = balancer.administrator(".look")
    peer.sends(b"show map who.map\n")
    peer.receives(rb"Permission denied\n\n")
    peer.isEnded()
    assert balancer.answer("/a") == (200, "ann")


def test_whatThereIs(balancer):
    path = balancer.path
    assert balancer.asks("show map").splitlines() == [
        "# id (file) description",
        f"0 ({path}/who.map) pattern loaded from file '{path}/who.map' used by map at file"
        " 'lb.ini' line 11. entry_cnt=2",
    ]
    assert toldOf(balancer, "show acl")["value"] == {
        "files": [{"id": 0, "file": f"{path}/bad.lst", "entries": 1, "rule": "lb.ini:9:5"}]
    }


class TestReloads:
    def test_whatWasChangedStays(self, balancer):
        balancer.asks("set map who.map /a x")
        config = CONFIG.format(path=balancer.path)
        balancer.becomes(config)
        assert balancer.answer("/a") == (200, "x")
        # A rule that is new, or another one, sees the same.
        balancer.becomes(config.replace('"nobody")', '"no one")'))
        assert balancer.answer("/a") == (200, "x")
        assert balancer.answer("/q") == (200, "no one")

    def test_untilTheFileIsAnotherOne(self, balancer):
        balancer.asks("set map who.map /a x; add acl bad.lst /b")
        (balancer.path / "who.map").write_text("/a  fresh\n")
        assert balancer.answer("/a") == (200, "x")
        balancer.becomes(CONFIG.format(path=balancer.path))
        assert balancer.answer("/a") == (200, "fresh")

    def test_rulesOfAPoolSeeItToo(self, balancer):
        balancer.asks("add map who.map /z zoe")
        config = CONFIG.format(path=balancer.path)
        rule = "    pool app if path == '/z'\n    answer 200"
        balancer.becomes(config.replace("    answer 200", rule))
        client = balancer.client()
        client.sends(request("/z"))
        server = balancer.server("a").accepts()
        server.receives(rb"GET /z .*X-Who: zoe\r\n.*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 .*hi")
