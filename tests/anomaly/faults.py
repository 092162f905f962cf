"""
Sockets of a balancer at which one operation, or every one, goes otherwise than well.

Counted are the making of a socket or a pipe, connects, reads, writes, and what goes
from socket to socket inside the kernel.
"""

import errno
import os
import socket
from contextlib import suppress

import lbtwist.net.outgoing
import lbtwist.net.splice


class Kind:
    """
    How an operation goes.

    @ivar fails: the operation fails, and the connection with it.
    @ivar again: it is put off: a read or a write finds nothing to do.
    @ivar most: bytes that a read or a write takes; L{None} for all.
    @ivar cut: what the connection does next fails.
    """

    def __init__(self, fails=False, again=False, most=None, cut=False):
        self.cut = cut
        self.fails = fails
        self.again = again
        self.most = most


ERROR = Kind(fails=True)
AGAIN = Kind(again=True)
SHORT = Kind(most=1)
CUT = Kind(most=1, cut=True)
DRIP = Kind(most=1009)


class Faults:
    """
    Counts the operations on all sockets of the balancer.

    @ivar seen: which there were, in their order.
    @ivar sockets: those that are open, by their descriptors.
    """

    def __init__(self, kind, at):
        """@param at: which operation goes otherwise; L{None} is every one, -1 none."""
        self.kind = kind
        self.at = at
        self.seen = []
        self.sockets = {}

    def now(self, what):
        """@return: the L{Kind} of this operation, or L{None} if it goes well."""
        self.seen.append(what)
        return self.kind if self.at is None or self.at == len(self.seen) - 1 else None

    def install(self, monkeypatch):
        """Take the place of what makes sockets and pipes."""

        class Faulty(FaultySocket):
            faults = self

        self.newSocket = Faulty
        splice, pipe2 = os.splice, os.pipe2

        def make(family, kind):
            if (how := self.now("socket")) is not None and how.fails:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return Faulty(family, kind)

        def faultyPipe(flags):
            if (how := self.now("pipe")) is not None and how.fails:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return pipe2(flags)

        def faultySplice(source, sink, size, **more):
            writes = sink in self.sockets
            ours = self.sockets[sink if writes else source]
            most = ours.goes("splice out" if writes else "splice in", writes)
            return splice(source, sink, size if most is None else min(size, most), **more)

        monkeypatch.setattr(lbtwist.net.outgoing, "newSocket", make)
        monkeypatch.setattr(os, "splice", faultySplice)
        monkeypatch.setattr(os, "pipe2", faultyPipe)
        # Pipes that were kept from before would not be made.
        while lbtwist.net.splice._spare:
            for fd in lbtwist.net.splice._spare.pop():
                os.close(fd)

    def accepted(self, fd):
        """@return: the balancer's end of a client's connection."""
        skt = self.newSocket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
        skt.inet = True
        return skt


class FaultySocket(socket.socket):
    """
    A socket whose operations count.

    @ivar dead: its peer has vanished; C{doomed}: it is about to.
    @ivar aborted: the balancer has reset it.
    """

    faults: Faults
    dead = False
    doomed = False
    aborted = False
    inet = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.faults.sockets[self.fileno()] = self

    def close(self):
        self.faults.sockets.pop(self.fileno(), None)
        super().close()

    @property
    def family(self):
        return socket.AF_INET if self.inet else super().family

    def getsockname(self):
        return ("192.0.2.1", 80) if self.inet else super().getsockname()

    def setsockopt(self, *arguments):
        self.aborted = self.aborted or arguments[1] == socket.SO_LINGER
        super().setsockopt(*arguments)

    def goes(self, what, writes):
        """
        One operation.

        @return: the most bytes it takes, or L{None}.
        """
        how = self.faults.now(what)
        code = errno.EPIPE if writes else errno.ECONNRESET
        if self.dead:
            raise OSError(code, os.strerror(code))
        if self.doomed or (how is not None and how.fails):
            self.dead = True
            # The other end notices as well.
            with suppress(OSError):
                super().shutdown(socket.SHUT_RDWR)
            raise OSError(code, os.strerror(code))
        if how is None:
            return None
        if how.again:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.doomed = how.cut
        return how.most

    def recv(self, size, *flags):
        most = self.goes("recv", False)
        return super().recv(size if most is None else min(size, most), *flags)

    def send(self, data, *flags):
        most = self.goes("send", True)
        return super().send(data if most is None else memoryview(data)[:most], *flags)

    def sendmsg(self, pieces, *more):
        most = self.goes("sendmsg", True)
        if most is None:
            return super().sendmsg(pieces, *more)
        return super().send(b"".join(pieces)[:most])

    def connect_ex(self, address):
        how = self.faults.now("connect")
        if how is not None and how.fails:
            return errno.ECONNREFUSED
        return super().connect_ex(address)
