"""
What can go wrong, by name and by whose fault it is.

Nothing here knows how an error is told to anybody: L{lbtwist.http.pages} makes
answers of them, L{lbtwist.accesslog} letters.
"""

from __future__ import annotations

import attr


class BalancerError(Exception):
    """Everything the balancer itself raises."""


class MessageError(BalancerError):
    """
    A peer sent something that is not acceptable HTTP.

    @ivar status: the status code that fits where the peer is a client.
    @ivar reason: what is wrong, for the log; never shown to a peer.
    @ivar about: the name, in lower case, of the field that is not acceptable; C{b""} if it
        is none.
    @ivar data: what was refused, where whoever has read it knows more of it than whoever
        gave it; else C{b""}.
    @ivar position: which byte of C{data} was wrong; -1 where that was not looked for.
    """

    about = b""
    data = b""
    position = -1

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def of(self, field: bytes) -> MessageError:
        """@return: itself, about a field."""
        self.about = field
        return self


class BadRequest(MessageError):
    """The client's request cannot be accepted."""


class BadResponse(MessageError):
    """The server's response cannot be accepted."""

    def __init__(self, reason: str) -> None:
        super().__init__(502, reason)


class BadProxyHeader(BalancerError):
    """
    A PROXY header that cannot be accepted, or something else where one has to be; it
    says why, for the log.
    """


class BadClientHello(BalancerError):
    """
    What should be the ClientHello of TLS is none, or cannot be accepted.

    @ivar reason: what is wrong, for the log.
    @ivar looksLike: C{"tls"}, C{"http"}, C{"proxy"} for a PROXY header, C{"sslv2"}, or
        C{""} for what is not known, judged by the bytes that have come so far.
    """

    def __init__(self, reason: str, looksLike: str = "tls") -> None:
        super().__init__(reason)
        self.reason = reason
        self.looksLike = looksLike


class BadServerHello(BalancerError):
    """What should be the ServerHello of TLS is none; it says why."""


class BadConnectionRequest(BalancerError):
    """What should be the first message of RDP is none; it says why."""


@attr.frozen
class Position:
    """
    A place in a configuration file.

    @ivar line: counted from 1.
    @ivar column: counted from 1.
    """

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


NOWHERE = Position("<code>", 0, 0)


@attr.frozen
class Problem:
    """
    One thing that is wrong with a configuration.

    @ivar severity: C{"error"} or C{"warning"}; a warning does not keep the
        balancer from starting.
    """

    where: Position
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.severity}: {self.message}"


class ConfigError(BalancerError):
    """
    A configuration that cannot be used.

    @ivar problems: every L{Problem} found, warnings among them, in the order
        of the files.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Undecided(BalancerError):
    """
    A rule cannot decide, by no fault in itself: what it asks does not answer, for one. It
    says why, for the log, which has no traceback of it.
    """


class NothingSeen(BalancerError):
    """What was waited for has not come, or nobody can wait for it; it says why."""


class Nobody(BalancerError):
    """
    A source of servers is certain that there is none now, which is not the same as having
    no answer; it says why.
    """


class StartError(BalancerError):
    """The balancer cannot start: an address in use, a privilege missing."""
