"""
Expressions asked of requests that are written down.
"""

import attr

from lbtwist.exchange import Connection, Exchange
from lbtwist.rules.compiling import compiled
from lbtwist.rules.expression import Expression, ExpressionError, Scope
from lbtwist.rules.values import Stage
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader


@attr.define
class Named:
    """A frontend, or a server."""

    name: str
    leaving: dict = attr.field(factory=dict)
    role: str = ""


@attr.define
class Servers:
    """What is asked of a pool."""

    usable: tuple = (Named("a", role="primary"), Named("b", role="standby"))
    servers: tuple = ("a", "b", "c")
    active: int = 7
    queued: int = 1


REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"


def exchange(request=REQUEST, response=None, server=None, **connection):
    """
    @param request: the bytes of a head; L{None} for a session in C{mode = tcp}.
    @param connection: what differs from a connection of 192.0.2.1 to port 80.
    """
    given = {
        "number": 1, "client": ("192.0.2.1", 4711), "local": ("198.51.100.1", 80),
        "acceptedAt": 0.0, **connection,
    }  # fmt: skip
    found = Exchange(Connection(**given), Named("www"), (), 0.0)
    if request is not None:
        found.request = RequestReader(65536, 1000, 65536).read(request)
        assert found.request is not None, "the head is not complete"
    if response is not None:
        found.response = ResponseReader().read(response, "GET")
    if server is not None:
        found.server = Named(server)
    return found


def request(target="/", *fields, method="GET"):
    """@return: an exchange with such a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: www.example.com", *fields, "", ""]
    return exchange("\r\n".join(lines).encode("utf-8", "surrogateescape"))


def scope(stage=Stage.REQUEST, files=None, conditions=None, **others):
    """
    @param files: what is in a file, by name.
    @param conditions: named ones, as they are written.
    """

    def read(name):
        if files is None or name not in files:
            raise FileNotFoundError(2, "No such file or directory", name)
        return files[name]

    parsed = {name: Expression.parse(text) for name, text in (conditions or {}).items()}
    return Scope(stage, conditions=parsed, read=read, pool={"app": Servers()}.__getitem__, **others)


def value(text, of=None, **where):
    """@return: what an expression is for an exchange."""
    typed = Expression.parse(text).check(scope(**where))
    return compiled(typed)(exchange() if of is None else of)


def refused(text, **where):
    """@return: why an expression is not accepted, and at which character."""
    try:
        Expression.parse(text).check(scope(**where))
    except ExpressionError as error:
        assert 0 <= error.at <= len(text)
        return str(error), error.at
    raise AssertionError(f"{text!r} is accepted")
