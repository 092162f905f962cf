"""
A little memory that all workers share: how many connections each of them has, so that who has
more than others leaves the next one to them. Each writes its own number and nobody else's.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

NOBODY = -1
"""In the place of a worker that is not there."""

MOST_LEFT = 2
"""
So often in a row a client is left to others. Who does not take him has something else to do, or
cannot, and is not waited for again before that has changed.
"""


class Board:
    """
    The numbers of all workers.

    @ivar active: by their index.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        """@param descriptor: of the memory; it may be closed after this."""
        self._memory = mmap.mmap(descriptor, count * 8)
        self.active = memoryview(self._memory).cast("q")

    @classmethod
    def make(cls, count: int) -> tuple[int, Board]:
        """@return: the descriptor of a new one, which is the caller's, and the board."""
        descriptor = os.memfd_create("lbtwist-workers", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, count * 8)
        board = cls(descriptor, count)
        for index in range(count):
            board.active[index] = NOBODY
        return descriptor, board

    def turn(self, index: int, count: Callable[[], int]) -> Callable[[], bool]:
        """
        @param count: how many connections a worker has now.
        @return: asked when there is a client: whether it is this worker's turn.
        """
        active = self.active
        active[index] = count()
        left, waited = 0, NOBODY

        def isOurs() -> bool:
            nonlocal left, waited
            mine = active[index] = count()
            least = min((one for one in active if one != NOBODY), default=mine)
            if least != waited:
                left, waited = 0, least
            if mine <= least + 1 or left >= MOST_LEFT:
                return True
            left += 1
            return False

        return isOurs
