"""
Rules that can be asked and were probably not meant: C{lbtwist check} warns of them. What
is an error is not looked for here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lbtwist.config.fill import Scope, optionFields
from lbtwist.config.ruled import Checked, Rules
from lbtwist.errors import Position
from lbtwist.rules.compiling import Typed, compiled
from lbtwist.rules.reading import FUNCTIONS
from lbtwist.rules.tables import Networks
from lbtwist.rules.template import Template

CLAIMS = frozenset(
    {
        "cf-connecting-ip", "fastly-client-ip", "forwarded", "true-client-ip", "x-client-ip",
        "x-cluster-client-ip", "x-forwarded-for", "x-real-ip",
    }
)  # fmt: skip
"""Fields by which a proxy tells the client's address, and a client any it likes."""

_FIELDS = ("header", "headers")
# Who asks for one of these beside a field does not believe just anybody.
_BELIEF = {"src", "trusted"}
_REMOVING = ("del-header", "set-header")
# After these the frontend's own pool is needed.
_GO_ON = ("allow", "server", "tunnel")
# Asked twice in a row they need not say the same.
_FICKLE = {"random", "rate", "connections"}


def alwaysSame(one: Checked) -> bool | None:
    """@return: whether a line always or never holds; L{None} if it depends."""
    typed = one.condition
    if typed is None:
        return True
    names = {node.id for node in ast.walk(typed.code) if isinstance(node, ast.Name)}
    if all(_lasting(name, typed) for name in names):
        return bool(compiled(typed)(None))
    return None


def _lasting(name: str, typed: Typed) -> bool:
    """Whether what a name in code stands for never changes."""
    if name not in typed.objects:
        return name in FUNCTIONS
    found = typed.objects[name]
    if isinstance(found, (Networks, frozenset, dict)):
        return True
    return isinstance(getattr(found, "__self__", None), re.Pattern)


def ends(lines: Sequence[Checked]) -> bool:
    """
    Whether rules decide for whatever comes, so that the frontend's own pool is never asked.
    """
    for one in lines:
        if one.written.decides and alwaysSame(one):
            return one.written.line.verb.name not in _GO_ON
    return False


def doubtful(lines: Sequence[Checked], scope: Scope, rules: Rules, believed: bool) -> None:
    """
    @param lines: those of one list, in the order in which they are asked.
    @param scope: of the list.
    @param believed: whether fields that tell of the client come from proxies that are
        believed.
    """
    final: Checked | None = None
    before: Checked | None = None
    removed: list[str] = []
    for one in lines:
        line = one.written.line
        within = scope.within(line.verb.name)
        if final is not None:
            verb = final.written.line
            within.warn(
                line.where,
                f"can never be reached: {verb.verb.name!r} at {verb.where} always decides",
            )
            break
        same = alwaysSame(one)
        if one.condition is not None and same is not None:
            said = "true" if same else "false"
            within.warn(_where(one), f"the condition is always {said}")
        if one.written.decides and same:
            final = one
        if before is not None and before.written.decides and _alike(before, one):
            within.warn(
                line.where,
                "can never be reached: it has the condition of the rule before it, which decides",
            )
        before = one
        if not believed and line.condition is not None:
            _warnOfClaims(one, removed, within, rules)
        removed += _removed(one)


def _where(one: Checked) -> Position:
    assert one.written.condition is not None
    return one.written.condition.where


def _alike(one: Checked, other: Checked) -> bool:
    first, second = one.written.line.condition, other.written.line.condition
    if first is None or second is None:
        return False
    names = {node.id for node in ast.walk(first.tree) if isinstance(node, ast.Name)}
    return not names & _FICKLE and ast.dump(first.tree) == ast.dump(second.tree)


def _removed(one: Checked) -> Iterator[str]:
    """@return: the field that a line takes from the client, in lower case; C{*} is a pattern."""
    verb = one.written.line.verb
    if verb.name not in _REMOVING:
        return
    for field in list(optionFields(type(verb.options)).values())[:1]:
        value = getattr(verb.options, field.name)
        name = value.constant if isinstance(value, Template) else value
        if isinstance(name, (str, bytes)):
            yield (name if isinstance(name, str) else name.decode("latin-1")).lower()


def _warnOfClaims(one: Checked, removed: list[str], scope: Scope, rules: Rules) -> None:
    condition = one.written.line.condition
    assert condition is not None
    if rules.namesOf(condition.tree) & _BELIEF:
        return
    for name in _fields(condition.tree, rules, set()):
        if name.lower() in CLAIMS and not any(fnmatchcase(name.lower(), gone) for gone in removed):
            scope.warn(
                _where(one),
                f"{name} is what any client likes to say: set trusted-proxies, ask for trusted"
                f" too, or write del-header {name} above",
            )


def _fields(tree: ast.expr, rules: Rules, within: set[str]) -> Iterator[str]:
    """@return: the names of the request's fields that a condition asks for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in rules.conditions and node.id not in within:
            yield from _fields(rules.conditions[node.id].tree, rules, within | {node.id})
        base: Any = None
        key: Any = None
        if isinstance(node, ast.Subscript):
            base, key = node.value, node.slice
        elif isinstance(node, ast.Compare):
            base, key = node.comparators[-1], node.left
        if isinstance(base, ast.Name) and base.id in _FIELDS and isinstance(key, ast.Constant):
            yield str(key.value)
