"""
What has to be told to somebody far away, who may be slow or away: kept in order within a
bound, sent one after the other, tried again a few times, and never waited for.

How it is sent is not known here.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.errors import BalancerError
from lbtwist.events import plain

HOST = socket.gethostname()
"""The name of this machine: of several balancers each tells for itself."""

RETRIES = 3
"""How often the same is sent again that could not be sent."""

PAUSE = 1.0
"""Seconds before it is sent again, doubled each time."""

LAST = 3.0
"""Seconds that the end of the balancer waits for what is not sent yet."""

T = TypeVar("T")


class Outbox(Generic[T]):
    """
    Events, or whatever is made of them, on their way to one place.

    @ivar lost: events that could not be sent, or that were too many, since the last that was.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        deliver: Callable[[list[T], int], Deferred[Any]],
        reactor: Any,
        most: int,
        atOnce: int = 1,
        wait: float = 0.0,
        every: float = 0.0,
        hurries: bool = False,
    ) -> None:
        """
        @param name: what it is called in the log.
        @param deliver: is given some events, and how many were lost before them. Its Deferred
            may be cancelled, and is the only thing that is waited for: it takes care of its
            own deadline.
        @param most: so many events wait; the oldest are lost for new ones.
        @param atOnce: so many are sent together.
        @param wait: seconds from an event to the sending, for others to join it.
        @param every: seconds at least from one sending to the next.
        @param hurries: whether as many as are sent together wait for no others.
        """
        self._name = name
        self._deliver = deliver
        self._reactor = reactor
        self._most = most
        self._atOnce = atOnce
        self._wait = wait
        self._every = every
        self._hurries = hurries
        self._waiting: deque[T] = deque()
        self._sending: list[T] = []
        self._delivery: Deferred[Any] | None = None
        self._timer: Any = None
        self._failures = 0
        self._failing = False
        self._notBefore = 0.0
        self._ended: Deferred[None] | None = None
        self.lost = 0

    def __repr__(self) -> str:
        return f"<Outbox {self._name} {len(self._waiting)} wait {self.lost} lost>"

    def put(self, event: T) -> None:
        """Have an event sent."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(event)
        if self._timer is None and self._delivery is None:
            self._later(self._wait)

    def _later(self, seconds: float) -> None:
        pause = max(seconds, self._notBefore - self._reactor.seconds())
        ending = self._ended is not None
        self._timer = self._reactor.callLater(0.0 if ending else pause, self._send)

    def _send(self) -> None:
        self._timer = None
        if not self._sending:
            few = min(self._atOnce, len(self._waiting))
            self._sending = [self._waiting.popleft() for _ in range(few)]
        self._delivery = delivery = maybeDeferred(self._deliver, self._sending, self.lost)
        delivery.addBoth(self._told, delivery)

    def _told(self, answer: Any, delivery: Deferred[Any]) -> None:
        if self._delivery is not delivery:
            # It was given up.
            return
        self._delivery = None
        if isinstance(answer, Failure):
            self._failed(answer)
        else:
            self._sent()
        if self._timer is None and self._waiting:
            full = self._hurries and len(self._waiting) >= self._atOnce
            self._later(0.0 if full else self._wait)
        elif self._timer is None:
            self._finish()

    def _sent(self) -> None:
        self._sending = []
        self._failures = 0
        self._notBefore = self._reactor.seconds() + self._every
        if self._failing:
            self._log.info("{name} works again; events lost: {lost}",
                           name=self._name, lost=self.lost)  # fmt: skip
        self._failing = False
        self.lost = 0

    def _failed(self, failure: Failure) -> None:
        if self._failures < RETRIES and self._ended is None:
            self._later(PAUSE * 2**self._failures)
            self._failures += 1
            return
        self._failures = 0
        self.lost += len(self._sending)
        self._sending = []
        if self._failing:
            return
        self._failing = True
        reason = failure.getErrorMessage()
        if not failure.check(BalancerError):
            reason = f"{type(failure.value).__name__}: {reason}"
        self._log.warn("{name} fails: {reason}; what it should tell is lost until it works again",
                       name=self._name, reason=plain(reason))  # fmt: skip

    # the end

    def end(self) -> Deferred[None]:
        """
        Send what waits, once more and without a pause.

        @return: fires when nothing is left of it, after L{LAST} seconds at the latest.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._delivery is None and not self._waiting and not self._sending:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._ended = ended
        late = self._reactor.callLater(LAST, self._giveUp)
        ended.addBoth(lambda _: late.cancel() if late.active() else None)
        if self._delivery is None:
            self._send()
        return ended

    def _giveUp(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.lost += len(self._sending) + len(self._waiting)
        self._sending = []
        self._waiting.clear()
        self._log.warn("{name}: events not sent before the end: {lost}",
                       name=self._name, lost=self.lost)  # fmt: skip
        self._finish()

    def _finish(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)
