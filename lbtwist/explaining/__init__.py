"""
Why a request goes where it goes: rehearsed without a network, or seen as it happens.

What is told here is found out by the rules and balancers themselves, and nothing is
decided here.
"""

from lbtwist.explaining.asked import Asked, asking
from lbtwist.explaining.explanation import Action, Explanation
from lbtwist.explaining.rehearsed import assumeUp, explain

__all__ = ["Action", "Asked", "Explanation", "asking", "assumeUp", "explain"]
