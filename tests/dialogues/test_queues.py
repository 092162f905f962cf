"""
Who waits for a server and who is served next, as clients see it: tenants, priorities, limits of
servers and of a pool, and what the log says of the wait.
"""

from spoken import OK, ruled, www

FAIR = 'queue = fair(header["x-tenant"]) weight=gold:2\nhttp-reuse = always\n'


def request(path, fields):
    lines = [f"GET {path} HTTP/1.1", "Host: h"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def send(balancer, *paths, **fields):
    """@return: a client for each path, which has sent a request for it."""
    clients = []
    for path in paths:
        client = balancer.client()
        client.sends(request(path, fields))
        clients.append(client)
    return clients


def answers(server, number):
    """Let a server answer so many requests on one connection. @return: their paths."""
    paths = []
    for _ in range(number):
        paths.append(server.receives(rb"GET (\S+) HTTP/1\.1\r\n.*\r\n\r\n")[1].decode())
        server.sends(OK)
    return paths


def test_tenantsAreServedByTheirWeights():
    """Two of gold for each of the others, however many of those wait."""
    with www("a maxconn=1", pool=FAIR) as balancer:
        send(balancer, "/first")
        server = balancer.server("a").accepts()
        send(balancer, "/c1", "/c2", "/c3", "/c4", "/c5", x_tenant="crowd")
        send(balancer, "/g1", "/g2", "/g3", x_tenant="gold")
        send(balancer, "/n1")
        order = answers(server, 10)[1:]
        assert sorted(order[:4]) == ["/c1", "/g1", "/g2", "/n1"]
        assert order[-3:] == ["/c3", "/c4", "/c5"]


def test_tooManyOfOneTenant():
    with www("a maxconn=1", pool=f"{FAIR}maxqueue-per-key = 1") as balancer:
        send(balancer, "/first")
        server = balancer.server("a").accepts()
        waits, refused = send(balancer, "/c1", "/c2", x_tenant="crowd")
        refused.receives(rb"HTTP/1.1 503 .*")
        [other] = send(balancer, "/o", x_tenant="other")
        assert sorted(answers(server, 3)) == ["/c1", "/first", "/o"]
        waits.receivesExactly(OK)
        other.receivesExactly(OK)
        [line] = [line for line in balancer.endings if "/c2" in line]
        assert line.split()[7] == "SQ--"


def test_tenantsOfSessions():
    """In C{mode = tcp} a tenant is known by what the connection says."""
    with www("a maxconn=1", pool="queue = fair(src)\nmode = tcp", mode="tcp") as balancer:
        clients = {}
        for word in (b"first", b"c1", b"c2", b"c3", b"single"):
            clients[word] = balancer.client("203.0.113.2" if word == b"single" else "203.0.113.1")
            clients[word].sends(word)
        order = []
        for _ in range(5):
            server = balancer.server("a").accepts()
            order.append(server.receives(rb".*")[0])
            server.socket.close()
            clients[order[-1]].socket.close()
            balancer.pump.turn()
        assert order[0] == b"first"
        assert order[1:] in ([b"c1", b"single", b"c2", b"c3"], [b"single", b"c1", b"c2", b"c3"])


def test_prioritiesByRules():
    with ruled(
        'priority -1 if path == "/urgent"', 'priority 1 offset=500ms if path == "/bulk"',
        app="http-reuse = always",
    ) as balancer:  # fmt: skip
        app = balancer.running.pool("app")
        for server in app.servers:
            server.capacity.maxconn = 1
            server.adapt()
        app.serversChanged()
        send(balancer, "/one", "/two")
        a = balancer.server("a").accepts()
        balancer.server("b").accepts()
        send(balancer, "/bulk", "/usual", "/urgent")
        assert answers(a, 4) == ["/one", "/urgent", "/usual", "/bulk"]


def test_priorityOfAConnection():
    """It holds for every request of it."""
    frontend = "connection = priority -5 if src == '203.0.113.1'"
    with www("a maxconn=1", pool="http-reuse = always", frontend=frontend) as balancer:
        send(balancer, "/first")
        server = balancer.server("a").accepts()
        send(balancer, "/usual")
        urgent = balancer.client("203.0.113.1")
        urgent.sends(request("/urgent", {}))
        assert answers(server, 2) == ["/first", "/urgent"]
        urgent.receivesExactly(OK)
        urgent.sends(request("/again", {}))
        send(balancer, "/usual too")
        assert answers(server, 2)[1] == "/again"


def test_thePoolsLimit():
    """Two at once, though each server could take what comes; who waits is told in the log."""
    with www("a", "b", pool="maxconn = 2\nhttp-reuse = always") as balancer:
        send(balancer, "/1", "/2")
        a, b = (balancer.server(name).accepts() for name in "ab")
        [third, fourth] = send(balancer, "/3", "/4")
        assert balancer.running.pool("app").queued == 2
        fourth.socket.close()
        assert answers(a, 2) == ["/1", "/3"]
        third.receivesExactly(OK)
        assert answers(b, 1) == ["/2"]
        queues = {line.split('"')[1].split()[1]: line.split()[9] for line in balancer.endings}
        assert queues == {"/1": "0/0", "/2": "0/0", "/3": "0/0", "/4": "0/1"}


def test_thePoolsLimitIsNotThatOfClients():
    """What C{[defaults]} says of C{maxconn} is for frontends."""
    with www("a", settings="[defaults]\nmaxconn = 1") as balancer:
        assert balancer.running.frontend("www").config.maxconn == 1
        assert balancer.running.pool("app").config.maxconn == 0


def test_limitsThatGrowWithTheLoad():
    """With little to do one at a time; with as much as C{fullconn} says four."""
    pool = "fullconn = 8\nhttp-reuse = always"
    with www("a minconn=1 maxconn=4", pool=pool) as balancer:
        app = balancer.running.pool("app")
        send(balancer, "/1", "/2", "/3")
        assert (app.active, app.queued) == (1, 2)
        send(balancer, "/4", "/5", "/6", "/7", "/8")
        assert (app.active, app.queued) == (4, 4)


def test_manyWhoAreBoundToOneServer():
    """The log tells the places in the queue of the server; who finds it full goes elsewhere."""
    servers = ("a maxconn=1 maxqueue=1", "b")
    with www(*servers, pool="persist = source\nhttp-reuse = always") as balancer:
        client = balancer.client()
        client.sends(request("/1", {}))
        a = balancer.server("a").accepts()
        send(balancer, "/2", "/3")
        app = balancer.running.pool("app")
        assert app.queued == 1
        b = balancer.server("b").accepts()
        assert answers(b, 1) == ["/3"]
        assert answers(a, 2)[0] == "/1"
        assert app.persistence.redispatched == 1
