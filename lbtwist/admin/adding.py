"""
The verbs C{add} and C{del}, of servers, pools, frontends and whole sections, with HAProxy's words
where it has some (its management guide, 9.3). What they do is L{lbtwist.admin.amending}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lbtwist.admin.amending import (
    addBind,
    addConfig,
    addFrontend,
    addPool,
    addServer,
    deleteBind,
    deleteFrontend,
    deletePool,
    deleteServer,
)
from lbtwist.admin.audit import Seen
from lbtwist.admin.changing import seenFrontend, seenServer
from lbtwist.admin.finding import pairOf, poolNamed
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Verb
from lbtwist.config.shown import shownIn
from lbtwist.events import plain


def _name(words: Sequence[str], what: str) -> str:
    if not words:
        raise Refused(f"A {what} name is expected.")
    return words[0]


def _end(words: Sequence[str]) -> None:
    if words:
        raise Refused(f"Unknown word {plain(words[0])!r}.")


async def _addServer(asked: Asked, words: Sequence[str]) -> Answer:
    pool, name = pairOf(words)
    poolNamed(asked.balancer, pool)
    return (await addServer(asked.balancer, pool, name, words[1:])).answer("New server registered.")


async def _delServer(asked: Asked, words: Sequence[str]) -> Answer:
    pool, name = pairOf(words)
    force = list(words[1:2]) == ["force"]
    _end(words[1 + force :])
    return (await deleteServer(asked.balancer, pool, name, force)).answer("Server deleted.")


async def _addPool(asked: Asked, words: Sequence[str]) -> Answer:
    done = await addPool(asked.balancer, _name(words, "backend"), words[1:])
    return done.answer("New backend registered.")


async def _delPool(asked: Asked, words: Sequence[str]) -> Answer:
    _end(words[1:])
    return (await deletePool(asked.balancer, _name(words, "backend"))).answer("Backend deleted.")


async def _addFrontend(asked: Asked, words: Sequence[str]) -> Answer:
    done = await addFrontend(asked.balancer, _name(words, "frontend"), words[1:])
    return done.answer("New frontend registered.")


async def _delFrontend(asked: Asked, words: Sequence[str]) -> Answer:
    _end(words[1:])
    done = await deleteFrontend(asked.balancer, _name(words, "frontend"))
    return done.answer("Frontend deleted.")


async def _addBind(asked: Asked, words: Sequence[str]) -> Answer:
    done = await addBind(asked.balancer, _name(words, "frontend"), words[1:])
    return done.answer("New bind registered.")


async def _delBind(asked: Asked, words: Sequence[str]) -> Answer:
    if len(words) != 2:
        raise Refused("Required arguments: <frontend> <address>")
    return (await deleteBind(asked.balancer, *words)).answer("Bind deleted.")


async def _addConfig(asked: Asked, words: Sequence[str]) -> Answer:
    _end(words)
    if asked.payload is None:
        raise Refused("Sections are expected: 'add config <<', their lines, and an empty one.")
    done = await addConfig(asked.balancer, asked.payload)
    return done.answer(*done.difference.lines, f"It runs: {done.difference.summary}.")


def _showConfig(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show config}: what runs, as in a file."""
    written = asked.balancer.config.written
    if written is None:
        raise Refused("What runs was made by a program, and not of text.")
    text = shownIn(written.document)
    return Answer(text, {"text": text})


def _verb(
    usage: str, meaning: str, run: Callable[[Asked, Sequence[str]], Any],
    look: Callable[[Asked, Sequence[str]], Seen] | None = None, payload: bool = False,
) -> Verb:  # fmt: skip
    return Verb(
        usage, meaning, Level.ADMIN, run, changes=True, look=look, payload=payload
    )


VERBS = (
    _verb("add server <pool>/<server> <address> [<option>]", "a server, in maintenance",
          _addServer, seenServer),
    _verb("del server <pool>/<server> [force]", "take a server away that is in maintenance",
          _delServer, seenServer),
    _verb("add pool <pool> [like <pool>] [<option> <value>]", "a pool, without servers", _addPool),
    _verb("add backend <pool> [from <name>] [<option> <value>]", "the same as add pool", _addPool),
    _verb("del pool <pool>", "take a pool away that nothing names", _delPool),
    _verb("del backend <pool>", "the same as del pool", _delPool),
    _verb("add frontend <frontend> [like <frontend>] [<option> <value>]",
          "a frontend, which listens at once", _addFrontend),
    _verb("del frontend <frontend>", "let a frontend end with what runs by it", _delFrontend,
          seenFrontend),
    _verb("add bind <frontend> <address> [<option>]", "listen on one more address", _addBind),
    _verb("del bind <frontend> <address>", "listen on an address no more", _delBind),
    Verb("show config", "what runs, as in a file, without what is secret", Level.ADMIN,
         _showConfig),
    _verb("add config", "sections of a configuration, which follow after <<", _addConfig,
          payload=True),
)  # fmt: skip
