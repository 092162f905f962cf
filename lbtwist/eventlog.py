"""
The program's own events as lines: what L{twisted.logger} is told, health of servers and what
administrators do among it, as text or JSON, to the same targets as access logs.

Not here: who writes (L{lbtwist.logwriter}, L{lbtwist.syslog}), and exchanges
(L{lbtwist.accesslog}).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from threading import get_ident
from typing import Any

import attr
from twisted.logger import (
    ILogObserver,
    LogLevel,
    LogPublisher,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import implementer

from lbtwist.logvalues import isoDate
from lbtwist.logwriter import Gatherer
from lbtwist.sansio.syslogline import CRIT, DEBUG, ERR, INFO, WARNING

LONGEST = 32 * 1024
"""Characters of one text of an event, of a traceback among them: the rest is cut off."""

EVENT = "event"
"""What kind of message an event is, where nothing else is said."""

_SEVERITIES = {
    LogLevel.debug: DEBUG, LogLevel.info: INFO, LogLevel.warn: WARNING, LogLevel.error: ERR,
    LogLevel.critical: CRIT,
}  # fmt: skip
_WORDS = {CRIT: "critical", ERR: "error", WARNING: "warning", INFO: "info", DEBUG: "debug"}
_PLAIN = (str, int, float, bool, type(None))
_OURS = frozenset({"time", "level", "namespace", "text", "traceback"})
_NOT_SHOWN = frozenset({"message", "isError", "format", "system", "failure", "why", "writer"})

Event = Mapping[str, Any]


def severityOf(event: Event) -> int:
    """@return: of an event, whoever has made it."""
    level = event.get("log_level")
    if level is None:
        return ERR if event.get("isError") else INFO
    return _SEVERITIES.get(level, INFO)


def _dateOf(event: Event) -> str:
    # As in L{lbtwist.logvalues}: what was meant as 655 ms may come as 654.9999.
    at = float(event.get("log_time") or time.time()) + 1e-6
    second = int(at)
    before, after = isoDate(second)
    return f"{before}{int((at - second) * 1000):03d}{after}"


def _tracebackOf(event: Event) -> str:
    failure = event.get("log_failure")
    return "" if failure is None else str(failure.getTraceback())


def _textOf(event: Event) -> str:
    return str(formatEvent(dict(event)) or "")


def _namespaceOf(event: Event) -> str:
    return str(event.get("log_namespace") or event.get("log_system") or "-")


def oneLine(text: str) -> str:
    """@return: text of anybody as a line; what cannot be shown is escaped as Python does."""
    if text.isprintable():
        return text[:LONGEST]
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text[:LONGEST]
    )


def asText(event: Event) -> str:
    """
    C{2009-02-06T12:14:14.655+01:00 warning lbtwist.monitor: text}. A traceback follows in the
    same line.
    """
    text = oneLine(_textOf(event))
    trouble = _tracebackOf(event)
    if trouble:
        text += " " + oneLine(trouble.strip())
    word = _WORDS[severityOf(event)]
    return f"{_dateOf(event)} {word} {oneLine(_namespaceOf(event))}: {text}"


def asMessage(event: Event) -> str:
    """The same without what stands in the head of a message: date and severity."""
    return asText(event).split(" ", 2)[2]


def asJSON(event: Event) -> str:
    """One object: when, how severe, who, what; then what it is about, as far as that is plain."""
    found: dict[str, Any] = {
        "time": _dateOf(event), "level": _WORDS[severityOf(event)],
        "namespace": _namespaceOf(event), "text": _textOf(event)[:LONGEST],
    }  # fmt: skip
    trouble = _tracebackOf(event)
    if trouble:
        found["traceback"] = trouble[-LONGEST:]
    for key, value in event.items():
        if key.startswith("log_") or key in _OURS or key in _NOT_SHOWN:
            continue
        if isinstance(value, float) and value - value != 0:
            # JSON has neither infinity nor what is no number.
            value = str(value)
        if isinstance(value, _PLAIN):
            found[key] = value[:LONGEST] if isinstance(value, str) else value
    return json.dumps(found, separators=(",", ":"))


@attr.frozen(eq=False)
class EventTarget:
    """
    One place where events go.

    @ivar level: those that are less severe are left out.
    @ivar line: makes the line of an event.
    """

    writer: Gatherer
    level: int
    line: Callable[[Event], str]


@implementer(ILogObserver)
class EventLog:
    """Writes events while it is started. Whatever else observes them goes on doing so."""

    def __init__(
        self, targets: Iterable[EventTarget], publisher: LogPublisher = globalLogPublisher,
        callFromThread: Callable[..., object] | None = None,
    ) -> None:
        """@param callFromThread: of the reactor; L{None} where there is only one thread."""
        self._targets = tuple(targets)
        self._publisher = publisher
        self._callFromThread = callFromThread
        self._thread = 0

    @property
    def writers(self) -> tuple[Gatherer, ...]:
        return tuple(one.writer for one in self._targets)

    def start(self) -> None:
        """Write events from now on. This is the thread of those who write them."""
        self._thread = get_ident()
        self._publisher.addObserver(self)

    def stop(self) -> None:
        """Write no more events."""
        self._publisher.removeObserver(self)

    def __call__(self, event: Event) -> None:
        if self._callFromThread is not None and get_ident() != self._thread:
            self._callFromThread(self, dict(event))
            return
        severity = severityOf(event)
        # What a writer has to say of itself is for the others: it has trouble enough.
        about = event.get("writer")
        for one in self._targets:
            if severity <= one.level and one.writer is not about:
                one.writer.write(one.line(event))
