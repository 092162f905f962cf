"""
Values of a configuration as words for people: an option, a part with its options, what differs
in two of them.

Pure, and the other way round than L{lbtwist.options}. What comes of it is for reading: it is
cut where it is long, and what is secret is not in it, so that it is not always what was
written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attr

from lbtwist.config.again import Share, Shares
from lbtwist.config.model import (
    AdminBind,
    AdminOptions,
    AuditTarget,
    Bind,
    BindOptions,
    CheckPart,
    Collector,
    Combination,
    EventLogTarget,
    Export,
    LogTarget,
    Notify,
    Part,
    PartAt,
    RuleLine,
    ServerConfig,
    ServerOptions,
    ServersConfig,
    ServersOptions,
    Source,
    TCPConfig,
    TLSConfig,
    TLSName,
)
from lbtwist.config.targets import Target
from lbtwist.options import (
    Access,
    FieldName,
    HostName,
    Kind,
    Name,
    Path,
    Paths,
    Percent,
    Redirect,
    Size,
    Statuses,
    Time,
    Word,
    Words,
)
from lbtwist.sansio.errorfile import ErrorFile

LONGEST = 120
"""Characters of a value."""

NONE = "none"
SECRET = "(secret)"
UNSEEN = "(different in what is not shown)"

_AS_OPTIONS: dict[type[Any], type[Any]] = {
    AdminBind: AdminOptions, Bind: BindOptions, ServerConfig: ServerOptions,
    ServersConfig: ServersOptions,
}  # fmt: skip
_MODELS = (*_AS_OPTIONS, TCPConfig, TLSConfig, TLSName)
# Where the value of one of these begins, and what it is in: these are no options.
_ADDRESS = (
    "name", "pattern", "kind", "host", "port", "path", "text", "source", "server",
)  # fmt: skip
_BEFORE = 20

# Who may call an option of theirs what they like may forget that it is secret.
_SECRET = re.compile(r"passw(?:or)?d|passphrase|secret|token|credential|api_?key")
_TOLD = re.compile(
    r"((?i:authorization|bearer|x-auth|passw(?:or)?d|passphrase|secret|token|credentials?"
    r"|api[-_]?key)(?![-_]?(?i:file))|\bAUTH\b|\bPASS\b).+", re.S
)  # fmt: skip
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
# What is one of these says nothing secret, whatever words are in it.
_OPEN = (Path, Paths, Name, HostName, Word, Words, FieldName)
_compared: dict[type[Any], tuple[attr.Attribute[Any], ...]] = {}
_kinds: dict[type[Any], dict[str, Kind[Any]]] = {}
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 1e-3), ("us", 1e-6))


def optionOf(field: str) -> str:
    """@return: the name of a field, as it is written in a file."""
    if field == "names":
        return "name"
    return field.strip("_").replace("_", "-")


def comparedIn(cls: type[Any]) -> tuple[attr.Attribute[Any], ...]:
    """@return: the fields by which two values of a class differ."""
    found = _compared.get(cls)
    if found is None:
        found = _compared[cls] = tuple(field for field in attr.fields(cls) if field.eq)
    return found


def kindsIn(cls: type[Any]) -> dict[str, Kind[Any]]:
    """@return: the kinds of the fields of a class that are options, by the field's name."""
    found = _kinds.get(cls)
    if found is None:
        fields = [*attr.fields(cls), *attr.fields(_AS_OPTIONS.get(cls, cls))]
        found = {one.name: one.metadata["kind"] for one in fields if "kind" in one.metadata}
        _kinds[cls] = found
    return found


def isSecret(field: str, kind: Kind[Any] | None) -> bool:
    """Whether the value of an option is to be shown to nobody."""
    if kind is None or isinstance(kind, (Path, Paths)):
        return False
    return kind.secret or _SECRET.search(field) is not None


def worded(value: Any, kind: Kind[Any] | None = None) -> str:
    """
    @param kind: of the option that has this value, where that is known.
    @return: one line, however long.
    """
    if value is None and isinstance(kind, Shares):
        return "no"
    if value is None or (not value and isinstance(value, (str, bytes, tuple, Mapping))):
        return NONE
    if kind is not None and kind.secret:
        return SECRET
    free = kind is not None and not isinstance(kind, _OPEN)
    if isinstance(value, (str, bytes)):
        return _line(value if isinstance(value, str) else value.decode("utf-8", "replace"), free)
    if isinstance(value, (int, float)):
        return _number(value, kind)
    if isinstance(value, tuple):
        if isinstance(kind, Statuses):
            return ", ".join("-".join(map(str, dict.fromkeys(pair))) for pair in value)
        words = (
            ":".join(map(worded, one)) if isinstance(one, tuple) else worded(one, kind)
            for one in value
        )
        # What says that something is secret may be the word before it.
        return _line(", ".join(words), free)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {worded(one)}" for key, one in value.items())
    for cls, say in _WORDS.items():
        if isinstance(value, cls):
            return say(value)
    for name in ("text", "written", "pattern"):
        # A condition, a text with expressions, a line of rules; what a check waits for.
        found = getattr(value, name, None)
        if found and isinstance(found, str):
            return _line(found, True)
    if attr.has(type(value)) and "__str__" not in vars(type(value)):
        return " ".join(_options(value)) or "on"
    return _line(str(value), True)


def masked(text: str) -> str:
    """@return: text in which anything may stand, in one line, without what looks secret."""
    return _line(text, True)


def _line(text: str, free: bool) -> str:
    """@param free: whether anything may stand in it, a password too."""
    text = _USERINFO.sub("***", "".join(one if one.isprintable() else " " for one in text))
    return _TOLD.sub(r"\1***", text) if free else text


def _number(value: float, kind: Kind[Any] | None) -> str:
    if isinstance(kind, Redirect) and not value:
        return "no"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(kind, Access):
        return f"{value:o}"
    if isinstance(kind, Percent):
        return f"{value}%"
    if isinstance(kind, Time):
        return _time(value)
    if isinstance(kind, Size) and value:
        for shift, unit in ((30, "g"), (20, "m"), (10, "k")):
            if not int(value) % (1 << shift):
                return f"{int(value) >> shift}{unit}"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _time(seconds: float) -> str:
    for unit, length in _UNITS:
        count = round(seconds / length)
        if count and abs(count * length - seconds) < 1e-9:
            return f"{count}{unit}"
    return f"{seconds:g}s" if seconds else "0"


def _options(value: Any, positional: bool = True) -> Iterator[str]:
    """
    @param positional: whether those that may be bare words are among them.
    @return: the words of an attrs instance: what is not as it is by default.
    """
    kinds = kindsIn(type(value))
    for field in comparedIn(type(value)):
        one = getattr(value, field.name)
        if isinstance(value, _MODELS) and field.name in _ADDRESS and field.name not in kinds:
            continue
        bare = field.metadata.get("positional")
        if field.metadata.get("written") or one == _default(field) or (bare and not positional):
            continue
        kind = kinds.get(field.name)
        name = optionOf(field.name)
        if isSecret(field.name, kind):
            yield f"{name}={SECRET}"
        elif bare:
            yield _quoted(worded(one, kind))
        elif isinstance(one, bool):
            yield name if one else f"no-{name}"
        else:
            yield f"{name}={_quoted(worded(one, kind))}"


def _default(field: attr.Attribute[Any]) -> Any:
    made: Any = field.default
    return made.factory() if hasattr(made, "factory") else made


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text.replace(", ", ",") else text.replace(", ", ",")


def _joined(first: str, value: Any) -> str:
    return " ".join([first, *_options(value)])


def _part(part: Part) -> str:
    return part.name if part.options is None else _joined(part.name, part.options)


def _rule(line: RuleLine) -> str:
    if line.text:
        return _line(line.text, True)
    # A program has made it.
    said = "" if line.condition is None else f" if {worded(line.condition)}"
    return f"{worded(line.verb)}{said}"


def _combined(tree: Combination) -> str:
    parts = [worded(one) for one in tree.parts]
    if tree.least in (1, len(parts)):
        return f"({(' or ' if tree.least == 1 else ' and ').join(parts)})"
    return f"{tree.least} of ({', '.join(parts)})"


def _source(source: Source) -> str:
    where = f"hdr_ip({source.field})" if source.kind == "field" else source.address or source.kind
    if not source.first:
        return where
    where = f"[{where}]" if ":" in where else where
    return f"{where}:{'-'.join(map(str, dict.fromkeys((source.first, source.last))))}"


def _target(target: Target) -> str:
    host = target.host or str(target.network)
    if (target.first, target.last) == (1, 65535):
        return f"{host}:*"
    return f"{host}:{'-'.join(map(str, dict.fromkeys((target.first, target.last))))}"


def _logTarget(log: LogTarget | EventLogTarget) -> str:
    where = log.path or (_hostAndPort(log.host, log.port) if log.host else "")
    return _joined(f"{log.target}:{where}" if where else log.target, log.options)


def _hostAndPort(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _export(export: Export) -> str:
    where = f"unix:{export.path}" if export.path else _hostAndPort(export.host, export.port)
    return _joined(where, export.options)


def _errorFile(file: ErrorFile) -> str:
    return f"{file.status}, {len(file.body)} bytes" if file.status else "closes"


def _sourced(servers: ServersConfig) -> Iterator[str]:
    """@return: the options of a source but what its text says."""
    options = servers.source.options
    return iter(()) if options is None else _options(options, False)


_WORDS: dict[type[Any], Callable[[Any], str]] = {
    Part: _part,
    RuleLine: _rule,
    PartAt: lambda one: worded(one.part) + (f" port={one.port}" if one.port else ""),
    Combination: _combined,
    CheckPart: lambda one: _joined(worded(one.probe), one.timing),
    Notify: lambda one: _joined(worded(one.observer), one.options),
    AdminBind: lambda one: _joined(str(one), one),
    Bind: lambda one: _joined(str(one), one),
    Collector: lambda one: _joined(one.url, one.options),
    Export: _export,
    AuditTarget: lambda one: f"file:{one.path}" if one.path else "stdout",
    LogTarget: _logTarget,
    EventLogTarget: _logTarget,
    TLSName: lambda one: _joined(one.pattern, one),
    ServerConfig: lambda one: _joined(str(one), one),
    ServersConfig: lambda one: " ".join(
        [_line(one.text, True), *_sourced(one), *_options(one), *_options(one.server)]
    ),
    Source: _source,
    Share: lambda one: f"{one.percent:g}% min {one.least:g}/s",
    Target: _target,
    ErrorFile: _errorFile,
}


def cut(text: str) -> str:
    """@return: no more than L{LONGEST} characters of a text, and three that say so."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def different(before: str, after: str) -> tuple[str, str]:
    """
    @param before: words for one value.
    @param after: words for one that is not equal to it.
    @return: both so that they can be told apart: of long ones the part from where they differ.
    """
    if before == after:
        return cut(before), f"{cut(after)} {UNSEEN}"
    same = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        same += 1
    start = same - _BEFORE if max(len(before), len(after)) > LONGEST and same > _BEFORE else 0
    lead = "..." if start else ""
    return f"{lead}{cut(before[start:])}", f"{lead}{cut(after[start:])}"
