"""
What is different in two configurations: what is added, removed and changed, and who is
concerned by it.

Values are compared, and no text: a file that says the same in another way is not different.
What it means for what runs is not known here; that is L{lbtwist.service}'s, and how many
connections it concerns L{lbtwist.admin.planning}'s. Nothing that is secret is in a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attr

from lbtwist.config.model import (
    AdminBind,
    Bind,
    CheckOptions,
    CheckPart,
    Config,
    FrontendConfig,
    NotifyOptions,
    OutlierOptions,
    Part,
    PoolConfig,
    RuleLine,
    ServerConfig,
    ServersConfig,
    StoreConfig,
    TLSName,
)
from lbtwist.config.ordering import merged, moved, named, numbered
from lbtwist.config.users import usersOf
from lbtwist.config.worded import (
    NONE,
    SECRET,
    comparedIn,
    cut,
    different,
    isSecret,
    kindsIn,
    optionOf,
    worded,
)
from lbtwist.options import Text
from lbtwist.rules.expression import Expression

ADDED = "added"
REMOVED = "removed"
CHANGED = "changed"
MOVED = "moved"

SIGNS = {ADDED: "+", REMOVED: "-", CHANGED: "~", MOVED: ">"}
"""What stands in front of each, for people."""

KINDS = {
    "settings": "global", "frontends": "frontend", "pools": "pool", "stores": "store",
    "conditions": "condition",
}  # fmt: skip
"""What the fields of a L{Config} have, where that is not their name."""

_KEYS: dict[type[Any], Callable[[Any], str]] = {
    AdminBind: str, Bind: str, TLSName: lambda one: one.pattern,
}  # fmt: skip
_ADDRESS = frozenset(("kind", "host", "port", "path"))
# What is looked into for what is different in it.
_DEEP = (CheckOptions, CheckPart, NotifyOptions, OutlierOptions, ServerConfig)
# In it there may be a name and a password.
_TEXT = Text()
# Fields of these that have no word of their own in a file.
_UNWRITTEN = frozenset(("options", "probe", "timing", "server"))


@attr.frozen
class Change:
    """
    What is different in something that was there before.

    @ivar what: L{ADDED}, L{REMOVED}, L{CHANGED} or L{MOVED}; an option is L{CHANGED}, even
        if it says something for the first time.
    @ivar option: its name; of one of several, with which one it is: C{bind :80 tls}.
    @ivar before: how it was; C{""} for what was not there.
    @ivar after: how it is; C{""} for what is not there any more.
    @ivar line: of a list of rules, which it is, counted from 1; of what is removed, which it
        was. 0 elsewhere.
    @ivar was: which line it was, if it is moved.
    """

    what: str
    option: str
    before: str = ""
    after: str = ""
    line: int = 0
    was: int = 0

    def __str__(self) -> str:
        option = self.option
        if self.line:
            option += f" line {self.line}{f', before line {self.was}' if self.was else ''}:"
        if self.what == CHANGED:
            return f"{option} {self.before} -> {self.after}"
        return f"{SIGNS[self.what]} {option} {self.after or self.before}"


@attr.frozen
class Entry:
    """
    One thing that is different: a frontend, a pool, a server, a section.

    @ivar what: L{ADDED}, L{REMOVED} or L{CHANGED}.
    @ivar kind: as in the file: C{frontend}, C{pool}, C{server}, C{servers}, C{tls}, C{tcp},
        C{store}, C{condition}, C{global}.
    @ivar name: of a server C{POOL/SERVER}; C{""} for C{global}.
    @ivar value: what it is, or was, in a few words; C{""} for what is changed.
    @ivar changes: what is different in it.
    @ivar users: those who use it and are concerned for that: C{frontend www}. Only of what
        is changed: what uses something new, or something no more, is changed itself.
    """

    what: str
    kind: str
    name: str
    value: str = ""
    changes: tuple[Change, ...] = ()
    users: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    def lines(self, note: str = "") -> list[str]:
        """
        @param note: is added in brackets.
        @return: it in words: one line, or one for each change below it.
        """
        said = [f"used by {', '.join(self.users)}"] if self.users else []
        more = "; ".join([*said, *filter(None, [note])])
        more = f" ({more})" if more else ""
        head = f"{SIGNS[self.what]} {self.label}"
        if self.what == ADDED:
            return [f"{head} = {self.value}{more}"]
        if not self.changes:
            return [head + more]
        if len(self.changes) == 1:
            return [f"{head}: {self.changes[0]}{more}"]
        return [f"{head}{more}:", *(f"    {change}" for change in self.changes)]


@attr.frozen(repr=False)
class Difference:
    """
    What is different.

    @ivar entries: in the order of L{Config}, each kind in written order; servers after their
        pool.
    """

    entries: tuple[Entry, ...] = ()

    def __repr__(self) -> str:
        return f"<Difference {self.summary}>"

    @property
    def empty(self) -> bool:
        return not self.entries

    def of(self, what: str) -> list[Entry]:
        """@param what: L{ADDED}, L{REMOVED} or L{CHANGED}."""
        return [entry for entry in self.entries if entry.what == what]

    @property
    def summary(self) -> str:
        """C{2 added, 1 removed, 3 changed}, or C{nothing changes}."""
        counts = [(len(self.of(what)), what) for what in (ADDED, REMOVED, CHANGED)]
        return ", ".join(f"{n} {what}" for n, what in counts if n) or "nothing changes"

    @property
    def lines(self) -> list[str]:
        """In words, for the log."""
        return [line for entry in self.entries for line in entry.lines()]

    def asObjects(self) -> dict[str, Any]:
        """@return: of what JSON has."""
        counts = {what: len(self.of(what)) for what in (ADDED, REMOVED, CHANGED)}
        return {**counts, "entries": [attr.asdict(entry) for entry in self.entries]}


SAME = Difference()


def difference(before: Config, after: Config) -> Difference:
    """@return: what is to be done to C{before} so that it is C{after}."""
    if before is after:
        return SAME
    found: list[Entry] = []
    for field in comparedIn(Config):
        was, now = getattr(before, field.name), getattr(after, field.name)
        if was == now:
            continue
        kind = KINDS.get(field.name, field.name)
        if isinstance(was, Mapping):
            found += _used(_sections(kind, was, now), kind, after)
        else:
            found.append(Entry(CHANGED, kind, "", "", tuple(_changes(was, now))))
    return Difference(tuple(found))


def _used(entries: Iterable[Entry], kind: str, config: Config) -> list[Entry]:
    """@return: the entries, and with those that are changed who uses them."""
    found = list(entries)
    changed = {entry.name for entry in found if entry.what == CHANGED}
    users = usersOf(config, kind, changed) if changed else {}
    return [
        attr.evolve(entry, users=users[entry.name]) if entry.name in users else entry
        for entry in found
    ]


def _sections(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Entry]:
    for name in merged(before, after):
        was, now = before.get(name), after.get(name)
        if was is None:
            yield Entry(ADDED, kind, name, _valueOf(now))
        elif now is None:
            yield Entry(REMOVED, kind, name, _valueOf(was))
        elif was != now:
            yield from _changed(kind, name, was, now)


def _changed(kind: str, name: str, was: Any, now: Any) -> Iterator[Entry]:
    apart = ("servers", "templates") if isinstance(now, PoolConfig) else ()
    if isinstance(now, Expression):
        changes = [Change(CHANGED, "is", *different(worded(was), worded(now)))]
    else:
        changes = list(_changes(was, now, apart=apart))
    inside: list[Entry] = []
    for field, one in (("servers", "server"), ("templates", "servers")) if apart else ():
        pair = named(getattr(was, field)), named(getattr(now, field))
        found = [attr.evolve(entry, name=f"{name}/{entry.name}") for entry in _sections(one, *pair)]
        inside += found
        changes += _reordered(one, *pair)
    if changes or not inside:
        yield Entry(CHANGED, kind, name, "", tuple(changes))
    yield from inside


def _valueOf(one: Any) -> str:
    """@return: what something is, in a few words."""
    if isinstance(one, FrontendConfig):
        return cut(", ".join([*map(worded, one.bind), *([f"pool {one.pool}"] if one.pool else [])]))
    if isinstance(one, PoolConfig):
        names = [server.name for server in one.servers]
        names += [f"{template.name} of {worded(template)}" for template in one.templates]
        return cut(f"servers {', '.join(names)}")
    return cut(worded(one.kind if isinstance(one, StoreConfig) else one))


def _changes(
    was: Any, now: Any, prefix: str = "", apart: Collection[str] = ()
) -> Iterator[Change]:
    """
    @param was: an attrs instance.
    @param now: another of its class.
    @param prefix: stands before the names of options.
    @param apart: fields that are not looked at.
    """
    cls = type(now)
    placed = isinstance(now, (AdminBind, Bind, ServerConfig))
    if placed and str(was) != str(now):
        yield Change(CHANGED, f"{prefix} address".strip(), *different(str(was), str(now)))
    for field in comparedIn(cls):
        if field.name in apart or (placed and field.name in _ADDRESS):
            continue
        before, after = getattr(was, field.name), getattr(now, field.name)
        if before == after:
            continue
        if isinstance(now, ServersConfig) and field.name in ("source", "text"):
            if field.name == "source":
                yield from _sourceChanges(was, now)
            continue
        written = "" if field.name in _UNWRITTEN else optionOf(field.name)
        yield from _option(field.name, f"{prefix} {written}".strip(), before, after, cls)


def _option(field: str, option: str, was: Any, now: Any, cls: type[Any]) -> Iterator[Change]:
    """
    @param field: its name.
    @param option: how it is called.
    @param cls: has the field.
    """
    if isinstance(was, tuple) and isinstance(now, tuple):
        key = next((_KEYS[type(one)] for one in (*was, *now) if type(one) in _KEYS), None)
        if key is not None:
            yield from _items(option, key, was, now)
            return
        if any(isinstance(one, RuleLine) for one in (*was, *now)):
            yield from _rules(option, was, now)
            return
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        yield from _mapped(option, was, now)
        return
    inside = list(_changes(was, now, option)) if _isDeep(was, now, cls) else []
    if inside:
        yield from inside
        return
    kind = kindsIn(cls).get(field)
    if isSecret(field, kind):
        yield Change(CHANGED, option, *different(*(SECRET if one else NONE for one in (was, now))))
    else:
        yield Change(CHANGED, option, *different(worded(was, kind), worded(now, kind)))


def _isDeep(was: Any, now: Any, cls: type[Any]) -> bool:
    """Whether it is looked for what is different in two values that a C{cls} has."""
    if type(was) is not type(now):
        return False
    if isinstance(now, Part):
        return was.name == now.name and type(was.options) is type(now.options)
    return isinstance(now, _DEEP) or (cls is Part and attr.has(type(now)))


def _sourceChanges(was: ServersConfig, now: ServersConfig) -> Iterator[Change]:
    """@return: where servers come from: the source as it is written, and its options."""
    old, new = was.source, now.source
    if not _isDeep(old, new, ServersConfig) or old.options is None:
        if old.options != new.options or old.name != new.name or was.text != now.text:
            yield Change(CHANGED, "source", *different(worded(was), worded(now)))
        return
    said = [] if was.text == now.text else [
        Change(CHANGED, "source", *different(worded(was.text, _TEXT), worded(now.text, _TEXT)))
    ]
    # What stands in the text is said with it.
    bare = [
        field.name
        for field in comparedIn(type(new.options))
        if said and field.metadata.get("positional")
    ]
    yield from said
    yield from _changes(old.options, new.options, apart=bare)


def _mapped(option: str, was: Mapping[Any, Any], now: Mapping[Any, Any]) -> Iterator[Change]:
    option = option.removesuffix("s")
    for key in merged(was, now):
        one = f"{option}-{key}"
        if key not in was:
            yield Change(ADDED, one, after=cut(worded(now[key])))
        elif key not in now:
            yield Change(REMOVED, one, before=cut(worded(was[key])))
        elif was[key] != now[key]:
            yield Change(CHANGED, one, *different(worded(was[key]), worded(now[key])))


def _items(
    option: str, key: Callable[[Any], str], was: Sequence[Any], now: Sequence[Any]
) -> Iterator[Change]:
    """@return: what is different in values that have names of their own, as addresses."""
    before, after = named(was, key), named(now, key)
    for name in merged(before, after):
        if name not in before:
            yield Change(ADDED, option, after=cut(worded(after[name])))
        elif name not in after:
            yield Change(REMOVED, option, before=cut(worded(before[name])))
        elif before[name] != after[name]:
            yield from _changes(before[name], after[name], f"{option} {name}")
    yield from _reordered(option, before, after)


def _rules(option: str, was: Sequence[RuleLine], now: Sequence[RuleLine]) -> Iterator[Change]:
    """@return: lines of rules that are added, removed, or asked in another order."""
    before, after = numbered(was, _ruleText), numbered(now, _ruleText)
    elsewhere = moved(list(before), list(after))
    for key in merged(before, after):
        text = cut(worded(now[after[key]] if key in after else was[before[key]]))
        if key not in before:
            yield Change(ADDED, option, after=text, line=after[key] + 1)
        elif key not in after:
            yield Change(REMOVED, option, before=text, line=before[key] + 1)
        elif was[before[key]] != now[after[key]]:
            one, other = worded(was[before[key]]), worded(now[after[key]])
            yield Change(CHANGED, option, *different(one, other), line=after[key] + 1)
        elif key in elsewhere:
            yield Change(MOVED, option, text, text, after[key] + 1, before[key] + 1)


def _ruleText(line: RuleLine) -> str:
    return line.text or worded(line)


def _reordered(
    option: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Change]:
    """@return: whether those that are in both are in another order."""
    was = [name for name in before if name in after]
    now = [name for name in after if name in before]
    if was != now:
        yield Change(CHANGED, f"order of {option}", *different(", ".join(was), ", ".join(now)))
