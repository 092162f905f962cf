"""
What happens to servers by POST to a URL, as JSON.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.events import HealthEvent, plain
from lbtwist.fetching import Fetcher
from lbtwist.interfaces import IEnding, IHealthObserver
from lbtwist.notices.outbox import HOST, Outbox
from lbtwist.options import URL, Path, Time, option
from lbtwist.registry import Context
from lbtwist.sources.files import secret

MOST = 1000
"""Events that wait."""

SIGNATURE = "X-Lbtwist-Signature"


class HookURL(URL):
    """Its path may be what gives the right to post."""

    secret = True


def _some(seconds: float) -> str | None:
    return None if 0.1 <= seconds <= 60 else "from 100ms to 1m is accepted"


@implementer(IHealthObserver, IEnding)
class Webhook:
    """
    C{webhook URL}: a POST for each event, one after the other. Whoever takes it answers with
    a status of 200 to 299. The body is what L{jsonOf} says; with a secret the field
    C{X-Lbtwist-Signature} is C{sha256=} and the HMAC-SHA256 of the body (RFC 2104), in
    hexadecimal digits.
    """

    @attr.frozen
    class Options:
        url: str = option(HookURL(), doc="Where events are sent.", positional=True)
        secret_file: str = option(Path(), "", "A file whose first line signs what is sent.")
        timeout: float = option(Time(), 5.0, "How long one request may take.", check=_some)

    def __init__(self, options: Options, context: Context) -> None:
        self._url = options.url
        self._secret = options.secret_file
        self._fetch = Fetcher(context.reactor, context.names, options.timeout)
        parts = urlsplit(options.url)
        # Of a URL the path may be what gives the right to post.
        self._outbox: Outbox[tuple[str, HealthEvent]] = Outbox(
            f"webhook {parts.scheme}://{parts.netloc}", self._deliver, context.reactor, MOST
        )
        self._newId = partial(next, map(f"{secrets.token_hex(8)}-{{}}".format, count(1)))

    def __repr__(self) -> str:
        return f"<Webhook {self._outbox!r}>"

    def healthChanged(self, event: HealthEvent) -> None:
        self._outbox.put((self._newId(), event))

    def end(self) -> Deferred[None]:
        return self._outbox.end()

    def _deliver(self, events: list[tuple[str, HealthEvent]], lost: int) -> Deferred[Any]:
        [(name, event)] = events
        said = {"id": name, "lost": lost, "host": HOST, **jsonOf(event)}
        body = json.dumps(said).encode("ascii")
        fields = {"Content-Type": "application/json", "User-Agent": "lbtwist"}
        if self._secret:
            key = secret(self._secret).encode()
            fields[SIGNATURE] = f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
        return self._fetch.post(self._url, fields, body)


def jsonOf(event: HealthEvent) -> dict[str, Any]:
    """
    @return: an event as it is told in JSON. C{text} is where chats look for what they show.
    """
    found = attr.asdict(event, filter=lambda field, _: field.name not in ("at", "result"))
    at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
    result = event.result
    check = None
    if result is not None:
        check = {
            "passed": bool(result.passed), "status": plain(result.status),
            "detail": plain(result.detail), "duration": round(result.duration, 6),
        }  # fmt: skip
    return {"text": event.text, "at": at.replace("+00:00", "Z"), **found, "check": check}
