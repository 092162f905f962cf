"""
What is answered: values as JSON, and what is refused as problem details (RFC 9457).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import attr

from lbtwist.errors import BalancerError

JSON = "application/json"
PROBLEM = "application/problem+json"


class Problem(BalancerError):
    """
    A request that is refused.

    @ivar status: of the answer.
    @ivar fields: of its head, besides.
    @ivar number: by which it is found in the log; C{""} where it is not there.
    """

    def __init__(
        self, status: int, detail: str, fields: Mapping[str, str] | None = None, number: str = ""
    ) -> None:
        """@param detail: a sentence for people."""
        super().__init__(detail)
        self.status = status
        self.fields = dict(fields or {})
        self.number = number

    @property
    def answer(self) -> Reply:
        said = {
            "type": "about:blank", "title": HTTPStatus(self.status).phrase,
            "status": self.status, "detail": str(self),
        }  # fmt: skip
        if self.number:
            said["id"] = self.number
        return Reply(encoded(said), PROBLEM, self.status, self.fields)


@attr.frozen
class Reply:
    """
    An answer that is ready.

    @ivar kind: its media type; C{""} without a body.
    @ivar fields: of its head, besides.
    """

    body: bytes = b""
    kind: str = ""
    status: int = 200
    fields: Mapping[str, str] = attr.field(factory=dict)


NOTHING = Reply(status=204)
"""It was done, and there is no more to say."""


def encoded(value: Any) -> bytes:
    """@return: JSON in one line; of ASCII alone, so that any text of a peer is harmless in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def reply(value: Any, status: int = 200) -> Reply:
    """@return: a value as an answer."""
    return Reply(encoded(value), JSON, status)
