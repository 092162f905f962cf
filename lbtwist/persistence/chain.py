"""
Several kinds of persistence, asked one after the other: the first that recalls a server
that can be had wins, and the others learn it.

It names servers of its pool and gives no slots; that is L{lbtwist.pool}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IClaiming, IInspecting, IResponseRule
from lbtwist.persistence.bond import Bond, Came
from lbtwist.server import Server


class Chain:
    """
    The persistence of one pool.

    @ivar kinds: each an L{lbtwist.interfaces.IPersistence}, the first to be asked first.
    @ivar inspecting: those that look at the first bytes of sessions.
    @ivar names: what each is called.
    @ivar responds: whether there is one that looks at responses.
    @ivar store: the L{lbtwist.interfaces.IPersistenceStore} of its kinds, if there is one.
    @ivar respond: called when the head of a response has come, and rules have seen it.
    @ivar hits: exchanges whose client came back to the server it had.
    @ivar misses: those whose client had none, or had one that could not be had.
    @ivar redispatched: exchanges whose client was bound to a server that could not be had.
    """

    def __init__(self, kinds: Sequence[Any], names: Sequence[str] = ()) -> None:
        """
        @param names: what each kind is called in the configuration.
        """
        self.kinds = tuple(kinds)
        self.names = tuple(names) or tuple(type(kind).__name__.lower() for kind in kinds)
        self.store: Any = None
        self._several = len(self.kinds) > 1
        self.hits = self.misses = self.redispatched = 0
        self.inspecting = tuple(kind for kind in kinds if IInspecting.providedBy(kind))
        self._claiming = tuple(kind for kind in kinds if IClaiming.providedBy(kind))
        self._responding: tuple[Any, ...] = tuple(
            kind for kind in kinds if IResponseRule.providedBy(kind)
        )
        self._following = tuple(kind for kind in kinds if hasattr(kind, "serversChanged"))
        self._servers: dict[str, Server] = {}
        self._recallable: dict[str, Server] = {}
        self._offered: set[str] = set()
        self.responds = bool(self._responding)
        self.respond: Callable[[Exchange], object] = self._respond
        if len(self._responding) == 1:
            self.respond = self._responding[0].responseReceived

    def __repr__(self) -> str:
        return f"<Chain {', '.join(map(repr, self.kinds))}>"

    def serversChanged(
        self, servers: Collection[Server], offered: Collection[Server] | None = None
    ) -> None:
        """
        @param servers: of the pool, those that cannot be had among them.
        @param offered: to new clients, which in a panic are others than the usable; L{None}:
            no others.
        """
        if offered is None:
            offered = [one for one in servers if one.usable]
        self._servers = {server.name: server for server in servers}
        self._offered = {one.name for one in offered}
        self._recallable = {
            one.name: one for one in servers if one.recallable or one.name in self._offered
        }
        for kind in self._following:
            kind.serversChanged(self._servers.values())

    def bound(self, server: Server) -> int:
        """
        @return: how many clients are known to belong to a server; -1 if that cannot be said,
            as where only they know it.
        """
        counts = [kind.bound(server.name) for kind in self.kinds if hasattr(kind, "bound")]
        return max(counts, default=-1)

    # before a server is chosen

    def recall(self, exchange: Exchange) -> Server | Deferred[Server | None] | None:
        """
        @return: the server that the client had, if it can be had; or a Deferred of it, which
            does not fail but by being cancelled.
        """
        bond = exchange.bond = Bond()
        settings = exchange.settings
        if settings is not None:
            named = self._named(exchange)
            if settings.get("persist") == "ignore":
                bond.rule = "ignore"
            elif named is not None:
                bond.rule = "server"
            if bond.rule:
                # A rule knows better; but a server may not see what is ours in a request.
                for kind in self._responding:
                    kind.recall(exchange)
                if bond.came not in ("-", Came.NONE):
                    bond.came = Came.UNUSED
                if bond.rule == "ignore" or named is None or named.name in self._offered:
                    return None
                # No balancer is offered it.
                self._teach(exchange, named.name, None)
                return named
        return self._ask(exchange, iter(self.kinds))

    def _named(self, exchange: Exchange) -> Server | None:
        """@return: the server that a rule has named, if that counts."""
        settings = exchange.settings or {}
        name = settings.get("server")
        if name is None or not (name in self._offered or settings.get("persist") == "force"):
            return None
        return self._usable(name, exchange)

    def foresee(self, exchange: Exchange) -> tuple[Server | None, str, bool]:
        """
        What L{recall} would say now, with nothing changed by it.

        @return: the server; in words how it is known, or why it is not; and whether that is
            certain.
        """
        if (exchange.settings or {}).get("persist") == "ignore":
            return None, "a rule has said that it does not count", True
        named = self._named(exchange)
        if named is not None:
            return (None if named.name in self._offered else named), "a rule", True
        for name, kind in zip(self.names, self.kinds, strict=True):
            if not hasattr(kind, "foresee"):
                return None, f"{name} does not foresee what it will say", False
            silent = exchange.rehearsal and exchange.request is None
            if silent and kind in self.inspecting and kind.inspectClient(exchange) is not None:
                return None, f"{name} has to see the first bytes of the session", False
            found = kind.foresee(exchange)
            if isinstance(found, Deferred):
                found.addErrback(_nothing)
                found.cancel()
                return None, f"{name} has to ask its store", False
            server = None if found is None else self._usable(found, exchange)
            if server is not None:
                return server, name, True
        return None, "", True

    def _ask(
        self, exchange: Exchange, kinds: Iterator[Any]
    ) -> Server | Deferred[Server | None] | None:
        """@param kinds: those that have not been asked yet."""
        for kind in kinds:
            name = kind.recall(exchange)
            if name is None:
                continue
            if name.__class__ is Deferred:
                # The Deferred that it gives is waited for.
                deferred: Deferred[Server | None] = name.addCallback(
                    self._told, exchange, kind, kinds
                )
                return deferred
            server = self._recallable.get(name)
            if server is None or exchange.tried:
                server = self._recalled(name, exchange, kind)
                if server is None:
                    continue
            assert exchange.bond is not None
            exchange.bond.by = kind
            self.hits += 1
            if self._several:
                self._teach(exchange, name, kind)
            return server
        self.misses += 1
        return None

    def _told(self, name: str | None, exchange: Exchange, kind: Any, kinds: Iterator[Any]) -> Any:
        server = None if name is None else self._recalled(name, exchange, kind)
        if server is None:
            return self._ask(exchange, kinds)
        assert exchange.bond is not None and name is not None
        exchange.bond.by = kind
        self.hits += 1
        self._teach(exchange, name, kind)
        return server

    def _recalled(self, name: str, exchange: Exchange, kind: Any) -> Server | None:
        bond = exchange.bond
        assert bond is not None
        server = self._usable(name, exchange)
        if server is None:
            bond.unusable += ((kind, name),)
            if bond.came == Came.VALID:
                bond.came = Came.DOWN
            if len(bond.unusable) == 1:
                self.redispatched += 1
        return server

    def _teach(self, exchange: Exchange, name: str, but: Any) -> None:
        for kind in self.kinds:
            if kind is not but:
                kind.remember(exchange, name)

    def _usable(self, name: str, exchange: Exchange) -> Server | None:
        servers = self._recallable
        if (exchange.settings or {}).get("persist") == "force":
            servers = self._servers
        server = servers.get(name)
        if server is None or server in exchange.tried or server.endpoint is None:
            return None
        return None if server.leaving else server

    def keeps(self, exchange: Exchange, server: Server) -> bool:
        """@return: whether a client that waits for the server it had may still do so."""
        return self._usable(server.name, exchange) is server

    # when one was chosen

    def claim(self, exchange: Exchange, server: Server) -> Server | Deferred[Server]:
        """
        @param server: has been chosen for a client that was bound to none.
        @return: the server that has the client now: this one, or the one that a parallel
            exchange of the client has got; or a Deferred of it, as that of L{recall}.
        """
        bond = exchange.bond
        if bond is None:
            # It came when its pool had no persistence yet.
            return server
        if bond.rule:
            if bond.rule == "server":
                self._teach(exchange, server.name, None)
            return server
        return self._claim(exchange, server, iter(self._claiming))

    def _claim(
        self, exchange: Exchange, server: Server, kinds: Iterator[Any]
    ) -> Server | Deferred[Server]:
        """@param kinds: those that have not been asked yet."""
        bond = exchange.bond
        assert bond is not None
        for kind in kinds:
            instead = next((name for one, name in bond.unusable if one is kind), "")
            held = kind.claim(exchange, server.name, instead)
            if held.__class__ is Deferred:
                deferred: Deferred[Server] = held.addCallback(
                    self._held, exchange, server, kind, kinds
                )
                return deferred
            server = self._settled(held, exchange, server, kind)
        return server

    def _held(
        self, held: str | None, exchange: Exchange, server: Server, kind: Any, kinds: Iterator[Any]
    ) -> Server | Deferred[Server]:
        return self._claim(exchange, self._settled(held, exchange, server, kind), kinds)

    def _settled(self, held: str | None, exchange: Exchange, server: Server, kind: Any) -> Server:
        """
        @param held: the server that has the client, as one kind knows it.
        @return: the one it goes to.
        """
        bond = exchange.bond
        assert bond is not None
        if held is None:
            return server
        if held != server.name:
            other = self._usable(held, exchange)
            if other is not None and not bond.claims:
                return other
            # That one cannot be had, or kinds that come first say otherwise.
            kind.remember(exchange, server.name)
        bond.claims += (kind,)
        return server

    def connected(self, exchange: Exchange) -> None:
        """The connection to the server stands."""
        bond = exchange.bond
        if bond is not None and bond.claims:
            claims, bond.claims = bond.claims, ()
            assert exchange.server is not None
            for kind in claims:
                kind.confirm(exchange, exchange.server.name)

    def failed(self, exchange: Exchange, server: Server) -> None:
        """It could not be made."""
        bond = exchange.bond
        if bond is None:
            return
        claims, bond.claims = bond.claims, ()
        for kind in claims:
            kind.release(exchange, server.name)
        by, bond.by = bond.by, None
        if by is not None:
            bond.unusable += ((by, server.name),)
            self.redispatched += 1
            if bond.came == Came.VALID and bond.said.name == server.name:
                bond.came = Came.DOWN

    # the response

    def _respond(self, exchange: Exchange) -> None:
        for kind in self._responding:
            kind.responseReceived(exchange)


def _nothing(failure: object) -> None:
    """It was given up."""
