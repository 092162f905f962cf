"""
For tests of rules, parts and whole configurations: public, as third parties need it.

L{BalancerContract} and its kin say what a part must do; L{Balancer} is a whole
balancer in memory, to hold conversations with; L{inPieces} cuts what a reader reads.
"""

from lbtwist.testing.contracts import (
    BalancerContract,
    LoadAwareContract,
    VerbContract,
    fakeExchange,
    fakeResponse,
    makeServers,
)
from lbtwist.testing.memory import Balancer, inPieces
from lbtwist.testing.network import MemoryServer, Peer, Pump
from lbtwist.testing.persistence import PersistenceContract, ReturningClient, TryingStore
from lbtwist.testing.stores import StoreContract

__all__ = [
    "Balancer",
    "BalancerContract",
    "LoadAwareContract",
    "MemoryServer",
    "Peer",
    "PersistenceContract",
    "Pump",
    "ReturningClient",
    "TryingStore",
    "StoreContract",
    "VerbContract",
    "fakeExchange",
    "fakeResponse",
    "inPieces",
    "makeServers",
]
