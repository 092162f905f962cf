"""
What a configuration says of queues and limits: who is a tenant, and what does not go together.
"""

import pytest

from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.testing import Pump, fakeExchange

CONFIG = """
[frontend www]
bind = :8080
pool = app
%s
[pool app]
%s
"""
A = "server a = 10.0.0.1:8000"


def loaded(pool, frontend="", name="lb.ini"):
    config, warnings = loadText(CONFIG % (frontend, f"{pool}\n{A}"), installed(), name)
    assert warnings == []
    return config


def problems(pool, frontend="", server=""):
    with pytest.raises(ConfigError) as raised:
        loadText(CONFIG % (frontend, f"{pool}\n{A} {server}"), installed())
    return [str(one) for one in raised.value.problems]


def queueOf(config):
    return build(config, installed(), Pump()).pool("app")._queue


def test_firstInFirstOutIfNothingIsSaid():
    assert loaded("").pools["app"].queue == loaded("queue = fifo").pools["app"].queue
    assert queueOf(loaded("queue = fifo"))._key is None


@pytest.mark.parametrize(
    "said",
    ['fair(header["x-tenant"])', 'fair({header["x-tenant"]})', 'fair ( header["x-tenant"] )'],
)
def test_aTenantByAnExpression(said):
    queue = queueOf(loaded(f"queue = {said} weight=gold:4 weight=a:b:2"))
    assert queue._key(fakeExchange(fields={"X-Tenant": "gold"})) == b"gold"
    assert queue._key(fakeExchange()) == b""
    assert queue._weights == {b"gold": 4, b"a:b": 2}


def test_aParenthesisInAnExpression():
    queue = queueOf(loaded("queue = fair('(' + host.lower() + ')') weight=x:2"))
    assert queue._key(fakeExchange()) == b"(www.example.com)"


def test_ofASessionTheClientsAddress():
    """Where the expression asks for a request, and there is none."""
    queue = queueOf(loaded('queue = fair(header["x-tenant"])'))
    assert queue._key(fakeExchange(None, client="192.0.2.7")) == b"192.0.2.7"


def test_weightsOfAFile(tmp_path):
    (tmp_path / "weights").write_text("# who pays\ngold 4\nsilver 2\n")
    pool = "queue = fair(host) weights=weights weight=gold:9"
    options = loaded(pool, name=str(tmp_path / "lb.ini")).pools["app"].queue.options
    assert options.table == (("gold", 9), ("silver", 2))
    before = loaded(pool, name=str(tmp_path / "lb.ini"))
    (tmp_path / "weights").write_text("gold 4\nsilver 3\n")
    after = loaded(pool, name=str(tmp_path / "lb.ini"))
    assert before.pools != after.pools


@pytest.mark.parametrize(
    ("content", "message"),
    [("gold", "a line is KEY VALUE"), ("gold 0", "from 1 to 256"), ("gold x", "not a whole number"),
     ("\xff 1", "not UTF-8")],
)  # fmt: skip
def test_aBadFile(tmp_path, content, message):
    (tmp_path / "weights").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError) as raised:
        loaded("queue = fair(host) weights=weights", name=str(tmp_path / "lb.ini"))
    [problem] = raised.value.problems
    assert message in problem.message and "queue: weights:" in problem.message
    assert (problem.where.line, problem.where.column) == (7, 28)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("", "7:1: error: [pool app] queue: needs a value: fifo or fair(EXPRESSION)"),
        ("lifo", "7:9: error: [pool app] queue: unknown 'lifo', did you mean 'fifo'?"),
        ("fifo 3", "7:14: error: [pool app] queue: nothing follows fifo"),
        ("fair", "7:9: error: [pool app] queue: needs an expression: fair(EXPRESSION)"),
        ("fair()", "7:14: error: [pool app] queue: needs an expression: fair(EXPRESSION)"),
        ("fair(src", "7:13: error: [pool app] queue: there is a '(' without its ')'"),
        ("fair(nobody)", "7:14: error: [pool app] queue: fair: by: there is no 'nobody'"),
        ("fair(src +)", "7:19: error: [pool app] queue: it is not an expression: invalid syntax"),
        ("fair(src) weight=gold",
         "7:26: error: [pool app] queue: weight: 'gold' is no key and its weight: write gold:4"),
        ("fair(src) weight=gold:0",
         "7:26: error: [pool app] queue: weight: 0 is out of bounds: from 1 to 256 is accepted"),
        ("fair(src) weight=a:1 weight=a:2",
         "7:19: error: [pool app] queue: weight: one key has two weights"),
        ("fair(src) by=host",
         "7:19: error: [pool app] queue: unknown option 'by'; known are weight, weights"),
    ],
)  # fmt: skip
def test_whatIsNotAccepted(said, problem):
    assert problems(f"queue = {said}") == [f"lb.ini:{problem}"]


def test_theFileIsNotThere():
    [said] = problems("queue = fair(src) weights=/nowhere/weights")
    assert said.endswith("weights: '/nowhere/weights' cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("pool", "server", "message"),
    [
        ("maxqueue-per-key = 3", "",
         "maxqueue-per-key: says nothing without keys: write queue = fair(EXPRESSION)"),
        ("fullconn = 3", "",
         "fullconn: says nothing without a server with minconn; add that or remove this"),
        ("", "minconn=3",
         "server a: minconn: needs maxconn, the limit while there is much to do; add it"),
        ("", "minconn=3 maxconn=2", "server a: minconn: is above maxconn, 2"),
    ],
)  # fmt: skip
def test_whatDoesNotGoTogether(pool, server, message):
    [said] = problems(pool, server=server)
    assert said.endswith(message)


def test_whatDefaultsSayOfAllPools():
    """It need not fit all of them; C{maxconn} there is of clients."""
    text = CONFIG % ("", A) + (
        "[defaults]\nmaxconn = 7\nmaxqueue-per-key = 3\nfullconn = 9\nslowstart = 5s\n"
    )
    config, warnings = loadText(text, installed())
    assert warnings == []
    pool = config.pools["app"]
    assert (pool.maxconn, pool.maxqueue_per_key, pool.slowstart) == (0, 3, 5.0)
    assert config.frontends["www"].maxconn == 7


def test_whatAServerIsGiven():
    text = CONFIG % ("", "slowstart = 5s\n" + A) + (
        "server b = 10.0.0.2:80 minconn=2 maxconn=4 maxqueue=3 slowstart=1m\n"
    )
    config, _ = loadText(text, installed())
    a, b = build(config, installed(), Pump()).pool("app").servers
    assert (a.slowstart, a.maxqueue, a.capacity.minconn) == (5.0, 0, 0)
    assert (b.slowstart, b.maxqueue, b.capacity.minconn, b.maxconn) == (60.0, 3, 2, 2)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("priority", "needs CLASS"),
        ("priority 2048", "2048 is out of bounds: from -2047 to 2047 is accepted"),
        ("priority 1 offset=10m", "10m is out of bounds: up to 524.287s is accepted"),
        ("priority 1 offset=soon", "'soon' is not a time"),
    ],
)
def test_priorities(said, message):
    [problem] = problems("", f"request = {said}")
    assert message in problem
