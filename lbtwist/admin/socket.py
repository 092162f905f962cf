"""
Sockets by which commands come: HAProxy's line protocol (its management guide, 9.3).

A line is one or more commands, separated by C{;}; after the answer to each there is an empty
line. Then the connection is closed, unless the client has asked for a C{prompt}. What the
commands do is L{lbtwist.admin.commands}'.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.admin.verbs import Answer, Caller, Commands, Level, Refused, Severity, commandsOf
from lbtwist.config.model import AdminBind, Bind
from lbtwist.net.addresses import listen, pair
from lbtwist.net.listener import Listener
from lbtwist.net.tcp import Accepted

LONGEST_LINE = 16 * 1024
"""Bytes of a line; HAProxy's are bounded by its buffers, which are as large."""

MOST_AT_ONCE = 20
"""Conversations at once, of each socket; more wait in the kernel's queue."""

PATIENCE = 10.0
"""Seconds that the last answer may take to be read."""

LOOK = 1.0
"""Seconds from one look to the next, at a client that waits and has ended its side."""

_BACKLOG = 64
_NAMES = {
    Severity.ERROR: "err", Severity.WARNING: "warning", Severity.NOTICE: "notice",
    Severity.INFO: "info",
}  # fmt: skip


@implementer(IHalfCloseableProtocol)
class Conversation:
    """One connection of an administrator."""

    def __init__(self, door: AdminSocket, caller: Caller) -> None:
        self._door = door
        self._caller = caller
        self._transport: Any = None
        self._buffer = b""
        self._commands: deque[Sequence[str]] = deque()
        self._running: Deferred[Answer] | None = None
        self._asking = False
        self._ended = False
        self._closing = False
        self._timer: Any = None

    def __repr__(self) -> str:
        return f"<Conversation {self._caller.name}>"

    def makeConnection(self, transport: Any) -> None:
        self._transport = transport
        self._wait()

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._buffer += data
        if len(self._buffer) > LONGEST_LINE:
            if b"\n" not in self._buffer[:LONGEST_LINE]:
                self._write(Refused("The command is too long.").answer)
                self._close()
                return
            # There are lines to do before more of them are read.
            self._transport.pauseProducing()
        self._goOn()

    def readConnectionLost(self) -> None:
        """The client asks nothing more, and may still want its answers."""
        self._ended = True
        if self._buffer and not self._buffer.endswith(b"\n"):
            self._buffer += b"\n"
        self._goOn()
        if self._running is not None and self._timer is None:
            self._watch()

    def writeConnectionLost(self) -> None:
        """Our side is closed only with the whole."""

    def connectionLost(self, reason: Failure) -> None:
        self._end()
        self._door.ended(self)

    def abort(self) -> None:
        """End it at once."""
        self._end()
        self._transport.abortConnection()

    def _end(self) -> None:
        self._closing = True
        self._still()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    # commands, one after the other

    def _goOn(self) -> None:
        """Do what has been asked; not from within itself, however deep answers come."""
        if self._asking:
            return
        self._asking = True
        try:
            while not self._closing and self._running is None:
                if self._commands:
                    self._ask(self._commands.popleft())
                elif not self._nextLine():
                    break
        finally:
            self._asking = False

    def _nextLine(self) -> bool:
        """@return: whether there was one."""
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            if self._ended:
                self._close()
            elif self._timer is None:
                # Whoever sends a byte now and then does not get more time for it.
                self._wait()
            return False
        self._buffer = rest
        self._still()
        if not self._transport.reading and not self._ended:
            self._transport.resumeProducing()
        try:
            self._commands.extend(commandsOf(line.decode("utf-8", "replace").rstrip("\r")))
        except Refused as refused:
            self._answered(refused.answer)
            return True
        if not self._commands:
            self._answered(Answer())
        return True

    def _ask(self, words: Sequence[str]) -> None:
        self._still()
        running = self._running = self._door.commands.ask(words, self._caller)
        running.addCallback(self._told, running)
        if self._ended and self._running is not None:
            self._watch()

    def _told(self, answer: Answer, running: Deferred[Answer]) -> None:
        if self._running is not running:
            # Nobody waits for it any more.
            return
        self._running = None
        self._answered(answer)
        self._goOn()

    def _answered(self, answer: Answer) -> None:
        caller = self._caller
        if caller.gone:
            self._close()
            return
        self._write(answer)
        if not caller.stays and not self._commands:
            self._close()

    def _write(self, answer: Answer) -> None:
        caller = self._caller
        text = answer.text
        severity = answer.severity
        if caller.json:
            text = answer.asJSON
        elif text and severity is not Severity.OUTPUT and caller.severities != "none":
            word = severity.value if caller.severities == "number" else _NAMES[severity]
            text = f"[{word}]: {text}"
        self._transport.write(f"{text}\n{caller.prompt}".encode("utf-8", "replace"))

    # time

    def _wait(self) -> None:
        """For the next line."""
        self._timer = self._door.reactor.callLater(self._caller.patience, self._expired)

    def _watch(self) -> None:
        """
        A client that has ended its side may be gone altogether, which nothing says but a
        look at its socket; of TCP not even that does.
        """
        self._timer = self._door.reactor.callLater(LOOK, self._watched)

    def _watched(self) -> None:
        self._timer = None
        poller = select.poll()
        poller.register(self._transport.fileno(), 0)
        if poller.poll(0):
            self.abort()
        elif self._running is not None:
            self._watch()

    def _still(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expired(self) -> None:
        self._timer = None
        if self._closing:
            self._transport.abortConnection()
        else:
            self._close()

    def _close(self) -> None:
        self._closing = True
        self._commands.clear()
        self._buffer = b""
        self._still()
        self._timer = self._door.reactor.callLater(PATIENCE, self._expired)
        self._transport.loseConnection()


class AdminSocket:
    """
    One address where commands are taken.

    @ivar commands: what they do.
    """

    def __init__(self, bind: AdminBind, commands: Commands, reactor: Any) -> None:
        self.commands = commands
        self.reactor = reactor
        self._bind = bind
        self._listener: Listener | None = None
        self._conversations: set[Conversation] = set()

    def __repr__(self) -> str:
        return f"<AdminSocket {self._bind} {self._bind.level}>"

    def open(self) -> None:
        """@raise StartError: if somebody else listens there, or it cannot be."""
        bind = self._bind
        skt = listen(
            Bind(bind.kind, bind.host, bind.port, bind.path, bind.mode, _BACKLOG, where=bind.where)
        )
        self._listener = Listener(skt, self._accepted, self.reactor)

    def start(self) -> None:
        """Begin to take commands."""
        if self._listener is not None:
            self._listener.startListening()

    @property
    def address(self) -> Any:
        """Where it really listens, the port that was 0 filled in; L{None} if it does not."""
        return None if self._listener is None else self._listener.socket.getsockname()

    def _accepted(self, transport: Accepted) -> None:
        caller = Caller(_who(transport.socket, transport.client), Level.of(self._bind.level))
        conversation = Conversation(self, caller)
        self._conversations.add(conversation)
        if len(self._conversations) >= MOST_AT_ONCE and self._listener is not None:
            self._listener.pauseAccepting()
        transport.startProtocol(conversation)

    def ended(self, conversation: Conversation) -> None:
        """Nothing is left of one."""
        self._conversations.discard(conversation)
        if self._listener is not None:
            self._listener.resumeAccepting()

    def close(self) -> None:
        """Take no more commands, end all conversations, take the socket off the disk."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.stopListening()
        if self._bind.kind == "unix":
            with suppress(OSError):
                os.unlink(self._bind.path)
        for conversation in list(self._conversations):
            conversation.abort()


def _who(skt: socket.socket, client: Any) -> str:
    """@return: for the log: the process on the other side of a UNIX socket, or its address."""
    if skt.family != socket.AF_UNIX:
        host, port = pair(skt.family, client)
        return f"{host}:{port}"
    size = struct.calcsize("3i")
    # SO_PEERCRED of unix(7).
    pid, uid, _ = struct.unpack("3i", skt.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return f"uid {uid} pid {pid}"
