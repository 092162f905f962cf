"""
Where the frames and the messages of a WebSocket begin and end (RFC 6455 section 5), and the
frame that ends one.

A L{Frames} is told of everything that passes one way, in any pieces, and reads headers only:
what is between them it counts. It judges nothing: what is no WebSocket at all is passed on as
well, by whoever asks it.

Not here: the handshake, and what is in a message.
"""

from __future__ import annotations

GOING_AWAY = 1001
"""Why a Close is sent by an endpoint that goes down (RFC 6455 section 7.4.1)."""

MOST_AT_ONCE = 1024
"""Frames of one piece: of a direction in which more than so many come in one nothing is known
any more; L{Frames.between} is false for ever."""

_FIN = 0x80
_MASK = 0x80
_CONTROL = 0x8
_CLOSE = 0x8
_KEY = bytes(4)
_SHORT = 128
# A text or a binary message in one frame, compressed (RFC 7692) or not.
_MESSAGE = frozenset((0x81, 0x82, 0xC1, 0xC2))
_LOST = 1 << 64


class Frames:
    """
    The frames that pass in one direction.

    @ivar closed: a Close has begun to pass: no frame may follow it (section 5.5.1).
    """

    __slots__ = ("_fragmented", "_head", "_left", "closed")

    def __init__(self) -> None:
        # Bytes of the frame under way that are to come, its masking key among them.
        self._left = 0
        # What has come of a header that is not whole.
        self._head = b""
        self._fragmented = False
        self.closed = False

    def __repr__(self) -> str:
        state = "between" if self.between else f"{self._left} left"
        return f"<Frames {state}{' closed' if self.closed else ''}>"

    @property
    def between(self) -> bool:
        """Whether what has passed ends with a whole message, or with nothing."""
        return not (self._left or self._head or self._fragmented)

    @property
    def finished(self) -> bool:
        """Whether a Close has passed, and all of it."""
        return self.closed and not (self._left or self._head)

    @property
    def left(self) -> int:
        """How many bytes of the frame under way are to come at the least."""
        return self._left

    def lose(self) -> None:
        """What passes from now on is not told: L{between} is false for ever."""
        self._left = _LOST

    def passed(self, data: bytes) -> None:
        """More has passed."""
        left, size = self._left, len(data)
        if left:
            if size <= left:
                self._left = left - size
                return
        elif 1 < size < _SHORT and data[0] in _MESSAGE and not self._head:
            # Most pieces are one short message, and then nothing has changed.
            second = data[1]
            if second == size - 2 or (second == size - 6 + _MASK and size > 5):
                return
        self._walk(data, False)

    def skipped(self, size: int) -> None:
        """So many bytes have passed that nobody saw: at most L{left}."""
        self._left -= size

    def toBoundary(self, data: bytes) -> int:
        """
        More may pass, but only as far as a message ends.

        @return: so much of it: to the end of the first message that ends in it, or all.
        """
        return self._walk(data, True)

    def _walk(self, data: bytes, stop: bool) -> int:
        """
        @param stop: at the end of a message.
        @return: how much of C{data} was taken.
        """
        held = len(self._head)
        if held:
            data = self._head + data
            self._head = b""
        at, size, fragmented = self._left, len(data), self._fragmented
        frames = 0
        while at < size:
            if stop and at and not fragmented:
                break
            start = at + 2
            if start > size:
                self._head = data[at:]
                at = size
                break
            length = data[at + 1]
            if length & _MASK:
                length ^= _MASK
                key = 4
            else:
                key = 0
            if length > 125:
                # Two bytes more, or eight (section 5.2).
                start += 2 if length == 126 else 8
                if start > size:
                    self._head = data[at:]
                    at = size
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            first = data[at]
            if not first & _CONTROL:
                fragmented = first < _FIN
            elif first & 0xF == _CLOSE:
                self.closed = True
            at = start + length + key
            frames += 1
            if frames == MOST_AT_ONCE:
                # Reading them would cost more than it is worth.
                at = size + _LOST
        self._fragmented = fragmented
        if at > size:
            self._left = at - size
            return size - held
        self._left = 0
        return at - held


def close(code: int, masked: bool) -> bytes:
    """
    @param masked: as a client has to (section 5.3); the key of zeros hides nothing, as there is
        nothing to hide and no script that could have chosen it.
    @return: a Close frame without a reason.
    """
    payload = code.to_bytes(2, "big")
    if not masked:
        return bytes((_FIN | _CLOSE, len(payload))) + payload
    return bytes((_FIN | _CLOSE, _MASK | len(payload))) + _KEY + payload
