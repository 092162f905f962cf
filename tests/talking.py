"""A server's side of a check's talk, in memory: what it says in whatever pieces."""

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from lbtwist.checks.talk import Conversation


class Wire:
    """
    What a check has instead of a connection.

    @ivar sent: what the check has said.
    @ivar closed: how it has ended: C{""}, C{"closed"} or C{"reset"}.
    """

    connected = True

    def __init__(self, protocol):
        self.protocol = protocol
        self.sent = b""
        self.closed = ""

    def write(self, data):
        assert not self.closed
        self.sent += data

    def loseConnection(self):
        self._end("closed", ConnectionDone())

    def abortConnection(self):
        self._end("reset", ConnectionLost())

    def cancel(self):
        """The server has closed before: there is nothing to close."""
        assert not self.connected

    def _end(self, how, reason):
        assert not self.closed
        self.closed = how
        self.connected = False
        self.protocol.connectionLost(Failure(reason))


class Heard:
    """
    One talk.

    @ivar found: its results, one at most.
    @ivar failed: what it failed with, if it did.
    """

    def __init__(self, talk):
        self.found = []
        self.failed = []
        self.check = Conversation(talk)
        self.wire = self.check.transport = Wire(self.check)
        self.check.verdict.addCallbacks(self.found.append, self.failed.append)
        self.check.makeConnection(self.wire)

    @property
    def ended(self):
        return bool(self.found or self.failed)

    def says(self, *pieces):
        """The server says this, as long as it is listened to."""
        for piece in pieces:
            if self.wire.connected:
                self.check.dataReceived(piece)

    def ends(self, reason=None):
        """The server closes."""
        if self.wire.connected:
            self.wire.connected = False
            self.check.connectionLost(Failure(reason or ConnectionDone()))
