"""
The first bytes of a server, looked at on their way. Those of clients are conversations:
tests/dialogues/test_first_bytes.py.
"""

from streams import tcpPair
from test_tunnel import MUCH, Joined, pours

from lbtwist.inspecting import InspectedSide


class Looking:
    """
    Has seen enough after so many bytes.

    @ivar seen: the pieces that it was given.
    """

    def __init__(self, size):
        self.size = size
        self.seen = []

    def __call__(self, data):
        self.seen.append(data)
        return sum(map(len, self.seen)) >= self.size


def inspected(*looks):
    """A tunnel whose server is looked at."""

    def side(transport):
        made = InspectedSide(looks)
        made.makeConnection(transport)
        return made

    return Joined(tcpPair, behind=side)


def test_eachUntilItHasSeenEnough():
    one, more = Looking(1), Looking(6)
    joined = inspected(one, more)
    for data in (b"abc", b"def", b"ghi"):
        joined.server.peer.send(data)
        assert joined.client.taken() == data
        joined.client.peer.send(data)
        assert joined.server.taken() == data
    assert one.seen == [b"abc"]
    assert more.seen == [b"abc", b"def"]
    joined.close()
    assert (joined.exchange.bytesIn, joined.exchange.bytesOut) == (9, 9)


def test_nothingGoesThroughTheKernelBefore():
    """It would not be seen; afterwards it does."""
    look = Looking(1 << 20)
    joined = inspected(look)
    got = pours(joined.server, MUCH, joined.client)
    assert got == b"0123456789abcde\n" * (MUCH // 16)
    seen = b"".join(look.seen)
    assert 1 << 20 <= len(seen) < MUCH
    assert got.startswith(seen)
    assert joined.tunnel.server._splice is not None
    joined.close()
