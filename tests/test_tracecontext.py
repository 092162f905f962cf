"""C{traceparent} and C{tracestate} (W3C Trace Context), read and made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.sansio.tracecontext import MOST_MEMBERS, SIZE, Trace, made, read, stateOf

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"b7ad6b7169203331"
GOOD = b"00-%b-%b-01" % (TRACE, PARENT)


def test_thatOfTheRecommendation():
    found = read([GOOD])
    assert found == Trace(TRACE, PARENT, True)
    assert found.field == GOOD
    assert found.told == "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("flags", "sampled"), [(b"00", False), (b"01", True), (b"02", False), (b"ff", True)]
)
def test_flags(flags, sampled):
    assert read([GOOD[:-2] + flags]).sampled is sampled


@pytest.mark.parametrize("value", [b"cc" + GOOD[2:], b"cc" + GOOD[2:] + b"-what comes later"])
def test_aLaterVersionIsReadAsFarAsItIsKnown(value):
    found = read([value])
    assert (found.trace, found.parent, found.sampled, found.version) == (TRACE, PARENT, True, b"cc")
    assert found.field == GOOD


@pytest.mark.parametrize(
    "values",
    [
        [], [b""], [GOOD, GOOD], [GOOD + b"-more"], [b"ff" + GOOD[2:]], [GOOD.upper()],
        [GOOD[:-1]], [GOOD[1:]], [b" " + GOOD], [GOOD + b"\n"], [GOOD.replace(b"-", b"_")],
        [b"00-" + b"0" * 32 + GOOD[35:]], [GOOD[:36] + b"0" * 16 + b"-01"], [GOOD[:-2] + b"0g"],
        [b"cc" + GOOD[2:] + b"x"], [GOOD + b"," + GOOD],
    ],
)  # fmt: skip
def test_whatIsNotAcceptable(values):
    assert read(values) is None


@given(st.binary(max_size=80))
def test_whateverComes(value):
    found = read([value])
    assert found is None or read([found.field]).trace == found.trace


@given(st.binary(min_size=SIZE, max_size=SIZE), st.floats(0, 1))
def test_whatIsMadeIsAcceptable(random, ratio):
    found = made(random, ratio)
    assert read([found.field]) == found


def test_idsAreTheRandomBytes():
    random = bytes(range(1, 25))
    assert made(random, 0.0) == Trace(random[:16].hex().encode(), random[16:].hex().encode(), False)


@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.25, 1.0])
def test_soManyAreSampled(ratio):
    step = 2**56 // 1000
    found = [
        made(bytes(9) + (step * number).to_bytes(7, "big") + b"x" * 8, ratio).sampled
        for number in range(1000)
    ]
    assert abs(sum(found) - 1000 * ratio) <= 1


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([b"a=1"], b"a=1"),
        ([b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ([b"a=1", b"b=2 "], b"a=1,b=2"),
        ([b"a=1, ,\tb=2,"], b"a=1,b=2"),
        ([b"fw529a3039@dt=FfAAAAD"], b"fw529a3039@dt=FfAAAAD"),
        ([b"0a-_*/=!x~"], b"0a-_*/=!x~"),
        ([], None),
        ([b" , "], None),
        ([b"a"], None),
        ([b"a="], None),
        ([b"A=1"], None),
        ([b"a=1=2"], None),
        ([b"a=1,a=2"], None),
        ([b"a=\xe9"], None),
        ([b",".join(b"a%d=1" % number for number in range(MOST_MEMBERS))],
         b",".join(b"a%d=1" % number for number in range(MOST_MEMBERS))),
        ([b",".join(b"a%d=1" % number for number in range(MOST_MEMBERS + 1))], None),
        ([b"a=" + b"x" * 256], b"a=" + b"x" * 256),
        ([b"a=" + b"x" * 257], None),
        ([b"a=" + b"x" * 10000], None),
    ],
)  # fmt: skip
def test_states(values, state):
    assert stateOf(values) == state
