"""How much is too much: rates, buckets, and the options of the verb C{limit}."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.rules import limits
from lbtwist.rules.limits import Buckets, Often, Rate, refusal


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/10s", Rate(100, 10)),
        ("5/s", Rate(5, 1)),
        ("1/m", Rate(1, 60)),
        ("20/500ms", Rate(20, 0.5)),
        ("3/250", Rate(3, 0.25)),
    ],
)
def test_aRate(text, rate):
    assert Often().parse(text) == rate


@pytest.mark.parametrize(
    "text", ["", "5", "/s", "5/", "0/s", "5/0s", "-1/s", "5/2d", "5/s/s", "5/x"]
)
def test_noRate(text):
    with pytest.raises(ValueError, match=r"rate|number|bounds|time"):
        Often().parse(text)


class Hand:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self):
        return self.now


def test_asManyAtOnceAsTheBurst():
    buckets = Buckets(Rate(10, 1.0), 3, Hand())
    assert [buckets.wait("a") == 0 for _ in range(5)] == [True, True, True, False, False]


def test_oneMoreAfterItsTime():
    hand = Hand()
    buckets = Buckets(Rate(10, 1.0), 1, hand)
    assert buckets.wait("a") == 0
    hand.now += 0.0999
    assert buckets.wait("a") == pytest.approx(0.0001, abs=1e-5)
    hand.now += 0.0001
    assert buckets.wait("a") == 0


def test_whatIsRefusedDoesNotCount():
    hand = Hand()
    buckets = Buckets(Rate(1, 10.0), 1, hand)
    assert buckets.wait("a") == 0
    waits = [buckets.wait("a") for _ in range(100)]
    assert waits == [pytest.approx(10.0)] * 100
    hand.now += 10
    assert buckets.wait("a") == 0


def test_keysCountApart():
    buckets = Buckets(Rate(1, 10.0), 1, Hand())
    assert [buckets.wait(key) == 0 for key in "abab"] == [True, True, False, False]


def test_whoHasNotComeForLongestIsForgotten(monkeypatch):
    monkeypatch.setattr(limits, "MOST_KEYS", 3)
    buckets = Buckets(Rate(1, 10.0), 1, Hand())
    for key in "abc":
        buckets.wait(key)
    # It is refused, and has come.
    assert buckets.wait("a") > 0
    buckets.wait("d")
    assert len(buckets) == 3
    assert buckets.wait("a") > 0
    assert buckets.wait("b") == 0


@given(
    st.integers(1, 20),
    st.integers(1, 30),
    st.integers(1, 20),
    st.lists(st.integers(0, 5000), max_size=60),
)
def test_isATokenBucket(count, period, burst, steps):
    """The same is let through as by a bucket of tokens, counted in fractions."""
    hand = Hand()
    buckets = Buckets(Rate(count, float(period)), burst, hand)
    tokens = Fraction(burst)
    at = 0
    for step in steps:
        at += step
        hand.now = 1000 + at / 1000
        tokens = min(Fraction(burst), tokens + Fraction(step * count, 1000 * period))
        passed = buckets.wait("a") == 0
        assert passed == (tokens >= 1)
        if passed:
            tokens -= 1


def test_aRefusal():
    found = refusal(429, "Too much.", (b"Retry-After", b"3"))
    assert found.denied
    assert found.fields[0] == (b"Retry-After", b"3")
    assert found.body == (
        b"<html><body><h1>429 Too Many Requests</h1>\nToo much.\n</body></html>\n"
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("limit", "needs either rate=NUMBER/TIME or concurrency=NUMBER"),
        ("limit rate=1/s concurrency=2", "needs either rate=NUMBER/TIME or concurrency=NUMBER"),
        ("limit concurrency=2 burst=3", "burst= says something for rate= only"),
        ("limit rate=often", "'often' is not a rate: write 100/10s"),
        ("limit rate=1/s status=430", "there is no status 430: 429 and 503 are usual"),
        ("limit rate=1/s how=close", "unknown option 'how'"),
        ("limit rate=1/s by={nobody}", "there is no 'nobody'"),
        ("limit rate=1/s deadline=1s", "deadline says nothing: it waits for nothing"),
        ("limit rate=1/s name=a", "name= says something for store= only"),
        ("limit rate=1/s store=shared", "limit: store: there is no [store shared]"),
    ],
)
def test_whatIsNoLimit(rule, message):
    text = (
        "[frontend www]\nmode = http\nbind = 127.0.0.1:8080\npool = app\n"
        f"request =\n    {rule}\n[pool app]\nserver a = 127.0.0.1:8001\n"
    )
    with pytest.raises(ConfigError) as caught:
        loadText(text, installed())
    assert message in str(caught.value)
    assert "lb.ini:6:" in str(caught.value)
