"""
From a configuration to a load balancer that could be started. Opens nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lbtwist.applying import Applying
from lbtwist.building import Building
from lbtwist.config.model import Config
from lbtwist.objects import Objects
from lbtwist.registry import Registry, installed
from lbtwist.service import LoadBalancer
from lbtwist.workers.parent import Workers


def build(
    config: Config,
    registry: Registry | None = None,
    reactor: Any = None,
    seconds: Callable[[], float] = time.monotonic,
    wallclock: Callable[[], float] = time.time,
    objects: Mapping[str, Any] = MappingProxyType({}),
) -> LoadBalancer:
    """
    @param registry: the parts that the configuration names; all that are
        installed by default.
    @param reactor: the installed one by default.
    @param seconds: a clock that never goes back.
    @param wallclock: seconds since the epoch, for logs.
    @param objects: what C{server NAME = object:NAME} stands for: each an
        L{twisted.web.resource.IResource} or an
        L{twisted.internet.interfaces.IProtocolFactory}.
    @raise TypeError: if one of them is neither.
    """
    if reactor is None:
        from twisted.internet import reactor
    registry = registry or installed()
    building = Building(config, registry, reactor, seconds, wallclock)
    building.give(Objects(objects, reactor))
    balancer = building.balancer()
    balancer.registry = registry
    balancer.applying = Applying(balancer, building).apply
    if config.settings.workers:
        balancer.workers = Workers(balancer, config.settings.workers, reactor, os.environ)
    return balancer
