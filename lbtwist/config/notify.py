"""
The value of C{notify}: who is told what happens to servers.
"""

from __future__ import annotations

from typing import Any

from lbtwist.config.fill import BAD, Scope, fill
from lbtwist.config.ini import Option
from lbtwist.config.model import Notify, NotifyOptions, Part
from lbtwist.config.values import classOf, itemsOf
from lbtwist.interfaces import IHealthObserver
from lbtwist.registry import Registry


def readNotify(option: Option, scope: Scope, registry: Registry) -> Any:
    """Read C{WORD [OPTION ...]}, one to a line or separated by commas, or C{off}."""
    items = itemsOf(option)
    if not items:
        known = ", ".join(registry.names(IHealthObserver))
        scope.error(option.where, f"needs a word: {known} or off")
        return BAD
    found: list[Any] = []
    for word, *words in items:
        if word.text == "off":
            if words or len(items) > 1:
                scope.error(word.where, "off stands alone")
                return BAD
            return ()
        cls = classOf(IHealthObserver, word, scope, registry)
        made = fill([NotifyOptions, cls], words, word.where, scope) if cls is not BAD else None
        if made is None:
            found.append(BAD)
        else:
            options, own = made
            found.append(Notify(Part(word.text, own, where=word.where), options))
    return BAD if BAD in found else tuple(found)
