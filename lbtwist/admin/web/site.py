"""
What is at which path, and what every answer has in its head.

There is one resource, which finds the operation by itself: who asks, from where and with which
method is looked at in one place, before anything is done. Connections are
L{lbtwist.admin.web.door}'s.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from inspect import isawaitable
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lbtwist.admin.scraping import Metrics
from lbtwist.admin.web.access import Identity, fieldsOf
from lbtwist.admin.web.answers import JSON, NOTHING, Problem, Reply, reply
from lbtwist.admin.web.api import OPERATIONS
from lbtwist.admin.web.calls import BASE, STREAM, Call, Operation, Parts, available
from lbtwist.admin.web.openapi import description
from lbtwist.admin.web.page import FILES, POLICY, cachingOf
from lbtwist.admin.web.shapes import Shape, wrong
from lbtwist.admin.web.tokens import READ

MOST_FIELDS = 16
"""Of a query."""

AT_ONCE = 16
"""So many requests are worked on at the same time; who listens to events is not counted."""

HEAD = {
    "Cache-Control": "no-store",
    "Content-Security-Policy":
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}  # fmt: skip
"""Fields of every answer; the page has a policy and an age of its own."""

ALIVE = "/healthz"
READY = "/readyz"
METRICS = "/metrics"
OPENAPI = f"{BASE}/openapi.json"


class Root(Resource):
    """
    All of it.

    @ivar operations: by path, each by its method.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, parts: Parts, metrics: Metrics, openMetrics: bool) -> None:
        """@param openMetrics: whether anybody may read them."""
        super().__init__()
        self._parts = parts
        self._metrics = metrics
        self._reactor = parts.readings.balancer.reactor
        own = (
            Operation("GET", ALIVE, "", "Whether the process is alive.", _alive, ""),
            Operation("GET", READY, "", "Whether clients should be sent here.", _ready, "Ready"),
            Operation("GET", METRICS, "" if openMetrics else READ, "Metrics for Prometheus.",
                      self._scraped, ""),
            Operation("GET", OPENAPI, READ, "This description.", self._describe, ""),
        )  # fmt: skip
        self._working = 0
        self.operations: dict[str, dict[str, Operation]] = {}
        for one in (*own, *available(OPERATIONS, parts.commands)):
            path = one.path if one in own else f"{BASE}{one.path}"
            self.operations.setdefault(path, {})[one.method] = one
        self._segments = {path: path.split("/")[1:] for path in self.operations}

    def __repr__(self) -> str:
        return f"<Root {len(self.operations)} paths>"

    def render(self, request: Any) -> Any:
        done = Deferred.fromCoroutine(self._answer(request))
        gone: list[object] = []

        def left(failure: Failure) -> None:
            gone.append(failure)
            done.cancel()

        def send(answer: Reply | None) -> None:
            if answer is not None and not gone:
                self._send(request, answer)

        request.notifyFinish().addErrback(left)
        done.addErrback(self._failed, request)
        done.addCallback(send)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: Any) -> Reply | None:
        if failure.check(Problem):
            refused: Any = failure.value
            return refused.answer  # type: ignore[no-any-return]
        if failure.check(CancelledError):
            return None
        number = secrets.token_hex(8)
        self._log.failure("request {number} has failed", failure, number=number)
        if request.startedWriting:
            request.channel.forceAbortClient()
            return None
        return Problem(500, "an error, which is in the log by this id", number=number).answer

    def _send(self, request: Any, answer: Reply) -> None:
        request.setResponseCode(answer.status)
        for name, value in answer.fields.items():
            request.setHeader(name, value)
        if answer.kind:
            request.setHeader("Content-Type", answer.kind)
        if answer.status != NOTHING.status:
            # RFC 9110 section 8.6.
            request.setHeader("Content-Length", str(len(answer.body)))
        request.write(answer.body)
        request.finish()

    async def _answer(self, request: Any) -> Reply | None:
        for name, value in HEAD.items():
            request.setHeader(name, value)
        # Several of one connection are not done in one turn.
        await deferLater(self._reactor, 0)
        if request.tooLong:
            raise Problem(413, f"a body has at most {request.tooLong} bytes")
        access = self._parts.access
        access.checkHost(request)
        segments = _segmentsOf(request.path)
        method = request.method.decode("latin-1")
        file = FILES.get("/" + "/".join(segments))
        if file is not None:
            return self._file(request, method, "/" + "/".join(segments), file)
        path, said = self._find(segments)
        operation = _byMethod(method, self.operations[path])
        if isinstance(operation, Reply):
            return operation
        who = Identity()
        if path not in (ALIVE, READY):
            who = access.identify(request) if operation.scope or path != METRICS else who
            self._permit(operation, who)
            access.checkOrigin(request, who)
        if operation.answers == STREAM and method == "HEAD":
            return Reply(kind="text/event-stream")
        query = {} if path == METRICS else _queryOf(request.uri, operation.query)
        body = _bodyOf(request, operation)
        if self._working >= AT_ONCE and path not in (ALIVE, READY):
            raise Problem(503, "too many ask at the same time", {"Retry-After": "1"})
        self._working += 1
        try:
            found = operation.run(Call(self._parts, request, who, said, query, body))
            if isawaitable(found):
                found = await found
        finally:
            self._working -= 1
        if found is None or isinstance(found, Reply):
            return found
        return reply(found)

    def _find(self, segments: list[str]) -> tuple[str, dict[str, str]]:
        """
        @return: the path of an operation, and what stands in it.
        @raise Problem: if there is none.
        """
        for path, wanted in self._segments.items():
            if len(wanted) != len(segments):
                continue
            said = {}
            for one, word in zip(wanted, segments, strict=True):
                if one.startswith("{") and word:
                    said[one[1:-1]] = word
                elif one != word:
                    break
            else:
                return path, said
        raise Problem(404, f"there is nothing at this path; see {OPENAPI}")

    def _permit(self, operation: Operation, who: Identity) -> None:
        """@raise Problem: if one may not."""
        if not operation.scope or operation.scope in who.scopes:
            return
        access = self._parts.access
        if access.tokens is None:
            raise Problem(403, "without tokens nothing can be changed: write tokens=FILE behind"
                               " the address of web: in [global] admin =")  # fmt: skip
        if who.name is None:
            raise access.unknown("send Authorization: Bearer TOKEN, or log in on the page")
        raise Problem(403, f"this needs a token with the scope {operation.scope}")

    @staticmethod
    def _file(request: Any, method: str, path: str, file: tuple[str, bytes]) -> Reply:
        if method not in ("GET", "HEAD"):
            return _other(method, {"GET"})
        kind, data = file
        request.setHeader("Content-Security-Policy", POLICY)
        request.setHeader("Cache-Control", cachingOf(path))
        return Reply(data, kind)

    # what is no part of the API

    def _scraped(self, call: Call) -> Reply | None:
        request = call.request
        body = self._metrics.render(request)
        if body is NOT_DONE_YET:
            return None
        kind = (request.responseHeaders.getRawHeaders("Content-Type") or [""])[0]
        return Reply(body, kind, request.code)

    def _describe(self, call: Call) -> Reply:
        return reply(description(self.operations))


def _alive(call: Call) -> Reply:
    return Reply(b"alive\n", "text/plain; charset=utf-8")


def _ready(call: Call) -> Reply:
    readings = call.readings
    draining, missing = readings.draining, readings.missing
    ready = bool(readings.balancer.running and not draining and not missing)
    return reply({"ready": ready, "draining": draining, "missing": missing}, 200 if ready else 503)


# what a request says


def _segmentsOf(path: bytes) -> list[str]:
    """@raise Problem: for what is no path."""
    if path.lower().startswith((b"http://", b"https://")):
        # RFC 9112 section 3.2.2.
        path = b"/" + path.split(b"/", 3)[3] if path.count(b"/") > 2 else b"/"
    if not path.startswith(b"/"):
        raise Problem(400, "this is no path")
    try:
        return [unquote_to_bytes(one).decode() for one in path[1:].split(b"/")]
    except UnicodeDecodeError:
        raise Problem(400, "the path is not UTF-8") from None


def _byMethod(method: str, known: Mapping[str, Operation]) -> Operation | Reply:
    found = known.get("GET" if method == "HEAD" else method)
    return _other(method, known) if found is None else found


def _other(method: str, known: Mapping[str, object] | set[str]) -> Reply:
    """
    @return: what there is to say of a method for which nothing is to be done.
    @raise Problem: if it is none of those that are known.
    """
    allowed = sorted({*known, "OPTIONS", *(["HEAD"] if "GET" in known else [])})
    fields = {"Allow": ", ".join(allowed)}
    if method == "OPTIONS":
        return Reply(status=204, fields=fields)
    raise Problem(405, f"only {', '.join(allowed)} can be asked here", fields)


def _queryOf(uri: bytes, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """@raise Problem: if something in it is wrong."""
    text = uri.partition(b"?")[2]
    try:
        said = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS,
            errors="strict",
        )  # fmt: skip
    except ValueError:
        raise Problem(400, "the query makes no sense") from None
    found = {name: shape["default"] for name, shape in shapes.items() if "default" in shape}
    seen = set()
    for name, value in said:
        if name not in shapes or name in seen:
            raise Problem(400, f"{name[:64]!r} is {'there twice' if name in seen else 'unknown'}")
        seen.add(name)
        shape = shapes[name]
        isNumber = shape["type"] == "integer" and re.fullmatch(r"[0-9]{1,9}", value)
        found[name] = int(value) if isNumber else value
        problem = wrong(found[name], shape, name)
        if problem:
            raise Problem(400, problem)
    return found


def _bodyOf(request: Any, operation: Operation) -> Any:
    """@raise Problem: if it is not as it should be."""
    if operation.body is None:
        return None
    data = request.content.read()
    if not data:
        if operation.bare:
            return None
        raise Problem(400, f"send a body of {JSON}")
    said = [*fieldsOf(request, "Content-Type"), ""][0]
    if said.partition(";")[0].strip().lower() != JSON:
        raise Problem(415, f"send Content-Type: {JSON}", {"Accept": JSON})
    try:
        value = json.loads(data.decode(), parse_constant=_noNumber)
        # Halves of a surrogate pair are no text.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Problem(400, "the body is no JSON") from None
    problem = wrong(value, operation.body)
    if problem:
        raise Problem(422, problem)
    return value


def _noNumber(text: str) -> Any:
    raise ValueError(text)
