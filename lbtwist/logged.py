"""
From the configuration to the logs: which exchanges of a frontend each of them takes, what a
line looks like, what stands before it for a syslog server, and who writes it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import attr

from lbtwist.accesslog import AccessLog, formatter
from lbtwist.config.fill import readBeside
from lbtwist.config.logtargets import formOf, isCounted
from lbtwist.config.model import (
    Config,
    EventLogTarget,
    FrontendConfig,
    LogOptions,
    LogTarget,
    PoolConfig,
    RuleLine,
    ServerConfig,
)
from lbtwist.discovery import Looks
from lbtwist.eventlog import EVENT, Event, EventLog, EventTarget, asJSON, asMessage, asText
from lbtwist.eventlog import severityOf as severityOfEvent
from lbtwist.exchange import Exchange
from lbtwist.logformat import Format, LogFormat
from lbtwist.logline import Surroundings, lineOf
from lbtwist.logs import Logs
from lbtwist.logvalues import WHOLE, dates, isoDate
from lbtwist.logwriter import Gatherer, Writer
from lbtwist.rules.expression import Scope
from lbtwist.rules.template import Template
from lbtwist.rules.values import Stage
from lbtwist.sampling import Takes, chance, row, severityOf, taking
from lbtwist.sansio.syslogline import (
    LOCAL,
    NIL,
    RAW,
    RFC5424,
    SEVERITIES,
    oldDate,
    printed,
    priorities,
)
from lbtwist.syslog import Place, SyslogWriter

ACCESS = "access"
"""What kind of message a line of an exchange is, where nothing else is said."""

_SD = (
    '[{id} client="%ci" client_port="%cp" frontend="%f" pool="%b" server="%s" bytes_in="%U"'
    ' bytes_out="%B" retries="%rc"'
)
_SD_MODE = {
    "http": ' status="%ST" termination="%tsc" took="%Ta" request_id="%{+E}ID"]',
    "tcp": ' termination="%ts" took="%Tt"]',
}


def observerOf(
    target: LogTarget, writer: Gatherer, frontend: FrontendConfig, config: Config, scope: Scope,
    clock: Callable[[], float], wallclock: Callable[[], float], draw: Callable[[], float],
) -> Callable[[Exchange], None]:
    """
    @param scope: what expressions may ask for.
    @param draw: a number from 0 up to 1, for samples.
    @return: writes a line of each exchange that the target takes.
    @raise ExpressionError: if an expression cannot be asked there.
    """
    line = formatOf(target, frontend, config, scope, clock, wallclock)
    if formOf(target):
        line = _withHead(target, line, frontend, config, scope, clock, wallclock)
    return AccessLog(writer, line, _takesOf(target.options, draw)).observe


def _severityOf(options: LogOptions) -> Callable[[Exchange], int]:
    if options.severity == "auto":
        return severityOf
    severity = SEVERITIES.index(options.severity)
    return lambda exchange: severity


def _takesOf(options: LogOptions, draw: Callable[[], float]) -> Takes | None:
    only, sample = options.only, options.sample
    sampled = None
    if not sample.all:
        sampled = row(sample.size, sample.taken) if sample.size else chance(sample.percent, draw)
    return taking(
        only.errors, only.normal, only.statuses, not options.dontlognull,
        SEVERITIES.index(options.level), _severityOf(options), sampled, options.sample_errors,
    )  # fmt: skip


def _withHead(
    target: LogTarget, line: Format, frontend: FrontendConfig, config: Config, scope: Scope,
    clock: Callable[[], float], wallclock: Callable[[], float],
) -> Format:
    """@return: the line, and before it what a syslog server is told."""
    options, form = target.options, formOf(target)
    if form == RAW:
        return line
    begins = priorities(options.facility)
    severity = _severityOf(options)
    data = None
    if form == RFC5424:
        data = _structuredOf(options, frontend, config, scope, clock, wallclock)
    date = headDates(target, ACCESS, clock, wallclock, data is not None)
    if data is None:
        return lambda exchange: (
            begins[severity(exchange)] + date(exchange.finishedAt) + line(exchange)
        )
    return lambda exchange: (
        f"{begins[severity(exchange)]}{date(exchange.finishedAt)}"
        f"{data(exchange)} {line(exchange)}"
    )


def headDates(
    target: LogTarget | EventLogTarget, msgid: str, clock: Callable[[], float],
    wallclock: Callable[[], float], data: bool = False,
) -> Callable[[float], str]:
    """
    @param msgid: if nothing else is said.
    @param data: whether structured data follow.
    @return: makes of a time of the clock what stands before a line for a syslog server, but
        its priority: it changes only with the time.
    """
    options, form = target.options, formOf(target)
    host = printed(options.hostname or socket.gethostname(), 255)

    def process() -> str:
        # Asked late: a daemon is another process than the one that was started.
        return options.procid or str(os.getpid())

    def new(second: int) -> tuple[str, str]:
        before, after = isoDate(second)
        nothing = "" if data else f"{NIL} "
        told = f"{host} {options.app_name} {process()} {options.msgid or msgid} {nothing}"
        return f"1 {before}", f"{after} {told}"

    def old(second: int) -> tuple[str, str]:
        named = "" if form == LOCAL else f"{host} "
        return f"{oldDate(second)} {named}{options.app_name}[{process()}]: ", ""

    if form == RFC5424:
        return dates(clock, wallclock, new)
    return dates(clock, wallclock, old, WHOLE)


def _structuredOf(
    options: LogOptions, frontend: FrontendConfig, config: Config, scope: Scope,
    clock: Callable[[], float], wallclock: Callable[[], float],
) -> Format | None:
    own = frontend.log_format_sd
    surroundings = Surroundings(
        clock, wallclock, frontend.mode == "tcp", **capturesOf(frontend, config)
    )
    if own is not None:
        scope = attr.evolve(scope, stage=Stage.LOG, read=partial(readBeside, own.where))
        return lineOf(own, scope, surroundings)
    if not options.sd:
        return None
    text = _SD.format(id=options.sd_id) + _SD_MODE[frontend.mode]
    # Nothing else in it can have what would have to be escaped.
    return lineOf(LogFormat.parse(text), Scope(Stage.LOG), surroundings)


def eventLogOf(
    config: Config, writer: Callable[[EventLogTarget], Gatherer],
    callFromThread: Callable[..., object] | None = None,
) -> EventLog | None:
    """
    @param writer: gives what writes to a target.
    @param callFromThread: of the reactor: events are of any thread.
    @return: what writes the program's own events; L{None} if nothing does.
    """
    targets = []
    for target in config.settings.event_log:
        if target.target != "off":
            level = SEVERITIES.index(target.options.level)
            targets.append(EventTarget(writer(target), level, _eventLineOf(target)))
    return EventLog(targets, callFromThread=callFromThread) if targets else None


def _eventLineOf(target: EventLogTarget) -> Callable[[Event], str]:
    form, json = formOf(target), target.options.format == "json"
    if not form or form == RAW:
        return asJSON if json else asText
    line = asJSON if json else asMessage
    begins = priorities(target.options.facility)
    date = headDates(target, EVENT, time.time, time.time)
    return lambda event: begins[severityOfEvent(event)] + date(time.time()) + line(event)


def writerOf(
    target: LogTarget | EventLogTarget, logs: Logs, reactor: Any, looks: Looks
) -> Gatherer:
    """
    @param logs: gets it, and has only one for each place.
    @param looks: finds the addresses of names.
    @return: what writes there.
    """
    options = target.options
    form = formOf(target)
    if not form:
        return logs.one(Writer(reactor, target.path, options.buffer))
    tls = None
    if target.target == "tls":
        tls = ServerConfig(
            f"of log {target.host}:{target.port}", "tcp", target.host, target.port, tls=True,
            sni=options.sni, verify=options.verify, ca=options.ca,
            certificate=options.certificate, key=options.key,
        )  # fmt: skip
    place = Place(
        target.target, target.host, target.port, target.path, isCounted(target), options.len_, tls
    )
    return logs.one(SyslogWriter(reactor, place, looks, options.buffer))


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
    if target.options.format != "auto" or own is None:
        return formatter(target.options.format, clock, wallclock, frontend.mode, **captures)
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
    if target.options.format != "auto" or own is None:
        return False
    return bool({"bi", "bp"} & {one.what for one in own.items if not isinstance(one, str)})
