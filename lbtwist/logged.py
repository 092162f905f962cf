"""
From the configuration of a frontend to what its lines in the access log look like: the
format, and what captures stand in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import attr

from lbtwist.accesslog import formatter
from lbtwist.config.fill import readBeside
from lbtwist.config.model import Config, FrontendConfig, LogTarget, PoolConfig, RuleLine
from lbtwist.logformat import Format
from lbtwist.logline import Surroundings, lineOf
from lbtwist.rules.expression import Scope
from lbtwist.rules.template import Template
from lbtwist.rules.values import Stage


def formatOf(
    target: LogTarget, frontend: FrontendConfig, config: Config, scope: Scope,
    clock: Callable[[], float], wallclock: Callable[[], float],
) -> Format:
    """
    @param scope: what expressions may ask for.
    @return: makes a line of an exchange.
    @raise ExpressionError: if an expression cannot be asked there.
    """
    captures = capturesOf(frontend, config)
    own = frontend.log_format
    if target.format != "auto" or own is None:
        return formatter(target.format, clock, wallclock, frontend.mode, **captures)
    scope = attr.evolve(scope, stage=Stage.LOG, read=partial(readBeside, own.where))
    surroundings = Surroundings(clock, wallclock, frontend.mode == "tcp", **captures)
    return lineOf(own, scope, surroundings)


def capturesOf(frontend: FrontendConfig, config: Config) -> dict[str, tuple[str, ...]]:
    """
    The names of what is captured, in the order in which rules that capture are written: of
    the frontend, then of the pools that it names.

    @return: those of requests and those of responses.
    """
    pools = [config.pools[name] for name in _pools(frontend) if name in config.pools]
    return {
        stage: tuple(dict.fromkeys(_captured(stage, (frontend, *pools))))
        for stage in ("request", "response")
    }


def _captured(stage: str, parts: Iterable[FrontendConfig | PoolConfig]) -> Iterator[str]:
    for part in parts:
        lines: tuple[RuleLine, ...] = getattr(part, stage)
        for line in lines:
            if line.verb.name == "capture":
                yield line.verb.options.name


def _pools(frontend: FrontendConfig) -> Iterator[str]:
    yield frontend.pool
    for line in (*frontend.connection, *frontend.request):
        if line.verb.name == "pool":
            name: Any = getattr(line.verb.options, "name", None)
            if isinstance(name, Template) and name.constant is not None:
                yield name.constant


def asksForSource(target: LogTarget, frontend: FrontendConfig) -> bool:
    """Whether lines tell where servers are connected to from."""
    own = frontend.log_format
    if target.format != "auto" or own is None:
        return False
    return bool({"bi", "bp"} & {one.what for one in own.items if not isinstance(one, str)})
