"""Where the frames and messages of a WebSocket end, however they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from lbtwist.sansio.websocket import GOING_AWAY, MOST_AT_ONCE, Frames, close
from lbtwist.testing import inPieces

FIN = 0x80


def frame(payload=b"", first=FIN | Opcode.BINARY, masked=False):
    """@return: a frame with the least header there is for it."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    if masked:
        return bytes([first, length[0] | 0x80]) + length[1:] + b"mask" + payload
    return bytes([first]) + length + payload


def told(*pieces):
    """@return: what is known after these pieces."""
    frames = Frames()
    for piece in pieces:
        frames.passed(piece)
    return frames


def test_nothingHasPassed():
    assert told().between
    assert told(b"").between
    assert not told().closed


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [*range(8), *range(118, 136), 65535, 65536, 70000])
def test_sizes(size, masked):
    whole = frame(bytes(size), masked=masked)
    assert told(whole).between
    assert not told(whole[:-1]).between
    assert told(whole[:-1], whole[-1:]).between
    assert told(whole[:-1]).left <= 1
    assert not told(whole, b"\x82").between


@pytest.mark.parametrize("size", [*range(2, 9), *range(124, 134)])
def test_onePieceIsAsManyPieces(size):
    """Whatever length it has of itself: what most pieces are is not taken for granted."""
    for second in range(256):
        piece = bytes([FIN | Opcode.TEXT, second]) + bytes(size - 2)
        whole, pieces = told(piece), told(*(bytes([byte]) for byte in piece))
        assert (whole.between, whole.left) == (pieces.between, pieces.left)


def test_theRestOfAHeaderThatLooksLikeAMessage():
    assert told(b"\x82", b"\x81\x04key_").between


def test_inPieces():
    """A short and a long header, masked and not, each cut at every place."""
    for masked in (False, True):
        stream = frame(b"ab", masked=masked) + frame(bytes(130), masked=masked) + frame(bytes(0))
        for pieces in inPieces(stream):
            frames = Frames()
            ends, at = [], 0
            for piece in pieces:
                frames.passed(piece)
                at += len(piece)
                if frames.between:
                    ends.append(at)
            assert ends[-1] == len(stream)
            assert set(ends) <= {
                len(frame(b"ab", masked=masked)), len(stream) - 2, len(stream)
            }  # fmt: skip
            if len(pieces) == len(stream):
                assert len(ends) == 3


def test_aMessageOfSeveralFrames():
    """Between two of its frames no message ends, also where a ping comes in between."""
    first = frame(b"one", first=Opcode.TEXT)
    ping = frame(b"?", first=FIN | Opcode.PING)
    middle = frame(b"two", first=Opcode.CONTINUATION)
    last = frame(b"three", first=FIN | Opcode.CONTINUATION)
    frames = Frames()
    seen = []
    for piece in (first, ping, middle, ping, last):
        frames.passed(piece)
        seen.append(frames.between)
    assert seen == [False, False, False, False, True]


def test_aClose():
    frames = told(frame(b"x"))
    assert not frames.closed
    said = frame(b"\x03\xe8bye", first=FIN | Opcode.CLOSE)
    frames.passed(said[:2])
    assert frames.closed and not frames.finished
    frames.passed(said[2:])
    assert frames.finished and frames.between


def test_aCloseInTheMiddleOfAMessage():
    """Control frames may come there (RFC 6455 section 5.4)."""
    frames = told(frame(b"x", first=Opcode.TEXT), close(GOING_AWAY, False))
    assert frames.finished and not frames.between


@pytest.mark.parametrize("piece", [b"\x88", b"\x88\x82", b"\x88\x02\x03"])
def test_aCloseThatHasNotPassed(piece):
    assert not told(piece).finished


def test_toTheNextBoundary():
    message = frame(b"abc")
    frames = told(message[:3])
    assert frames.toBoundary(message[3:] + message[:4]) == len(message) - 3
    assert frames.between


def test_toTheBoundaryWhereTheHeaderIsCut():
    message = frame(bytes(200))
    for cut in range(1, len(message)):
        frames = told(message[:cut])
        assert frames.toBoundary(message[cut:] + message) == len(message) - cut
        assert frames.between


def test_toTheBoundaryOfAMessageOfSeveralFrames():
    one = frame(b"one", first=Opcode.TEXT)
    rest = frame(b"?", first=FIN | Opcode.PING) + frame(b"", first=FIN | Opcode.CONTINUATION)
    frames = told(one)
    assert frames.toBoundary(rest + one) == len(rest)
    assert frames.between


def test_noBoundaryInSight():
    frames = told(frame(bytes(100))[:10])
    assert frames.toBoundary(bytes(20)) == 20
    assert not frames.between
    assert frames.toBoundary(bytes(80)) == 72
    assert frames.between


def test_whatNobodySaw():
    frames = told(frame(bytes(1000))[:104])
    assert frames.left == 900
    frames.skipped(899)
    assert not frames.between
    frames.skipped(1)
    assert frames.between


def test_whatIsLost():
    frames = Frames()
    frames.lose()
    frames.passed(frame(b"x"))
    assert not frames.between


def test_aLengthThatIsNone():
    """Its highest bit has to be 0 (RFC 6455 section 5.2); such a frame never ends."""
    frames = told(b"\x82\x7f" + b"\xff" * 8)
    frames.passed(bytes(1 << 20))
    assert not frames.between


def test_tooManyFrames():
    """Whoever sends nothing but headers has them read for a while."""
    empty = frame()
    assert told(empty * (MOST_AT_ONCE - 1)).between
    assert not told(empty * MOST_AT_ONCE).between
    assert told(*[empty] * (2 * MOST_AT_ONCE)).between


def test_whatWeSayIsUnderstood():
    """By another implementation, in either direction."""
    for masked, client in ((False, True), (True, False)):
        reader = FrameProtocol(client, [])
        reader.receive_bytes(close(GOING_AWAY, masked))
        [seen] = reader.received_frames()
        assert (seen.opcode, seen.payload) == (Opcode.CLOSE, (CloseReason.GOING_AWAY, ""))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2, 125, 126, 300]), st.booleans(), st.booleans(),
            st.sampled_from([Opcode.PING, Opcode.BINARY]),
        ),
        max_size=8,
    ),
    st.data(),
)  # fmt: skip
def test_likeAnotherImplementation(shapes, data):
    """
    Wherever a stream is cut: a message ends there exactly where wsproto has given all that was
    sent.
    """
    stream, ends, open_ = b"", [0], False
    for size, fin, masked, opcode in shapes:
        if opcode is Opcode.PING:
            stream += frame(bytes(min(size, 125)), FIN | opcode, masked)
        else:
            kind = Opcode.CONTINUATION if open_ else opcode
            stream += frame(bytes(size), kind | (FIN if fin else 0), masked)
            open_ = not fin
        if not open_:
            ends.append(len(stream))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    frames, at = Frames(), 0
    for cut in [*cuts, len(stream)]:
        frames.passed(stream[at:cut])
        at = cut
        assert frames.between == (at in ends)
    frames, at = Frames(), 0
    found = [0]
    while at < len(stream):
        at += frames.toBoundary(stream[at:])
        found += [at] if frames.between else []
    assert found == ends
