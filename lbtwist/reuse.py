"""
Connections to servers that nobody uses now: keep them, give them, let them go.

Knows nothing of what is spoken on them. The newest is given first, so the others
grow old and can be let go.
"""

from __future__ import annotations

from typing import Protocol

from lbtwist.config.model import PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.server import Endpoint, Server

MOST_PRIVATE = 4
"""Connections that are kept for one client, each to another server."""


_OPTIONS = (
    "http_reuse", "idle_connections", "idle_timeout", "idle_age", "retry_on", "timeout_server",
    "absolute_uri",
)  # fmt: skip
"""What L{lbtwist.http.back} and L{Reuse} go by."""


class Idle(Protocol):
    """
    What is kept: a connection that can tell its age and whether it still stands.

    @ivar createdAt: the clock's seconds when it was made.
    @ivar uses: how many exchanges it has served.
    @ivar doubtful: something may come on it that belongs to what was before.
    @ivar endpoint: where it goes.
    """

    endpoint: Endpoint
    createdAt: float
    uses: int
    doubtful: bool
    expires: float
    turn: int

    def ended(self) -> bool:
        """Whether the server has closed it or sent something unasked."""

    def close(self) -> None:
        """Let it go."""

    def expired(self) -> None:
        """It was idle for too long: close it."""


class Reuse:
    """
    The idle connections of one pool's servers; they are in L{Server.idle}.

    @ivar mode: C{http-reuse}: with C{safe} the first exchange of a client's
        connection is sent only over one that has proved, by a second exchange,
        that the server keeps it.
    """

    def __init__(self, config: PoolConfig, deadlines: Deadlines) -> None:
        self._config = config
        self.mode = config.http_reuse
        self._most = config.idle_connections
        self._timeout = config.idle_timeout
        self._age = config.idle_age
        # Nothing is sent again, whatever happens.
        self._once = not config.retry_on
        self._deadlines = deadlines

    def isOf(self, config: PoolConfig) -> bool:
        """@return: whether connections would be opened and kept by these options just so."""
        return all(getattr(config, name) == getattr(self._config, name) for name in _OPTIONS)

    def take(self, server: Server, first: bool, careful: bool) -> Idle | None:
        """
        Take a connection to a server.

        @param first: it is for the first exchange of a client's connection.
        @param careful: the exchange could not be repeated if the connection
            turned out to be closed, so it is looked at before.
        @return: L{None} if a new one has to be made.
        """
        idle = server.idle
        while idle:
            if first and self.mode == "safe":
                for at in range(len(idle) - 1, -1, -1):
                    if idle[at].uses > 1:
                        found: Idle = idle.pop(at)
                        break
                else:
                    return None
            else:
                found = idle.pop()
            found.expires = 0.0
            if (careful or found.doubtful or self._once) and found.ended():
                found.close()
                continue
            return found
        return None

    def takePrivate(self, kept: dict[Server, Idle], server: Server, careful: bool) -> Idle | None:
        """
        Take a connection that belongs to one client.

        @param kept: that client's, by the server.
        @param careful: see L{take}.
        """
        found = kept.pop(server, None)
        if found is None:
            return None
        found.expires = 0.0
        if (
            found.endpoint is not server.endpoint
            or ((careful or found.doubtful or self._once) and found.ended())
        ):  # fmt: skip
            found.close()
            return None
        return found

    def keepPrivate(
        self, kept: dict[Server, Idle], server: Server, connection: Idle, now: float
    ) -> bool:
        """
        Offer a connection that its server takes for one client's: nobody else ever gets
        it.

        @param kept: that client's.
        @return: see L{keep}.
        """
        if not self._keeps(server, connection, now):
            return False
        if len(kept) >= MOST_PRIVATE:
            kept.pop(next(iter(kept))).close()
        kept[server] = connection
        self._deadlines.arm(connection, self._timeout, now)  # type: ignore[arg-type]
        return True

    def keep(self, server: Server, connection: Idle, now: float) -> bool:
        """
        Offer a connection that is not used any more.

        @return: whether it is kept; otherwise the caller closes it.
        """
        if len(server.idle) >= self._most or not self._keeps(server, connection, now):
            return False
        server.idle.append(connection)
        self._deadlines.arm(connection, self._timeout, now)  # type: ignore[arg-type]
        return True

    def _keeps(self, server: Server, connection: Idle, now: float) -> bool:
        return not (
            self.mode == "never"
            or not server.health.up
            or connection.endpoint is not server.endpoint
            or (server.origin is not None and server.origin.once)
            or (self._age and now - connection.createdAt > self._age)
        )

    def drop(self, server: Server) -> None:
        """Let go of all connections to a server."""
        idle, server.idle = server.idle, []
        for connection in idle:
            connection.close()
