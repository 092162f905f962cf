"""
What the dialogues have in common in which a request is sent again.
"""

import json

from spoken import www

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
ALL = "retry-on = all-retryable-errors"


def again(*servers, pool=ALL, **options):
    """@return: a balancer whose pool asks its servers in the order in which they are written."""
    return www(*(servers or ("a", "b")), pool=f"balance = first\n{pool}", **options)


def counts(balancer):
    """@return: the slots that are held: of the pool, and of each server."""
    pool = balancer.running.pool("app")
    return [pool.active, *(server.active for server in pool.servers)]


def logged(balancer):
    """@return: what the last line of the log, which is JSON, says of the attempts."""
    line = json.loads(balancer.lines[-1])
    return line["server"], line["status"], line["retries"], line["redispatched"], line["reason"]
