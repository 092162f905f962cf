"""
Two lists of things with keys: which have moved, and where those were that are gone.
"""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from lbtwist.config.ordering import merged, moved


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True))
def test_theFewestAreMoved(before, after):
    gone = moved(before, after)
    common = [one for one in after if one in before]
    assert gone <= set(common)
    staying = [one for one in common if one not in gone]
    assert staying == [one for one in before if one in staying]
    for count in range(len(staying) + 1, len(common) + 1):
        for some in combinations(common, count):
            assert list(some) != sorted(some, key=before.index)


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True))
def test_merged(before, after):
    found = list(merged(before, after))
    assert sorted(found) == sorted({*before, *after})
    assert [one for one in found if one in after] == after

    def leader(one, some):
        """@return: the last one before it that is in both."""
        leading = [other for other in some[: some.index(one)] if other in after]
        return leading[-1] if leading else None

    for one in set(before) - set(after):
        assert leader(one, found) == leader(one, before)
