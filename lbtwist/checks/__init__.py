"""
The built-in health checks. One to a module; those that speak a protocol of their own are
written as a talk (L{lbtwist.checks.talk}), which a third party's can be, too.

A check probes once and says what it found in HAProxy's words. When it is run, for how
long, and what its results mean for a server is L{lbtwist.monitor}'s.
"""

from lbtwist.checks.http import MAX_BODY, MAX_INFORMATIONAL, HTTPCheck
from lbtwist.checks.probe import CheckCancelled, resultOf
from lbtwist.checks.talk import Exactly, Line, Talk, TalkCheck, Unfit
from lbtwist.checks.tcp import TCPCheck

__all__ = [
    "MAX_BODY",
    "MAX_INFORMATIONAL",
    "CheckCancelled",
    "Exactly",
    "HTTPCheck",
    "Line",
    "TCPCheck",
    "Talk",
    "TalkCheck",
    "Unfit",
    "resultOf",
]
