"""
All verbs, and the commands of a balancer that are made of them.
"""

from __future__ import annotations

from lbtwist.admin import (
    adding,
    awaiting,
    blaming,
    certifying,
    changing,
    listing,
    live,
    mapping,
    planning,
    recorded,
    reloading,
    showing,
    summary,
    talking,
)
from lbtwist.admin.audit import Audit
from lbtwist.admin.verbs import Commands, Verb, Verbs
from lbtwist.service import LoadBalancer

ALL: tuple[Verb, ...] = (
    *showing.VERBS, *listing.VERBS, *changing.VERBS, *awaiting.VERBS, *talking.VERBS,
    *planning.VERBS, *recorded.VERBS, *blaming.VERBS, *live.VERBS, *summary.VERBS,
    *reloading.VERBS, *adding.VERBS, *mapping.VERBS,
    *certifying.VERBS,
)  # fmt: skip


def commandsFor(balancer: LoadBalancer, *more: Verb, audit: Audit | None = None) -> Commands:
    """
    @param more: verbs besides; they replace those of the same words.
    @param audit: see L{Commands}.
    """
    return Commands(balancer, Verbs((*ALL, *more)), audit)
