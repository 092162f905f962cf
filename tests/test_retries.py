"""What a pool says about asking twice: its options, and which requests may be sent again."""

from types import SimpleNamespace

import pytest

from lbtwist.config.again import Redispatch, RetryOn, Share, Shares
from lbtwist.config.load import loadText
from lbtwist.config.model import PoolConfig
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.retries import blame, retriesOf
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.server import Server
from lbtwist.testing import fakeExchange

POOL = """
[frontend www]
bind = :80
pool = app
[pool app]
server a = 127.0.0.1:8000
"""

AGAIN = "retry-on = 503\n"


def loaded(line):
    config, warnings = loadText(POOL + line, installed())
    assert warnings == []
    return config.pools["app"]


def refused(line):
    with pytest.raises(ConfigError) as caught:
        loaded(line)
    [problem] = caught.value.problems
    return str(problem)


# options


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("", "retry_on", ("conn-failure",)),
        ("retry-on = none", "retry_on", ()),
        ("retry-on = 503 504, 503", "retry_on", ("503", "504")),
        ("retry-on = conn-failure empty-response", "retry_on", ("conn-failure", "empty-response")),
        (
            "retry-on = all-retryable-errors 429", "retry_on",
            ("conn-failure", "empty-response", "junk-response", "response-timeout", "500", "502",
             "503", "504", "429"),
        ),
        ("", "redispatch", 1),
        ("redispatch = yes", "redispatch", 1),
        ("redispatch = no", "redispatch", 0),
        ("redispatch = 3", "redispatch", 3),
        ("", "retry_buffer", 16384),
        (f"{AGAIN}retry-buffer = 0", "retry_buffer", 0),
        (f"{AGAIN}retry-non-idempotent = yes", "retry_non_idempotent", True),
        ("", "retry_budget", Share(20.0, 3.0)),
        (f"{AGAIN}retry-budget = 5%", "retry_budget", Share(5.0, 3.0)),
        (f"{AGAIN}retry-budget = 12.5% min 10/s", "retry_budget", Share(12.5, 10.0)),
        (f"{AGAIN}retry-budget = 0% min=0/s", "retry_budget", Share(0.0, 0.0)),
        (f"{AGAIN}retry-budget = no", "retry_budget", None),
        ("", "hedge_after", 0.0),
        ("hedge-after = 200ms\nserver b = 127.0.0.1:8001", "hedge_after", 0.2),
    ],
)  # fmt: skip
def test_whatTheySay(line, field, value):
    assert getattr(loaded(line), field) == value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("retry-on = 200", "200 is no failure; known are 401, 403,"),
        ("retry-on = 505", "505 is no failure"),
        ("retry-on = none 503", "none stands alone"),
        ("retry-on = conn-failures", "did you mean 'conn-failure'?"),
        ("retry-on = 0rtt-rejected", "unknown '0rtt-rejected'"),
        ("redispatch = -1", "'-1' is neither yes nor no, nor a number up to 100"),
        ("redispatch = 101", "'101' is neither yes nor no"),
        ("retry-budget = 20", "'20' is not a share: write 20%, 20% min 3/s, or no"),
        ("retry-budget = 101%", "'101%' is not a share"),
        ("retry-budget = 20% max 3/s", "is not a share"),
    ],
)
def test_whatIsRefused(line, said):
    message = refused(line)
    assert said in message
    assert message.startswith("lb.ini:7:")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("mode = tcp\nretry-on = conn-failure 503", "retry-on: mode = tcp sees no responses"),
        ("mode = tcp\nhedge-after = 1s", "hedge-after: mode = tcp sees no responses"),
        ("hedge-after = 1s\npersist = source", "hedge-after: says nothing with persist"),
        ("hedge-after = 1s", "hedge-after: says nothing with one server"),
        ("retries = 0\nretry-on = 503", "retry-on: says nothing with retries = 0"),
        ("retries = 0\nredispatch = 2", "redispatch: says nothing with retries = 0"),
        ("retry-buffer = 1m", "retry-buffer: says nothing: no request that was sent is sent"),
        ("retry-non-idempotent = yes", "retry-non-idempotent: says nothing: no request"),
        ("retry-budget = 5%", "retry-budget: says nothing: no request"),
        ("mode = tcp\nretry-budget = 5%", "retry-budget: says nothing: no request"),
    ],
)
def test_whatHasNoEffect(lines, said):
    text = POOL.replace("bind = :80", "bind = :80\nmode = tcp") if "tcp" in lines else POOL
    _, warnings = loadText(text + lines, installed())
    assert [said in str(warning) for warning in warnings] == [True]


def test_aBudgetIsOfSecondServersToo():
    loaded("server b = 127.0.0.1:8001\nhedge-after = 1s\nretry-budget = 5%")


@pytest.mark.parametrize("lines", ["retry-on = none", "retry-on = conn-failure", "hedge-after = 0"])
def test_whatHas(lines):
    """Connects are tried again with mode = tcp too."""
    text = POOL.replace("bind = :80", "bind = :80\nmode = tcp")
    assert loadText(f"{text}mode = tcp\n{lines}", installed())[1] == []


def test_kindsOfWords():
    """What a program writes that makes the model itself."""
    assert RetryOn().parse("503") == ("503",)
    assert Redispatch().parse("0") == 0
    assert Shares().parse("20% min 3/s") == Share()


# which pools


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"retry_on": ()},
        {"retry_on": ("503",), "retries": 0},
        {"retry_on": ("503",), "mode": "tcp"},
        {"hedge_after": 1.0, "mode": "tcp"},
    ],
)
def test_poolsThatSendNothingAgain(options):
    """They have nothing that would cost a request anything."""
    assert retriesOf(PoolConfig("app", **options), float) is None


def test_poolsThatDo():
    found = retriesOf(PoolConfig("app", retry_on=("conn-failure", "503", "429")), float)
    assert found.statuses == {503, 429}
    assert retriesOf(PoolConfig("app", hedge_after=0.2), float).hedgeAfter == 0.2
    assert retriesOf(PoolConfig("app", hedge_after=0.2, retry_budget=None), float).budget is None


# which requests


def asked(method, **settings):
    exchange = fakeExchange()
    exchange.request = RequestReader().read(b"%b / HTTP/1.1\r\nHost: h\r\n\r\n" % method)
    exchange.settings = settings or None
    return exchange


@pytest.mark.parametrize(
    ("method", "plain", "any"),
    [
        (b"GET", True, True),
        (b"HEAD", True, True),
        (b"OPTIONS", True, True),
        (b"TRACE", True, True),
        (b"PUT", True, True),
        (b"DELETE", True, True),
        (b"POST", False, True),
        (b"PATCH", False, True),
        (b"PURGE", False, True),
    ],
)
def test_whichRequestsMayBeSentAgain(method, plain, any):
    """RFC 9110 section 9.2.2."""
    config = PoolConfig("app", retry_on=("503",))
    assert retriesOf(config, float).repeatable(asked(method)) is plain
    config = PoolConfig("app", retry_on=("503",), retry_non_idempotent=True)
    retries = retriesOf(config, float)
    assert retries.repeatable(asked(method)) is any
    assert retries.repeatable(asked(method, retry=False)) is False
    assert retries.repeatable(asked(method, timeout_server=1.0)) is any


# whose fault it is


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("503", [(503, "why")]),
        ("500", [(500, "why")]),
        ("404", []),
        ("empty-response", [(502, "why")]),
        ("junk-response", [(502, "why")]),
        ("response-timeout", [(504, "why")]),
    ],
)
def test_whoWatchesIsTold(failure, told):
    heard = []
    server = Server("app", "a", watch=SimpleNamespace(failed=lambda *said: heard.append(said)))
    blame(server, failure, "why")
    assert heard == told


def test_nobodyWatches():
    blame(Server("app", "a"), "503", "why")
