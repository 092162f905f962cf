"""What is done at signals, without a process."""

import signal
from contextlib import contextmanager

from twisted.internet.task import Clock

TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Those that C{twistd lbtwist} has an answer to."""


class Running(Clock):
    """A reactor with Twisted's answers to signals, which notes that it was stopped."""

    stopped = 0

    def sigTerm(self, number, frame):
        raise AssertionError("Twisted's answer")

    sigInt = sigTerm

    def stop(self):
        self.stopped += 1

    def callFromThread(self, function, *arguments):
        self.callLater(0, function, *arguments)


@contextmanager
def answersKept():
    """Whatever is done to the answers to signals, they are afterwards as before."""
    before = [signal.getsignal(number) for number in TAKEN]
    try:
        yield
    finally:
        for number, answer in zip(TAKEN, before, strict=True):
            signal.signal(number, answer)
