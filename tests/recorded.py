"""A socket that notes what is asked of it, in order, and asks the kernel nothing."""

import os
import socket


class RecordedSocket:
    """
    @ivar calls: C{("setsockopt", level, option, value)}, C{("bind", address)},
        C{("listen", backlog)}, C{("connect", address)}, C{("close",)}.
    @ivar refuses: error numbers by call, as C{{("setsockopt", level, option): EPERM}}.
    """

    def __init__(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, refuses=()):
        self.family = family
        self.type = kind
        self.calls = []
        self.refuses = dict(refuses)

    def _note(self, *call):
        self.calls.append(call)
        for length in range(len(call), 0, -1):
            code = self.refuses.get(call[:length])
            if code:
                raise OSError(code, os.strerror(code))

    def setsockopt(self, level, option, value):
        self._note("setsockopt", level, option, value)

    def bind(self, address):
        self._note("bind", address)

    def listen(self, backlog):
        self._note("listen", backlog)

    def close(self):
        self._note("close")

    @property
    def options(self):
        """The options that were set, C{(level, option): value}, in order."""
        return {call[1:3]: call[3] for call in self.calls if call[0] == "setsockopt"}

    @property
    def bound(self):
        return [call[1] for call in self.calls if call[0] == "bind"]
