"""
The kind of persistence C{subject}: who comes with a bearer token is known by its subject.

    persist = subject expire=1h

A token that has been renewed is another text, with the same subject (RFC 7519 section 4.1.2).
Whether a token is good is asked by the servers, not here: whoever makes one up chooses with
whom he shares a server, and nothing else.
"""

import json
from base64 import urlsafe_b64decode
from hashlib import blake2b

import attr
from zope.interface import implementer

from lbtwist.interfaces import IClaiming, IPersistence
from lbtwist.persistence.keyed import CLAIMED, expiring
from lbtwist.registry import Extension

LONGEST = 8192
"""Bytes of a token that is read."""


def subjectOf(value):
    """
    @param value: of the field C{Authorization}: anybody can send anything.
    @return: the subject; C{b""} where there is none.
    """
    scheme, _, token = value.partition(b" ")
    parts = token.split(b".", 3)
    if scheme.lower() != b"bearer" or len(parts) != 3 or len(token) > LONGEST:
        return b""
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + b"=="))
        subject = claims.get("sub") if isinstance(claims, dict) else None
        return subject.encode() if isinstance(subject, str) else b""
    except (ValueError, RecursionError):
        # No base64, no JSON, brackets in brackets without end, half of a surrogate pair.
        return b""


@implementer(IPersistence, IClaiming)
class Subject:
    """subject [expire=TIME]"""

    @attr.frozen
    class Options:
        expire: float = expiring()

    def __init__(self, options, context):
        self._store = context.store
        self._expire = options.expire

    def _key(self, exchange):
        """@return: C{b""} where there is nothing to know the client by."""
        head = exchange.request
        value = None if head is None else head.fields.get(b"authorization")
        subject = subjectOf(value) if value else b""
        # The name keeps it apart from keys of other kinds, which share the store.
        return b"subject:" + blake2b(subject, digest_size=24).digest() if subject else b""

    def recall(self, exchange):
        key = self._key(exchange)
        return self._store.get(key, self._expire) if key else None

    def foresee(self, exchange):
        key = self._key(exchange)
        return self._store.get(key, 0.0) if key else None

    def remember(self, exchange, name):
        key = self._key(exchange)
        if key:
            self._store.put(key, name, self._expire)

    def claim(self, exchange, name, instead):
        key = self._key(exchange)
        ttl = min(CLAIMED, self._expire)
        return self._store.claim(key, name, ttl, instead) if key else None

    def confirm(self, exchange, name):
        key = self._key(exchange)
        if key:
            self._store.claim(key, name, self._expire, "")

    def release(self, exchange, name):
        key = self._key(exchange)
        if key:
            self._store.drop(key, name)

    def bound(self, name):
        return self._store.bound(name)


kind = Extension(IPersistence, "subject", "token_subject.Subject")
