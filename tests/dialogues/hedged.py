"""
What the dialogues have in common in which a second server is asked the same.
"""

import json

from resent import counts
from spoken import GET, asks, www

SOON = "hedge-after = 200ms"
ASKED = "app/a: no response in 0.2s, b was asked too"


def hedging(*servers, pool=SOON, **options):
    """@return: a balancer whose pool asks its servers in the order in which they are written."""
    return www(*(servers or ("a", "b")), pool=f"balance = first\n{pool}", log="json", **options)


def both(balancer, asked=GET, seen=rb"GET .*"):
    """@return: a client that waits, and the two servers that its request was sent to."""
    client, a = asks(balancer, asked)
    balancer.advance(0.3)
    b = balancer.server("b").accepts()
    b.receives(seen)
    assert counts(balancer)[:3] == [2, 1, 1]
    return client, a, b


def logged(balancer):
    """@return: what the only line of the log says of the attempts."""
    [line] = map(json.loads, balancer.lines)
    return line["server"], line["status"], line["retries"], line["reason"]


def traffic(balancer):
    found = balancer.running.pool("app").traffic
    return found.exchanges, found.hedges, found.hedgesWon
