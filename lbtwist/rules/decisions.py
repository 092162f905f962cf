"""
What a rule may decide. Data and nothing else: who asked does what it says.
"""

from __future__ import annotations

from typing import Any

import attr


@attr.frozen(slots=True)
class UsePool:
    """
    The servers of this pool are asked.

    @ivar name: of a pool; where there is none of it, the frontend's own pool is used.
    """

    name: str


@attr.frozen(slots=True)
class UseServer:
    """
    This server is asked, as long as it is usable; otherwise the pool chooses.

    @ivar name: of a server of the pool.
    """

    name: str


@attr.frozen(slots=True)
class Answer:
    """
    The client is answered by us. The connection lives on where it can.

    @ivar status: from 200 to 599.
    @ivar fields: further fields of the head, without any that frame the message.
    @ivar body: what follows the head.
    @ivar denied: whether it is a refusal, which is counted and logged as one (C{PR}
        instead of C{LR}).
    """

    status: int
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    denied: bool = False


@attr.frozen(slots=True)
class Deny:
    """
    The client is refused with the page for a status.

    @ivar status: of the page.
    @ivar after: seconds the client waits for it.
    """

    status: int = 403
    after: float = 0.0


@attr.frozen(slots=True)
class Refuse:
    """
    The connection ends without an answer.

    @ivar how: C{reject} resets it, C{close} ends it in good order, C{silent-drop} lets
        go of it without a word to the client.
    """

    how: str


@attr.frozen(slots=True)
class Tunnel:
    """
    The request goes to the pool, and from then on bytes are passed that nobody parses.

    @ivar reason: one of F5's words for it, for the log.
    @ivar watcher: provides L{lbtwist.interfaces.ITunnelWatcher}, or is L{None}.
    """

    reason: str = "iRule"
    watcher: Any = None


@attr.frozen(slots=True)
class Allow:
    """No further rule of this list is asked."""


ALLOW = Allow()

DECISIONS = frozenset((UsePool, UseServer, Answer, Deny, Refuse, Tunnel, Allow))
"""All there are."""
