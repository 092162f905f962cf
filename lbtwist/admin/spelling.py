"""
Words of a command as lines of a configuration: those of HAProxy, where it has other ones, and our
own. Whether they mean anything is L{lbtwist.config}'s to find out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from lbtwist.admin.verbs import Refused
from lbtwist.config.amending import asWord
from lbtwist.config.fill import optionFields
from lbtwist.config.ini import normal
from lbtwist.config.model import FrontendConfig, PoolConfig, ServerOptions
from lbtwist.config.sections import LISTED, PREFERRED, READERS
from lbtwist.events import plain
from lbtwist.options import Flag, Name

HAPROXY = {
    "ssl": "tls", "no-ssl": "no-tls", "ca-file": "ca", "crt": "certificate",
    "ssl-min-ver": "minimum", "ssl-max-ver": "maximum", "interface": "source-interface",
    "send-proxy-v2": "send-proxy=v2", "proxy-v2-options": "send-proxy-options",
}  # fmt: skip
"""Words of HAProxy's for servers (its management guide, C{add server}), and ours for them."""

OF_CHECKS = frozenset(
    ("inter", "fastinter", "downinter", "rise", "fall", "port", "addr", "check-ssl", "check-sni",
     "check-alpn", "check-proto", "agent-check", "agent-addr", "agent-port", "agent-inter",
     "agent-send")
)  # fmt: skip
"""Words of HAProxy's for a server that are said by its pool here."""

_STR = re.compile(r"str\((.*)\)", re.S)
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def checked(words: Iterable[str]) -> None:
    """@raise Refused: for a word that cannot stand in a line."""
    for word in words:
        if not word.isprintable():
            raise Refused(f"{plain(word)!r} cannot stand in a line.")


def named(what: str, name: str) -> str:
    """@raise Refused: if nothing can be called so."""
    try:
        return Name().parse(name)
    except ValueError as wrong:
        raise Refused(f"{what}: {plain(str(wrong))}.") from None


def _following(rest: Iterator[str], word: str) -> str:
    found = next(rest, None)
    if found is None:
        raise Refused(f"'{word}' expects a value.")
    return found


# servers


def serverWords(pool: str, words: Sequence[str]) -> tuple[list[str], bool]:
    """
    @param words: those that follow the address.
    @return: those of a line C{server}, and whether it is to begin with its work.
    @raise Refused: if one makes no sense here.
    """
    checked(words)
    found: list[str] = []
    enabled = False
    rest = iter(words)
    for word in rest:
        if word == "enabled":
            enabled = True
            continue
        if word in OF_CHECKS:
            raise Refused(f"'{word}' is said by the pool: check = in [pool {pool}].")
        found.append(_server(word, rest))
    if not enabled and "disabled" not in found:
        found.append("disabled")
    return found, enabled


def _server(word: str, rest: Iterator[str]) -> str:
    fields = optionFields(ServerOptions)
    key, equals, value = word.partition("=")
    if equals and _BARE.fullmatch(key):
        return f"{key}={asWord(value)}"
    ours = HAPROXY.get(word, word)
    key, equals, _ = ours.partition("=")
    field = fields.get(normal(ours))
    if field is not None and not isinstance(field.metadata["kind"], Flag) and (
        not field.metadata.get("bare")
    ):
        value = _following(rest, word)
        if word == "sni":
            # HAProxy takes an expression; a name is a constant.
            constant = _STR.fullmatch(value)
            value = value if constant is None else constant[1]
        return f"{ours}={asWord(value)}"
    return ours if equals else asWord(ours)


# sections


def sectionText(
    kind: str, name: str, words: Sequence[str], special: Callable[[str, Iterator[str]], bool]
) -> str:
    """
    @param kind: C{pool} or C{frontend}.
    @param words: C{OPTION VALUE} or C{OPTION=VALUE}, each value one word; of an option that is
        said several times each is a line.
    @param special: given a word and those that follow, whether it has dealt with it.
    @return: the section.
    @raise Refused: if one makes no sense here.
    """
    checked(words)
    known = READERS[PoolConfig if kind == "pool" else FrontendConfig]
    lines: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if special(word, rest):
            continue
        key, equals, value = word.partition("=")
        option = normal(key)
        option = PREFERRED.get(option, option)
        if option not in known or option in LISTED:
            raise Refused(f"{plain(key)!r} is no option of a {kind} that can be said here.")
        lines.setdefault(option, []).append(value if equals else _following(rest, word))
    text = [f"[{kind} {name}]"]
    for option, values in lines.items():
        text += [f"{option} =", *(f"    {value}" for value in values)]
    return "\n".join(text) + "\n"
