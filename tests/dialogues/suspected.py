"""
What the dialogues have in common in which the errors of real traffic count.
"""

from spoken import GET, OK
from twisted.logger import formatEvent

BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def find(balancer, name):
    return balancer.running.pool("app").find(name)


def usable(balancer):
    return "".join(one.name for one in balancer.running.pool("app").usable)


def gets(balancer, *answers, names="ab"):
    """
    One client after the other asks, and gets what its server answers.

    @param answers: bytes, for whichever server is asked.
    @return: the names of the servers that were asked.
    """
    asked = ""
    for answer in answers:
        client = balancer.client()
        client.sends(GET)
        [name] = [one for one in names if balancer.server(one).connected]
        server = balancer.server(name).accepts()
        server.receives(rb"GET / .*")
        server.sends(answer)
        client.receives(rb"HTTP/1.1 .*")
        client.closes()
        asked += name
    return asked


def fails(balancer, name, count, answer=BROKEN):
    """The next C{count} exchanges of a server fail; those of the others are good."""
    left = count
    while left:
        client = balancer.client()
        client.sends(GET)
        names = [server.name for server in balancer.running.pool("app").servers]
        [asked] = [one for one in names if balancer.server(one).connected]
        server = balancer.server(asked).accepts()
        server.receives(rb"GET / .*")
        server.sends(answer if asked == name else OK)
        client.receives(rb"HTTP/1.1 .*")
        client.closes()
        left -= asked == name


def told(events, word):
    return [text for text in map(formatEvent, events) if text and word in text]
