"""
The description of the API, as OpenAPI 3.1 has it: made of the operations themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lbtwist import __version__
from lbtwist.admin.web.answers import JSON, PROBLEM
from lbtwist.admin.web.calls import STREAM, Operation
from lbtwist.admin.web.shapes import ANY_OBJECT, SHAPES, TEXT, Shape, ref, word
from lbtwist.admin.whole import SCOPES

_SCRAPED = "/metrics"
_PROBLEM = {"description": "It is refused.", "content": {PROBLEM: {"schema": ref("Problem")}}}
_TOKEN = {"type": "http", "scheme": "bearer"}
_WRITTEN = {
    "pool": "a pool", "server": "a server", "frontend": "a frontend", "id": "a session",
    "bind": "an address", "certificate": "a file, or the last part of its path",
    "map": "a file, or the last part of its path", "list": "a file, or the last part of its path",
    "key": "an entry",
}  # fmt: skip


def description(operations: Mapping[str, Mapping[str, Operation]]) -> dict[str, Any]:
    """@param operations: by path, each by its method."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lbtwist", "version": __version__,
            "description": "The administration of a load balancer.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            path: {
                **({"parameters": _inPath(path)} if "{" in path else {}),
                **{method.lower(): _described(path, one) for method, one in methods.items()},
            }
            for path, methods in operations.items()
        },
        "components": {"schemas": dict(SHAPES), "securitySchemes": {"token": _TOKEN}},
    }  # fmt: skip


def _inPath(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name, "in": "path", "required": True, "schema": {**TEXT, "minLength": 1},
            "description": f"The name of {_WRITTEN[name]}.",
        }
        for name in re.findall(r"{(\w+)}", path)
    ]  # fmt: skip


def _described(path: str, one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{one.method.lower()}{re.sub(r'[^a-z0-9]+', '-', path.lower())}",
        "summary": one.summary,
        "security": [{"token": []}] if one.scope else [],
        "responses": _responses(path, one),
    }  # fmt: skip
    if one.scope:
        found["description"] = f"Needs the scope `{one.scope}`."
    parameters = [
        {"name": name, "in": "query", "schema": shape} for name, shape in one.query.items()
    ]
    if path == _SCRAPED:
        parameters.append({"name": "scope", "in": "query", "schema": {
            "type": "array",
            "items": word(*SCOPES),
        }})  # fmt: skip
    if parameters:
        found["parameters"] = parameters
    if one.body is not None:
        found["requestBody"] = {
            "required": not one.bare, "content": {JSON: {"schema": one.body}},
        }  # fmt: skip
    return found


def _responses(path: str, one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"default": _PROBLEM}
    if one.answers == STREAM:
        found["200"] = _of("text/event-stream", TEXT)
    elif one.answers:
        found["200"] = _of(JSON, ref(one.answers))
        if one.answers == "Ready":
            found["503"] = _of(JSON, ref(one.answers))
    elif path.endswith(".json"):
        found["200"] = _of(JSON, ANY_OBJECT)
    elif one.method == "GET":
        found["200"] = {
            "description": "What was asked for.",
            "content": {
                "text/plain": {"schema": TEXT}, "application/openmetrics-text": {"schema": TEXT},
            },
        }  # fmt: skip
        if path == _SCRAPED:
            found["400"] = _of("text/plain", TEXT)
            found["503"] = _of("text/plain", TEXT)
    else:
        found["204"] = {"description": "It was done."}
    return found


def _of(kind: str, shape: Shape) -> dict[str, Any]:
    return {"description": "What was asked for.", "content": {kind: {"schema": shape}}}
