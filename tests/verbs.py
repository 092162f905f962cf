"""
Verbs made of lines as they stand in a file: what the tests of verbs have in common.
"""

from types import SimpleNamespace
from unittest import TestCase

from lbtwist.config import fill
from lbtwist.config.ini import readText
from lbtwist.config.rules import readRules
from lbtwist.registry import Context, installed
from lbtwist.rules.expression import Scope
from lbtwist.rules.rulebook import ASKED
from lbtwist.rules.values import Stage
from lbtwist.testing import VerbContract, fakeExchange

REGISTRY = installed()
POOLS = {"app": SimpleNamespace(), "chat": SimpleNamespace()}
CONNECTION, REQUEST, RESPONSE = Stage.CONNECTION, Stage.REQUEST, Stage.RESPONSE


def verb(line, stage=REQUEST, file="/etc/lb.ini"):
    """
    @return: the verb of a line.
    @raise ValueError: for what is wrong with it.
    """
    document = readText(f"[frontend www]\n{stage.value} =\n    {line}\n", file, {})
    assert document.problems == []
    problems = []
    [option] = document.sections[0].options
    found = readRules(stage, option, fill.Scope("", problems), REGISTRY)
    if problems:
        raise ValueError(problems[0].message.strip())
    part = found[0].line.verb
    scope = Scope(stage, pool=POOLS.__getitem__)
    return REGISTRY.find(ASKED[stage][0], part.name).make(part.options, Context(scope=scope))


def asked(line, exchange=None, stage=REQUEST):
    """@return: what the verb of a line decides for an exchange."""
    method = ASKED[stage][1]
    return getattr(verb(line, stage), method)(exchange or fakeExchange())


def contractOf(line, stage=REQUEST):
    """@return: a test case: the public contract for the verb of a line."""

    def makeVerb(self):
        return verb(line, stage)

    space = {"makeVerb": makeVerb, "made": (ASKED[stage][0],)}
    return type(line.split()[0], (VerbContract, TestCase), space)
