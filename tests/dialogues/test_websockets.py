"""
WebSockets when the balancer goes away: both who talk by one are told, between two messages.
"""

import random
import re
from contextlib import contextmanager

import pytest
from spoken import asks, www

from lbtwist.net.splice import LEAST, Splice
from lbtwist.net.tcp import READ_SIZE
from lbtwist.websocket import CLOSING, FULL_READS, LINGER

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
LONG = "grace-period = 1h"

HELLO = b"\x81\x05hello"
MASKED = b"\x81\x85mask" + bytes(5)
CLOSE = b"\x88\x02\x03\xe9"
"""1001 to the client, without a mask (RFC 6455 5.1, 5.5.1, 7.4.1)."""
ANSWER = b"\x88\x82mask" + bytes([3 ^ ord("m"), 0xE9 ^ ord("a")])
"""What the client says to that."""
TO_SERVER = b"\x88\x82\0\0\0\0\x03\xe9"
"""The same from us to a server, with a mask."""


def opened(balancer, request=UPGRADE, response=SWITCHING):
    client, server = asks(balancer, request)
    server.sends(response)
    client.receivesExactly(response)
    return client, server


@contextmanager
def talking(grace="1h"):
    """A balancer, and a client and a server that have a WebSocket by it."""
    with www(settings=f"grace-period = {grace}") as balancer:
        yield balancer, *opened(balancer)


def leaves(balancer):
    """
    The balancer is told to go.

    @return: a Deferred that fires when it has gone.
    """
    stopped = balancer.running.stopService()
    balancer.pump.turn()
    return stopped


def goes(balancer, client):
    """The same where nothing is under way: the client hears of it at once."""
    stopped = leaves(balancer)
    client.receivesExactly(CLOSE)
    return stopped


def answers(client, server):
    """The client closes as well, and the server hears it."""
    client.sends(ANSWER)
    server.receivesExactly(ANSWER)


def test_anIdleOne():
    """The client hears of it at once, the server by the client's answer; all of it ends then."""
    with talking() as (balancer, client, server):
        stopped = goes(balancer, client)
        server.receivesNothing()
        answers(client, server)
        client.isEnded()
        server.sends(b"\x88\x02\x03\xe9")
        server.ends()
        assert not stopped.called
        client.ends()
        server.isEnded()
        assert stopped.called
        size = len(SWITCHING) + len(CLOSE)
        assert f" 101 {size} - - ---- " in balancer.endings[0]


def test_theServerEndsFirst():
    with talking() as (balancer, client, server):
        stopped = goes(balancer, client)
        client.sends(ANSWER)
        client.ends()
        server.receivesExactly(ANSWER)
        server.isEnded()
        server.closes()
        client.isEnded()
        assert stopped.called


def test_whatAClientStillSaysIsNotLost():
    with talking() as (balancer, client, server):
        goes(balancer, client)
        client.sends(MASKED)
        server.receivesExactly(MASKED)
        client.sends(MASKED + ANSWER)
        server.receivesExactly(MASKED + ANSWER)
        client.sends(MASKED)
        server.receivesNothing()


def test_nothingFollowsAClose():
    """RFC 6455 section 5.5.1: what the server says after it is told to nobody."""
    with talking() as (balancer, client, server):
        goes(balancer, client)
        server.sends(HELLO * 3)
        client.receivesNothing()


def test_aMessageUnderWay():
    """It comes to its end first, and what follows it in the same piece is not begun."""
    with talking() as (balancer, client, server):
        server.sends(HELLO[:3])
        client.receivesExactly(HELLO[:3])
        leaves(balancer)
        client.receivesNothing()
        server.sends(HELLO[3:5])
        client.receivesExactly(HELLO[3:5])
        server.sends(HELLO[5:] + HELLO)
        client.receivesExactly(HELLO[5:] + CLOSE)


def test_aMessageOfSeveralFrames():
    with talking() as (balancer, client, server):
        server.sends(b"\x01\x02he")
        client.receivesExactly(b"\x01\x02he")
        leaves(balancer)
        server.sends(b"\x89\x00" + b"\x00\x02ll")
        client.receivesExactly(b"\x89\x00" + b"\x00\x02ll")
        server.sends(b"\x80\x01o")
        client.receivesExactly(b"\x80\x01o" + CLOSE)


def test_aMessageThatDoesNotEnd():
    """It has the time of the grace, and is broken off."""
    with talking("3s") as (balancer, client, server):
        server.sends(HELLO[:3])
        client.receivesExactly(HELLO[:3])
        stopped = leaves(balancer)
        balancer.advance(2.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isReset()
        assert stopped.called
        assert " KD-- " in balancer.endings[0]


def test_aClientThatDoesNotAnswer():
    """Then the server is told by us, with a mask, and both connections are closed."""
    with talking() as (balancer, client, server):
        stopped = goes(balancer, client)
        balancer.advance(CLOSING - 0.1)
        client.receivesNothing()
        server.receivesNothing()
        balancer.advance(0.2)
        server.receivesExactly(TO_SERVER)
        server.isEnded()
        client.isEnded()
        assert stopped.called
        assert " KD-- " in balancer.endings[0]


def test_aClientThatBreaksOffInTheMiddleOfAMessage():
    """Nothing can be said to the server then."""
    with talking() as (balancer, client, server):
        client.sends(MASKED[:7])
        server.receivesExactly(MASKED[:7])
        goes(balancer, client)
        balancer.advance(CLOSING + 0.1)
        server.isEnded()
        client.isEnded()


def test_aServerThatDoesNotEnd():
    with talking() as (balancer, client, server):
        stopped = goes(balancer, client)
        client.sends(ANSWER)
        client.ends()
        server.receivesExactly(ANSWER)
        balancer.advance(CLOSING + 0.1)
        server.isEnded()
        client.isEnded()
        assert stopped.called
        assert " ---- " in balancer.endings[0]


def test_aClientThatDoesNotEnd():
    """It has answered, and keeps its connection: nothing more is said to the server."""
    with talking() as (balancer, client, server):
        stopped = goes(balancer, client)
        client.sends(ANSWER)
        balancer.advance(CLOSING + 0.1)
        server.receivesExactly(ANSWER)
        server.isEnded()
        client.isEnded()
        assert stopped.called
        assert " ---- " in balancer.endings[0]


def test_aServerThatWasHeld():
    """For the sake of the client, who goes without reading all: its end is seen."""
    with talking() as (balancer, client, server):
        [front] = balancer.running.frontend("www").inbound.connections
        message = b"\x82\x7e" + (8000).to_bytes(2, "big") + bytes(8000)
        while not front.transport.producerPaused:
            server.sends(message)
        stopped = leaves(balancer)
        answers(client, server)
        server.closes()
        client.receives(b"(?s:.*)" + re.escape(CLOSE))
        client.closes()
        assert stopped.called


def test_aClientThatIsResetAfterItsAnswer():
    """All was said: it is an end like another, and the server has the time for its own."""
    with talking() as (balancer, client, server):
        stopped = goes(balancer, client)
        client.sends(ANSWER)
        client.resets()
        server.sends(HELLO)
        server.receivesExactly(ANSWER)
        server.isEnded()
        assert not stopped.called
        server.closes()
        assert stopped.called
        assert " ---- " in balancer.endings[0]


def test_aClientThatIsResetInsteadOfAnAnswer():
    with talking() as (balancer, client, server):
        stopped = goes(balancer, client)
        client.resets()
        server.isReset()
        assert stopped.called
        assert " CD-- " in balancer.endings[0]


def test_aServerThatIsResetWhenTheClientKnows():
    """The client is not reset for that: what it was told could be lost."""
    with talking() as (balancer, client, server):
        stopped = leaves(balancer)
        server.resets()
        client.receivesExactly(CLOSE)
        client.isEnded()
        assert stopped.called


def test_aClientThatReadsNothing():
    """It is not waited for without end."""
    with talking() as (balancer, client, server):
        [front] = balancer.running.frontend("www").inbound.connections
        message = b"\x82\x7e" + (8000).to_bytes(2, "big") + bytes(8000)
        while not front.transport.unsent:
            server.sends(message)
        stopped = leaves(balancer)
        balancer.advance(CLOSING + LINGER - 0.1)
        assert not stopped.called
        server.receives(re.escape(TO_SERVER))
        server.isEnded()
        balancer.advance(0.2)
        assert stopped.called
        assert " KD-- " in balancer.endings[0]


def test_aClientThatReadsLate():
    """It gets all that there was, and the Close after it."""
    with talking() as (balancer, client, server):
        [front] = balancer.running.frontend("www").inbound.connections
        message = b"\x82\x7e" + (8000).to_bytes(2, "big") + bytes(8000)
        count = 0
        while not front.transport.unsent:
            server.sends(message)
            count += 1
        leaves(balancer)
        client.receivesExactly(message * count + CLOSE)
        answers(client, server)


def test_bothCloseAlready():
    """A closing handshake that was under way is not disturbed by a second Close."""
    with talking() as (balancer, client, server):
        server.sends(CLOSE)
        client.receivesExactly(CLOSE)
        stopped = leaves(balancer)
        answers(client, server)
        client.isEnded()
        client.closes()
        server.closes()
        assert stopped.called


def test_theClientHadSaidItsClose():
    """It is answered by us; the server's answer comes too late."""
    with talking() as (balancer, client, server):
        answers(client, server)
        stopped = goes(balancer, client)
        client.isEnded()
        client.closes()
        server.isEnded()
        server.closes()
        assert stopped.called


def test_oneThatIsOpenedWhileItIsTimeToGo():
    with www(settings=LONG) as balancer:
        client, server = asks(balancer, UPGRADE)
        leaves(balancer)
        server.sends(SWITCHING + HELLO)
        client.receivesExactly(SWITCHING + HELLO + CLOSE)


@pytest.mark.parametrize(
    "request_, response",
    [
        (UPGRADE.replace(b"websocket", b"other"), SWITCHING.replace(b"websocket", b"other")),
        (
            UPGRADE.replace(b"websocket", b"websocket, other"),
            SWITCHING.replace(b"websocket", b"other"),
        ),
    ],
    ids=["asked for something else", "got something else"],
)
def test_whatIsNoWebSocket(request_, response):
    with www(settings="grace-period = 3s") as balancer:
        client, _ = opened(balancer, request_, response)
        leaves(balancer)
        client.receivesNothing()
        balancer.advance(3.1)
        client.isReset()


def test_oneThatIsOpenedAfterAnotherStart():
    """It was time to go, and is not any more."""
    with www(settings=LONG) as balancer:
        assert leaves(balancer).called
        balancer.running.startService()
        client, server = opened(balancer)
        client.receivesNothing()
        server.sends(HELLO)
        client.receivesExactly(HELLO)


def test_aSecondDrainSaysNothingMore():
    with talking() as (balancer, client, _):
        goes(balancer, client)
        balancer.running.drain(10)
        client.receivesNothing()


def test_aSecondSignalWaitsForNothing():
    with talking() as (balancer, client, server):
        goes(balancer, client)
        balancer.running.abort()
        client.isReset()
        server.isReset()


def test_theyPassUntouched():
    """Until it is time to go nothing is changed, whatever they say."""
    with www() as balancer:
        client, server = opened(balancer)
        for said in (HELLO, b"\xff\xff not a frame at all", b"", bytes(70000)):
            server.sends(said)
            client.receivesExactly(said)
            client.sends(said)
            server.receivesExactly(said)


@pytest.mark.parametrize("seed", range(25))
def test_whenever(seed):
    """
    Wherever the pieces are cut and whenever it is time to go: the client gets whole messages and
    then a Close, the server all that the client has said.
    """
    dice = random.Random(seed)
    stream, ends, fragmented = b"", [0], False
    for _ in range(12):
        size, ping, last = dice.choice([0, 3, 125, 126, 500]), dice.random() < 0.2, True
        first = 0x89
        if ping:
            size = min(size, 125)
        else:
            last = dice.random() < 0.6
            first = (0 if fragmented else 2) | (0x80 if last else 0)
            fragmented = not last
        length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        stream += bytes([first]) + length + dice.randbytes(size)
        ends += [] if fragmented else [len(stream)]
    cuts = sorted(dice.randrange(len(stream)) for _ in range(6))
    go = dice.randrange(7)
    with talking() as (balancer, client, server):
        got = at = 0
        for number, cut in enumerate([*cuts, len(stream)]):
            if number == go:
                at = got
                leaves(balancer)
            server.sends(stream[got:cut])
            got = cut
            client.sends(MASKED)
        wanted = next((end for end in ends if end >= at), None)
        if wanted is None:
            client.receivesExactly(stream)
        else:
            client.receivesExactly(stream[:wanted] + CLOSE)
            client.sends(ANSWER)
        server.receivesExactly(MASKED * 7 + (b"" if wanted is None else ANSWER))
        balancer.running.abort()


# what the kernel passes on


def framed(size):
    """@return: a message in one frame."""
    return b"\x82\x7f" + size.to_bytes(8, "big") + bytes(size)


def passes(balancer, client, server, data):
    """The server sends, and the client gets all of it."""
    got, at = bytearray(), 0
    while at < len(data) or len(got) < len(data):
        for step in ("send", "recv"):
            try:
                if step == "send" and at < len(data):
                    at += server.socket.send(data[at : at + READ_SIZE])
                elif step == "recv":
                    got += client.socket.recv(1 << 20)
            except BlockingIOError:
                pass
        balancer.pump.turn()
    assert got == data


def test_aLongMessageIsPassedOnByTheKernel():
    """And no further than its end: what is to be said then can be said."""
    with talking() as (balancer, client, server):
        message = framed(4 * READ_SIZE + 2 * LEAST)
        passes(balancer, client, server, message[:-5])
        assert Splice.count == 1
        leaves(balancer)
        client.receivesNothing()
        server.sends(message[-5:])
        assert Splice.count == 0
        client.receivesExactly(message[-5:] + CLOSE)
        answers(client, server)


def test_atTheEndOfAMessageThatTheKernelPassesOn():
    """Nothing can be said in between, though by chance it would be the place."""
    with talking("3s") as (balancer, client, server):
        one = framed(100_000)
        assert (FULL_READS + 1) * READ_SIZE < 12 * len(one) < (FULL_READS + 2) * READ_SIZE + LEAST
        passes(balancer, client, server, one * 12)
        assert Splice.count == 1
        leaves(balancer)
        client.receivesNothing()
        balancer.advance(3.1)
        client.isReset()


def test_manyMessagesInFullReadsArePassedOnByTheKernel():
    """Nothing is known of where they end then."""
    with talking("3s") as (balancer, client, server):
        one = framed(READ_SIZE - 10)
        passes(balancer, client, server, one * (FULL_READS + 2))
        assert Splice.count == 1
        leaves(balancer)
        client.receivesNothing()
        server.sends(HELLO)
        client.receivesExactly(HELLO)
        balancer.advance(3.1)
        client.isReset()
