"""
The parts a configuration can name: balancers, checks and, later, every other
kind; each found by what it makes and its name.

Built-in parts register exactly as third-party parts do: an L{Extension} in a
module of C{twisted.plugins} or C{lbtwist.plugins}, or behind an entry point of
the group C{lbtwist.plugins}.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

import attr
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer
from zope.interface.interface import InterfaceClass

from lbtwist.interfaces import IExtension
from lbtwist.rules.expression import Scope


@attr.define(eq=False)
class Context:
    """
    What a part may need of where it will run.

    @ivar pool: the name of the pool it is made for.
    @ivar clock: seconds that never go back.
    @ivar wallclock: seconds since the epoch.
    @ivar store: for kinds of persistence: the L{lbtwist.interfaces.IPersistenceStore} of
        the pool.
    @ivar stores: for verbs: the L{lbtwist.interfaces.ISharedStore} of each C{[store]}; that of
        C{""} is what several processes share that serve together.
    @ivar secret: for kinds of persistence: random bytes that stay the same while the
        process runs.
    @ivar owner: for verbs: whose rules they are in, such as C{frontend www}.
    @ivar names: for sources: finds addresses and services, see
        L{lbtwist.discovery.LooksFurther}.
    @ivar scope: for verbs, balancers and persistence: what expressions in their options may
        ask for; see L{lbtwist.rules.template.Template.compiled}.
    """

    reactor: Any = None
    clock: Callable[[], float] = lambda: 0.0
    random: random.Random = attr.field(factory=random.Random)
    pool: str = ""
    names: Any = None
    scope: Scope | None = None
    wallclock: Callable[[], float] = time.time
    store: Any = None
    stores: Mapping[str, Any] = attr.field(factory=dict)
    secret: bytes = b""
    owner: str = ""


@implementer(IExtension, IPlugin)
@attr.frozen(eq=False)
class Extension:
    """
    One part by name.

    @ivar makes: the interface of what it makes.
    @ivar name: the word in the configuration.
    @ivar factory: the dotted name of a class with an attribute C{Options} (an
        attrs class whose fields are declared with L{lbtwist.options.option}),
        called with C{(options, context)}. Named, not imported, so that looking
        for plug-ins imports nothing.
    @ivar waits: whether a verb may give a Deferred or a coroutine; it takes the options
        of L{lbtwist.config.model.RuleOptions} then. Where that depends on its options, these
        have an attribute C{waits} of their own.
    @ivar decides: whether a verb decides each time it is asked, so that no rule after it
        can be reached where it has no condition. Where that depends on its options, these
        have an attribute C{decides} of their own.
    """

    makes: InterfaceClass
    name: str
    factory: str
    waits: bool = True
    decides: bool = False

    @property
    def options(self) -> type[Any]:
        found: type[Any] = namedAny(self.factory).Options
        return found

    def make(self, options: Any, context: Context) -> Any:
        return namedAny(self.factory)(options, context)


class Registry:
    """
    Extensions by interface and name. The first of a name wins, so an embedding
    program that adds its own before the built-in ones replaces them.
    """

    def __init__(self, extensions: Iterable[Any]) -> None:
        self._parts: dict[InterfaceClass, dict[str, Any]] = {}
        for extension in extensions:
            self._parts.setdefault(extension.makes, {}).setdefault(extension.name, extension)

    def __iter__(self) -> Iterator[Any]:
        return (one for parts in self._parts.values() for one in parts.values())

    def names(self, makes: InterfaceClass) -> list[str]:
        return sorted(self._parts.get(makes, ()))

    def find(self, makes: InterfaceClass, name: str) -> Any:
        """@raise KeyError: if there is no such part."""
        return self._parts[makes][name]


def installed(*own: Any) -> Registry:
    """
    Everything that is installed with this Python.

    @param own: parts that are not; they replace those of their names.
    """
    import lbtwist.plugins

    found = [*own, *getPlugins(IExtension)]
    found += getPlugins(IExtension, lbtwist.plugins)
    for entry in entry_points(group="lbtwist.plugins"):
        part = entry.load()
        found += part if isinstance(part, (list, tuple)) else [part]
    return Registry(found)
