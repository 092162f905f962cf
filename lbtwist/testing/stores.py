"""
What every store of persistence does, as a mixin for tests, like those of
L{lbtwist.testing.contracts}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface.verify import verifyObject

from lbtwist.interfaces import IPersistenceStore


class StoreContract:
    """
    What every L{IPersistenceStore} does. Its test cases are Twisted's: what a store answers
    may be a Deferred. Time passes by L{passTime}.
    """

    def makeStore(self) -> Any:
        """@return: a new store that knows nothing, or a Deferred of it."""
        raise NotImplementedError

    def passTime(self, seconds: float) -> Any:
        """
        Let time pass for the store.

        @return: L{None}, or a Deferred that fires when it has.
        """
        raise NotImplementedError

    async def _made(self) -> Any:
        return await maybeDeferred(self.makeStore)

    async def _knows(self, store: Any, key: bytes, ttl: float = 60.0) -> str | None:
        found: str | None = await maybeDeferred(store.get, key, ttl)
        return found

    async def _claims(
        self, store: Any, key: bytes, name: str, instead: str = "", ttl: float = 60.0
    ) -> str | None:
        found: str | None = await maybeDeferred(store.claim, key, name, ttl, instead)
        return found

    def test_providesItsInterface(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            assert verifyObject(IPersistenceStore, store)
            assert store.size in (-1, 0)
            assert store.bound("a") in (-1, 0)

        return Deferred.fromCoroutine(look())

    def test_whatWasPutIsKnown(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            assert await self._knows(store, b"c") is None
            store.put(b"c", "a", 60.0)
            assert await self._knows(store, b"c") == "a"
            assert await self._knows(store, b"C") is None
            store.put(b"c", "b", 60.0)
            assert await self._knows(store, b"c") == "b"
            assert store.size in (-1, 1)
            assert [store.bound(name) for name in "ab"] in ([-1, -1], [0, 1])

        return Deferred.fromCoroutine(look())

    def test_anyBytesAreAKey(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            keys = [b"\0", b"\r\n", b" ", b"\xff\xfe", b"*1\r\n$4\r\n", bytes(64), b"'; --"]
            for number, key in enumerate(keys):
                store.put(key, f"s{number}", 60.0)
            for number, key in enumerate(keys):
                assert await self._knows(store, key) == f"s{number}", key

        return Deferred.fromCoroutine(look())

    def test_theFirstClaimHolds(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            assert await self._claims(store, b"c", "a") == "a"
            assert await self._claims(store, b"c", "b") == "a"
            assert await self._claims(store, b"c", "a") == "a"
            assert await self._knows(store, b"c") == "a"

        return Deferred.fromCoroutine(look())

    def test_aClaimInsteadOfWhoCannotBeHad(self) -> Deferred[None]:
        """Of two at once, who both want another than the one that is down, one holds."""

        async def look() -> None:
            store = await self._made()
            store.put(b"c", "down", 60.0)
            assert await self._claims(store, b"c", "b", "gone") == "down"
            assert await self._claims(store, b"c", "a", "down") == "a"
            assert await self._claims(store, b"c", "b", "down") == "a"

        return Deferred.fromCoroutine(look())

    def test_manyClaimsAtOnce(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            claims = [maybeDeferred(store.claim, b"c", f"s{i}", 60.0, "") for i in range(50)]
            found = [await claim for claim in claims]
            assert found == ["s0"] * 50

        return Deferred.fromCoroutine(look())

    def test_onlyWhoIsKnownIsDropped(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            store.put(b"c", "a", 60.0)
            store.drop(b"c", "b")
            store.drop(b"d", "a")
            assert await self._knows(store, b"c") == "a"
            store.drop(b"c", "a")
            assert await self._knows(store, b"c") is None
            assert await self._claims(store, b"c", "b") == "b"

        return Deferred.fromCoroutine(look())

    def test_putAgainAfterADrop(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            for _ in range(3):
                store.put(b"c", "a", 60.0)
                assert await self._knows(store, b"c") == "a"
                store.drop(b"c", "a")
                assert await self._knows(store, b"c") is None

        return Deferred.fromCoroutine(look())

    def test_forgottenInTime(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            store.put(b"long", "a", 60.0)
            store.put(b"short", "a", 1.0)
            assert await self._claims(store, b"claimed", "a", ttl=1.0) == "a"
            await maybeDeferred(self.passTime, 2.0)
            assert await self._knows(store, b"short") is None
            assert await self._knows(store, b"long") == "a"
            assert await self._claims(store, b"claimed", "b") == "b"

        return Deferred.fromCoroutine(look())

    def test_whoIsSeenIsKnownForLonger(self) -> Deferred[None]:
        async def look() -> None:
            store = await self._made()
            store.put(b"seen", "a", 1.5)
            store.put(b"looked", "a", 1.5)
            assert await self._knows(store, b"seen", 60.0) == "a"
            assert await self._knows(store, b"looked", 0.0) == "a"
            await maybeDeferred(self.passTime, 2.0)
            assert await self._knows(store, b"seen") == "a"
            assert await self._knows(store, b"looked") is None

        return Deferred.fromCoroutine(look())
