"""
The access log: one line for each finished exchange, in a log-format or as a JSON object.

The fields, timers and letters are those of HAProxy's configuration manual,
sections 8.2 to 8.6; C{docs/log.md} explains them. A formatter is made once and then
called for every exchange; it changes nothing.

Not here: who writes lines (L{lbtwist.logwriter}), the program's own events, which go to
L{twisted.logger}, and counters, which are in L{lbtwist.stats}.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as text
from typing import TYPE_CHECKING

from zope.interface import implementer

from lbtwist.interfaces import IExchangeObserver
from lbtwist.logformat import ALSO, NAMED, Format, LogFormat
from lbtwist.logline import Surroundings, lineOf
from lbtwist.logvalues import Clock, dates, isoDate, sessionTimers, timers
from lbtwist.logwriter import Gatherer
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage
from lbtwist.sampling import Takes

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange


class _Names(dict[str, str]):
    """
    Names of frontends, pools and servers as JSON has them: there are as many as are written
    down, and those that sources name.
    """

    def __missing__(self, name: str) -> str:
        if len(self) >= _MOST_NAMES:
            self.clear()
        found = self[name] = text(name)
        return found


_MOST_NAMES = 10_000


def _orNull(value: str) -> str:
    return text(value) if value else "null"


def _json(surroundings: Surroundings) -> Format:
    """
    One object per line, in ASCII; C{null} is what was not reached. Written piece by piece: to
    make dictionaries and have L{json} encode them takes three times as long.
    """
    date = dates(surroundings.clock, surroundings.wallclock, isoDate)
    session = surroundings.session
    names = _Names()

    def line(exchange: Exchange) -> str:
        connection = exchange.connection
        host, port = connection.client
        frontend = exchange.frontend
        pool, server, rule, request = (
            exchange.pool, exchange.server, exchange.rule, exchange.request
        )  # fmt: skip
        cookie = ""
        if session:
            queued, connected, total = sessionTimers(exchange)
            at = connection.acceptedAt
            passed = (
                f'"Tw":{queued if queued >= 0 else "null"},'
                f'"Tc":{connected if connected >= 0 else "null"},"Tt":{total}'
            )
        else:
            received, queued, connected, responded, total = timers(exchange)
            bond = exchange.bond
            at, cookie = exchange.startedAt, "--" if bond is None else bond.came + bond.went
            passed = (
                f'"TR":{received if received >= 0 else "null"},'
                f'"Tw":{queued if queued >= 0 else "null"},'
                f'"Tc":{connected if connected >= 0 else "null"},'
                f'"Tr":{responded if responded >= 0 else "null"},"Ta":{total}'
            )
        asked = '"method":null,"target":null,"version":null'
        if request is not None:
            # As it came, whatever rules have made of it.
            method, _, target = request.line.decode("latin-1").partition(" ")
            target, _, version = target.rpartition(" ")
            asked = (
                f'"method":{text(method)},"target":{text(target)},"version":{text(version)}'
            )
        to = '"pool":null' if pool is None else f'"pool":{names[pool.name]}'
        here: int | str = "null" if pool is None else pool.active
        there: int | str = "null"
        if server is None:
            to += ',"server":null'
        else:
            to += f',"server":{names[server.name]}'
            there = server.active
        ahead = exchange.ahead
        trace = exchange.trace
        traced = f'{_orNull(trace[:32])},"span_id":{_orNull(trace[33:49])}' if trace else _UNTRACED
        where = "null" if rule is None else text(f"{rule.where.file}:{rule.where.line}")
        return (
            f'{{"time":"{date(at)}","client":{text(host)},"client_port":{port},'
            f'"frontend":{names[frontend.name]},{to},{asked},"status":{exchange.status or "null"},'
            f'"bytes_in":{exchange.bytesIn},"bytes_out":{exchange.bytesOut},'
            f'"timers":{{{passed}}},"termination":"{exchange.cause}{exchange.stage}{cookie}",'
            f'"retries":{exchange.retries},'
            f'"redispatched":{"true" if exchange.redispatched else "false"},'
            f'"connections":{{"process":{frontend.process.active},"frontend":{frontend.active},'
            f'"pool":{here},"server":{there}}},"queue":{{"server":{ahead[0]},"pool":{ahead[1]}}},'
            f'"request_id":{_orNull(exchange.requestId)},"trace_id":{traced},'
            f'"passthrough":{_orNull(exchange.passthrough)},"rule":{where},'
            f'"reason":{_orNull(exchange.reason)}}}'
        )

    return line


_UNTRACED = 'null,"span_id":null'


def formatter(
    name: str, clock: Clock, wallclock: Clock, mode: str = "http", **captures: tuple[str, ...]
) -> Format:
    """
    Make what turns a finished exchange into a line without its end.

    @param name: C{json}, or a format of L{lbtwist.logformat.NAMED}, or C{auto}, which is
        C{http} or C{tcp} as the mode is.
    @param clock: the clock of the exchanges, in seconds.
    @param wallclock: seconds since 1970, as L{time.time}.
    @param mode: of the frontend; it says which timers there are.
    @param captures: C{request} and C{response} of L{Surroundings}.
    @raise ValueError: if there is no such format.
    """
    surroundings = Surroundings(clock, wallclock, mode == "tcp", **captures)
    if name == "json":
        return _json(surroundings)
    name = mode if name == "auto" else name
    text = NAMED.get(ALSO.get(name, name))
    if text is None:
        raise ValueError(f"unknown log format {name!r}")
    # What is HTTP's alone is empty elsewhere.
    return lineOf(LogFormat.parse(text), Scope(Stage.LOG), surroundings)


def _choosing(
    write: Callable[[str], None], format: Format, takes: Takes
) -> Callable[[Exchange], None]:
    def observe(exchange: Exchange) -> None:
        settings = exchange.settings
        if (settings is None or settings.get("log") is not False) and takes(exchange):
            write(format(exchange))

    return observe


@implementer(IExchangeObserver)
class AccessLog:
    """
    Writes a line for every exchange that ended, but where a rule wants none.

    @ivar observe: the same as L{exchangeFinished}, as a closure that costs one
        call less: what an exchange's C{observers} should have.
    """

    __slots__ = ("observe",)

    def __init__(self, writer: Gatherer, format: Format, takes: Takes | None = None) -> None:
        """@param takes: whether it wants an exchange; L{None}: it wants all."""
        write = writer.write

        def observe(exchange: Exchange) -> None:
            settings = exchange.settings
            if settings is None or settings.get("log") is not False:
                write(format(exchange))

        self.observe: Callable[[Exchange], None] = observe
        if takes is not None:
            self.observe = _choosing(write, format, takes)

    def exchangeFinished(self, exchange: Exchange) -> None:
        self.observe(exchange)
