"""
What is different in two configurations. C{tests/config/difference} has two files and what is
different in them; C{REGENERATE=1} writes the latter anew, and what changed is then for a person
to read. Every option there is, is changed once, without being named here.
"""

from __future__ import annotations

import copy
import json
import os
from itertools import product
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import attr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.config import model
from lbtwist.config.difference import SAME, Change, Difference, difference
from lbtwist.config.load import load, loadText
from lbtwist.config.model import Config, RuleLine
from lbtwist.config.worded import comparedIn, kindsIn, optionOf
from lbtwist.registry import installed

GOLDEN = Path(__file__).parent / "config" / "difference"
REGISTRY = installed()
BEFORE, _ = load(GOLDEN / "before.ini", REGISTRY)
AFTER, _ = load(GOLDEN / "after.ini", REGISTRY)

FRONTEND = "[frontend www]\nbind = 127.0.0.1:8080\npool = app\n"
POOL = "[pool app]\nserver s1 = 127.0.0.1:8001\nserver s2 = 127.0.0.1:8002\n"


def between(before, after):
    """@return: the difference of two texts."""
    return difference(*(loadText(text, REGISTRY)[0] for text in (before, after)))


def lines(before, after):
    return between(before, after).lines


# two files


def test_whatIsDifferentInTwoFiles():
    found = difference(BEFORE, AFTER)
    text = "\n".join([*found.lines, found.summary, ""])
    objects = json.dumps(found.asObjects(), indent=1) + "\n"
    for name, said in (("difference.txt", text), ("difference.json", objects)):
        if os.environ.get("REGENERATE"):
            (GOLDEN / name).write_text(said)
        assert said == (GOLDEN / name).read_text()


def test_nothingIsDifferent():
    again, _ = load(GOLDEN / "before.ini", REGISTRY)
    assert difference(BEFORE, BEFORE) is SAME
    found = difference(BEFORE, again)
    assert found.empty and found == SAME
    assert found.lines == []
    assert repr(found) == "<Difference nothing changes>"
    assert found.asObjects() == {"added": 0, "removed": 0, "changed": 0, "entries": []}


def test_whereItIsWrittenIsNotDifferent():
    assert between(FRONTEND + POOL, f"; a remark\n\n{POOL}\n{FRONTEND}").empty


def test_whatIsWrittenInAnotherWayIsNotDifferent():
    assert between(
        f"[defaults]\ntimeout-client = 5s\n{FRONTEND}{POOL}",
        f"{FRONTEND}timeout_client = 5000\n{POOL}",
    ).empty


# one thing at a time


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "server s3 = 127.0.0.1:8003 weight=2\n",
         ["+ server app/s3 = 127.0.0.1:8003 weight=2"]),
        ("server s3 = 127.0.0.1:8003\n", "", ["- server app/s3"]),
        ("server s3 = 127.0.0.1:8003\n", "server s3 = 127.0.0.1:8004\n",
         ["~ server app/s3: address 127.0.0.1:8003 -> 127.0.0.1:8004"]),
        ("", "balance = leastconn\n", ["~ pool app: balance roundrobin -> leastconn"]),
        ("balance = hash field=X-User\n", "balance = hash field=X-Other\n",
         ["~ pool app: balance field X-User -> X-Other"]),
        ("check = tcp\n", "check = tcp interval=1m\n", ["~ pool app: check interval 2s -> 1m"]),
        ("check = tcp\n", "check = http GET /health\n",
         ["~ pool app: check tcp -> http /health"]),
        ("check = tcp\n", "check = http GET /health interval=1m\n",
         ["~ pool app:", "    check tcp -> http /health", "    check interval 2s -> 1m"]),
        ("", "outlier = consecutive-5xx=3\n",
         ["~ pool app: outlier none -> consecutive-5xx=3"]),
        ("outlier = on\n", "outlier = interval=90s\n",
         ["~ pool app: outlier interval 10s -> 90s"]),
        ("timeout-connect = 1s\n", "timeout-connect = 1250ms\n",
         ["~ pool app: timeout-connect 1s -> 1250ms"]),
        ("servers more = dns:app.internal:80\n", "servers more = dns:app.internal:80 weight=3\n",
         ["~ servers app/more: weight 1 -> 3"]),
        ("servers more = dns:app.internal:80\n", "servers more = dns:app.internal:81\n",
         ["~ servers app/more: source dns:app.internal:80 -> dns:app.internal:81"]),
        ("servers more = dns:app.internal:80\n", "servers more = http://127.0.0.1/list\n",
         ["~ servers app/more: source dns:app.internal:80 -> http://127.0.0.1/list"]),
    ],
)  # fmt: skip
def test_inAPool(before, after, said):
    assert lines(FRONTEND + POOL + before, FRONTEND + POOL + after) == said


def test_aServerIsKnownByItsName():
    swapped = POOL.replace("8001", "x").replace("8002", "8001").replace("x", "8002")
    assert lines(FRONTEND + POOL, FRONTEND + swapped) == [
        "~ server app/s1: address 127.0.0.1:8001 -> 127.0.0.1:8002",
        "~ server app/s2: address 127.0.0.1:8002 -> 127.0.0.1:8001",
    ]


def test_theOrderOfServersCounts():
    head, s1, s2 = POOL.splitlines(keepends=True)
    assert lines(FRONTEND + POOL, FRONTEND + head + s2 + s1) == [
        "~ pool app: order of server s1, s2 -> s2, s1"
    ]


def test_whatIsGoneStandsWhereItWas():
    servers = [f"server s{number} = 127.0.0.1:80{number}\n" for number in range(5)]
    pool = f"{FRONTEND}[pool app]\n"
    assert lines(
        pool + "".join(servers),
        pool + "".join([servers[1], "server new = 127.0.0.1:90\n", servers[3]]),
    ) == ["- server app/s0", "- server app/s2", "+ server app/new = 127.0.0.1:90",
          "- server app/s4"]  # fmt: skip


def test_frontendsAndPools():
    other = "[frontend api]\nbind = 127.0.0.1:81\npool = more\n"
    other += "[pool more]\nserver x = 127.0.0.1:1\n"
    assert lines(FRONTEND + POOL, FRONTEND + POOL + other) == [
        "+ frontend api = 127.0.0.1:81, pool more", "+ pool more = servers x"
    ]  # fmt: skip
    found = between(FRONTEND + POOL + other, FRONTEND + POOL)
    assert found.lines == ["- frontend api", "- pool more"]
    assert [entry.value for entry in found.entries] == ["127.0.0.1:81, pool more", "servers x"]


def test_addresses():
    before = FRONTEND.replace("8080", "8080, 127.0.0.1:81 backlog=5, 127.0.0.1:82")
    after = FRONTEND.replace("127.0.0.1:8080", "127.0.0.1:81, unix:/run/x mode=600, 127.0.0.1:82")
    assert lines(before + POOL, after + POOL) == [
        "~ frontend www:",
        "    - bind 127.0.0.1:8080",
        "    bind 127.0.0.1:81 backlog 5 -> 4096",
        "    + bind unix:/run/x mode=600",
    ]


def test_severalWithTheSameAddress():
    twice = FRONTEND.replace("127.0.0.1:8080", "127.0.0.1:0, 127.0.0.1:0")
    once = FRONTEND.replace("127.0.0.1:8080", "127.0.0.1:0")
    assert lines(twice + POOL, once + POOL) == ["~ frontend www: - bind 127.0.0.1:0"]


# rules


def rules(*found):
    return f"{FRONTEND}request =\n" + "".join(f"    {one}\n" for one in found) + POOL


def test_linesOfRules():
    a, b, c, d = (f'deny if path == "/{one}"' for one in "abcd")
    [entry] = between(rules(a, b, c), rules(c, a, d)).entries
    assert entry.changes == (
        Change("moved", "request", c, c, line=1, was=3),
        Change("removed", "request", before=b, line=2),
        Change("added", "request", after=d, line=3),
    )
    assert entry.lines() == [
        "~ frontend www:", f"    > request line 1, before line 3: {c}",
        f"    - request line 2: {b}", f"    + request line 3: {d}",
    ]  # fmt: skip


def test_oneOfTwoLinesThatAreAlike():
    line = "set-header X-A b"
    assert lines(rules(line, line), rules(line)) == [
        f"~ frontend www: - request line 2: {line}"
    ]


def test_aLineOfAProgramNeedsNoText():
    found, _ = loadText(rules("deny"), REGISTRY)
    www = found.frontends["www"]
    [line] = www.request

    def having(**options):
        verb = attr.evolve(line.verb, options=attr.evolve(line.verb.options, **options))
        request = (RuleLine("", verb),)
        return Config(frontends={"www": attr.evolve(www, request=request)}, pools=found.pools)

    assert difference(having(status=403), having(status=404)).lines == [
        "~ frontend www:", "    - request line 1: deny", "    + request line 1: deny 404"
    ]  # fmt: skip


# who is concerned


SHARED = """
[global]
admin = web:127.0.0.1:9 tls=site
[conditions]
inner = src in net("10.0.0.0/8")
outer = inner and tls
most = outer or version == "1.0"
[tls site]
certificate = /a.pem
[tcp wan]
keepalive = 5s
[store shared]
kind = redis 127.0.0.1:6379
[frontend a]
bind = 127.0.0.1:1 tls=site
pool = app
request =
    deny if most
[frontend b]
bind = 127.0.0.1:2 tcp=wan
pool = app
log-format = "%[inner]"
[frontend c]
bind = 127.0.0.1:3
pool = app
request = limit rate=1/s store=shared
[pool app]
persist = source
persist-store = shared
server s = 127.0.0.1:5 tcp=wan
server t = 127.0.0.1:6 tcp=wan
[pool more]
tcp = wan
request = set-header X-Inner {inner}
server s = 127.0.0.1:5
[frontend d]
bind = 127.0.0.1:4
pool = more
"""


@pytest.mark.parametrize(
    ("old", "new", "users"),
    [
        ("10.0.0.0/8", "10.0.0.0/9", ("frontend a", "frontend b", "pool more")),
        ("inner and tls", "inner", ("frontend a",)),
        ("/a.pem", "/b.pem", ("global", "frontend a")),
        ("keepalive = 5s", "keepalive = 6s", ("frontend b", "pool app", "pool more")),
        ("6379", "6380", ("frontend c", "pool app")),
    ],
)
def test_whoUsesWhatIsChanged(old, new, users):
    [entry] = between(SHARED, SHARED.replace(old, new)).entries
    assert entry.users == users
    assert entry.lines()[0].endswith(f" (used by {', '.join(users)})")


def test_whoUsesAPartThatAsks():
    text = SHARED.replace("persist = source", "balance = hash by={inner}")
    [entry] = between(text, text.replace("10.0.0.0/8", "10.0.0.0/9")).entries
    assert entry.users == ("frontend a", "frontend b", "pool app", "pool more")


# every option there is


def variants(value, of=None, isOption=False):
    """
    @param of: the field that it is the value of.
    @param isOption: whether that is an option.
    @return: names of fields, and the value with that one thing in it changed.
    """
    if attr.has(type(value)):
        for field in comparedIn(type(value)):
            inner, written = getattr(value, field.name), field.name in kindsIn(type(value))
            for path, one in variants(inner, field, written):
                other = copy.copy(value)
                object.__setattr__(other, field.name, one)
                yield ((type(value), field.name), *path), other
    elif isinstance(value, tuple):
        for place, inner in enumerate(value):
            for path, one in variants(inner, of):
                yield path, (*value[:place], one, *value[place + 1 :])
        if value or isOption:
            yield (), value[1:] if value else ("x",)
        if len(set(map(str, value))) > 1:
            yield (), (*value[1:], value[0])
    elif isinstance(value, dict):
        for key, inner in value.items():
            for path, one in variants(inner, of):
                yield path, {**value, key: one}
            yield (), {other: one for other, one in value.items() if other != key}
    elif isinstance(value, bool):
        yield (), not value
    elif isinstance(value, (int, float)):
        yield (), value + 1
    elif isinstance(value, (str, bytes)):
        yield (), value + ("x" if isinstance(value, str) else b"x")
    elif of.name != "options":
        yield (), "x" if value is None else None


def examples(hint):
    """@return: some values of a type, one for each kind of value that it has; perhaps none."""
    if attr.has(hint):
        hints = get_type_hints(hint)
        needed = [one.name for one in attr.fields(hint) if one.default is attr.NOTHING]
        found = product(*(examples(hints[name]) for name in needed))
        return [hint(**dict(zip(needed, values, strict=True))) for values in found]
    inside = get_args(hint)
    if get_origin(hint) is tuple:
        return [tuple(examples(inside[0]))] if attr.has(inside[0]) else [()]
    if inside:
        return [value for one in inside if attr.has(one) for value in examples(one)]
    return [{str: "x", int: 1, float: 1.0}.get(hint)]


def classesIn(cls):
    """@return: those that a class of the model is made of, and itself."""
    found = set()
    waiting = [cls]
    while waiting:
        hint = waiting.pop()
        waiting += get_args(hint)
        if hint in found or not getattr(hint, "__module__", "").startswith("lbtwist.config."):
            continue
        if attr.has(hint):
            found.add(hint)
            hints = get_type_hints(hint)
            waiting += [hints[field.name] for field in comparedIn(hint)]
    return found


def filled(value):
    """@return: the value with something in every place where there is nothing."""
    if isinstance(value, tuple):
        return tuple(map(filled, value))
    if isinstance(value, dict):
        return {key: filled(one) for key, one in value.items()}
    if not type(value).__module__.startswith("lbtwist.config."):
        return value
    hints = get_type_hints(type(value))
    other = copy.copy(value)
    for field in comparedIn(type(value)):
        inner = getattr(value, field.name)
        if inner in ((), None):
            inner = next(iter(examples(hints[field.name])), None)
        object.__setattr__(other, field.name, filled(inner))
    return other


WHOLE = filled(BEFORE)
VARIANTS = list(variants(WHOLE))


def test_everyOptionThatIsChangedIsADifference():
    seen = set()
    for path, after in VARIANTS:
        assert after != WHOLE, path
        for found in (difference(WHOLE, after), difference(after, WHOLE)):
            assert not found.empty, path
            assert found.lines, path
            assert "hush" not in json.dumps(found.asObjects()) + "".join(found.lines), path
        seen.update(path)
    classes = classesIn(Config)
    assert {model.Bind, model.CheckOptions, model.Combination, model.ServersConfig} < classes
    expected = {(cls, field.name) for cls in classes for field in comparedIn(cls)}
    assert expected - seen == set()


def test_anOptionIsCalledAsItIsWritten():
    for path, after in VARIANTS:
        cls, name = path[1] if len(path) > 1 else path[0]
        if len(path) == 2 and cls in (model.FrontendConfig, model.PoolConfig, model.TLSConfig):
            entries = difference(WHOLE, after).entries
            said = {change.option for entry in entries for change in entry.changes}
            word = "errorfile-503" if name == "errorfiles" else optionOf(name)
            apart = name in ("servers", "templates")
            assert apart or {word, f"order of {word}"} & said, (name, said)


@given(*[st.integers(0, len(VARIANTS) - 1)] * 2)
def test_differentIsWhatIsNotEqual(one, other):
    (_, before), (_, after) = VARIANTS[one], VARIANTS[other]
    found, back = difference(before, after), difference(after, before)
    assert found.empty == back.empty == (before == after)
    for what, opposite in (("added", "removed"), ("removed", "added"), ("changed", "changed")):
        assert len(found.of(what)) == len(back.of(opposite))


def test_aDifferenceIsAValue():
    one, other = (difference(BEFORE, AFTER) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert repr(one) == f"<Difference {one.summary}>"
    assert isinstance(one, Difference)
