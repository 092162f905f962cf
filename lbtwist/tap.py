"""
C{twistd lbtwist}: the options of the command line and the service it starts.

The configuration is read and checked while options are parsed: twistd changes
its directory afterwards, and an error there would be a traceback.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import Logger
from twisted.python import usage

from lbtwist.config.load import load
from lbtwist.config.model import Config
from lbtwist.errors import ConfigError, StartError
from lbtwist.registry import installed


class Options(usage.Options):
    """The options of C{twistd lbtwist}."""

    synopsis = "[--config FILE] [--check [--elsewhere]]"
    longdesc = "A multi-protocol load balancer. Try: twistd -n lbtwist --config etc/lb.ini"
    optParameters = [["config", "c", "lb.ini", "The configuration file."]]
    optFlags = [
        ["check", None, "Only check the configuration: exit 0 if it is valid, else 1."],
        ["elsewhere", None, "It is checked for another machine: look for no interfaces here."],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.ini")})

    config: Config

    def postOptions(self) -> None:
        """
        Read the configuration. Problems go to standard error.

        @raise SystemExit: with 1 if it cannot be used; with C{--check} always.
        """
        if self["elsewhere"] and not self["check"]:
            raise usage.UsageError("--elsewhere says nothing without --check")
        path = self["config"]
        try:
            self.config, problems = load(path, installed())
        except ConfigError as broken:
            _tell(broken)
            raise SystemExit(1) from None
        for problem in problems:
            print(problem, file=sys.stderr)
        if self["check"]:
            from lbtwist.build import build
            from lbtwist.doctor.facts import Facts
            from lbtwist.doctor.system import absentInterfaces

            absent = [] if self["elsewhere"] else absentInterfaces(self.config, Facts())
            if absent:
                _tell(ConfigError(absent))
                raise SystemExit(1)
            build(self.config)
            print("Configuration file is valid")
            raise SystemExit(0)
        self["config"] = os.path.abspath(path)


def _tell(broken: ConfigError) -> None:
    for problem in broken.problems:
        print(problem, file=sys.stderr)
    count = sum(problem.severity == "error" for problem in broken.problems)
    print(f"{count} error{'s' if count != 1 else ''}: nothing was started", file=sys.stderr)


def _cannotStart(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """
    The process ends, with exit code 1. Not by L{SystemExit}: only after another
    exception does Twisted tell the process that waits for a daemon to start, which
    would wait for ever, and take the file with the process's number away.
    """
    if isinstance(error, StartError):
        print(f"lbtwist cannot start: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


class Daemon(MultiService):
    """
    The balancer as the one thing a process does.

    SIGTERM and SIGINT stop it. It ends with exit code 0 then: Twisted's own answer
    to them lets the process die of the signal after all has been stopped. A second
    one does not wait any longer for what still runs.
    """

    _log = Logger()
    _stopping = False

    def privilegedStartService(self) -> None:
        """@raise StartError: if it cannot start; the process ends with its message."""
        try:
            super().privilegedStartService()
        except StartError:
            sys.excepthook = _cannotStart
            raise

    def startService(self) -> None:
        """@raise StartError: likewise, where there was no privileged start."""
        from twisted.internet import reactor

        try:
            super().startService()
        except StartError:
            sys.excepthook = _cannotStart
            raise
        running: Any = reactor
        running.callWhenRunning(self._takeSignals, running)
        # What exists now stays: the collector need not look at it again. What
        # comes and goes with a request has no circles, so it may look rarely.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)

    def _takeSignals(self, reactor: Any) -> None:
        def taken(number: int, _frame: FrameType | None) -> None:
            reactor.callFromThread(self._told, reactor, number)

        for number in (signal.SIGTERM, signal.SIGINT):
            # Whoever runs a reactor without Twisted's answers wants none.
            if signal.getsignal(number) in (reactor.sigTerm, reactor.sigInt):
                signal.signal(number, taken)

    def _told(self, reactor: Any, number: int) -> None:
        name = signal.Signals(number).name
        if self._stopping:
            self._log.info("{name} again: what still runs is aborted", name=name)
            for balancer in self:
                balancer.abort()
            return
        self._stopping = True
        self._log.info("{name}: no new connections, and the end after those there are", name=name)
        reactor.stop()


def makeService(options: Options) -> IService:
    """Called by twistd, with the options that were parsed."""
    from lbtwist.build import build

    daemon: Any = Daemon()
    build(options.config).setServiceParent(daemon)
    return daemon  # type: ignore[no-any-return]
