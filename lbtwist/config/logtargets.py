"""
What C{log} and C{event-log} say: where lines go, and what may follow that.

HAProxy's way to write a target is understood, and the preferred one is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lbtwist.config.fill import BAD, Scope, fill, relative
from lbtwist.config.ini import PLAIN, Option, Word
from lbtwist.config.model import EventLogOptions, EventLogTarget, LogOptions, LogTarget
from lbtwist.config.model.logs import STREAMS, SYSLOG
from lbtwist.config.values import itemsOf, tcpAddress, unixPath
from lbtwist.logformat import WORDS
from lbtwist.options import suggestion
from lbtwist.registry import Registry
from lbtwist.sansio.syslogline import FORMS, RFC5424

_KNOWN = ("stdout", "off", "file:PATH", "udp:HOST:PORT", "tcp:HOST:PORT", "tls:HOST:PORT",
          "unix:PATH")  # fmt: skip

_PREFERRED = {
    "dontlog-normal": "only=errors", **{f"format={form}": f"syslog={form}" for form in FORMS},
    **{form: f"format={form}" for form in WORDS},
}
"""Words that are understood, HAProxy's among them, and what is preferred."""

_TLS = ("ca", "sni", "verify", "certificate", "key")
_MESSAGES = (
    "facility", "syslog", "len", "hostname", "app-name", "procid", "msgid", "severity", "sd",
    "sd-id",
)  # fmt: skip

T = TypeVar("T", LogTarget, EventLogTarget)


def readLog(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: an L{LogTarget} for each place, or L{BAD}."""
    return _read(option, scope, LogTarget, LogOptions)


def readEventLog(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: an L{EventLogTarget} for each place, or L{BAD}."""
    return _read(option, scope, EventLogTarget, EventLogOptions)


def _read(option: Option, scope: Scope, make: type[T], cls: type[Any]) -> Any:
    found: list[Any] = []
    items = itemsOf(option)
    if not items:
        scope.error(option.where, "needs a target: stdout, file:PATH, udp:HOST:PORT or off")
        return BAD
    for first, *words in items:
        word = _preferred(first, scope)
        target = _target(word, scope)
        if target is not BAD and target["target"] == "off" and (words or len(items) > 1):
            scope.error(word.where, "off stands alone")
            target = BAD
        words = [_preferredOption(one, scope) for one in words]
        said: dict[str, list[Word]] = {}
        options = fill([cls], words, word.where, scope, said=said)
        if target is BAD or options is None:
            found.append(BAD)
            continue
        made = make(**target, options=options[0], where=word.where)
        found.append(_checked(made, said, scope))
    return BAD if BAD in found else tuple(found)


def _written(word: Word, text: str) -> Word:
    """@return: another word in the place of one."""
    columns = (word.where.column,) * len(text)
    return Word(text, PLAIN * len(text), columns, word.where)


def _preferred(word: Word, scope: Scope) -> Word:
    text = word.text
    scheme, at, rest = text.partition("@")
    if at and scheme in ("udp", "tcp", "unix", "ipv4", "ipv6"):
        better = f"{'udp' if scheme.startswith('ip') else scheme}:{rest}"
    elif text.startswith("/"):
        better = f"unix:{text}"
    else:
        try:
            tcpAddress(text)
        except ValueError:
            return word
        if text.partition(":")[0] in (*SYSLOG, "file", "stdout"):
            return word
        better = f"udp:{text}"
    scope.warn(word.where, f"the preferred word for {text!r} is {better!r}")
    return _written(word, better)


def _preferredOption(word: Word, scope: Scope) -> Word:
    better = _PREFERRED.get(word.text)
    if better is None:
        return word
    scope.warn(word.where, f"the preferred word for {word.text!r} is {better!r}")
    return _written(word, better)


def _target(word: Word, scope: Scope) -> Any:
    """@return: the fields that say where, or L{BAD}."""
    kind, _, rest = word.text.partition(":")
    try:
        if kind == "unix":
            return {"target": kind, "path": unixPath(rest, word.where)}
        if kind in SYSLOG:
            host, port = tcpAddress(rest)
            return {"target": kind, "host": host, "port": port}
        if kind == "file":
            if not rest:
                raise ValueError("needs a path: file:PATH")
            return {"target": kind, "path": relative(rest, word.where)}
        if word.text in ("stdout", "off"):
            return {"target": kind}
        raise ValueError(f"unknown {word.text!r}{suggestion(word.text, _KNOWN)}")
    except ValueError as error:
        scope.error(word.where, str(error))
        return BAD


def _checked(target: T, said: Mapping[str, Sequence[Word]], scope: Scope) -> Any:
    """@return: the target, or L{BAD} if what was said of it does not go together."""
    kind, options = target.target, target.options
    where = {name: words[0].where for name, words in said.items()}
    sound = True

    def refuse(name: str, message: str) -> None:
        nonlocal sound
        sound = False
        scope.within(name).error(where[name], message)

    for name in (*_MESSAGES, *_TLS, "framing"):
        if name not in said:
            continue
        if kind not in SYSLOG:
            refuse(name, f"says nothing of {kind}, only of a syslog server")
        elif name in _TLS and kind != "tls":
            refuse(name, "says nothing but of tls:HOST:PORT")
        elif name == "framing" and kind == "udp":
            refuse(name, "says nothing of udp: each line is in a datagram of its own")
    form = formOf(target)
    for name in ("msgid", "sd", "sd-id"):
        if name in said and form and form != RFC5424:
            refuse(name, f"says nothing with syslog={form}: write syslog=rfc5424")
    if kind == "tls" and options.framing == "newline" and form == RFC5424:
        scope.within("framing").warn(
            where["framing"], "over TLS lines have their length before them (RFC 5425)"
        )
    if options.key and not options.certificate:
        refuse("key", "says nothing without certificate=")
    return target if sound else BAD


def formOf(target: LogTarget | EventLogTarget) -> str:
    """@return: which of L{FORMS} its lines have, C{""} if it is no syslog server."""
    if target.target not in SYSLOG:
        return ""
    said = target.options.syslog
    if said != "auto":
        return said
    return "local" if target.target == "unix" else RFC5424


def isCounted(target: LogTarget | EventLogTarget) -> bool:
    """@return: whether lines have their length before them, where they go out in a stream."""
    said = target.options.framing
    if said != "auto":
        return said == "octets"
    return target.target in STREAMS and formOf(target) == RFC5424

