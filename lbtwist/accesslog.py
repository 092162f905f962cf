"""
The access log: one line for each finished exchange, in a log-format or as a JSON object.

The fields, timers and letters are those of HAProxy's configuration manual,
sections 8.2 to 8.6; C{docs/log.md} explains them. A formatter is made once and then
called for every exchange; it changes nothing.

Not here: who writes lines (L{lbtwist.logwriter}), the program's own events, which go to
L{twisted.logger}, and counters, which are in L{lbtwist.stats}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from lbtwist.interfaces import IExchangeObserver
from lbtwist.logformat import ALSO, NAMED, Format, LogFormat
from lbtwist.logline import Surroundings, lineOf
from lbtwist.logvalues import Clock, dates, isoDate, sessionTimers, timers
from lbtwist.logwriter import Writer
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange


def _encoder() -> Callable[[dict[str, Any]], str]:
    """The encoder of L{json}, made once: C{JSONEncoder.encode} makes one per call."""
    plain = json.JSONEncoder(check_circular=False, separators=(",", ":"))
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    pieces = make(
        None, plain.default, json.encoder.encode_basestring_ascii, None,
        plain.key_separator, plain.item_separator, False, False, True,
    )  # fmt: skip

    def encode(value: dict[str, Any]) -> str:
        return "".join(pieces(value, 0))

    return encode


def _json(surroundings: Surroundings) -> Format:
    """One object per line, in ASCII; L{None} is what was not reached."""
    date = dates(surroundings.clock, surroundings.wallclock, isoDate)
    encode = _encoder()
    session = surroundings.session

    def line(exchange: Exchange) -> str:
        connection = exchange.connection
        host, port = connection.client
        frontend = exchange.frontend
        pool = exchange.pool
        server = exchange.server
        request = exchange.request
        rule = exchange.rule
        if session:
            queued, connected, total = sessionTimers(exchange)
            at, cookie = connection.acceptedAt, ""
            passed = {
                "Tw": None if queued < 0 else queued,
                "Tc": None if connected < 0 else connected,
                "Tt": total,
            }
        else:
            received, queued, connected, responded, total = timers(exchange)
            bond = exchange.bond
            at, cookie = exchange.startedAt, "--" if bond is None else bond.came + bond.went
            passed = {
                "TR": None if received < 0 else received,
                "Tw": None if queued < 0 else queued,
                "Tc": None if connected < 0 else connected,
                "Tr": None if responded < 0 else responded,
                "Ta": total,
            }
        method = target = version = None
        if request is not None:
            # As it came, whatever rules have made of it.
            method, _, target = request.line.decode("latin-1").partition(" ")
            target, _, version = target.rpartition(" ")
        return encode({
            "time": date(at),
            "client": host,
            "client_port": port,
            "frontend": frontend.name,
            "pool": None if pool is None else pool.name,
            "server": None if server is None else server.name,
            "method": method,
            "target": target,
            "version": version,
            "status": exchange.status or None,
            "bytes_in": exchange.bytesIn,
            "bytes_out": exchange.bytesOut,
            "timers": passed,
            "termination": exchange.cause + exchange.stage + cookie,
            "retries": exchange.retries,
            "redispatched": exchange.redispatched,
            "connections": {
                "process": frontend.process.active,
                "frontend": frontend.active,
                "pool": None if pool is None else pool.active,
                "server": None if server is None else server.active,
            },
            "queue": {"server": exchange.ahead[0], "pool": exchange.ahead[1]},
            "request_id": exchange.requestId or None,
            "passthrough": exchange.passthrough or None,
            "rule": None if rule is None else f"{rule.where.file}:{rule.where.line}",
            "reason": exchange.reason or None,
        })  # fmt: skip

    return line


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


@implementer(IExchangeObserver)
class AccessLog:
    """
    Writes a line for every exchange that ended, but where a rule wants none.

    @ivar observe: the same as L{exchangeFinished}, as a closure that costs one
        call less: what an exchange's C{observers} should have.
    """

    __slots__ = ("observe",)

    def __init__(self, writer: Writer, format: Format) -> None:
        write = writer.write

        def observe(exchange: Exchange) -> None:
            settings = exchange.settings
            if settings is None or settings.get("log") is not False:
                write(format(exchange))

        self.observe: Callable[[Exchange], None] = observe

    def exchangeFinished(self, exchange: Exchange) -> None:
        self.observe(exchange)
