"""
The check C{redis}: Redis or Valkey answers a C{PING}, and has the role that is wanted.

The protocol is RESP (redis.io, "Redis serialization protocol specification"), of which only
what these commands answer is read.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import attr

from lbtwist.checks.probe import shown
from lbtwist.checks.talk import Exactly, Line, Talk, TalkCheck, Unfit, Want
from lbtwist.health import Result
from lbtwist.options import Secret, Text, Word, option

if TYPE_CHECKING:
    from lbtwist.server import Server

# What ROLE answers, and what a server is called elsewhere.
_ROLES = {b"master": "primary", b"slave": "replica", b"sentinel": "sentinel"}


def _command(*words: str) -> bytes:
    pieces = [f"*{len(words)}\r\n".encode()]
    for word in words:
        text = word.encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(pieces)


def _reply(to: str) -> Generator[Want, bytes, bytes]:
    """@return: the line that a reply begins with."""
    line = yield Line(f"answer to {to}")
    if line[:1] == b"-":
        raise Unfit(f"{to}: {shown(line[1:])}", "L7STS")
    return line


class RedisCheck(TalkCheck):
    """C{check = redis}: passes where C{PING} is answered."""

    @attr.frozen
    class Options:
        """Who asks, and what the server has to be."""

        user: str = option(Text(), "", "The user of AUTH; empty is the default user.")
        password: str = option(Secret(), "", "The password of AUTH; empty is no AUTH.")
        role: str = option(
            Word("any", "tell", "primary", "master", "replica"),
            "any",
            "What ROLE has to answer; tell takes what it answers, any does not ask.",
        )

        def __attrs_post_init__(self) -> None:
            if self.user and not self.password:
                raise ValueError("user says nothing without password")

    def talk(self, server: Server) -> Talk:
        options = self.options
        if options.password:
            user = (options.user,) if options.user else ()
            yield _command("AUTH", *user, options.password)
            if (yield from _reply("AUTH")) != b"+OK":
                raise Unfit("AUTH is not answered as Redis does")
        yield _command("PING")
        if (yield from _reply("PING")) != b"+PONG":
            raise Unfit("PING is not answered as Redis does")
        if options.role == "any":
            return Result(True, "L7OK", "PONG")
        yield _command("ROLE")
        begin = yield from _reply("ROLE")
        name = yield Line("answer to ROLE")
        if begin[:1] != b"*" or name[:1] != b"$" or not name[1:3].isdigit() or len(name) > 3:
            raise Unfit("ROLE is not answered as Redis does")
        said = yield Exactly("answer to ROLE", int(name[1:]))
        role = _ROLES.get(said, "")
        wanted = "primary" if options.role == "master" else options.role
        passed = wanted in ("tell", role)
        status = "L7OK" if passed else "L7STS"
        return Result(passed, status, f"its role is {shown(said)}", role=role)
