"""
What Python's collector of garbage is told in a process that is a balancer and nothing else. Not
where a program embeds one: there it is the program's.
"""

from __future__ import annotations

import gc


def collectRarely() -> None:
    """All is made that stays; from now on the collector looks at what comes, and not often."""
    # What exists now need not be looked at again. What comes and goes with a request has no
    # circles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
