"""
What a Redis or a Valkey keeps for several balancers: which client had which server, how often
something came, how much of it there is.

The connection is L{lbtwist.stores.link}'s. Whatever cannot be known is L{None}, and nothing
here fails or makes anybody wait for longer than the deadline. What comes from there is as
hostile as what comes from a client.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.config.values import tcpAddress
from lbtwist.interfaces import IPersistenceStore, ISharedStore
from lbtwist.options import Flag, Integer, Kind, Name, Path, Text, Time, option
from lbtwist.stores.counts import COUNTS, Leases, RedisCounts
from lbtwist.stores.link import Address, Link, Script, milliseconds

if TYPE_CHECKING:
    from lbtwist.registry import Context

LONGEST_NAME = 255
"""Bytes of the name of a server."""

MOST_PUT = 10_000
"""Keys of which is known what was put lately."""

# GETEX is of Redis 6.2.
_GET = Script(
    "local name = redis.call('GET', KEYS[1])\n"
    "if name and tonumber(ARGV[1]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end\n"
    "return name"
)
_CLAIM = Script(
    "local name = redis.call('GET', KEYS[1])\n"
    "if name and name ~= ARGV[1] and name ~= ARGV[3] then return name end\n"
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
    "return ARGV[1]"
)
_PUT = Script("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")
_DROP = Script(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end\n"
    "return 0"
)
_KEYS = (_GET, _CLAIM, _PUT, _DROP)

class _Where(Kind[Address]):
    """Where a Redis is."""

    form = "HOST:PORT"

    def parse(self, text: str) -> Address:
        scheme, _, path = text.partition(":")
        if scheme == "unix":
            if not path.startswith("/"):
                raise ValueError(f"{text!r} is no path from the root: write unix:/PATH")
            return Address(path=path)
        return Address(*tcpAddress(text))


def _positive(seconds: float) -> str | None:
    return None if seconds > 0 else "must be more than 0"


@attr.frozen
class RedisOptions:
    """Where it is, and how it is spoken with."""

    address: Address = option(_Where(), doc="Where it listens, or unix:/PATH.", positional=True)
    database: int = option(Integer(0, 100_000), 0, "The number of its database.")
    prefix: str = option(Name(), "lbtwist", "What all keys begin with.")
    deadline: float = option(
        Time(), 0.1, "How long an answer is waited for; then it counts as away.", check=_positive
    )
    username: str = option(Text(), "", "The user of AUTH; empty is the default user.")
    password_file: str = option(Path(), "", "A file whose first line is the password of AUTH.")
    tls: bool = option(Flag(), False, "Whether TLS is spoken; its name is verified.")
    ca: str = option(Path(), "", "A PEM file of authorities to believe; empty: the machine's.")

    def __attrs_post_init__(self) -> None:
        if self.username and not self.password_file:
            raise ValueError("username= says nothing without password-file=")
        if self.ca and not self.tls:
            raise ValueError("ca= says something with tls only")
        if self.tls and self.address.path:
            raise ValueError("a UNIX socket has no TLS")
        if find_spec("txredisapi") is None:
            raise ValueError("needs txredisapi, which is not there: pip install 'lbtwist[redis]'")


def apart(name: str) -> bytes:
    """
    @param name: of a pool, or of what is counted.
    @return: what comes before its keys; a colon in the name ends it for nobody.
    """
    return name.replace(":", "%3A").encode() + b":"


def _name(answer: Any) -> str | None:
    """@return: a name, if it may be one."""
    if not isinstance(answer, bytes) or len(answer) > LONGEST_NAME or not answer.isascii():
        return None
    name = answer.decode()
    return name if Name.good(name) else None


@implementer(ISharedStore)
class SharedRedis:
    """
    C{redis HOST:PORT} in a C{[store NAME]}: one connection for all who name it.

    @ivar link: the connection, with a count of what has failed.
    """

    Options = RedisOptions

    def __init__(self, options: RedisOptions, context: Context) -> None:
        self.link = Link(options, context, (*_KEYS, *COUNTS))
        self._clock = context.clock
        self._prefix = options.prefix.encode()
        self._leases = Leases(self.link, context.reactor)

    def __repr__(self) -> str:
        return f"<SharedRedis {self.link!r}>"

    @property
    def errors(self) -> int:
        """What was not answered to anybody here."""
        return self.link.errors

    def persistence(self, pool: str) -> RedisKeys:
        return RedisKeys(self.link, self._prefix + b":" + apart(pool), self._clock)

    def counts(self, name: bytes) -> RedisCounts:
        # A colon is first: no pool has an empty name.
        return RedisCounts(self.link, self._prefix + b"::" + apart(name.decode()), self._leases)

    def start(self) -> Deferred[None] | None:
        """@raise StartError: if a file that it needs cannot be read."""
        ready = self.link.start()
        self._leases.start()
        return ready

    def stop(self) -> Deferred[None] | None:
        self._leases.stop()
        return self.link.stop()


@implementer(IPersistenceStore)
class RedisKeys:
    """
    The keys of one pool.

    @ivar size: cannot be said: others write them too.
    """

    size = -1

    def __init__(self, link: Link, prefix: bytes, seconds: Callable[[], float]) -> None:
        self._link = link
        self._prefix = prefix
        self._seconds = seconds
        # What was put lately, and until when it need not be said again.
        self._put: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        link.returned.append(self._put.clear)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prefix.decode()} {self._link!r}>"

    @property
    def errors(self) -> int:
        """What was not answered, by this Redis to anybody here."""
        return self._link.errors

    def bound(self, name: str) -> int:
        """@return: -1: it cannot be said, others write the keys too."""
        return -1

    def get(self, key: bytes, ttl: float) -> Deferred[str | None] | None:
        return self._ask(_GET, key, (milliseconds(ttl) if ttl else 0,))

    def claim(
        self, key: bytes, name: str, ttl: float, instead: str
    ) -> Deferred[str | None] | None:
        self._put.pop(key, None)
        return self._ask(_CLAIM, key, (name.encode(), milliseconds(ttl), instead.encode()))

    def put(self, key: bytes, name: str, ttl: float) -> None:
        now = self._seconds()
        put = self._put
        lately = put.get(key)
        if lately is not None and lately[0] == name and now < lately[1]:
            return
        words = (name.encode(), milliseconds(ttl))
        if self._link.run(_PUT, (self._prefix + key,), words) is None:
            put.pop(key, None)
            return
        put[key] = (name, now + ttl / 4)
        put.move_to_end(key)
        if len(put) > MOST_PUT:
            put.popitem(last=False)

    def drop(self, key: bytes, name: str) -> None:
        self._put.pop(key, None)
        self._link.run(_DROP, (self._prefix + key,), (name.encode(),))

    def _ask(
        self, script: Script, key: bytes, args: Sequence[bytes | int]
    ) -> Deferred[str | None] | None:
        found = self._link.run(script, (self._prefix + key,), args)
        return None if found is None else found.addCallback(_name)


class RedisStore(RedisKeys):
    """C{persist-store = redis HOST:PORT}: a connection for one pool."""

    Options = RedisOptions

    def __init__(self, options: RedisOptions, context: Context) -> None:
        prefix = options.prefix.encode() + b":" + apart(context.pool)
        super().__init__(Link(options, context, _KEYS), prefix, context.clock)

    def start(self) -> Deferred[None] | None:
        """@raise StartError: if a file that it needs cannot be read."""
        return self._link.start()

    def stop(self) -> Deferred[None] | None:
        return self._link.stop()
