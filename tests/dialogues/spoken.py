"""
What the dialogues have in common: configurations, and how most of them begin.
"""

import json

from lbtwist.testing import Balancer

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
TOLD = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n"
"""What a server is told of the client."""


def www(*servers, frontend="", pool="", settings="", mode="http", log="auto", registry=None):
    """
    Make a balancer with one frontend C{www} and one pool C{app}.

    @param servers: the server's name and options; by default there is one, C{a}.
    @param frontend: more lines for the frontend; C{pool} and C{settings} likewise.
    @param registry: the parts there are; those that are installed by default.
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
        registry=registry,
    )


def toldOf(balancer, command):
    """@return: what an administrator is told who gives a command, as programs are."""
    _, line = balancer.asks(f"set output json; {command}").split("\n\n")
    return json.loads(line)


def ruled(*request, response=(), frontend="", app="", chat="", more="", log="auto", registry=None):
    """
    Make a balancer with a frontend C{www}, whose pool is C{app} with the servers C{a} and
    C{b}; the pool C{chat} with C{c} and C{d} is there for rules.

    @param request: the frontend's rules for requests; C{response} those for responses.
    @param frontend: more lines for it; C{app} and C{chat} likewise for the pools.
    @param more: further sections.
    @param registry: the parts there are; those that are installed by default.
    """
    lists = []
    for stage, rules in (("request", request), ("response", response)):
        if rules:
            lists.append("\n    ".join([f"{stage} =", *rules]))
    return Balancer(
        "\n".join([
            "[frontend www]", "bind = ${bind}", "pool = app", f"log = ${{log}} format={log}",
            *lists, frontend,
            "[pool app]", "server a = ${a}", "server b = ${b}", app,
            "[pool chat]", "server c = ${c}", "server d = ${d}", chat,
            more,
        ]),
        *"abcd",
        registry=registry,
    )  # fmt: skip


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


def request(path="/", *fields, version="1.1", method="GET", body=b""):
    """@return: the bytes of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: h", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def serves(balancer, name, client, asked=GET, seen=rb"GET / .*"):
    """A request of a client goes to this server, which answers it."""
    client.sends(asked)
    server = balancer.server(name).accepts()
    server.receives(seen)
    server.sends(OK)
    client.receivesExactly(OK)
    return server


def letters(balancer):
    """@return: of each line of the log: pool and server, the status, and the four letters."""
    return [
        (line.split()[1], int(line.split()[3]), line.split()[7]) for line in balancer.endings
    ]
