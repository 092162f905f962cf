"""
Bytes of a terminal as keys, in whatever pieces they come.
"""

from __future__ import annotations

_NAMED = {
    b"\x1b": "escape", b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace",
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1bOA": "up", b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left",
    b"\x1b[H": "home", b"\x1b[F": "end", b"\x1bOH": "home", b"\x1bOF": "end",
    b"\x1b[1~": "home", b"\x1b[4~": "end", b"\x1b[7~": "home", b"\x1b[8~": "end",
    b"\x1b[5~": "pageup", b"\x1b[6~": "pagedown",
}  # fmt: skip
_LONGEST = 32


class Keys:
    """Reads keys of bytes (ECMA-48 section 5.4: what begins with ESC [)."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def waiting(self) -> bool:
        """Whether a key has begun that may be complete, or not."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[str]:
        """@return: the keys that are complete; those that nobody knows are left out."""
        self._held += data
        found = []
        while self._held:
            size = self._size(self._held)
            if not size:
                break
            key, self._held = self._held[:size], self._held[size:]
            name = _NAMED.get(key) or self._letter(key)
            if name:
                found.append(name)
        return found

    def flush(self) -> list[str]:
        """
        Nothing more comes for now.

        @return: what has begun was the key Escape, or nothing.
        """
        held, self._held = self._held, b""
        return ["escape"] if held[:1] == b"\x1b" else []

    @staticmethod
    def _letter(key: bytes) -> str:
        text = key.decode("utf-8", "ignore")
        return text if len(text) == 1 and text.isprintable() else ""

    @staticmethod
    def _size(data: bytes) -> int:
        """@return: how many bytes the first key has; 0 if it is not complete."""
        first = data[0]
        if first == 0x1B:
            return _sizeOfSequence(data)
        if first < 0xC0:
            return 1
        size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        return size if len(data) >= size else 0


def _sizeOfSequence(data: bytes) -> int:
    if len(data) == 1:
        return 0
    if data[1:2] == b"O":
        return 3 if len(data) > 2 else 0
    if data[1:2] != b"[":
        # Escape, and then something else.
        return _escape(data)
    for at in range(2, len(data)):
        if 0x40 <= data[at] <= 0x7E:
            return at + 1
    return len(data) if len(data) >= _LONGEST else 0


def _escape(data: bytes) -> int:
    return 1 if data[1:2] == b"\x1b" else 2
