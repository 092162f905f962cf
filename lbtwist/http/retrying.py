"""
The attempts at one exchange: what fails is made again, or is asked of a second server, as
long as the client has seen nothing of it.

A L{Trying} stands between the relay and its connection to a server until the head of a
response is the one that the client gets. There is one only in pools that ask twice; what
connects and who is next is the pool's, what is allowed is L{lbtwist.retries}'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbtwist.config.again import EMPTY, JUNK, TIMEOUT
from lbtwist.deadlines import Timed
from lbtwist.http.hedging import Hedge
from lbtwist.pool import Pool
from lbtwist.retries import Retries, blame, isForbidden
from lbtwist.sansio.responsehead import ResponseHead
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.http.back import HTTPBack
    from lbtwist.http.relay import Relay

_MOST_SAID = 4
"""Of what has gone wrong with one exchange the log says so many things, the last ones."""


class Trying(Timed):
    """
    The attempts at one exchange. Its deadline is when a second server is asked.

    @ivar exchange: holds the slot of the attempt that counts.
    @ivar _body: what was sent of the request's body; L{None} if that is too much to keep.
    @ivar _begun: the client has got an interim response.
    @ivar _hedges: a second server may still be asked.
    @ivar _hedge: the second attempt under way.
    @ivar _told: what has gone wrong before.
    """

    __slots__ = (
        "_begun", "_body", "_hedge", "_hedges", "_pool", "_relay", "_retries", "_said", "_told",
        "exchange",
    )  # fmt: skip

    def __init__(self, relay: Relay, pool: Pool, retries: Retries) -> None:
        super().__init__()
        self._relay = relay
        self._pool = pool
        self._retries = retries
        self.exchange = exchange = relay.exchange
        self._body: bytearray | None = None
        self._begun = False
        self._hedge: Hedge | None = None
        self._told: tuple[str, ...] = ()
        self._said = ""
        head = exchange.request
        assert head is not None
        self._hedges = (
            bool(retries.hedgeAfter)
            and head.idempotent
            and head.length == 0
            and not head.upgrade
            and not isForbidden(exchange)
            # Who is bound to a server would be answered by one that does not know it.
            and pool.persistence is None
            and not (exchange.settings or {}).get("server")
        )
        if retries.budget is not None:
            retries.budget.asked()

    # from the relay

    def departs(self, data: bytes) -> None:
        """
        The request is about to be sent.

        @param data: of its body.
        """
        self._collect()
        self._body = bytearray(data) if len(data) <= self._retries.buffer else None
        if self._hedges:
            pool = self._pool
            pool.deadlines.arm(self, self._retries.hedgeAfter, pool.seconds())

    def keep(self, data: bytes) -> bool:
        """
        More of the request's body was sent.

        @return: whether all of it is kept.
        """
        body = self._body
        if body is None:
            return False
        if len(body) + len(data) > self._retries.buffer:
            self._body = None
            return False
        body += data
        return True

    def unavailable(self) -> None:
        """There is no server, and no further attempt."""
        self._collect()
        self._settle()

    def leave(self) -> None:
        """The exchange ends otherwise."""
        self._pool.deadlines.forget(self)
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            hedge.leave()

    # from the server: L{lbtwist.http.back.Answered}

    def informational(self, head: ResponseHead) -> None:
        self._begun = True
        self._hedges = False
        self.leave()
        self._relay.informational(head)

    def responseReceived(
        self, head: ResponseHead, data: bytes, end: bool, trailers: bytes
    ) -> None:
        relay = self._relay
        back = None if end else relay.back
        status = head.status
        if status in self._retries.statuses and self._another(
            str(status), f"a response with {status}", back
        ):
            return
        self._settle()
        if back is not None:
            back.relay = relay
        relay.responseReceived(head, data, end, trailers)

    def upgraded(self, head: ResponseHead, data: bytes) -> None:
        self._settle()
        self._relay.upgraded(head, data)

    def responseBroken(self, reason: str) -> None:
        if not self._another(JUNK, reason, None):
            self._settle()
            self._relay.responseBroken(self._with(reason))

    def serverLost(self, reason: str, nothing: bool) -> None:
        relay = self._relay
        hedge = self._hedge
        if nothing and (hedge is None or hedge.back is None) and relay.renews:
            self.leave()
            relay.serverLost(reason, nothing)
        elif not self._another(EMPTY if nothing else JUNK, reason, None):
            self._settle()
            relay.serverLost(self._with(reason), False)

    def serverTimeout(self) -> None:
        relay = self._relay
        if not self._another(TIMEOUT, "no response in time", relay.back):
            self._settle()
            relay.serverTimeout()

    # Of the rest of a response the relay is told itself.

    def responseData(self, data: bytes) -> None:
        raise NotImplementedError

    def responseEnd(self, data: bytes, trailers: bytes) -> None:
        raise NotImplementedError

    # another attempt

    def _another(self, failure: str, reason: str, back: HTTPBack | None) -> bool:
        """
        An attempt has failed.

        @param failure: a word of C{retry-on}.
        @param back: its connection, where that has not ended.
        @return: whether another attempt has taken its place.
        """
        exchange = self.exchange
        pool = self._pool
        server = exchange.server
        assert server is not None
        said = f"{server.pool}/{server.name}: {reason}"
        hedge = self._hedge
        if hedge is not None and hedge.back is not None:
            exchange.tried += (server,)
            self._note(said)
            self._replace(hedge, back)
            # Not before: it may end the sessions of the server, and this was one of them.
            blame(server, failure, reason)
            return True
        self.leave()
        if not self._may(failure):
            return False
        found = pool.another(exchange)
        if found is None:
            return False
        self._spend()
        self._note(said)
        if back is not None:
            back.abandon()
        exchange.connectedAt = 0.0
        assert self._body is not None
        self._relay.anew(bytes(self._body))
        # It is none of the server's sessions any more, which this may end.
        blame(server, failure, reason)
        pool.retry(self._relay, found)
        return True

    def _may(self, failure: str) -> bool:
        retries = self._retries
        return (
            failure in retries.after
            and self.exchange.retries < retries.most
            and not self._begun
            and self._body is not None
            and self._relay.complete
            and retries.repeatable(self.exchange)
            and self._affordable()
        )

    def _affordable(self) -> bool:
        budget = self._retries.budget
        if budget is None or budget.left:
            return True
        self._pool.traffic.overBudget += 1
        self._note("the retry budget is used up")
        return False

    def _spend(self) -> None:
        budget = self._retries.budget
        if budget is not None:
            budget.spend()

    def _settle(self) -> None:
        """It is known what the client gets."""
        if self._hedge is not None:
            assert self.exchange.server is not None
            self._note(f"{self.exchange.server.name} was first")
        self.leave()
        self._relay.settled()

    # a second server

    def expired(self) -> None:
        """The first has not answered."""
        self._hedges = False
        if not self._affordable():
            return
        pool = self._pool
        first = self.exchange.server
        self._hedge = hedge = Hedge(self, self._relay, pool)
        if not hedge.begin():
            self._hedge = None
            return
        self._spend()
        pool.traffic.hedges += 1
        second = hedge.exchange.server
        assert first is not None and second is not None
        self._note(
            f"{first.pool}/{first.name}: no response in {self._retries.hedgeAfter:g}s,"
            f" {second.name} was asked too"
        )

    def hedgeAnswered(self, status: int, ended: bool) -> bool:
        """
        The second server has answered before the first.

        @param ended: that is the whole response, and its connection is not its own any more.
        @return: whether it is heard.
        """
        hedge = self._hedge
        assert hedge is not None
        server = hedge.exchange.server
        assert server is not None
        if status in self._retries.statuses:
            # The first may still do better.
            hedge.leave(ended)
            blame(server, str(status), f"a response with {status}")
            self.hedgeFailed(server, f"{server.pool}/{server.name}: a response with {status}")
            return False
        self._note(f"{server.name} was first")
        self._replace(hedge, self._relay.back)
        return True

    def hedgeFailed(self, server: Server, reason: str) -> None:
        """Nothing comes of the second attempt, which holds no slot any more."""
        self._hedge = None
        self.exchange.tried += (server,)
        self._note(reason)

    def _replace(self, hedge: Hedge, back: HTTPBack | None) -> None:
        """
        The second attempt takes the place of the first.

        @param back: the connection of the first, where that has not ended.
        """
        self._hedge = None
        exchange = self.exchange
        relay = self._relay
        pool = self._pool
        relay.anew(b"")
        if back is not None:
            back.abandon()
        pool.release(exchange)
        relay.back = found = hedge.replace(exchange)
        if found.relay is hedge:
            found.relay = self
        assert exchange.server is not None
        exchange.server.sessions.add(relay)
        pool.traffic.hedgesWon += 1

    # what the log says

    def _note(self, said: str) -> None:
        self._told = (*self._told, said)[-_MOST_SAID:]
        self.exchange.reason = self._said = "; ".join(self._told)

    def _collect(self) -> None:
        """Somebody else may have said something, as the pool does of a connect that failed."""
        reason = self.exchange.reason
        if reason and reason != self._said:
            self._note(reason)

    def _with(self, reason: str) -> str:
        return "; ".join((*self._told, reason))
