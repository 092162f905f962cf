"""
What the dialogues have in common: configurations, and how most of them begin.
"""

from lbtwist.testing import Balancer

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
TOLD = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n"
"""What a server is told of the client."""


def www(*servers, frontend="", pool="", settings="", mode="http", log="auto"):
    """
    Make a balancer with one frontend C{www} and one pool C{app}.

    @param servers: the server's name and options; by default there is one, C{a}.
    @param frontend: more lines for the frontend; C{pool} and C{settings} likewise.
    """
    lines = []
    names = []
    for server in servers or ("a",):
        name, _, options = server.partition(" ")
        names.append(name)
        lines.append(f"server {name} = ${{{name}}} {options}\n")
    return Balancer(
        f"""
[global]
{settings}
[frontend www]
bind = ${{bind}}
mode = {mode}
pool = app
log = ${{log}} format={log}
{frontend}
[pool app]
{pool}
""" + "".join(lines),
        *names,
    )


def asks(balancer, request=GET, server="a"):
    """
    A client sends a request, and a server that was not connected gets it.

    @return: both.
    """
    client = balancer.client()
    client.sends(request)
    peer = balancer.server(server).accepts()
    peer.receives(rb"[A-Z]+ .*")
    return client, peer


def answered(balancer, server="a"):
    """
    A client that has had an answer and keeps its connection, and the server of
    which the same holds.

    @return: both.
    """
    client, peer = asks(balancer, server=server)
    peer.sends(OK)
    client.receivesExactly(OK)
    return client, peer
