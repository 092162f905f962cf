"""
The verbs that are about the conversation itself: C{help}, C{prompt}, C{quit}, the level, how
answers look. They change nothing but the one who asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from lbtwist.admin.finding import parsed
from lbtwist.admin.verbs import DONE, Answer, Asked, Level, Refused, Verb
from lbtwist.options import Time

PROMPT = "> "
LONGEST_PATIENCE = 3600.0


def showHelp(asked: Asked, words: Sequence[str]) -> Answer:
    """C{help [<words>]}: the verbs that may be used, or those that begin with words."""
    found = [
        verb
        for verb in asked.verbs
        if verb.level <= asked.caller.level and verb.words[: len(words)] == tuple(words)
    ]
    lines = [f"  {verb.usage:<39} : {verb.meaning}" for verb in found]
    values = [
        {"usage": verb.usage, "meaning": verb.meaning, "level": verb.level.word} for verb in found
    ]
    text = "\n".join(["The following commands are valid at this level:", *lines, ""])
    return Answer(text, values)


def prompt(asked: Asked, words: Sequence[str]) -> Answer:
    """C{prompt [n|i|p]}: no more commands, several of them, several with a prompt."""
    caller = asked.caller
    mode = words[0] if words else "n" if caller.prompt else "p"
    if mode not in ("n", "i", "p"):
        raise Refused("Unknown mode: write n, i or p.")
    caller.stays = mode != "n"
    caller.prompt = PROMPT if mode == "p" else ""
    return DONE


def leave(asked: Asked, words: Sequence[str]) -> Answer:
    asked.caller.gone = True
    return DONE


def user(asked: Asked, words: Sequence[str]) -> Answer:
    asked.caller.level = Level.USER
    return DONE


def operator(asked: Asked, words: Sequence[str]) -> Answer:
    asked.caller.level = min(asked.caller.level, Level.OPERATOR)
    return DONE


def showLevel(asked: Asked, words: Sequence[str]) -> Answer:
    word = asked.caller.level.word
    return Answer(f"{word}\n", word)


def setTimeout(asked: Asked, words: Sequence[str]) -> Answer:
    """C{set timeout cli <time>}: HAProxy's seconds; with a unit whatever that says."""
    text = words[0] if words else ""
    seconds = parsed(Time(), f"{text}s" if text.isdecimal() else text)
    if not 0 < seconds <= LONGEST_PATIENCE:
        raise Refused("A time from 1s to 1h is accepted.")
    asked.caller.patience = seconds
    return DONE


def setSeverities(asked: Asked, words: Sequence[str]) -> Answer:
    if not words or words[0] not in ("none", "number", "string"):
        raise Refused("one of 'none', 'number', 'string' is a required argument")
    asked.caller.severities = words[0]
    return DONE


def setOutput(asked: Asked, words: Sequence[str]) -> Answer:
    """C{set output text|json}: which is ours; HAProxy has JSON of some answers only."""
    if not words or words[0] not in ("text", "json"):
        raise Refused("'set output' expects 'text' or 'json'.")
    asked.caller.json = words[0] == "json"
    return DONE


VERBS = (
    Verb("help [<words>]", "the verbs there are, or those that begin so", Level.USER, showHelp),
    Verb("prompt [n|i|p]", "several commands, one after the other", Level.USER, prompt),
    Verb("quit", "end the conversation", Level.USER, leave),
    Verb("user", "have level user from now on", Level.USER, user),
    Verb("operator", "have level operator from now on", Level.OPERATOR, operator),
    Verb("show cli level", "the level of this conversation", Level.USER, showLevel),
    Verb("set timeout cli <time>", "wait so long for the next command", Level.USER, setTimeout),
    Verb(
        "set severity-output none|number|string", "say how each answer is meant", Level.USER,
        setSeverities,
    ),
    Verb("set output text|json", "have each answer be one line of JSON", Level.USER, setOutput),
)  # fmt: skip
