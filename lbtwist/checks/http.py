"""
The check C{http}: requests are answered as they should be.
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.checks.probe import CheckCancelled, Probe
from lbtwist.config.fill import Scope, fill
from lbtwist.config.ini import PLAIN
from lbtwist.config.ini import Word as Written
from lbtwist.errors import NOWHERE, BadResponse, MessageError, Problem
from lbtwist.health import Admin, Result, roleOf
from lbtwist.interfaces import IHealthCheck
from lbtwist.options import FieldName, Flag, Kind, Pattern, Statuses, Text, Word, option
from lbtwist.sansio.chunked import ChunkedReader
from lbtwist.sansio.http1 import Partial
from lbtwist.sansio.responsehead import ResponseHead, ResponseReader

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.server import Endpoint, Server

MAX_BODY = 65536
"""The most bytes of a response's body that are looked at."""

MAX_INFORMATIONAL = 16
"""Interim responses to one request; a server that sends more sends nothing else."""

CONDITIONAL = "L7OKC"
"""Passed, but the server gets nobody new."""

_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([!-~](?:[ \t!-~]*[!-~])?)")
_OURS = frozenset(("host", "connection", "content-length", "transfer-encoding", "upgrade"))


def _badPath(path: str) -> str | None:
    if re.fullmatch(r"/[!\"$-~]*|\*", path) is None:
        return f"{path!r} is not a path: it begins with / and has no space, no # and only ASCII"
    return None


def _badHost(host: str) -> str | None:
    if re.fullmatch(r"(?:[A-Za-z0-9._~%\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", host) is None:
        return f"{host!r} is not a host"
    return None


class _Field(Kind[tuple[str, ...]]):
    """One field of a request; there may be several."""

    form = "TEXT"
    repeats = True

    def parse(self, text: str) -> tuple[str, ...]:
        found = _FIELD.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a header field: write 'Name: value'")
        if found[1].lower() in _OURS:
            raise ValueError(f"{found[1]} is written by the check itself")
        return (text,)


@attr.frozen
class Wanted:
    """
    A field that a response has to have.

    @ivar text: what its value contains; C{b""} if it only has to be there.
    @ivar pattern: instead of it, what is found in its value.
    """

    name: bytes
    text: bytes = b""
    pattern: re.Pattern[str] | None = None

    def isIn(self, head: ResponseHead) -> bool:
        """Whether one of the fields of this name has it."""
        values = head.fields.getAll(self.name.lower())
        if self.pattern is not None:
            return any(self.pattern.search(one.decode("utf-8", "replace")) for one in values)
        return any(self.text in one for one in values)


class FieldWanted(Kind[tuple[Wanted, ...]]):
    """C{NAME}, C{NAME: TEXT} or C{NAME: re:REGEX}; there may be several."""

    form = "TEXT"
    repeats = True

    def parse(self, text: str) -> tuple[Wanted, ...]:
        name, _, value = text.partition(":")
        found = FieldName().parse(name).encode()
        value = value.strip()
        if value.startswith("re:"):
            return (Wanted(found, pattern=Pattern().parse(value[3:])),)
        return (Wanted(found, value.encode()),)


@attr.frozen
class Step:
    """One request, and what answer passes."""

    method: str = option(
        Word("GET", "HEAD", "OPTIONS"), "GET", "The request's method.", positional=True
    )
    path: str = option(Text(), "/", "The request's target.", positional=True, check=_badPath)
    host: str = option(
        Text(), "", "The Host field; empty is the server's address.", check=_badHost
    )
    header: tuple[str, ...] = option(
        _Field(), (), "One more field of the request: 'Name: value'; may come again."
    )
    expect: tuple[tuple[int, int], ...] = option(
        Statuses(), ((200, 399),), "The statuses that pass."
    )
    body: str = option(Text(), "", "Text that the first 64 KiB of the body contain.")
    body_regex: re.Pattern[str] | None = option(
        Pattern(), None, "What is found in the first 64 KiB of the body, read as UTF-8."
    )
    expect_header: tuple[Wanted, ...] = option(
        FieldWanted(), (), "A field the response has: 'Name' or 'Name: text'; may come again."
    )
    disable_on_404: bool = option(
        Flag(), False, "404 of a server that is up passes, but it gets nobody new then."
    )
    role_header: str = option(
        FieldName(), "", "A field of the response that says the server's role; empty is none."
    )


class _Steps(Kind[tuple[Step, ...]]):
    """One more request, written as the first; there may be several."""

    form = "STEP"
    repeats = True

    def parse(self, text: str) -> tuple[Step, ...]:
        problems: list[Problem] = []
        words = [
            Written(one, PLAIN * len(one), tuple(range(1, len(one) + 1)), NOWHERE)
            for one in shlex.split(text)
        ]
        made = fill([Step], words, NOWHERE, Scope("", problems))
        if made is None:
            raise ValueError("; ".join(problem.message.strip() for problem in problems))
        return (made[0],)


@implementer(IHealthCheck)
class HTTPCheck:
    """
    C{check = http GET /health}: passes where the answer has an accepted status and,
    where that is asked for, the fields and the body that are wanted; and so has that of
    each further step.
    """

    @attr.frozen
    class Options(Step):
        """The first request, and those that follow."""

        then: tuple[Step, ...] = option(
            _Steps(), (), "One more request, on another connection; may come again."
        )

    def __init__(self, options: Options, context: Context) -> None:
        self._reactor = context.reactor
        self._steps = [Asking(step) for step in (options, *options.then)]

    def check(self, server: Server) -> Deferred[Result]:
        if len(self._steps) == 1:
            return self._steps[0].ask(server, self._reactor)
        return self._all(server)

    @inlineCallbacks
    def _all(self, server: Server) -> Generator[Deferred[Result], Result, Result]:
        said: Result | None = None
        for number, step in enumerate(self._steps, 1):
            try:
                result = yield step.ask(server, self._reactor)
            except CheckCancelled as late:
                raise CheckCancelled(late.status, f"step {number}: {late.detail}") from None
            if not result.passed:
                return attr.evolve(result, detail=f"step {number}: {result.detail}")
            if said is not None:
                result = attr.evolve(
                    result, admin=said.admin if result.admin is None else result.admin,
                    role=said.role if result.role is None else result.role,
                )  # fmt: skip
            said = result
            if result.status == CONDITIONAL:
                break
        return result


class Asking:
    """Asks for one step, again and again."""

    def __init__(self, options: Step) -> None:
        self.options = options
        self.method = options.method.encode()
        self.text = options.body.encode()
        self.reader = ResponseReader()

    def ask(self, server: Server, reactor: Any) -> Deferred[Result]:
        endpoint = server.endpoint
        assert endpoint is not None, f"{server!r} has no address"
        return _Asks(self, self._request(endpoint), server.health.up).start(server, reactor)

    def _request(self, endpoint: Endpoint) -> bytes:
        options = self.options
        host = options.host
        if not host:
            host = "localhost" if endpoint.family == socket.AF_UNIX else str(endpoint)
        lines = [f"{options.method} {options.path} HTTP/1.1", f"Host: {host}"]
        lines += options.header
        if not any(field.lower().startswith("user-agent:") for field in options.header):
            lines.append("User-Agent: lbtwist-check")
        lines += ["Connection: close", "", ""]
        return "\r\n".join(lines).encode("ascii")

    def expects(self, status: int) -> bool:
        """Whether a status passes."""
        return any(least <= status <= most for least, most in self.options.expect)

    def missing(self, head: ResponseHead) -> str | None:
        """@return: the name of a field that a response has not got as it is wanted."""
        for field in self.options.expect_header:
            if not field.isIn(head):
                return field.name.decode()
        return None

    def roleIn(self, head: ResponseHead) -> str | None:
        """@return: what a response says of the role; L{None} if it is not asked for."""
        if not self.options.role_header:
            return None
        values = head.fields.getAll(self.options.role_header.lower().encode())
        return roleOf(values[-1].decode("ascii", "replace")) or "" if values else ""

    @property
    def wantsBody(self) -> bool:
        """Whether the status alone is not enough."""
        return bool(self.text) or self.options.body_regex is not None


class _Asks(Probe):
    """Sends one request and reads as much of the response as the verdict needs."""

    def __init__(self, check: Asking, request: bytes, up: bool) -> None:
        """@param up: whether the server is, so far."""
        super().__init__()
        self._check = check
        self._request = request
        self._up = up
        self._partial: Partial | None = Partial(check.reader, b"")
        self._head: ResponseHead | None = None
        self._informed = 0
        self._chunks: ChunkedReader | None = None
        self._left = MAX_BODY
        self._whole = False
        self._body = bytearray()
        self._found = not check.text

    def connected(self) -> None:
        self.transport.write(self._request)

    def awaited(self) -> str:
        return "no response" if self._head is None else "no end of the response"

    def dataReceived(self, data: bytes) -> None:
        try:
            if self._head is None:
                self._readHead(data)
            else:
                self._readBody(data)
        except MessageError as broken:
            self.finish(False, "L7RSP", broken.reason)

    def connectionLost(self, reason: Failure) -> None:
        if self._head is None:
            self.finish(False, "L7RSP", "the connection ended before the response")
        elif self._whole or not reason.check(ConnectionDone):
            self.finish(False, "L7RSP", "the connection ended within the body")
        else:
            self._judge()

    def _readHead(self, data: bytes) -> None:
        while True:
            assert self._partial is not None
            whole = self._partial.feed(data)
            if whole is None:
                return
            head = self._check.reader.read(whole, self._check.method)
            assert head is not None, "a head that ends is read or refused"
            data = whole[head.size :]
            if head.status >= 200 or head.status == 101:
                break
            self._informed += 1
            if self._informed > MAX_INFORMATIONAL:
                raise BadResponse("interim responses without end")
            self._partial = Partial(self._check.reader, b"")
        self._partial = None
        self._head = head
        check = self._check
        if head.status == 404 and self._up and check.options.disable_on_404:
            # Whatever is expected, as HAProxy has it (http-check disable-on-404).
            self._passes(head, CONDITIONAL, Admin.DRAIN)
        elif not check.expects(head.status):
            self.finish(False, "L7STS", _answer(head))
        elif (missing := check.missing(head)) is not None:
            self.finish(False, "L7RSP", f"{missing} is not as it is wanted")
        elif not check.wantsBody:
            self._passes(head)
        else:
            if head.chunked:
                self._chunks = ChunkedReader(BadResponse)
                self._whole = True
            elif head.length is not None:
                self._left = min(head.length, MAX_BODY)
                self._whole = True
            self._readBody(data)

    def _readBody(self, data: bytes) -> None:
        chunks = self._chunks
        if chunks is not None:
            data = chunks.feed(data)
        body = self._body
        text = self._check.text
        begin = max(0, len(body) - len(text) + 1)
        body += data[: self._left]
        self._left -= len(data)
        if not self._found:
            self._found = body.find(text, begin) >= 0
        if (
            self._left <= 0
            or (chunks is not None and chunks.done)
            or (self._found and self._check.options.body_regex is None)
        ):
            self._judge()

    def _judge(self) -> None:
        """As much of the body has come as will be looked at."""
        assert self._head is not None
        pattern = self._check.options.body_regex
        if not self._found:
            self.finish(False, "L7RSP", "the body has not the text that is wanted")
        elif pattern is not None and pattern.search(self._body.decode("utf-8", "replace")) is None:
            self.finish(False, "L7RSP", "the body does not match")
        else:
            self._passes(self._head)

    def _passes(
        self, head: ResponseHead, status: str = "L7OK", admin: str = Admin.READY
    ) -> None:
        check = self._check
        said = admin if check.options.disable_on_404 else None
        if self._close():
            role = check.roleIn(head)
            self.verdict.callback(Result(True, status, _answer(head), admin=said, role=role))


def _answer(head: ResponseHead) -> str:
    """Status and reason phrase, as far as a log line should trust them."""
    return head.line[9:80].decode("ascii", "backslashreplace").replace("\t", " ")
