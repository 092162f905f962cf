"""
The built-in balancers: how a server is chosen when persistence has no answer.

Each is named by a word after C{balance =} and keeps L{lbtwist.interfaces.IBalancer}:
it is given servers that may be used, and returns one of them. What is derived of a
tuple of servers is kept by the tuple's identity, so a choice costs no more than the
choosing; where a weight changes the servers must come in a new tuple.
"""

from lbtwist.balance.hashed import FieldHash, RDPCookieHash, SourceHash, URIHash
from lbtwist.balance.loaded import LeastConn, PeakEWMA, Random
from lbtwist.balance.scheduled import First, RoundRobin

__all__ = [
    "FieldHash",
    "First",
    "LeastConn",
    "PeakEWMA",
    "RDPCookieHash",
    "Random",
    "RoundRobin",
    "SourceHash",
    "URIHash",
]
