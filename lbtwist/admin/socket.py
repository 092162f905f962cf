"""
Sockets by which commands come: HAProxy's line protocol (its management guide, 9.3).

A line is one or more commands, separated by C{;}; after the answer to each there is an empty
line. Where it ends with C{<<} lines follow that belong to the last of them, up to an empty one;
with C{<<WORD} up to that word. Then the connection is closed, unless the client has asked for a
C{prompt}. What the commands do is L{lbtwist.admin.commands}'.
"""

from __future__ import annotations

import os
import re
import select
import socket
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.admin.payload import Payload, payloadOf
from lbtwist.admin.verbs import Answer, Caller, Commands, Level, Refused, Severity, commandsOf
from lbtwist.config.model import AdminBind, Bind
from lbtwist.net.addresses import listen, pair
from lbtwist.net.inherited import inherited
from lbtwist.net.listener import Listener
from lbtwist.net.tcp import Accepted

LONGEST_LINE = 16 * 1024
"""Bytes of a line; HAProxy's are bounded by its buffers, which are as large."""

MOST_AT_ONCE = 20
"""Conversations at once, of each socket; more wait in the kernel's queue."""

PATIENCE = 10.0
"""Seconds in which something of the last answer has to be read."""

LOOK = 1.0
"""Seconds from one look to the next, at a client that waits and is not heard."""

_BACKLOG = 64
# The first line of a request: whoever sends one speaks for somebody far away, as a browser does.
_HTTP = re.compile(rb" HTTP/\d\.\d\r?$")
_Command = tuple[Sequence[str], str | None]
_NAMES = {
    Severity.ERROR: "err", Severity.WARNING: "warning", Severity.NOTICE: "notice",
    Severity.INFO: "info",
}  # fmt: skip


@implementer(IHalfCloseableProtocol, IPushProducer)
class Conversation:
    """
    One connection of an administrator.

    Between two commands others have their turn, and none is done while answers are not read.
    """

    _log = Logger()

    def __init__(self, door: AdminSocket, caller: Caller) -> None:
        self._door = door
        self._caller = caller
        self._transport: Any = None
        self._buffer = b""
        self._commands: deque[_Command] = deque()
        # What waits for the lines that belong to it, and these.
        self._held: list[_Command] = []
        self._payload: Payload | None = None
        self._running: Deferred[Answer] | None = None
        self._ended = False
        self._closing = False
        self._unread = False
        self._progress = 0
        self._soon: Any = None
        self._timer: Any = None

    def __repr__(self) -> str:
        return f"<Conversation {self._caller.name}>"

    def makeConnection(self, transport: Any) -> None:
        self._transport = transport
        transport.registerProducer(self, True)
        self._wait()

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._buffer += data
        if len(self._buffer) > LONGEST_LINE:
            # There are lines to do before more of them are read.
            self._transport.stopReading()
        self._goOn()
        self._watchIfDeaf()

    def readConnectionLost(self) -> None:
        """The client asks nothing more, and may still want its answers."""
        self._ended = True
        if self._buffer and not self._buffer.endswith(b"\n"):
            self._buffer += b"\n"
        self._goOn()
        self._watchIfDeaf()

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
        soon, self._soon = self._soon, None
        if soon is not None:
            soon.cancel()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    # answers, as fast as they are read

    def pauseProducing(self) -> None:
        self._unread = True

    def resumeProducing(self) -> None:
        self._unread = False
        if not self._closing and self._running is None:
            self._still()
            self._goOn()

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} is called next."""

    # commands, one after the other

    def _goOn(self) -> None:
        """Do what has been asked next, unless something is done already."""
        if self._soon is not None or self._closing or self._running is not None:
            return
        if self._unread:
            if self._timer is None:
                self._wait()
        elif self._commands:
            self._ask(*self._commands.popleft())
        elif self._payload is not None:
            self._readPayload()
        else:
            self._nextLine()

    def _goOnSoon(self) -> None:
        if self._soon is None and not self._closing:
            self._soon = self._door.reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._soon = None
        self._goOn()

    def _nextLine(self) -> None:
        line, newline, rest = self._buffer.partition(b"\n")
        if len(line) > LONGEST_LINE:
            self._refuse("The command is too long.")
            return
        if not newline:
            if self._ended:
                self._close()
            elif self._timer is None:
                # Whoever sends a byte now and then does not get more time for it.
                self._wait()
            return
        if _HTTP.search(line):
            self._refuse("This is not HTTP.")
            return
        self._buffer = rest
        self._still()
        self._readOn()
        text, payload = payloadOf(line.decode("utf-8", "replace").rstrip("\r"))
        try:
            asked: list[_Command] = [(words, None) for words in commandsOf(text)]
            if payload is not None and not asked:
                raise Refused("There is no command that the payload belongs to.")
        except Refused as refused:
            if payload is not None:
                # What follows are no commands.
                self._refuse(str(refused))
            else:
                self._answered(refused.answer)
            return
        if payload is not None:
            self._held, self._payload = asked, payload
            self._goOn()
            return
        self._commands.extend(asked)
        if self._commands:
            self._goOn()
        else:
            self._answered(Answer())

    def _readPayload(self) -> None:
        """Take the lines that belong to a command, up to the one that ends them."""
        payload = self._payload
        assert payload is not None
        self._buffer = payload.take(self._buffer)
        if payload.tooLong:
            self._refuse("The payload is too long.")
        elif payload.whole:
            self._readOn()
            *first, (words, _) = self._held
            self._commands.extend([*first, (words, payload.text)])
            self._payload = None
            self._goOn()
        elif len(self._buffer) > LONGEST_LINE:
            self._refuse("A line of the payload is too long.")
        elif self._ended:
            self._refuse("The payload has no end.")
        else:
            self._readOn()
            if self._timer is None:
                self._wait()

    def _readOn(self) -> None:
        """Hear more, if there is not too much to do yet."""
        if len(self._buffer) <= LONGEST_LINE and not self._transport.reading and not self._ended:
            self._transport.startReading()

    def _refuse(self, why: str) -> None:
        """Hear no more of it."""
        self._write(Refused(why).answer)
        self._close()

    def _ask(self, words: Sequence[str], payload: str | None) -> None:
        self._still()
        running = self._running = self._door.commands.ask(words, self._caller, payload)
        running.addCallback(self._told, running).addErrback(self._failed)
        self._watchIfDeaf()

    def _told(self, answer: Answer, running: Deferred[Answer]) -> None:
        if self._running is not running:
            # Nobody waits for it any more.
            return
        self._running = None
        self._answered(answer)

    def _failed(self, failure: Failure) -> None:
        """What a verb has answered cannot be written."""
        self._log.failure("{conversation!r} has met an error", failure, conversation=self)
        self.abort()

    def _answered(self, answer: Answer) -> None:
        caller = self._caller
        if caller.gone:
            self._close()
            return
        self._write(answer)
        if caller.stays or self._commands:
            self._goOnSoon()
        else:
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

    def _watchIfDeaf(self) -> None:
        """
        A client that waits, and has ended its side or is not heard for now, may be gone
        altogether, which nothing says but a look at its socket; of TCP not even that does.
        """
        waits = self._running is not None and not self._transport.reading
        if waits and self._timer is None:
            self._timer = self._door.reactor.callLater(LOOK, self._watched)

    def _watched(self) -> None:
        self._timer = None
        poller = select.poll()
        poller.register(self._transport.fileno(), 0)
        if poller.poll(0):
            self.abort()
        else:
            self._watchIfDeaf()

    def _still(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expired(self) -> None:
        self._timer = None
        progress, self._progress = self._progress, self._transport.progress
        if self._transport.unsent and progress != self._progress:
            # It is read, however slowly.
            self._wait()
        elif self._closing:
            self._transport.abortConnection()
        else:
            self._close()

    def _close(self) -> None:
        self._closing = True
        self._commands.clear()
        self._buffer = b""
        self._still()
        self._progress = self._transport.progress
        self._timer = self._door.reactor.callLater(PATIENCE, self._expired)
        self._transport.unregisterProducer()
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
        self._file: os.stat_result | None = None

    def __repr__(self) -> str:
        return f"<AdminSocket {self._bind} {self._bind.level}>"

    def verify(self) -> None:
        """It needs nothing but its socket."""

    def open(self) -> None:
        """@raise StartError: if somebody else listens there, or it cannot be."""
        bind = self._bind
        skt = listen(self._place)
        self._listener = Listener(skt, self._accepted, self.reactor)
        if bind.kind == "unix":
            self._file = os.stat(bind.path)

    @property
    def _place(self) -> Bind:
        bind = self._bind
        return Bind(
            bind.kind, bind.host, bind.port, bind.path, bind.mode, _BACKLOG, bind.user,
            bind.group, where=bind.where,
        )  # fmt: skip

    @property
    def listening(self) -> list[tuple[Bind, int]]:
        """Where, and the descriptor of that; empty while it is not open."""
        return [] if self._listener is None else [(self._place, self._listener.fileno())]

    def handOver(self) -> None:
        """Take no more commands but from who is there: another process has the same socket."""
        self._file = None
        if self._listener is not None:
            self._listener.stopListening()

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
        caller.patience = self._bind.timeout
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
        file, path = self._file, self._bind.path
        with suppress(OSError):
            # Somebody may have taken it away, and another balancer be there; or has it still.
            if file is not None and not inherited and os.path.samestat(os.stat(path), file):
                os.unlink(path)
        listener.stopListening()
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
