"""Lines of an administrator as commands, and verbs that go wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lbtwist.admin.audit import Change
from lbtwist.admin.commands import ALL, commandsFor
from lbtwist.admin.verbs import (
    DONE,
    Answer,
    Caller,
    Commands,
    Level,
    Refused,
    Severity,
    Verb,
    Verbs,
    commandsOf,
)
from lbtwist.operating import escaped


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("", []),
        ("  ", []),
        ("show stat", [["show", "stat"]]),
        ("show\tstat ", [["show", "stat"]]),
        ("a;b", [["a"], ["b"]]),
        (" a x ; b ;; ", [["a", "x"], ["b"]]),
        ("a\\;b\\ c", [["a;b c"]]),
        ("a\\\\b", [["a\\b"]]),
        ("a\\", [["a"]]),
        ("\\ ", [[" "]]),
    ],
)
def test_lines(line, commands):
    assert commandsOf(line) == commands


_WORDS = st.text(st.characters(exclude_characters="\n\r"), min_size=1)


@given(st.lists(_WORDS, min_size=1, max_size=9))
def test_whatAWordIsWrittenAsIsThatWord(words):
    assert commandsOf(" ".join(map(escaped, words))) == [words]


@given(st.text())
def test_anyLineIsReadOrRefused(line):
    try:
        found = commandsOf(line)
    except Refused:
        return
    assert all(found)


def test_severalLevels():
    assert Level.USER < Level.OPERATOR < Level.ADMIN
    assert [Level.of(level.word) for level in Level] == list(Level)


def test_verbsHaveWordsUsagesAndMeanings():
    words = [verb.words for verb in ALL]
    assert len(set(words)) == len(words)
    for verb in ALL:
        assert verb.usage.startswith(" ".join(verb.words))
        assert verb.meaning and not verb.meaning.endswith(".")
        # Who may only read changes nothing.
        assert not (verb.changes and verb.level is Level.USER)


def test_theLongestVerbCounts():
    verbs = Verbs(
        Verb(usage, "", Level.USER, lambda asked, words: DONE)
        for usage in ("show", "show sess [<id>]", "show sess all", "set x|y")
    )
    for words, usage, following in (
        (["show", "sess", "0x1"], "show sess [<id>]", ["0x1"]),
        (["show", "sess", "all"], "show sess all", []),
        (["show", "it"], "show", ["it"]),
        (["set", "x"], "set x|y", ["x"]),
    ):
        verb, rest = verbs.find(words)
        assert (verb.usage, list(rest)) == (usage, following)
    with pytest.raises(Refused, match=r"^Unknown command: 'sess'"):
        verbs.find(["sess"])


class CommandsTests(SynchronousTestCase):
    def commands(self, run, **more):
        return Commands(None, Verbs([Verb("do", "", Level.OPERATOR, run, **more)]))

    def ask(self, run, level=Level.ADMIN, **more):
        asked = self.commands(run, **more).ask(["do", "it"], Caller("me", level))
        return self.successResultOf(asked)

    def test_anAnswer(self):
        def run(asked, words):
            return Answer(f"{asked.caller.name} {' '.join(words)}")

        self.assertEqual(self.ask(run).text, "me it")

    def test_anAnswerThatComesLater(self):
        later = Deferred()
        asked = self.commands(lambda asked, words: later).ask(["do"], Caller("me"))
        self.assertNoResult(asked)
        later.callback(Answer("now"))
        self.assertEqual(self.successResultOf(asked).text, "now")

    def test_whoGoesAwayIsNotWaitedFor(self):
        later = Deferred()
        asked = self.commands(lambda asked, words: later).ask(["do"], Caller("me"))
        asked.cancel()
        self.assertEqual(self.successResultOf(asked), DONE)

    def test_aLevelThatIsTooLow(self):
        answer = self.ask(lambda asked, words: self.fail("it was done"), Level.USER)
        self.assertEqual((answer.text, answer.good), ("Permission denied\n", False))

    def test_whatIsRefusedIsOneLineThatCanBeShown(self):
        def run(asked, words):
            raise Refused("no\nway \x1b[2J\u202e" + "x" * 5000, Severity.WARNING)

        answer = self.ask(run)
        self.assertEqual(answer.severity, Severity.WARNING)
        self.assertTrue(answer.text.startswith("no?way ?[2J?xxx"))
        self.assertLess(len(answer.text), 1100)

    def test_aVerbThatFails(self):
        answer = self.ask(lambda asked, words: 1 // 0)
        self.assertEqual(answer.text, "An error, which is in the log.\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_aVerbThatFailsLater(self):
        later = Deferred()
        asked = self.commands(lambda asked, words: later).ask(["do"], Caller("me"))
        later.errback(ZeroDivisionError())
        self.assertFalse(self.successResultOf(asked).good)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_moreVerbsAndOthersInTheirPlace(self):
        mine = Verb("show version", "mine", Level.USER, lambda asked, words: Answer("mine\n"))
        own = Verb("make coffee", "it", Level.USER, lambda asked, words: Answer("no\n"))
        commands = commandsFor(None, mine, own)
        for words, text in ((["show", "version"], "mine\n"), (["make", "coffee"], "no\n")):
            answer = self.successResultOf(commands.ask(words, Caller("me")))
            self.assertEqual(answer.text, text)


class Written:
    """An audit that keeps what it is told."""

    def __init__(self):
        self.changes = []

    def write(self, change):
        self.changes.append(change)


def test_whatWasChangedIsWrittenDown():
    state = iter([{"state": "UP", "weight": 1}, {"state": "DRAIN", "weight": 1}])
    verbs = Verbs([
        Verb("do", "", Level.ADMIN, lambda asked, words: DONE, True, lambda *_: next(state)),
        Verb("look", "", Level.ADMIN, lambda asked, words: DONE),
    ])  # fmt: skip
    audit = Written()
    for words in (["look", "here"], ["do", "this"]):
        Commands(None, verbs, audit).ask(words, Caller("uid 0 pid 1"))
    assert audit.changes == [
        Change("uid 0 pid 1", ["do", "this"], "", True, {"state": "UP"}, {"state": "DRAIN"})
    ]


def test_whatWasRefusedIsWrittenDown():
    def refuse(asked, words):
        raise Refused("not today")

    later = Deferred()
    verbs = Verbs([
        Verb("do", "", Level.ADMIN, refuse, True, refuse),
        Verb("say", "", Level.ADMIN, lambda *_: Refused("no, and no").answer, True),
        Verb("wait", "", Level.ADMIN, lambda *_: later, True),
    ])  # fmt: skip
    audit = Written()
    commands = Commands(None, verbs, audit)
    commands.ask(["do"], Caller("uid 7 pid 1", Level.USER))
    commands.ask(["do"], Caller("uid 0 pid 1"))
    commands.ask(["say"], Caller("uid 0 pid 1"))
    commands.ask(["wait"], Caller("uid 0 pid 1")).cancel()
    assert audit.changes == [
        Change("uid 7 pid 1", ["do"], "the level is user", False),
        Change("uid 0 pid 1", ["do"], "not today", False),
        Change("uid 0 pid 1", ["say"], "no, and no", False),
        Change("uid 0 pid 1", ["wait"], "CancelledError", False),
    ]


def test_answersAsOneLineOfJSON():
    assert Answer("a\nb\n").asJSON == '{"severity":"output","text":"a\\nb"}\n'
    assert Answer("a\n", [1]).asJSON == '{"severity":"output","value":[1]}\n'
    assert Answer("a\n", lambda: [1]).asJSON == Answer("a\n", [1]).asJSON
    assert Answer("a\n", 0, Severity.INFO).asJSON == '{"severity":"info","value":0,"text":"a"}\n'
