"""
Two lists of things that have keys: which thing is which, where those were that are gone, and
which have moved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=Hashable)


def numbered(items: Sequence[Any], key: Callable[[Any], str]) -> dict[tuple[str, int], int]:
    """@return: the place of each, by its key and which one of that key it is."""
    found: dict[tuple[str, int], int] = {}
    seen: dict[str, int] = {}
    for place, one in enumerate(items):
        name = key(one)
        number = seen[name] = seen.get(name, 0) + 1
        found[name, number] = place
    return found


def named(
    items: Sequence[Any], key: Callable[[Any], str] = lambda one: one.name
) -> dict[str, Any]:
    """@return: each by its key; of those with the same key all but the first are numbered."""
    return {
        name if number == 1 else f"{name} ({number})": items[place]
        for (name, number), place in numbered(items, key).items()
    }


def merged(before: Collection[T], after: Collection[T]) -> Iterator[T]:
    """@return: all keys as in C{after}, and those that are only in C{before} where they were."""
    known = set(after)
    gone: dict[T | None, list[T]] = {}
    last: T | None = None
    for key in before:
        if key in known:
            last = key
        else:
            gone.setdefault(last, []).append(key)
    yield from gone.get(None, ())
    for key in after:
        yield key
        yield from gone.get(key, ())


def moved(before: Sequence[T], after: Sequence[T]) -> set[T]:
    """
    @return: the fewest keys without which those that are in both have the same order: all but
        a longest rising sequence of places.
    """
    places = {key: place for place, key in enumerate(before)}
    common = [key for key in after if key in places]
    # Of each length the sequence that ends lowest: the places of its ends, and the keys.
    ends: list[int] = []
    last: list[T] = []
    previous: dict[T, T | None] = {}
    for key in common:
        at = bisect_left(ends, places[key])
        previous[key] = last[at - 1] if at else None
        ends[at : at + 1] = [places[key]]
        last[at : at + 1] = [key]
    staying: set[T] = set()
    key_: T | None = last[-1] if last else None
    while key_ is not None:
        staying.add(key_)
        key_ = previous[key_]
    return set(common) - staying
