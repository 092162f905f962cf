"""
All verbs, and the commands of a balancer that are made of them.
"""

from __future__ import annotations

from lbtwist.admin import awaiting, changing, listing, showing, talking
from lbtwist.admin.verbs import Commands, Verb, Verbs
from lbtwist.service import LoadBalancer

ALL: tuple[Verb, ...] = (
    *showing.VERBS, *listing.VERBS, *changing.VERBS, *awaiting.VERBS, *talking.VERBS,
)  # fmt: skip


def commandsFor(balancer: LoadBalancer, *more: Verb) -> Commands:
    """@param more: verbs besides; they replace those of the same words."""
    return Commands(balancer, Verbs((*ALL, *more)))
