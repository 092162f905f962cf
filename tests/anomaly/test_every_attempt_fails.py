"""
The n-th operation of a conversation fails where requests are sent again, for every n: what a
client gets is right, more often than otherwise, and nothing is left behind.
"""

import pytest
from anomaly.faults import CUT, ERROR
from anomaly.test_every_operation_fails import SCENES, Conversation, exchanges, failsWell

AGAIN = "always\nretry-on = all-retryable-errors\nretry-budget = no"
HEDGED = f"{AGAIN}\nhedge-after = 100ms"
NAMES = ("get", "keep-alive", "big", "small-post-after-get")

__all__ = ["exchanges"]


@pytest.mark.parametrize("pool", [AGAIN, HEDGED], ids=["again", "hedged"])
@pytest.mark.parametrize("kind", [ERROR, CUT], ids=["at once", "after one byte"])
@pytest.mark.parametrize("name", NAMES)
def test_oneOperationFails(name, kind, pool, exchanges):
    failsWell(name, pool, kind, exchanges)


@pytest.mark.parametrize("name", ["get", "keep-alive"])
def test_moreGoesWell(name, exchanges):
    """Than where each request is sent once."""

    def well(pool):
        count = len(Conversation(name, pool, ERROR, -1).faults.seen)
        found = (Conversation(name, pool, ERROR, at) for at in range(count))
        return sum(one.answers == SCENES[name].wanted for one in found)

    assert well(AGAIN) > well("always")
