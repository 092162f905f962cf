"""What the balancers by hash make of an exchange, and how they deal keys out."""

from random import Random as Dice
from types import SimpleNamespace

import pytest

from lbtwist.balance import FieldHash, SourceHash, URIHash
from lbtwist.balance.keys import templateKey, uriKey
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import Context, installed
from lbtwist.rules.expression import Scope
from lbtwist.rules.template import Template
from lbtwist.rules.values import Stage
from lbtwist.testing import Balancer, fakeExchange, makeServers


def make(cls, **options):
    return cls(cls.Options(**options), Context(random=Dice(5)))


def owners(balancer, servers, count=5000):
    clients = (SimpleNamespace(client=(f"198.51.{i >> 8}.{i & 255}", 1)) for i in range(count))
    return [balancer.choose(servers, SimpleNamespace(connection=one)) for one in clients]


# parts of the uri


@pytest.mark.parametrize(
    ("target", "whole", "depth", "length", "key"),
    [
        ("/a/b/c?q=1", False, 0, 0, b"/a/b/c"),
        ("/a/b/c?q=1", True, 0, 0, b"/a/b/c?q=1"),
        ("/a/b/c?q=1", False, 1, 0, b"/a"),
        ("/a/b/c?q=1", False, 2, 0, b"/a/b"),
        ("/a/b/c?q=1", False, 3, 0, b"/a/b/c"),
        ("/a/b/c?q=1", False, 9, 0, b"/a/b/c"),
        ("/a?q=/b/c", False, 1, 0, b"/a"),
        ("/a?q=/b/c", True, 1, 0, b"/a?q=/b/c"),
        ("/a/b?q=1", True, 1, 0, b"/a"),
        ("/a/b/c", False, 0, 3, b"/a/"),
        ("/a/b/c", False, 1, 4, b"/a"),
        ("/a?q=1", True, 0, 4, b"/a?q"),
        ("/", False, 1, 1, b"/"),
        ("//a", False, 1, 0, b"/"),
    ],
)
def test_partsOfTheURI(target, whole, depth, length, key):
    assert uriKey(whole, depth, length).of(fakeExchange(target)) == key


def test_depthCountsSlashesAsHAProxyDoes():
    """gen_hash of its C{uri}: it ends before the slash after so many directories."""

    def asHAProxy(uri, whole, depth, length):
        slashes = 0
        found = ""
        for char in uri[: length or None]:
            if char == "/":
                slashes += 1
                if depth and slashes == depth + 1:
                    break
            elif char == "?" and not whole:
                break
            found += char
        return found

    dice = Dice(2)
    for _ in range(3000):
        path = "/" + "".join(dice.choice("ab/") for _ in range(dice.randrange(9)))
        depth, length = dice.randrange(5), dice.randrange(6)
        key = uriKey(False, depth, length).of(fakeExchange(path + "?q=/x"))
        assert key.decode() == asHAProxy(path + "?q=/x", False, depth, length)


# by what expressions say


def keyOf(text, exchange, http=True):
    stage = Stage.REQUEST if http else Stage.CONNECTION
    return templateKey(Template.parse(text), Scope(stage, http)).of(exchange)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{query["user"]}', b"al ice"),
        ('{header["X-User"]}', b"\xff\xe4"),
        ('{cookie["SID"]}', b"s1"),
        ("{host}{path}", b"www.example.com/a"),
        ("{src}", b"192.0.2.7"),
        ('{cookie["no"]}', b""),
    ],
)
def test_byAnyValue(text, key):
    fields = {"X-User": "\xff\xe4", "Cookie": "SID=s1"}
    exchange = fakeExchange("/a?user=al%20ice", fields, client="192.0.2.7")
    assert keyOf(text, exchange) == key


def test_ofASessionWhatTheConnectionHas():
    """And where that says nothing, the client's address."""
    session = fakeExchange(None, client="192.0.2.7")
    assert keyOf("{dst_port} {src}", session) == b"80 192.0.2.7"
    assert keyOf("{dst_port} {src}", session, http=False) == b"80 192.0.2.7"
    assert keyOf("{host}", session) == b"192.0.2.7"


def test_theSameValueTheSameServer():
    servers = makeServers(*[1] * 100)
    by = make(FieldHash, by=Template.parse('{header["X-User"]}'))
    field = make(FieldHash, field="X-User")
    for user in ("alice", "bob", "\xe4"):
        exchange = fakeExchange("/", {"X-User": user})
        assert by.choose(servers, exchange) is field.choose(servers, exchange)


def test_nothingToHashGoesInTurn():
    servers = makeServers(1, 1, 1)
    balancer = make(FieldHash, by=Template.parse('{cookie["SID"]}'))
    assert [balancer.choose(servers, fakeExchange()).name for _ in range(4)] == list("abca")
    assert "there is no {cookie" in balancer.foresee(servers, fakeExchange()).why


FILE = """
[frontend www]
mode = http
bind = :8080
pool = app
[conditions]
internal = path.startswith("/in")
[pool app]
%s
server a = 127.0.0.1:8001
"""


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ("balance = hash", "8:11: error: [pool app] balance: needs one of FIELD and by=TEXT"),
        ("balance = hash X-User by={src}",
         "8:11: error: [pool app] balance: needs one of FIELD and by=TEXT"),
        ("balance = hash by={statu}",
         "8:20: error: [pool app] balance: hash: by: there is no 'statu'"),
        ("balance = hash by={status}", "8:20: error: [pool app] balance: hash: by: status is"),
        ("balance = hash by=x{host",
         "8:20: error: [pool app] balance: there is a '{' without its '}'"),
        ('balance = hash by={pool("app").up}',
         "8:20: error: [pool app] balance: hash: by: a balancer can ask for no pool"),
        ("balance = leastconn if tls", "8:24: error: [pool app] balance: a balancer has no cond"),
        ("balance = source function=number",
         "8:11: error: [pool app] balance: function=number goes with map only"),
        ("balance = uri load=50", "8:20: error: [pool app] balance: load: must be 0 or at least"),
    ],
)  # fmt: skip
def test_whatIsWrongIsToldWhereItIs(lines, wrong):
    with pytest.raises(ConfigError) as failed:
        loadText(FILE.replace("\n", "", 1) % lines, installed())
    assert [str(one) for one in failed.value.problems if wrong in str(one)], failed.value


def test_inModeTCPOnlyTheConnectionIsAskedFor():
    text = FILE.replace("mode = http", "mode = tcp")
    loadText(text % "mode = tcp\nbalance = hash by={tls.sni}{src}", installed())
    with pytest.raises(ConfigError, match="host is not known in mode = tcp"):
        loadText(text % "mode = tcp\nbalance = hash by={host}", installed())


def test_conditionsAreUsedByIt():
    config, problems = loadText(FILE % "balance = hash by={internal}{src}", installed())
    assert [str(one) for one in problems if "internal" in str(one)] == []
    assert config.pools["app"].balance.options.by.text == "{internal}{src}"


def test_inABalancer():
    """One user, one server; and the quotes in braces are those of the expression."""
    text = """
[frontend www]
mode = http
bind = 127.0.0.1:8080
pool = app
[pool app]
balance = hash by={query["user"]}
server a = 127.0.0.1:8001
server b = 127.0.0.1:8002
server c = 127.0.0.1:8003
"""
    with Balancer(text, "a", "b", "c") as balancer:
        for user in (b"alice", b"bob", b"carol", b"dave", b"eve"):
            clients = [balancer.client() for _ in range(3)]
            for one in clients:
                one.sends(b"GET /?user=%b HTTP/1.1\r\nHost: x\r\n\r\n" % user)
            active = sorted(server.active for server in balancer.running.pool("app").servers)
            assert active == [0, 0, 3]
            for one in clients:
                one.resets()


# by remainder


def test_numbersAreDealtOutInOrder():
    """For shards that are numbered: 7 of 4 servers is the last."""
    servers = makeServers(1, 1, 1, 1)
    balancer = make(FieldHash, field="X-Shard", map=True, function="number")
    chosen = [
        balancer.choose(servers, fakeExchange("/", {"X-Shard": str(number)})).name
        for number in range(8)
    ]
    assert "".join(chosen) == "abcdabcd"
    for odd in ("x", "-1", "9" * 19, "\xb2"):
        assert balancer.choose(servers, fakeExchange("/", {"X-Shard": odd})) in servers


def test_aTableIsTheSameInEveryProcess():
    """Written down: another version that deals otherwise loses every cache."""
    servers = makeServers(2, 1, 1)
    balancer = make(SourceHash, map=True)
    assert "".join(one.name for one in owners(balancer, servers, 20)) == "aaaabbbcbbbcccbcbaaa"
    crc = make(SourceHash, map=True, function="crc32")
    assert crc.choose(servers, fakeExchange(client="192.0.2.1")) is servers[0]


def test_aTableIsOfItsServersAlone():
    """Where others were before does not matter, unlike which they are and in what order."""
    servers = makeServers(1, 2, 3, 1)
    seasoned = make(SourceHash, map=True)
    for some in (servers, servers[:3], servers[1:], servers[::-1], servers):
        assert owners(seasoned, some, 500) == owners(make(SourceHash, map=True), some, 500)


def test_aServerThatGoesMovesMostKeysOfATableAndFewOfARing():
    servers = makeServers(*[1] * 10)
    moved = {}
    for map in (True, False):
        balancer = make(SourceHash, map=map)
        before, after = owners(balancer, servers), owners(balancer, servers[:-1])
        moved[map] = sum(a is not b for a, b in zip(before, after, strict=True)) / len(before)
    assert moved[True] > 0.8
    assert moved[False] < 1.2 / 10


def test_aFullServerMovesNoOtherKeysOfATable():
    """It is walked past, while one that is away makes another table."""
    servers = makeServers(*[1] * 10)
    balancer = make(URIHash, map=True)
    balancer.follow()
    exchanges = [fakeExchange(f"/{i}") for i in range(500)]
    before = [balancer.choose(servers, one) for one in exchanges]
    servers[3].maxconn = servers[3].active = 1
    after = [balancer.chooseFree(servers, (), one) for one in exchanges]
    assert all(b is a or a is servers[3] for a, b in zip(before, after, strict=True))


def test_absentFunctionsAreRefused():
    with pytest.raises(ValueError, match="goes with map only"):
        SourceHash.Options(function="number")
