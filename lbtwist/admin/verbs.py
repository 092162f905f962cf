"""
What a verb of the runtime API is, who may use it, and how a line becomes one.

The words are HAProxy's (its management guide, 9.3), so that what speaks with HAProxy speaks
with this. Which verbs there are is said by the modules next to this one, and brought together
in L{lbtwist.admin.commands}; by which socket they come is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.admin.audit import Audit, Change, Seen
from lbtwist.errors import BalancerError
from lbtwist.events import plain

if TYPE_CHECKING:
    from lbtwist.service import LoadBalancer

LONGEST = 1000
"""Characters of what says why something cannot be done."""

MOST_WORDS = 64
"""Words of one command; HAProxy takes as many."""


class Level(IntEnum):
    """What somebody may do; each may do what those before it may."""

    USER = 0
    """Read what is of no harm."""
    OPERATOR = 1
    """Read everything, and begin to count anew."""
    ADMIN = 2
    """Change everything."""

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Level:
        """@raise KeyError: for a word that is none."""
        return cls[word.upper()]


class Severity(IntEnum):
    """How an answer is meant (syslog(3)); C{OUTPUT} is what was asked for."""

    OUTPUT = -1
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@attr.frozen
class Answer:
    """
    What a verb has to say.

    @ivar text: lines for people and for what reads HAProxy's; C{""} says nothing.
    @ivar value: the same for programs, of what JSON has; L{None} where there is no more to
        it than that it was done. It may be given as a function that makes it, where that
        takes time: it is called when somebody wants to know.
    """

    text: str = ""
    _value: Any = None
    severity: Severity = Severity.OUTPUT

    @property
    def value(self) -> Any:
        found = self._value
        return found() if callable(found) else found

    @property
    def good(self) -> bool:
        return self.severity is not Severity.ERROR

    @property
    def asJSON(self) -> str:
        """
        One line: C{severity}, a word; C{value}, where there is one; C{text}, without an end of
        line, where it says more than that.
        """
        told: dict[str, Any] = {"severity": self.severity.name.lower()}
        value = self.value
        if value is not None:
            told["value"] = value
        if value is None or self.severity is not Severity.OUTPUT:
            told["text"] = self.text.rstrip("\n")
        return json.dumps(told, separators=(",", ":")) + "\n"

    @classmethod
    def json(cls, shown: Any, value: Any = None) -> Answer:
        """
        @param shown: is written as JSON, in one line.
        @param value: what it is for programs, where that is not the same; see L{Answer}.
        """
        text = json.dumps(shown, separators=(",", ":"))
        return cls(f"{text}\n", shown if value is None else value)


DONE = Answer()


def inOneLine(text: str) -> str:
    """@return: the same in characters that can be shown; anything may stand in what is quoted."""
    return "".join(one if one.isprintable() else "?" for one in text)


class Refused(BalancerError):
    """
    A verb cannot do what was asked; it says why, in one line.

    @ivar severity: L{Severity.ERROR} but for what is no fault.
    """

    def __init__(self, text: str, severity: Severity = Severity.ERROR) -> None:
        super().__init__(text)
        self.severity = severity

    @property
    def answer(self) -> Answer:
        return Answer(f"{inOneLine(str(self))[:LONGEST]}\n", None, self.severity)


@attr.define(eq=False)
class Caller:
    """
    Who asks.

    @ivar name: for the log.
    @ivar level: what they may do; it can only be lowered.
    @ivar prompt: they are asked for the next command with this; C{""} for nothing.
    @ivar stays: whether they give several commands, one after the other.
    @ivar severities: how they are told how an answer is meant: C{none}, C{number}, C{string}.
    @ivar json: whether each answer is one line of JSON, see L{Answer.asJSON}.
    @ivar patience: seconds for which nothing may come of them.
    @ivar gone: whether they want no more.
    """

    name: str
    level: Level = Level.ADMIN
    prompt: str = ""
    stays: bool = False
    severities: str = "none"
    json: bool = False
    patience: float = 10.0
    gone: bool = False


@attr.frozen(eq=False)
class Asked:
    """
    What a verb is given besides its words.

    @ivar verbs: all there are.
    @ivar payload: the lines that came with it; L{None} if none did.
    """

    balancer: LoadBalancer
    caller: Caller
    verbs: Verbs
    payload: str | None = None


@attr.frozen(eq=False)
class Verb:
    """
    One verb.

    @ivar usage: the words that it begins with, then what may follow: C{get weight <p>/<s>}.
        What begins with one of C{<[{}, or has a C{|}, follows.
    @ivar meaning: what it does, in a line.
    @ivar level: who may use it.
    @ivar run: does it, given an L{Asked} and a list of the words that follow. It gives an
        L{Answer} or what one is awaited of, or raises L{Refused}.
    @ivar changes: whether it changes something, which is written down; of lines that come
        with it nothing is.
    @ivar look: what is written down of it, given the same as C{run}: how that is which it
        changes, before and after. It may raise L{Refused}.
    @ivar payload: whether lines may come with it.
    """

    usage: str
    meaning: str
    level: Level
    run: Callable[..., Answer | Awaitable[Answer]]
    changes: bool = False
    look: Callable[..., Seen] | None = None
    payload: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """Those that it begins with."""
        found: list[str] = []
        for word in self.usage.split():
            if word[0] in "<[{" or "|" in word:
                break
            found.append(word)
        return tuple(found)


class Verbs:
    """All verbs there are, by their words."""

    def __init__(self, verbs: Iterable[Verb]) -> None:
        self._all = {verb.words: verb for verb in sorted(verbs, key=lambda one: one.words)}

    def __iter__(self) -> Iterator[Verb]:
        return iter(self._all.values())

    def find(self, words: Sequence[str]) -> tuple[Verb, Sequence[str]]:
        """
        @return: the verb that begins with the most of these words, and those that follow.
        @raise Refused: if there is none.
        """
        for count in range(len(words), 0, -1):
            found = self._all.get(tuple(words[:count]))
            if found is not None:
                return found, words[count:]
        raise Refused(self._unknown(" ".join(words[:3])))

    def _unknown(self, said: str) -> str:
        known = [" ".join(words) for words in self._all]
        near = [one for one in known if one.startswith(f"{said} ")]
        near = near or get_close_matches(said, known, 3)
        hint = f", but maybe one of these is a better match: {', '.join(near)}" if near else ""
        return f"Unknown command: {plain(said)!r}{hint}. See 'help'."


def commandsOf(line: str) -> list[list[str]]:
    """
    @param line: without its end.
    @return: the words of each command. Commands are separated by C{;}, words by spaces; after
        a backslash both are ordinary characters, as is another backslash.
    @raise Refused: if there are too many words.
    """
    commands: list[list[str]] = [[]]
    word: list[str] | None = None

    def ended() -> None:
        nonlocal word
        if word is not None:
            commands[-1].append("".join(word))
            word = None

    escaped = False
    for one in line:
        if escaped or not (one.isspace() or one in ";\\"):
            word = [] if word is None else word
            word.append(one)
            escaped = False
        elif one == "\\":
            escaped = True
        else:
            ended()
            if one == ";":
                commands.append([])
    ended()
    found = [words for words in commands if words]
    if any(len(words) > MOST_WORDS for words in found):
        raise Refused("Too many words in a command.")
    return found


def escaped(word: str) -> str:
    """@return: a word as it is written in a command, see L{commandsOf}."""
    return "".join(f"\\{one}" if one.isspace() or one in ";\\" else one for one in word)


class Commands:
    """
    Has the verbs of one balancer done, whoever asks and by whatever way.

    @ivar verbs: those there are.
    @ivar audit: is told of what is changed.
    """

    _log = Logger()

    def __init__(self, balancer: LoadBalancer, verbs: Verbs, audit: Audit | None = None) -> None:
        """@param audit: is told of what is changed; by default it is the log of the program."""
        self._balancer = balancer
        self.verbs = verbs
        self.audit = audit or Audit()

    def ask(
        self, words: Sequence[str], caller: Caller, payload: str | None = None
    ) -> Deferred[Answer]:
        """
        @param words: at least one.
        @param payload: lines that come with it.
        @return: fires with an answer, whatever happens; it may be cancelled.
        """
        found = Deferred.fromCoroutine(self._ask(words, caller, payload))
        found.addErrback(self._failed, words)
        return found

    async def _ask(
        self, words: Sequence[str], caller: Caller, payload: str | None
    ) -> Answer:
        verb, following = self.verbs.find(words)
        if verb.level > caller.level:
            said = f"the level is {caller.level.word}"
            self.audit.write(Change(caller.name, words, said, done=False))
            raise Refused("Permission denied")
        if payload is not None and not verb.payload:
            raise Refused("This command takes no payload.")
        asked = Asked(self._balancer, caller, self.verbs, payload)
        if not verb.changes:
            return await _said(verb, asked, following)
        before = _seen(verb, asked, following)
        try:
            answer = await _said(verb, asked, following)
        except BaseException as failed:
            why = str(failed) if isinstance(failed, Refused) else type(failed).__name__
            self.audit.write(Change(caller.name, words, why, done=False))
            raise
        self.audit.write(
            Change.between(
                caller.name, words, before, _seen(verb, asked, following), answer.text.strip()
            )
            if answer.good
            else Change(caller.name, words, answer.text.strip(), done=False)
        )
        return answer

    def _failed(self, failure: Failure, words: Sequence[str]) -> Answer:
        if failure.check(Refused):
            refused: Any = failure.value
            return refused.answer  # type: ignore[no-any-return]
        if failure.check(CancelledError):
            # Who asked has gone.
            return DONE
        self._log.failure("{command} has failed", failure, command=plain(" ".join(words)))
        return Refused("An error, which is in the log.").answer


async def _said(verb: Verb, asked: Asked, words: Sequence[str]) -> Answer:
    said = verb.run(asked, words)
    return said if isinstance(said, Answer) else await said


def _seen(verb: Verb, asked: Asked, words: Sequence[str]) -> Seen:
    try:
        return {} if verb.look is None else verb.look(asked, words)
    except Refused:
        # It is not there, not yet or not any more.
        return {}
