"""
Persistence in the configuration: the golden files in C{tests/config/persistence}, and what is
wrong only when parts are made. C{REGENERATE=1} writes the expected files anew.
"""

import pytest
from test_load import GOLDEN, compare, dump

from lbtwist.config.load import load, loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import installed

HERE = GOLDEN / "persistence"
REGISTRY = installed()


def files(folder):
    found = sorted(path.name for path in (HERE / folder).glob("*.ini"))
    assert found
    return found


def asked(pool):
    """@return: what expressions of its kinds ask for, in lines."""
    return [f"    asked: {name} {one}" for kind in pool.persist for name, one, _ in kind.asked]


@pytest.mark.parametrize("name", files("good"))
def test_goodFile(name, monkeypatch):
    monkeypatch.chdir(HERE / "good")
    config, warnings = load(name, REGISTRY, {})
    lines = []
    for pool in config.pools.values():
        lines += [f"[pool {pool.name}]", *dump(pool, "    "), *asked(pool)]
    compare(HERE / "good" / name, "\n".join([*lines, *map(str, warnings), ""]))


@pytest.mark.parametrize("name", files("bad"))
def test_badFile(name, monkeypatch):
    monkeypatch.chdir(HERE / "bad")
    with pytest.raises(ConfigError) as raised:
        load(name, REGISTRY, {})
    compare(HERE / "bad" / name, "".join(f"{one}\n" for one in raised.value.problems))


ALIKE = """\
[frontend www]
bind = 127.0.0.1:80
pool = app
[pool app]
persist = cookie S {words}
server a = 127.0.0.1:1
server b = 127.0.0.1:2 cookie=a
server c = 127.0.0.1:3 cookie=c
server d = 127.0.0.1:4 cookie=c backup
servers e = dns e.example:80 count=2 cookie=e
servers f = dns f.example:80 count=2
"""


@pytest.mark.parametrize("words", ["plain", "passive"])
def test_serversThatAreOneInCookies(words):
    """A backup may be: it stands in for the other."""
    _, warnings = loadText(ALIKE.format(words=words), REGISTRY)
    assert [str(one) for one in warnings] == [
        "lb.ini:7:12: warning: [pool app] persist: server b is a in cookies, as server a, which"
        " gets its clients",
        "lb.ini:10:13: warning: [pool app] persist: all servers e are e in cookies: their clients"
        " come to one of them; without cookie= each has its name",
    ]


def test_opaqueValuesAreNeverAlike():
    assert loadText(ALIKE.format(words="insert"), REGISTRY)[1] == []
