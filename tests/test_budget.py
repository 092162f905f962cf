"""
How much may be asked twice: a share of the requests of the last ten seconds, and a few
whatever they are.
"""

import random
from collections import deque

import pytest
from twisted.internet.task import Clock

from lbtwist.budget import WINDOW, Budget


def budget(share=0.2, least=0.0):
    clock = Clock()
    clock.rightNow = 1000.5
    return clock, Budget(share, least, clock.seconds)


def spent(budget, most=1000):
    """@return: how often one more could be asked twice, at once."""
    count = 0
    while budget.left and count < most:
        budget.spend()
        count += 1
    return count


@pytest.mark.parametrize(("requests", "allowed"), [(0, 0), (4, 0), (5, 1), (9, 1), (100, 20)])
def test_aShareOfTheRequests(requests, allowed):
    _, one = budget()
    for _ in range(requests):
        one.asked()
    assert spent(one) == allowed


def test_aFewWhateverTheyAre():
    """So many per second: what a few requests need is there at once."""
    _, one = budget(least=3.0)
    assert spent(one) == 3 * WINDOW


def test_both():
    _, one = budget(least=0.5)
    for _ in range(10):
        one.asked()
    assert spent(one) == 2 + 5


def test_nothingAtAll():
    _, one = budget(share=0.0)
    one.asked()
    assert not one.left


def test_requestsAreForgotten():
    clock, one = budget(share=1.0)
    one.asked()
    clock.advance(WINDOW - 1)
    assert one.left
    clock.advance(1)
    assert not one.left


def test_whatWasSpentIsForgotten():
    clock, one = budget(least=0.1)
    assert spent(one) == 1
    clock.advance(WINDOW - 1)
    assert not one.left
    clock.advance(1)
    assert one.left


def test_afterALongSilence():
    clock, one = budget(share=1.0, least=0.1)
    for _ in range(50):
        one.asked()
    assert spent(one) == 51
    clock.advance(100 * WINDOW + 0.3)
    assert spent(one) == 1


def test_repr():
    _, one = budget(least=1.0)
    one.spend()
    assert repr(one) == "<Budget 1 spent of 10>"


@pytest.mark.parametrize("seed", range(5))
def test_neverMoreThanTheShareInAnyWindow(seed):
    """The same as a plain list of all that was."""
    draw = random.Random(seed)
    clock, one = budget(share=0.3, least=0.4)
    asked, twice = deque(), deque()
    for _ in range(3000):
        clock.advance(draw.choice([0.0, 0.01, 0.3, 2.0]))
        second = int(clock.seconds())
        for seen in (asked, twice):
            while seen and seen[0] <= second - WINDOW:
                seen.popleft()
        one.asked()
        asked.append(second)
        if draw.random() < 0.6:
            assert one.left == (len(twice) + 1 <= 0.3 * len(asked) + 4.0)
            if one.left:
                one.spend()
                twice.append(second)
