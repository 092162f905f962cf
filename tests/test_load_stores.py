"""C{[store NAME]}, C{persist-store} and what names them: what is read, and what is wrong."""

import pytest

from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.stores import redis
from lbtwist.stores.link import Address

pytest.importorskip("txredisapi")

SITE = """\
[frontend www]
bind = :80
pool = app
request =
    {rule}
[store shared]
{kind}
[pool app]
persist = source
persist-store = {store}
server a = 10.0.0.1:80
"""

GOOD = {
    "rule": "limit rate=5/1s store=shared", "kind": "kind = redis 10.0.0.9:6379",
    "store": "shared",
}  # fmt: skip


def read(**said):
    return loadText(SITE.format(**{**GOOD, **said}), installed(), "/etc/lb/lb.ini")


def test_aStoreWithAName():
    config, warnings = read(
        kind="kind = redis [::1]:6379 database=2 prefix=shop deadline=50ms tls ca=ca.pem"
        " username=lb password-file=secret"
    )
    assert warnings == []
    assert config.stores["shared"].kind.options == redis.RedisOptions(
        Address("::1", 6379), 2, "shop", 0.05, "lb", "/etc/lb/secret", True, "/etc/lb/ca.pem"
    )
    assert config.pools["app"].persist_store.name == "shared"


def test_aUnixSocket():
    config, _ = read(kind="kind = redis unix:/run/redis.sock")
    assert config.stores["shared"].kind.options.address == Address(path="/run/redis.sock")


@pytest.mark.parametrize(
    ("store", "name", "written"),
    [
        ("memory size=7", "memory", {"size": 7}),
        ("sqlite clients.db size=7", "sqlite", {"path": "/etc/lb/clients.db", "size": 7}),
        ("redis 10.0.0.9:6379 database=1", "redis", {"database": 1}),
    ],
)
def test_aStoreOfAPool(store, name, written):
    part = read(store=store)[0].pools["app"].persist_store
    assert part.name == name
    assert {key: getattr(part.options, key) for key in written} == written


def test_whoeverNamesItUsesIt():
    """Also a limit alone, in a list of rules with a name."""
    text = (
        "[rules careful]\nrequest = limit rate=5/1s store=shared\n"
        "[store shared]\nkind = redis 10.0.0.9:6379\n"
        "[store other]\nkind = redis 10.0.0.9:6379\n"
        "[frontend www]\nbind = :80\nrules = careful\npool = app\n"
        "[pool app]\nserver a = 10.0.0.1:80\n"
    )
    _, warnings = loadText(text, installed())
    assert [str(one) for one in warnings] == [
        "lb.ini:5:1: warning: [store other] is used by no pool or limit"
    ]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"store": "shred"}, ":10:17: error: [pool app] persist-store: there is no [store shred],"
         " did you mean 'shared'?"),
        ({"store": "memry"}, "[pool app] persist-store: there is no [store memry],"
         " did you mean 'memory'?"),
        ({"store": "shared size=3"}, "persist-store: unknown 'shared'; known are memory, redis"),
        ({"store": "sqlite"}, "persist-store: needs PATH"),
        ({"store": "a/b"}, "persist-store: unknown 'a/b'"),
        ({"store": ""}, "persist-store: needs a word, as memory"),
        ({"kind": ""}, ":6:1: error: [store shared] says nothing: write kind = redis HOST:PORT"),
        ({"kind": "kind ="}, "kind: needs a word and an address: redis HOST:PORT"),
        ({"kind": "kind = redi 10.0.0.9:6379"}, "kind: unknown 'redi', did you mean 'redis'?"),
        ({"kind": "kind = memory"}, "kind: unknown 'memory'; known are redis"),
        ({"kind": "kind = redis 10.0.0.9"}, "address: '10.0.0.9' has no port"),
        ({"kind": "kind = redis unix:redis.sock"}, "write unix:/PATH"),
        ({"kind": "kind = redis unix:/redis.sock tls"}, "a UNIX socket has no TLS"),
        ({"kind": "kind = redis a:1 deadline=0"}, "deadline: must be more than 0"),
        ({"kind": "kind = redis a:1 username=x"}, "username= says nothing without password-file="),
        ({"kind": "kind = redis a:1 ca=ca.pem"}, "ca= says something with tls only"),
        ({"kind": "kind = redis a:1\n[store memory]\nkind = redis a:1"},
         "[store memory] is the name of a kind of store: take another"),
        ({"rule": "limit rate=5/1s store=shred"}, ":5:27: error: [frontend www] request: limit:"
         " store: there is no [store shred], did you mean 'shared'?"),
        ({"rule": "limit rate=5/1s on-error=allow"}, "on-error says nothing: it waits for nothing"),
    ],
)  # fmt: skip
def test_whatIsWrong(said, problem):
    with pytest.raises(ConfigError) as caught:
        read(**said)
    assert problem in str(caught.value)


def test_withoutTheLibrary(monkeypatch):
    monkeypatch.setattr(redis, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        read()
    assert (
        "/etc/lb/lb.ini:7:8: error: [store shared] kind: needs txredisapi, which is not there:"
        " pip install 'lbtwist[redis]'"
    ) in str(caught.value)
