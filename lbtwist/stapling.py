"""
The service that owns time for OCSP: fetches responses for certificates, keeps them fresh,
and staples them.

Nothing waits for it: a certificate without a response is used without one. What a response
must be is L{lbtwist.net.ocsp}'s, how it comes L{lbtwist.fetching}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Protocol

import attr
from cryptography.hazmat.primitives import hashes
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.net.ocsp import Answer, BadAnswer, answerOf, requestFor
from lbtwist.net.pem import Certificate

AT_ONCE = 8
"""The most responses that are fetched at the same time."""

LEAST_PAUSE = 60.0
MOST_PAUSE = 3600.0
"""Seconds until a response is fetched again: no less, so that responders have peace, and
no more, so that a revocation is known within the hour."""

LONGEST = 200
"""Characters of a reason in the log; it may come from anywhere."""


class Fetch(Protocol):
    """What L{Stapler} asks; see L{lbtwist.fetching.Fetcher}."""

    def __call__(self, url: str, data: bytes, /) -> Deferred[bytes]:
        """@return: fails with the reason."""


@attr.define(eq=False)
class _Stapled:
    """
    One certificate and what is known of it.

    @ivar certificates: it, as sections have read it: the same in each of them.
    @ivar answer: the last good one.
    @ivar failures: in a row.
    """

    certificates: list[Certificate]
    answer: Answer | None = None
    failures: int = 0
    fetching: Deferred[bytes] | None = None
    timer: Any = None

    def __str__(self) -> str:
        return self.certificates[0].path


class Stapler:
    """
    Keeps the OCSP responses of certificates fresh.

    A response is fetched again when half of the time that it is still good has passed. If
    that fails it is tried again after a while, ever less often, and the last good response
    is stapled until it has expired; then none is.

    A response that says C{revoked} is an error in the log and is stapled, as HAProxy and
    Apache do it: it is the authority's last word, and a client that looks shall hear no
    other one from us than from the responder. (nginx and Caddy staple no such response.)
    One that says C{unknown} is a failure, as with all of them.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, wallclock: Callable[[], float], random: Random, fetch: Fetch
    ) -> None:
        """
        @param reactor: for timers.
        @param wallclock: seconds since the epoch: what is good, and until when.
        @param random: spreads what is fetched.
        """
        self._reactor = reactor
        self._wallclock = wallclock
        self._random = random
        self._fetch = fetch
        self._sections: dict[str, list[Certificate]] = {}
        self._stapled: dict[bytes, _Stapled] = {}
        self._slots = DeferredSemaphore(AT_ONCE)
        self._running = False

    def __repr__(self) -> str:
        return f"<Stapler {len(self._stapled)} certificates>"

    def keep(self, section: str, certificates: Iterable[Certificate]) -> None:
        """
        Staple responses to these certificates from now on, in place of those that the
        section had before. Where one is the same as before it keeps its response; others
        are fetched at once.

        @param section: the name of a C{[tls]} section.
        """
        mine = self._sections[section] = []
        for one in certificates:
            if one.responders:
                mine.append(one)
            else:
                self._log.info(
                    "{path}: the certificate names no OCSP responder, nothing is stapled",
                    path=one.path,
                )
        wanted: dict[bytes, list[Certificate]] = {}
        for found in self._sections.values():
            for one in found:
                known = one.certificate.fingerprint(hashes.SHA256())
                wanted.setdefault(known, []).append(one)
        for known in self._stapled.keys() - wanted.keys():
            self._rest(self._stapled.pop(known))
        for known, same in wanted.items():
            stapled = self._stapled.get(known)
            if stapled is None:
                stapled = self._stapled[known] = _Stapled(same)
                if self._running:
                    self._schedule(stapled, 0.0)
            stapled.certificates = same
            self._staple(stapled)

    def start(self) -> None:
        """Begin to fetch."""
        self._running = True
        for stapled in self._stapled.values():
            self._schedule(stapled, 0.0)

    def stop(self) -> None:
        """Forget all certificates; no timer and no connection is left."""
        self._running = False
        for stapled in self._stapled.values():
            self._rest(stapled)
        self._stapled.clear()
        self._sections.clear()

    def _rest(self, stapled: _Stapled) -> None:
        timer, stapled.timer = stapled.timer, None
        if timer is not None:
            timer.cancel()
        fetching, stapled.fetching = stapled.fetching, None
        if fetching is not None:
            fetching.cancel()

    def _schedule(self, stapled: _Stapled, seconds: float) -> None:
        # A little sooner or later: certificates that were read together part.
        seconds *= self._random.uniform(0.9, 1.1)
        stapled.timer = self._reactor.callLater(seconds, self._due, stapled)

    def _due(self, stapled: _Stapled) -> None:
        stapled.timer = None
        fetching = stapled.fetching = self._slots.run(self._ask, stapled)
        fetching.addBoth(self._told, stapled, fetching)

    def _ask(self, stapled: _Stapled) -> Deferred[bytes]:
        one = stapled.certificates[0]
        assert one.issuer is not None, f"{one!r} has a responder and no issuer"
        url = one.responders[stapled.failures % len(one.responders)]
        return self._fetch(url, requestFor(one.certificate, one.issuer))

    def _told(
        self, response: bytes | Failure, stapled: _Stapled, fetching: Deferred[bytes]
    ) -> None:
        if stapled.fetching is not fetching:
            # Nobody waits for it any more.
            return
        stapled.fetching = None
        if isinstance(response, Failure):
            self._failed(stapled, response.getErrorMessage())
            return
        one = stapled.certificates[0]
        assert one.issuer is not None, f"{one!r} has a responder and no issuer"
        try:
            answer = answerOf(response, one.certificate, one.issuer, self._wallclock())
        except BadAnswer as wrong:
            self._failed(stapled, str(wrong))
        else:
            self._answered(stapled, answer)

    def _answered(self, stapled: _Stapled, answer: Answer) -> None:
        before = stapled.answer
        if before is None or before.since <= answer.since:
            # An older one is of a responder that lags behind, or of somebody who has kept it.
            stapled.answer = answer
            self._staple(stapled)
        else:
            answer = before
        if answer.revoked:
            self._log.error(
                "{certificate}: its issuer says that it was REVOKED; clients are told so",
                certificate=stapled,
            )
        elif before is None or stapled.failures:
            self._log.info("{certificate}: an OCSP response is stapled", certificate=stapled)
        stapled.failures = 0
        left = (answer.until - self._wallclock()) / 2
        self._schedule(stapled, min(max(left, LEAST_PAUSE), MOST_PAUSE))

    def _failed(self, stapled: _Stapled, reason: str) -> None:
        answer = stapled.answer
        good = answer is not None and self._wallclock() < answer.until
        self._log.warn(
            "{certificate}: no OCSP response: {reason}; {kept}",
            certificate=stapled,
            reason=" ".join(reason.split())[:LONGEST],
            kept="the last one is kept until it expires" if good else "none is stapled",
        )
        self._schedule(stapled, min(MOST_PAUSE, LEAST_PAUSE * 2 ** min(stapled.failures, 10)))
        stapled.failures += 1

    def _staple(self, stapled: _Stapled) -> None:
        if stapled.answer is not None:
            for one in stapled.certificates:
                one.setStaple(stapled.answer.response)
