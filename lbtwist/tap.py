"""
C{twistd lbtwist}: the options of the command line and the service it starts.

The configuration is read and checked while options are parsed: twistd changes
its directory afterwards, and an error there would be a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from inspect import getclosurevars, isfunction
from types import FrameType, TracebackType
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import DeferredList
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from lbtwist.collecting import collectRarely
from lbtwist.config.load import load
from lbtwist.config.model import Config
from lbtwist.dropping import afterDrop
from lbtwist.errors import BalancerError, ConfigError, StartError
from lbtwist.net.inherited import inherited
from lbtwist.notifying import Notifying
from lbtwist.registry import installed
from lbtwist.renewing import Renewal
from lbtwist.service import LoadBalancer
from lbtwist.upgrading import Upgrading, begun, notBegun


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
            from lbtwist.objects import absentObjects

            absent = [] if self["elsewhere"] else [
                *absentInterfaces(self.config, Facts()), *absentObjects(self.config)
            ]
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
    one does not wait any longer for what still runs. SIGUSR1 ends it likewise, but only
    when all that runs has ended by itself. SIGHUP has it read its configuration again, and
    SIGUSR2 open its logs anew.

    @ivar renewal: reads the file again; L{None} where there is none.
    @ivar directory: where the process was started; twistd may go elsewhere.
    @ivar notifying: tells systemd; L{None} if that does not listen.
    """

    _log = Logger()
    _stopping = False
    _leaving = False
    _renewing = False
    _renewAgain = False
    _ownLog: Any = None
    renewal: Renewal | None = None
    directory = ""
    _openedBy = -1
    notifying: Notifying | None = None

    def privilegedStartService(self) -> None:
        """@raise StartError: if it cannot start; the process ends with its message."""
        self._openedBy = os.geteuid()
        try:
            super().privilegedStartService()
        except StartError:
            sys.excepthook = _cannotStart
            raise

    def startService(self) -> None:
        """@raise StartError: likewise, where there was no privileged start."""
        from twisted.internet import reactor

        self.notifying = Notifying.fromEnvironment(os.environ, reactor, self._status)
        running: Any = reactor
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            # Those of which a process that has no answer dies, before anybody can think that
            # it runs.
            self._takeMore(running)
        try:
            for balancer in self:
                if self._openedBy not in (-1, os.geteuid()):
                    for lost in afterDrop(balancer):
                        self._log.warn("{lost}", lost=lost)
                balancer.accepting = partial(self._accepts, running, balancer)
                if balancer.workers is not None:
                    balancer.workers.refused = partial(self._refused, running)
                balancer.upgrading = Upgrading(
                    balancer, partial(self._leave, running, "upgrade"), self.directory
                )
            super().startService()
        except StartError:
            sys.excepthook = _cannotStart
            raise
        running.callWhenRunning(self._takeSignals, running)
        collectRarely()

    def stopService(self) -> Any:
        if self.notifying is not None:
            self.notifying.stopping(sum(one.config.settings.grace_period for one in self))
        if self.renewal is not None:
            self.renewal.stop()
        return super().stopService()

    def _accepts(self, reactor: Any, balancer: LoadBalancer) -> None:
        """A balancer has begun."""
        if not begun(balancer):
            self._stop(reactor)
        elif self.notifying is not None:
            self.notifying.ready()

    def _refused(self, reactor: Any, why: str) -> None:
        """A worker cannot begin."""
        if not notBegun(why):
            self._stop(reactor)

    def _status(self) -> str:
        active = sum(one.process.active for one in self)
        servers = [
            server for one in self for pool in one.pools.values() for server in pool.servers
        ]
        usable = sum(server.usable for server in servers)
        return f"{active} connections, {usable} of {len(servers)} servers can be used"

    def _takeSignals(self, reactor: Any) -> None:
        ours = False
        for number in (signal.SIGTERM, signal.SIGINT):
            # Whoever runs a reactor without Twisted's answers wants none.
            if signal.getsignal(number) in (reactor.sigTerm, reactor.sigInt):
                self._take(reactor, number)
                ours = True
        if ours:
            self._takeMore(reactor)

    def _takeMore(self, reactor: Any) -> None:
        self._ownLog = self._ownLog or _turnedOver(signal.getsignal(signal.SIGUSR1))
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            self._take(reactor, number)

    def _take(self, reactor: Any, number: int) -> None:
        def taken(number: int, _frame: FrameType | None) -> None:
            reactor.callFromThread(self._told, reactor, number)

        signal.signal(number, taken)

    def _told(self, reactor: Any, number: int) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            self._renew(name)
        elif number == signal.SIGUSR1:
            self._leave(reactor, name)
        elif number == signal.SIGUSR2:
            self._reopenLogs(name)
        elif self._stopping:
            self._log.info("{name} again: what still runs is aborted", name=name)
            for balancer in self:
                balancer.abort()
        else:
            self._log.info(
                "{name}: no new connections, and the end after those there are", name=name
            )
            self._stop(reactor)

    def _stop(self, reactor: Any) -> None:
        if not self._stopping:
            self._stopping = True
            reactor.stop()

    def _renew(self, name: str) -> None:
        if self.renewal is None:
            self._log.warn("{name}: there is no file to read again", name=name)
        elif self._renewing:
            # What it will find may have been written since it was begun.
            self._renewAgain = True
        else:
            self._renewing = True
            if self.notifying is not None and not self._stopping:
                self.notifying.reloading()
            self.renewal.renew(name).addBoth(self._renewed, name)

    def _renewed(self, result: object, name: str) -> None:
        """What has become of it is in the log, but for what was not even begun."""
        self._renewing = False
        if isinstance(result, Failure):
            if result.check(BalancerError):
                self._log.warn("{name}: {why}", name=name, why=result.getErrorMessage())
            else:
                self._log.failure("{name} has failed", result, name=name)
        if self.notifying is not None and not self._stopping:
            self.notifying.ready()
        if self._renewAgain:
            self._renewAgain = False
            self._renew(name)

    def _leave(self, reactor: Any, name: str) -> None:
        if self._stopping or self._leaving:
            self._log.info("{name}: it is about to end", name=name)
            return
        self._leaving = True
        self._log.info(
            "{name}: no new connections, and the end whenever those there are have ended",
            name=name,
        )
        drained = DeferredList([balancer.drain(None) for balancer in self])
        drained.addCallback(lambda _: self._stop(reactor))

    def _reopenLogs(self, name: str) -> None:
        for balancer in self:
            balancer.reopenLogs()
        if self._ownLog is not None:
            try:
                self._ownLog.reopen()
            except OSError as failed:
                self._log.error(
                    "{name}: {path} cannot be opened: {why}",
                    name=name, path=self._ownLog.path, why=failed.strerror,
                )  # fmt: skip
        self._log.info("{name}: the logs were opened anew", name=name)


def _turnedOver(answer: Any) -> Any:
    """
    @param answer: what Twisted does at a SIGUSR1: with C{--logfile} it turns that file over.
    @return: the file; L{None} if there is none.
    """
    return getclosurevars(answer).nonlocals.get("logFile") if isfunction(answer) else None


def makeService(options: Options) -> IService:
    """Called by twistd, with the options that were parsed."""
    from lbtwist.admin.reloading import renewalFor
    from lbtwist.build import build

    inherited.take(os.environ)
    daemon: Any = Daemon()
    daemon.directory = os.getcwd()
    registry = installed()
    balancer = build(options.config, registry)
    balancer.setServiceParent(daemon)
    daemon.renewal = renewalFor(balancer, options["config"], registry)
    return daemon  # type: ignore[no-any-return]
