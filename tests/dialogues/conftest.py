"""Threads of a balancer in memory: they do their work when a test wants it."""

import pytest

from lbtwist.admin import amending, planning
from lbtwist.testing.network import Pump


class Threads:
    """
    Threads that do their work at once, or when they are told to.

    @ivar waiting: those that have not begun.
    """

    def __init__(self):
        self.patient = False
        self.waiting = []

    def __call__(self, target, **options):
        self.waiting.append(target)
        return self

    def start(self):
        if not self.patient:
            self.work()

    def work(self):
        self.waiting.pop(0)()


@pytest.fixture
def threads(monkeypatch):
    found = Threads()
    monkeypatch.setattr(planning, "Thread", found)
    for module in (amending, planning):
        monkeypatch.setattr(module, "READING", planning.Reading())
    monkeypatch.setattr(
        Pump, "callFromThread", lambda self, run, *args: self.callLater(0, run, *args),
        raising=False,
    )
    return found
