"""
The functions of the language of conditions, and what may be called on a text: what each
takes, and the code it becomes.
"""

from __future__ import annotations

import ast
import random
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import attr

from lbtwist.options import Time, suggestion
from lbtwist.rules.checking import Checking, ExpressionError
from lbtwist.rules.compiling import Typed
from lbtwist.rules.patterns import slowness
from lbtwist.rules.tables import Concurrency, Entries, Networks, Rate
from lbtwist.rules.values import POOL_METHODS, POOL_VALUES, Kind

_TEXT, _NUMBER, _TRUTH, _TEXTS = Kind.TEXT, Kind.NUMBER, Kind.TRUTH, Kind.TEXTS

Read = Callable[[Checking, ast.Call], Typed]


@attr.frozen
class Function:
    """
    @ivar form: how it is written.
    @ivar meaning: what it gives, for people.
    @ivar read: checks a call, and makes its code.
    """

    form: str
    meaning: str
    read: Read


FUNCTIONS: dict[str, Function] = {}
"""Every function by its name."""


def _function(form: str, meaning: str) -> Callable[[Read], Read]:
    def found(read: Read) -> Read:
        FUNCTIONS[form.partition("(")[0]] = Function(form, meaning, read)
        return read

    return found


@attr.frozen
class Method:
    """
    What may be called on a text.

    @ivar takes: the kinds of its arguments.
    @ivar least: how many of them it needs.
    """

    gives: Kind
    takes: tuple[Kind, ...]
    least: int
    meaning: str


METHODS: Mapping[str, Method] = {
    "startswith": Method(_TRUTH, (_TEXTS,), 1, "It begins with this, or with one of several."),
    "endswith": Method(_TRUTH, (_TEXTS,), 1, "It ends with this, or with one of several."),
    "lower": Method(_TEXT, (), 0, "In lower case."),
    "upper": Method(_TEXT, (), 0, "In upper case."),
    "casefold": Method(_TEXT, (), 0, "So that two that differ in case only are equal."),
    "strip": Method(_TEXT, (_TEXT,), 0, "Without white space, or these characters, around it."),
    "lstrip": Method(_TEXT, (_TEXT,), 0, "The same at its beginning only."),
    "rstrip": Method(_TEXT, (_TEXT,), 0, "The same at its end only."),
    "removeprefix": Method(_TEXT, (_TEXT,), 1, "Without this at its beginning."),
    "removesuffix": Method(_TEXT, (_TEXT,), 1, "Without this at its end."),
    "replace": Method(_TEXT, (_TEXT, _TEXT), 2, "With the second text for each of the first."),
    "find": Method(_NUMBER, (_TEXT,), 1, "Where this is first in it, from 0 on; -1 for nowhere."),
    "count": Method(_NUMBER, (_TEXT,), 1, "How often this is in it."),
    "split": Method(_TEXTS, (_TEXT,), 1, "The texts between what separates."),
    "partition": Method(_TEXTS, (_TEXT,), 1, "What is before the first of this, this, the rest."),
    "rpartition": Method(_TEXTS, (_TEXT,), 1, "What is before the last of this, this, the rest."),
    "isdigit": Method(_TRUTH, (), 0, "It is digits, one at least."),
    "isalpha": Method(_TRUTH, (), 0, "It is letters, one at least."),
    "isalnum": Method(_TRUTH, (), 0, "It is letters and digits, one at least."),
    "isascii": Method(_TRUTH, (), 0, "All of it is ASCII; also if it is empty."),
}
"""What may be called on a text, by name."""

# Time and memory of these are bounded only if what is given does not come of a client.
_PLAIN = {
    "split": "what separates",
    "partition": "what separates",
    "rpartition": "what separates",
    "strip": "what is taken off",
    "lstrip": "what is taken off",
    "rstrip": "what is taken off",
}


def arguments(checking: Checking, node: ast.Call, least: int, most: int) -> None:
    """@raise ExpressionError: if a call has not so many arguments, or names them."""
    if node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
        checking.refuse(node, "arguments are given in order, without names")
    if not least <= len(node.args) <= most:
        numbers = str(least) if least == most else f"{least} to {most}"
        plural = "" if numbers == "1" else "s"
        name = checking.written(node.func)
        checking.refuse(node, f"{name} takes {numbers} argument{plural}, not {len(node.args)}")


def method(checking: Checking, node: ast.Call, func: ast.Attribute) -> Typed:
    """What is called on a text."""
    base = checking.any(func.value)
    found = METHODS.get(func.attr)
    if found is None or base.kind not in (_TEXT, Kind.ADDRESS):
        hint = suggestion(func.attr, METHODS) if base.kind is _TEXT else ""
        checking.refuse(node, f"{func.attr!r} cannot be called on {base.kind.value}{hint}")
    arguments(checking, node, found.least, len(found.takes))
    given = [
        _argument(checking, func.attr, one, kind)
        for one, kind in zip(node.args, found.takes, strict=False)
    ]
    if func.attr == "replace":
        _replacing(checking, node, *given)
    codes = [one.code for one in given]
    return Typed(ast.Call(ast.Attribute(base.code, func.attr, ast.Load()), codes, []), found.gives)


def _argument(checking: Checking, name: str, node: ast.expr, kind: Kind) -> Typed:
    found = checking.any(node)
    if kind is _TEXTS:
        # One text stands for several.
        if found.kind is _TEXTS and found.constant is None:
            checking.refuse(node, "several texts are written between quotes here")
        if found.kind is not _TEXTS:
            checking.fitting(node, found, _TEXT)
        return found
    checking.fitting(node, found, kind)
    if name in _PLAIN and not found.constant:
        checking.refuse(node, f"{_PLAIN[name]} is written between quotes")
    return found


def _replacing(checking: Checking, node: ast.Call, old: Typed, new: Typed) -> None:
    if not isinstance(new.constant, str):
        checking.refuse(node.args[1], "what is put in is written between quotes")
    if old.constant == "":
        checking.refuse(node.args[0], "what is replaced cannot be empty")
    if isinstance(old.constant, str):
        checking.grow(node, -(-len(new.constant) // len(old.constant)))
    else:
        # It may be one character, and where it is empty the text grows between all of them.
        checking.grow(node, len(new.constant) + 1)


# functions


@_function("net(NETWORK, ...)", "Networks and addresses; `@FILE` reads them from a file.")
def _net(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 1, 10_000)
    found = Networks(())
    for one in node.args:
        written = checking.constant(one, "a network")
        try:
            if written.startswith("@"):
                _entries(checking, one, written[1:], False).join(found)
            else:
                found.add(written)
        except ExpressionError:
            raise
        except ValueError as error:
            checking.refuse(node, str(error))
    return Typed(checking.object(found), Kind.NETWORKS)


def _entries(checking: Checking, node: ast.expr, name: str, isMap: bool) -> Entries:
    """@return: what a file says."""
    content = _file(checking, node, name)
    try:
        return checking.scope.entries(name, isMap, content)
    except ValueError as error:
        checking.refuse(node, f"{name}: {error}")


def _file(checking: Checking, node: ast.expr, name: str) -> str:
    try:
        return checking.scope.read(name)
    except OSError as error:
        checking.refuse(node, f"{name!r} cannot be read: {error.strerror or error}")
    except ValueError as error:
        checking.refuse(node, f"{name!r} cannot be read: {error}")


@_function(
    "match(REGEX, TEXT)",
    "The groups of a Python regular expression that is looked for anywhere in TEXT: `[0]` is"
    ' all it has found, `[1]` or `["name"]` one group, empty if it was not found.',
)
def _match(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 2, 2)
    pattern = checking.constant(node.args[0], "a regular expression")
    subject = checking.need(node.args[1], _TEXT)
    try:
        with warnings.catch_warnings():
            # What may mean something else one day is none of an operator's concerns.
            warnings.simplefilter("ignore")
            found = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        checking.refuse(node.args[0], f"{pattern!r} is not a regular expression: {error}")
    wrong = slowness(pattern)
    if wrong:
        checking.refuse(node.args[0], wrong)
    search = checking.object(found.search)
    code = checking.code("SEARCH(TEXT)", SEARCH=search, TEXT=subject.code)
    groups = frozenset((*range(found.groups + 1), *found.groupindex))
    return Typed(code, Kind.MATCH, groups=groups)


@_function(
    "map(FILE, KEY, DEFAULT)",
    "What a file says of KEY: its lines are `KEY VALUE`. DEFAULT, or an empty text, if it says"
    " nothing.",
)
def _map(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 2, 3)
    name = checking.constant(node.args[0], "a file")
    key = checking.need(node.args[1], _TEXT)
    default: ast.expr = ast.Constant("")
    if len(node.args) > 2:
        default = checking.need(node.args[2], _TEXT).code
    found = _entries(checking, node.args[0], name, True)
    code = checking.code(
        "chosen(MAP, KEY, DEFAULT)", MAP=checking.object(found.values), KEY=key.code,
        DEFAULT=default,
    )  # fmt: skip
    return Typed(code, _TEXT)


@_function("one_of(FILE)", "The lines of a file, for `TEXT in one_of(FILE)`.")
def _oneOf(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 1, 1)
    name = checking.constant(node.args[0], "a file")
    found = _entries(checking, node.args[0], name, False)
    return Typed(checking.object(found.values), _TEXTS)


@_function(
    "rate(KEY, PERIOD)",
    "How often this was asked with KEY in the last PERIOD, now among them; each place where it"
    " is written counts for itself.",
)
def _rate(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 2, 2)
    key = checking.need(node.args[0], _TEXT)
    period = checking.constant(node.args[1], "a period")
    try:
        seconds = Time().parse(period)
    except ValueError as error:
        checking.refuse(node.args[1], str(error))
    if not seconds:
        checking.refuse(node.args[1], "a period is longer than 0")
    count = checking.object(Rate(seconds, checking.scope.seconds).count)
    return Typed(checking.code("COUNT(exchange, KEY)", COUNT=count, KEY=key.code), _NUMBER)


@_function(
    "connections(KEY)",
    "How many connections of now have KEY, this one among them; each place where it is written"
    " counts for itself.",
)
def _connections(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 1, 1)
    key = checking.need(node.args[0], _TEXT)
    count = checking.object(Concurrency().count)
    return Typed(checking.code("COUNT(exchange, KEY)", COUNT=count, KEY=key.code), _NUMBER)


@_function('pool("NAME")', 'A pool, for what is known of it, such as `pool("app").up`.')
def _pool(checking: Checking, node: ast.Call) -> Typed:
    known = ", ".join((*POOL_VALUES, *POOL_METHODS))
    checking.refuse(node, f'of a pool a value is asked: write pool("NAME").up; there are {known}')


def poolValue(checking: Checking, call: ast.Call, node: ast.Attribute) -> Typed:
    """What is asked of a pool."""
    pool = _poolNamed(checking, call, node)
    if node.attr in POOL_METHODS:
        checking.refuse(node, f'{node.attr} needs a text: write pool("NAME").{node.attr}("TEXT")')
    code, _ = POOL_VALUES[node.attr]
    return Typed(checking.code(code.format("POOL"), POOL=pool), _NUMBER)


def _poolNamed(checking: Checking, call: ast.Call, node: ast.Attribute) -> ast.expr:
    """@return: the code for the pool of which C{node} is asked."""
    arguments(checking, call, 1, 1)
    name = checking.constant(call.args[0], "the name of a pool")
    if node.attr not in POOL_VALUES and node.attr not in POOL_METHODS:
        hint = suggestion(node.attr, (*POOL_VALUES, *POOL_METHODS))
        checking.refuse(node, f"there is no {node.attr!r} of a pool{hint}")
    try:
        return checking.object(checking.scope.pool(name))
    except KeyError:
        checking.refuse(call, f"there is no [pool {name}]")


def _poolMethod(checking: Checking, node: ast.Call, func: ast.Attribute, call: ast.Call) -> Typed:
    """What is asked of a pool with a text."""
    pool = _poolNamed(checking, call, func)
    if func.attr not in POOL_METHODS:
        checking.refuse(node, f'{func.attr} is a value: write pool("NAME").{func.attr} without ()')
    arguments(checking, node, 1, 1)
    text = checking.need(node.args[0], _TEXT)
    count = checking.object(POOL_METHODS[func.attr][0])
    code = checking.code("COUNT(POOL, TEXT)", COUNT=count, POOL=pool, TEXT=text.code)
    return Typed(code, _NUMBER)


@_function("random()", "A number from 0 up to 1, another one each time.")
def _random(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 0, 0)
    return Typed(checking.code("RANDOM()", RANDOM=checking.object(random.random)), _NUMBER)


@_function(
    "number(TEXT, DEFAULT)",
    "The whole number that TEXT is; DEFAULT, or 0, if it is none, or has more than 19 characters.",
)
def _number(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 1, 2)
    parts = [checking.need(node.args[0], _TEXT)]
    parts += [checking.need(one, _NUMBER) for one in node.args[1:]]
    call = ast.Call(ast.Name("number", ast.Load()), [one.code for one in parts], [])
    return Typed(call, _NUMBER)


@_function(
    "address(TEXT)",
    "The address that TEXT is, without a zone; empty, and in no network, if it is none.",
)
def _address(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 1, 1)
    found = checking.need(node.args[0], _TEXT)
    return Typed(checking.code("address(TEXT)", TEXT=found.code), Kind.ADDRESS)


@_function("len(TEXT)", "How many characters a text has, or how many texts there are.")
def _len(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 1, 1)
    found = checking.any(node.args[0])
    if found.kind not in (_TEXT, _TEXTS):
        checking.refuse(node, f"{found.kind.value} has no length")
    return Typed(checking.code("len(TEXT)", TEXT=found.code), _NUMBER)


@_function("str(NUMBER)", "A number or an address as text.")
def _str(checking: Checking, node: ast.Call) -> Typed:
    arguments(checking, node, 1, 1)
    found = checking.any(node.args[0])
    if found.kind not in (_NUMBER, _TEXT, Kind.ADDRESS):
        checking.refuse(node, f"{found.kind.value} is not made a text")
    return Typed(checking.code("str(TEXT)", TEXT=found.code), _TEXT)


def called(checking: Checking, node: ast.Call, values: Mapping[str, Any]) -> Typed:
    """
    A call.

    @param values: the names of what is written without C{()}.
    """
    func = node.func
    if isinstance(func, ast.Attribute):
        base = func.value
        if isinstance(base, ast.Call) and checking.written(base.func) == "pool":
            return _poolMethod(checking, node, func, base)
        return method(checking, node, func)
    name = func.id if isinstance(func, ast.Name) else checking.written(func)
    if name not in FUNCTIONS or not isinstance(func, ast.Name):
        hint = suggestion(name, FUNCTIONS)
        if name in values:
            hint = f"; {name} is a value: write it without ()"
        checking.refuse(node, f"there is no function {name!r}{hint}")
    return FUNCTIONS[name].read(checking, node)
