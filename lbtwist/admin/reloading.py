"""
The verbs of reloads: C{reload}, C{confirm}, C{rollback}, C{show reload}. HAProxy has the first
of them in its master process only (its management guide, 9.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbtwist.admin.finding import parsed
from lbtwist.admin.planning import Reading
from lbtwist.admin.proving import Proved, prove
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Severity, Verb
from lbtwist.config.model import Config
from lbtwist.errors import BalancerError
from lbtwist.events import plain
from lbtwist.guards import GuardError
from lbtwist.options import Time
from lbtwist.registry import Registry
from lbtwist.renewing import (
    FAILED,
    LONGEST,
    RETURNED,
    STATES,
    WAITING,
    NotNow,
    Reload,
    Renewal,
    shown,
)
from lbtwist.service import LoadBalancer

NO_FILE = "This balancer was not made of a file."


def renewalFor(balancer: LoadBalancer, path: str, registry: Registry) -> Renewal:
    """
    Let a balancer be asked to go by its file again.

    @param path: of the file that it was made of.
    @param registry: the parts that the file can name.
    """
    reading = Reading()

    def read(before: Config) -> Deferred[Proved]:
        return reading.read(balancer.reactor, lambda: prove(path, registry, before))

    renewal = Renewal(balancer, path, read, balancer.reactor, balancer.wallclock)
    balancer.renewal = renewal
    return renewal


def _renewal(asked: Asked) -> Renewal:
    renewal = asked.balancer.renewal
    if renewal is None:
        raise Refused(NO_FILE)
    return renewal


async def reload(asked: Asked, words: Sequence[str]) -> Answer:
    """C{reload [confirm <time>] [guard <guard>]... [force]}. A guard is one word."""
    renewal = _renewal(asked)
    confirm, guards, force = 0.0, [], False
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "force":
            force = True
        elif word in ("confirm", "guard"):
            if not left:
                raise Refused(f"'{word}' expects one more word.")
            value = left.pop(0)
            if word == "guard":
                guards.append(value)
                continue
            confirm = parsed(Time(), value)
            if not 0 < confirm <= LONGEST:
                raise Refused("'confirm' expects a time of more than 0, up to 1d.")
        else:
            raise Refused(f"Unknown word {word!r}: write confirm, guard or force.")
    try:
        done = await renewal.renew(asked.caller.name, confirm, guards, force)
    except (NotNow, GuardError) as refused:
        raise Refused(str(refused)) from None
    return _answer(done, renewal)


def confirm(asked: Asked, words: Sequence[str]) -> Answer:
    renewal = _renewal(asked)
    try:
        return _answer(renewal.confirm(asked.caller.name), renewal)
    except NotNow as refused:
        raise Refused(str(refused)) from None


def rollback(asked: Asked, words: Sequence[str]) -> Answer:
    renewal = _renewal(asked)
    try:
        done = renewal.rollback(asked.caller.name)
    except NotNow as refused:
        raise Refused(str(refused)) from None
    severity = Severity.INFO if done.state == RETURNED else Severity.ERROR
    return Answer(_text(done, renewal), _value(done, renewal), severity)


def _answer(done: Reload, renewal: Renewal) -> Answer:
    severity = Severity.ERROR if done.state in FAILED else Severity.INFO
    return Answer(_text(done, renewal), _value(done, renewal), severity)


def _text(done: Reload, renewal: Renewal, whole: bool = True) -> str:
    """@param whole: with what has changed, and what was wrong."""
    said = f": {done.reason}" if done.reason else ""
    if done.state == WAITING:
        said = f" for {renewal.left:.0f} s"
    head = f"Reload {done.number}: {STATES[done.state]}{said}"
    lines = [*done.problems, *done.difference.lines] if whole else []
    return "\n".join([plain(head), *shown(lines), ""])


def _value(done: Reload, renewal: Renewal, whole: bool = True) -> dict[str, Any]:
    return {
        "number": done.number, "at": done.at, "by": done.by, "state": done.state,
        "meaning": STATES[done.state], "reason": done.reason,
        "left": round(renewal.left, 3) if done.state == WAITING else 0.0,
        "endedAt": done.endedAt, "problems": list(done.problems) if whole else [],
        "guards": [guard.text for guard in done.guards],
        "summary": done.difference.summary, "changes": done.difference.lines if whole else [],
        "path": renewal.path, "differs": renewal.differs,
    }  # fmt: skip


def showReload(asked: Asked, words: Sequence[str]) -> Answer:
    """
    C{show reload}: the last one, and how it ended. Only for who may read everything also what
    has changed, and what was wrong, which quotes the file.
    """
    renewal = asked.balancer.renewal
    if renewal is None:
        value = {"number": 0, "state": "", "path": "", "differs": False}
        return Answer(f"{NO_FILE}\n", value)
    last = renewal.last
    if last is None:
        value = {"number": 0, "state": "", "path": renewal.path, "differs": renewal.differs}
        return Answer("There was no reload.\n", value)
    whole = asked.caller.level >= Level.OPERATOR
    at = datetime.fromtimestamp(last.at).astimezone().isoformat(timespec="seconds")
    lines = [_text(last, renewal, whole), f"Asked for at {at} by {last.by}\n"]
    if last.guards:
        lines.append(f"Guards: {', '.join(map(str, last.guards))}\n")
    if renewal.differs:
        lines.append(f"{renewal.path} is not what runs\n")
    return Answer("".join(lines), lambda: _value(last, renewal, whole))


def upgrade(asked: Asked, words: Sequence[str]) -> Deferred[Answer]:
    """C{upgrade}: answered when the new process accepts."""
    if asked.balancer.upgrading is None:
        raise Refused("This balancer is a part of another program, which starts and ends it.")
    begun: Deferred[int] = asked.balancer.upgrading.begin()
    return begun.addCallbacks(_upgraded, _notUpgraded)


def _upgraded(pid: int) -> Answer:
    text = f"Process {pid} has taken the place of this one, which ends when what runs has ended.\n"
    return Answer(text, {"pid": pid})


def _notUpgraded(failure: Failure) -> Answer:
    failure.trap(BalancerError)
    raise Refused(plain(failure.getErrorMessage()))


VERBS = (
    Verb(
        "upgrade", "start the program again, which takes the place of this process", Level.ADMIN,
        upgrade, changes=True,
    ),
    Verb(
        "reload [confirm <time>] [guard <guard>] [force]",
        "read the configuration again; go back if it is not confirmed in time", Level.ADMIN,
        reload, changes=True,
    ),
    Verb("confirm", "what the last reload has changed is good", Level.ADMIN, confirm, changes=True),
    Verb(
        "rollback", "go back to what ran before the last reload", Level.ADMIN, rollback,
        changes=True,
    ),
    Verb("show reload", "the last reload, and how it ended", Level.USER, showReload),
)  # fmt: skip
