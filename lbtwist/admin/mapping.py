"""
The verbs of what rules look up in files: C{show map}, C{get map}, C{set map}, C{add map}, C{del
map}, C{clear map}, and the same with C{acl} for lists, in HAProxy's words (its management guide,
9.3).

What is changed counts for every rule that reads the file, from the next request on. The file stays
as it is; what it says counts again when it is another one than before and is read anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attr

from lbtwist.admin.audit import Seen
from lbtwist.admin.verbs import DONE, Answer, Asked, Level, Refused, Verb
from lbtwist.errors import Position
from lbtwist.events import plain
from lbtwist.rules.rulebook import Rule
from lbtwist.rules.tables import Entries
from lbtwist.service import LoadBalancer

MOST_SHOWN = 50_000
"""Entries of one file that are shown."""

MOST_ADDED = 5000
"""Entries that are added at once: nobody else has a turn meanwhile."""

MAP = "map"
ACL = "acl"

Step = tuple[str, str, str]
"""What is done with one entry, its key, and its value."""

_PUT = "put"
_DROP = "drop"
_CLEAR = "clear"


@attr.define(eq=False)
class Looked:
    """
    What rules look up in one file.

    @ivar path: of the file.
    @ivar where: of the first rule that does.
    @ivar entries: each that was read of it: where the file is both, as a map and as a list.
    """

    path: str
    where: Position
    entries: list[Entries]

    @property
    def isMap(self) -> bool:
        return any(one.isMap for one in self.entries)

    def values(self, isMap: bool) -> dict[str, str]:
        """@return: what it says, as one or the other."""
        return next(one.values for one in self.entries if one.isMap is isMap)


def lookedIn(balancer: LoadBalancer) -> dict[str, Looked]:
    """@return: what rules look up in files, by their paths."""
    found: dict[str, Looked] = {}
    for rule in _rules(balancer):
        for (path, _), entries in rule.made.entries.items():
            looked = found.setdefault(path, Looked(path, rule.where, []))
            if entries not in looked.entries:
                looked.entries.append(entries)
    return dict(sorted(found.items()))


def _rules(balancer: LoadBalancer) -> Iterator[Rule]:
    owned = [one.inbound.rules for one in balancer.frontends.values()]
    owned += [one.rules for one in balancer.pools.values()]
    for rules in owned:
        for book in (rules.connection, rules.request, rules.response):
            yield from () if book is None else book.rules


def change(
    balancer: LoadBalancer, looked: Looked, changes: Sequence[tuple[str, str]]
) -> None:
    """
    Add entries, or have other values for their keys; all or none.

    @param changes: keys and values; a list has no values.
    @raise Refused: if one of them cannot be.
    """
    for entries in looked.entries:
        for key, value in changes:
            try:
                entries.check(key, value if entries.isMap else "")
            except ValueError as wrong:
                raise Refused(f"{plain(str(wrong))}.") from None
    _do(balancer, looked, [(_PUT, key, value) for key, value in changes])


def remove(balancer: LoadBalancer, looked: Looked, key: str) -> None:
    """@raise Refused: if there is none."""
    if not any(key in entries.values for entries in looked.entries):
        raise Refused("Key not found.")
    _do(balancer, looked, [(_DROP, key, "")])


def _do(balancer: LoadBalancer, looked: Looked, steps: Sequence[Step]) -> None:
    _take(looked.entries, steps)
    if balancer.workers is not None:
        balancer.workers.repeat("change", looked.path, steps)


# what workers are told


def follow(balancer: LoadBalancer, path: str, steps: Sequence[Step]) -> None:
    """Change what is looked up in a file, if anything is, step by step."""
    _take(_entries(balancer, path), steps)


def _take(changed: Iterable[Entries], steps: Sequence[Step]) -> None:
    for entries in changed:
        for what, key, value in steps:
            if what == _PUT:
                entries.put(key, value if entries.isMap else "")
            elif what == _CLEAR:
                entries.clear()
            elif key in entries.values:
                entries.drop(key)


def fill(balancer: LoadBalancer, path: str, isMap: bool, values: Mapping[str, str]) -> None:
    """Have other entries in the place of all that are looked up in a file."""
    for entries in _entries(balancer, path):
        if entries.isMap is isMap:
            entries.clear()
            for key, value in values.items():
                entries.put(key, value)


def _entries(balancer: LoadBalancer, path: str) -> Sequence[Entries]:
    looked = lookedIn(balancer).get(path)
    return () if looked is None else looked.entries


# the verbs


def _found(asked: Asked, words: Sequence[str], what: str, usage: str) -> Looked:
    if not words:
        raise Refused(usage)
    return fileNamed(asked.balancer, words[0], what)


def fileNamed(balancer: LoadBalancer, name: str, what: str) -> Looked:
    """
    @param name: a path, the last part of one, or C{#} and its number.
    @param what: L{MAP} or L{ACL}.
    @raise Refused: if there is none.
    """
    known = [one for one in lookedIn(balancer).values() if _is(one, what)]
    for number, one in enumerate(known):
        if name in (one.path, f"#{number}"):
            return one
    alike = [one for one in known if one.path.endswith(f"/{name}")]
    if len(alike) != 1:
        raise Refused(f"Unknown {what} identifier. Please use #<id> or <file>.")
    return alike[0]


def _is(looked: Looked, what: str) -> bool:
    return any(one.isMap is (what == MAP) for one in looked.entries)


def _show(what: str, asked: Asked, words: Sequence[str]) -> Answer:
    """C{show map [<file>]}."""
    if words:
        looked = _found(asked, words, what, "")
        values = looked.values(what == MAP)
        shown = list(values.items())[:MOST_SHOWN]
        lines = [f"{_reference(key)} {key} {value}".rstrip() for key, value in shown]
        if len(values) > len(shown):
            lines.append(f"# and {len(values) - len(shown)} more")
        value = {
            "file": looked.path, "entries": len(values),
            "values": dict(shown) if what == MAP else [key for key, _ in shown],
        }  # fmt: skip
        return Answer("".join(f"{one}\n" for one in lines), value)
    known = [one for one in lookedIn(asked.balancer).values() if _is(one, what)]
    text = ["# id (file) description\n"]
    for number, one in enumerate(known):
        count = len(one.values(what == MAP))
        text.append(
            f"{number} ({one.path}) pattern loaded from file '{one.path}' used by {what} at file"
            f" '{one.where.file}' line {one.where.line}. entry_cnt={count}\n"
        )
    return Answer("".join(text), {
        "files": [
            {"id": number, "file": one.path, "entries": len(one.values(what == MAP)),
             "rule": str(one.where)}
            for number, one in enumerate(known)
        ]
    })  # fmt: skip


def _reference(key: str) -> str:
    """@return: what a key can be called in this process instead."""
    return f"{hash(key) & 0xFFFFFFFFFFFF:#x}"


def _key(values: dict[str, str], word: str) -> str:
    """@return: the key that a word is, or that C{#REFERENCE} is for."""
    if word.startswith("#0x") and word not in values:
        return next((one for one in values if f"#{_reference(one)}" == word), word)
    return word


def _get(what: str, asked: Asked, words: Sequence[str]) -> Answer:
    """C{get map <file> <key>}."""
    usage = f"'get {what}' expects two parameters: {what} identifier and a key."
    looked = _found(asked, words, what, usage)
    if len(words) != 2:
        raise Refused(usage)
    values, key = looked.values(what == MAP), words[1]
    word = "found" if what == MAP else "match"
    head = f"type=str, case=sensitive, {word}="
    if key not in values:
        return Answer(f"{head}no\n", {"found": False})
    if what == ACL:
        return Answer(f'{head}yes, idx=tree, pattern="{key}"\n', {"found": True, "key": key})
    return Answer(
        f'{head}yes, idx=tree, key="{key}", value="{values[key]}", type="str"\n',
        {"found": True, "key": key, "value": values[key]},
    )


async def _set(asked: Asked, words: Sequence[str]) -> Answer:
    """C{set map <file> <key> <value>}."""
    usage = "'set map' expects three parameters: map identifier, key and value."
    looked = _found(asked, words, MAP, usage)
    if len(words) < 3:
        raise Refused(usage)
    values = looked.values(True)
    key = _key(values, words[1])
    if key not in values:
        raise Refused("entry not found.")
    change(asked.balancer, looked, [(key, " ".join(words[2:]))])
    return await _done(asked)


async def _add(what: str, asked: Asked, words: Sequence[str]) -> Answer:
    """C{add map <file> <key> <value>}, or lines of them as payload; the same without values."""
    needed = "three parameters (map identifier, key and value)"
    if what == ACL:
        needed = "two parameters (acl identifier and pattern)"
    usage = (
        f"'add {what}' expects {needed} or one parameter ({what} identifier) and a payload"
    )
    looked = _found(asked, words, what, usage)
    if asked.payload is not None and len(words) == 1:
        lines = [line.strip() for line in asked.payload.splitlines()]
    elif asked.payload is None and len(words) > 1:
        lines = [" ".join(words[1:])]
    else:
        raise Refused(usage)
    changes = []
    for line in filter(None, lines):
        key, _, value = line.partition(" ") if what == MAP else (line, "", "")
        changes.append((key, value.strip()))
    if not changes:
        raise Refused(usage)
    if len(changes) > MOST_ADDED:
        raise Refused(f"At most {MOST_ADDED} lines can be added at once.")
    change(asked.balancer, looked, changes)
    return await _done(asked)


async def _del(what: str, asked: Asked, words: Sequence[str]) -> Answer:
    """C{del map <file> <key>}."""
    usage = f"'del {what}' expects two parameters: {what} identifier and a key."
    looked = _found(asked, words, what, usage)
    if len(words) < 2:
        raise Refused(usage)
    remove(asked.balancer, looked, _key(looked.values(what == MAP), " ".join(words[1:])))
    return await _done(asked)


async def _clear(what: str, asked: Asked, words: Sequence[str]) -> Answer:
    """C{clear map <file>}."""
    looked = _found(asked, words, what, f"'clear {what}' expects a {what} identifier.")
    _do(asked.balancer, looked, [(_CLEAR, "", "")])
    return await _done(asked)


async def _done(asked: Asked) -> Answer:
    """@return: when workers have done it, too."""
    await asked.balancer.settled()
    return DONE


def _seen(what: str, asked: Asked, words: Sequence[str]) -> Seen:
    """@return: how many entries there are, and what the one is that is named."""
    values = _found(asked, words, what, "").values(what == MAP)
    found: dict[str, Any] = {"entries": len(values)}
    if what == MAP and len(words) > 1:
        found["value"] = values.get(_key(values, words[1]), "")
    return found


def _verbs(what: str) -> Iterator[Verb]:
    said = "map" if what == MAP else "list"
    line = "<key> <value>" if what == MAP else "<text>"
    key = line.split()[0]

    def changing(
        usage: str, meaning: str, run: Callable[..., Awaitable[Answer]], payload: bool = False
    ) -> Verb:
        look = partial(_seen, what)
        return Verb(usage, meaning, Level.ADMIN, run, changes=True, look=look, payload=payload)

    yield Verb(f"show {what} [<file>]", f"each {said} that rules read, or what one says",
               Level.OPERATOR, partial(_show, what))  # fmt: skip
    yield Verb(f"get {what} <file> {key}", f"what a {said} says of one", Level.OPERATOR,
               partial(_get, what))  # fmt: skip
    if what == MAP:
        yield changing(f"set map <file> {line}", "another value for a key", _set)
    yield changing(f"add {what} <file> [{line}]", f"one more in a {said}, or lines after <<",
                   partial(_add, what), payload=True)  # fmt: skip
    yield changing(f"del {what} <file> {key}", f"one less in a {said}", partial(_del, what))
    yield changing(f"clear {what} <file>", f"all less in a {said}", partial(_clear, what))


VERBS = (*_verbs(MAP), *_verbs(ACL))
