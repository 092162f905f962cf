"""
Rules through the whole balancer: which servers are asked, and in which order rules are. For
what the client gets instead see C{test_rules_answers}.
"""

import re

import pytest
from spoken import GET, OK, TOLD, letters, request, ruled, serves

HELD = 'answer 204 if path == "/held"'

# which servers


@pytest.mark.parametrize(
    ("path", "server"), [("/", "a"), ("/chat/x", "c"), ("/computed", "c"), ("/nowhere", "a")]
)
def test_pool(path, server):
    """What is computed and is no pool leaves the frontend's own."""
    with ruled(
        'pool chat   if path.startswith("/chat/")',
        'pool {"ch" + "at"} if path == "/computed"',
        'pool {query["p"]} if path == "/nowhere"',
    ) as balancer:
        serves(balancer, server, balancer.client(), request(path + "?p=none"), rb"GET .*")


def test_theNextRequestIsDecidedAnew():
    with ruled('pool chat if path == "/chat"') as balancer:
        client = balancer.client()
        serves(balancer, "a", client)
        serves(balancer, "c", client, request("/chat"), rb"GET /chat .*")
        serves(balancer, "b", client)
        assert [end[0] for end in letters(balancer)] == ["app/a", "chat/c", "app/b"]


def test_server():
    """As long as it is usable; then the pool chooses, as it does where there is none."""
    with ruled('server {query["s"]} if path == "/at"') as balancer:
        client = balancer.client()
        b = serves(balancer, "b", client, request("/at?s=b"), rb"GET /at.*")
        for _ in range(2):
            client.sends(request("/at?s=b"))
            b.receives(rb"GET /at.*")
            b.sends(OK)
            client.receivesExactly(OK)
        serves(balancer, "a", client, request("/at?s=none"), rb"GET /at.*")
        b.closes()
        balancer.server("b").goesAway()
        client.sends(request("/at?s=b"))
        assert letters(balancer)[-1][0] == "app/a"


def test_serversOfBalancersThatObserve():
    """
    A pool that only rules choose learns of its exchanges, and of none that has not been
    on a server of it.
    """
    chat = "balance = peak-ewma\nrequest = deny if path == '/chat/denied'"
    with ruled('pool chat if path.startswith("/chat")', HELD, chat=chat) as balancer:
        client = balancer.client()
        client.sends(request("/held"))
        client.receives(rb"HTTP/1.1 204 .*")
        first, second = _slowAndQuick(balancer, client)
        for _ in range(10):
            client.sends(request("/chat"))
            second.receives(rb"GET /chat .*")
            second.sends(OK)
            client.receivesExactly(OK)
        client.sends(request("/chat/denied"))
        client.receives(rb"HTTP/1.1 403 .*")


def _slowAndQuick(balancer, client):
    """@return: two servers of C{chat}, of which the first has answered after a second."""
    client.sends(request("/chat"))
    slow = next(name for name in "cd" if balancer.server(name).connected)
    first = balancer.server(slow).accepts()
    first.receives(rb"GET /chat .*")
    balancer.advance(1)
    first.sends(OK)
    client.receivesExactly(OK)
    client.sends(request("/chat"))
    second = balancer.server("d" if slow == "c" else "c").accepts()
    second.receives(rb"GET /chat .*")
    balancer.advance(0.01)
    second.sends(OK)
    client.receivesExactly(OK)
    return first, second


def test_theOnlyPoolObservesWhatIsAnsweredWithoutIt():
    with ruled(HELD, "deny if path == '/denied'", app="balance = peak-ewma") as balancer:
        client = balancer.client()
        client.sends(request("/held"))
        client.receives(rb"HTTP/1.1 204 .*")
        client.sends(request("/denied"))
        client.receives(rb"HTTP/1.1 403 .*")


def test_leastconnOfAPoolThatRulesChoose():
    with ruled("pool chat", chat="balance = leastconn") as balancer:
        clients = [balancer.client() for _ in range(2)]
        for client in clients:
            client.sends(GET)
        for name in "cd":
            balancer.server(name).accepts().receives(rb"GET / .*")


# the order


def test_frontendThenPool():
    """
    Requests: the frontend's rules, then those of the pool that they have chosen. Responses:
    the other way.
    """
    with ruled(
        "add-header X-Order frontend",
        "pool chat",
        response=["add-header X-Order frontend"],
        app="request = deny\nresponse = set-header X-Order wrong",
        chat="request = add-header X-Order pool\nresponse = add-header X-Order pool",
    ) as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("c").accepts()
        server.receivesExactly(
            b"GET / HTTP/1.1\r\nHost: h\r\nX-Order: frontend\r\nX-Order: pool\r\n%b\r\n" % TOLD
        )
        server.sends(OK)
        head = client.receives(rb"(.*)\r\n\r\nhi")[1]
        assert head.endswith(b"X-Order: pool\r\nX-Order: frontend")


def test_aPoolSendsOnToAnother():
    """Whose request rules are not asked any more: there is no way in a circle."""
    with ruled(
        app="request = pool chat\nresponse = set-header X-Order wrong",
        chat="request = pool app\nresponse = set-header X-Order chat",
    ) as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("c").accepts()
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receives(rb".*\r\nX-Order: chat\r\n\r\nhi")


def test_allow():
    """No further rule of the list; those of the pool are another list."""
    with ruled(
        'allow if path == "/allowed"',
        "deny",
        response=["allow if status == 200", "set-header X-Rest yes"],
        app="request = add-header X-Pool yes\nresponse =\n    allow\n    set-header X-Rest yes",
    ) as balancer:
        client = balancer.client()
        serves(balancer, "a", client, request("/allowed"), rb"GET .*\r\nX-Pool: yes\r\n.*")
        client.sends(GET)
        client.receives(rb"HTTP/1.1 403 .*")


@pytest.mark.parametrize(
    ("where", "order"),
    [("before", [b"shared", b"own", b"pools"]), ("after", [b"own", b"shared", b"pools"])],
)
def test_sectionsOfRules(where, order):
    own, shared = "request = add-header X-Order own", "rules = shared"
    lines = [shared, own] if where == "before" else [own, shared]
    with ruled(
        frontend="\n".join(lines),
        more="[rules shared]\nrequest = add-header X-Order shared\n"
        "response = set-header X-Shared yes\n"
        "[rules pools]\nrequest = add-header X-Order pools",
        app="rules = pools",
    ) as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        head = server.receives(rb"(.*)")[1]
        assert re.findall(rb"X-Order: (\w+)", head) == order
        server.sends(OK)
        client.receives(rb".*\r\nX-Shared: yes\r\n\r\nhi")


@pytest.mark.parametrize(
    ("source", "path", "status"),
    [
        ("203.0.113.9", "/admin", 403),
        ("203.0.113.9", "//%61dmin/x", 403),
        ("203.0.113.9", "/", 200),
        ("10.1.2.3", "/admin", 200),
        ("192.168.0.7", "/admin", 200),
    ],
)
def test_namedConditions(source, path, status):
    """Several lines of one name are or; a name may be part of another."""
    with ruled(
        "deny if forbidden",
        more="[conditions]\n"
        'inside = src in net("10.0.0.0/8")\n'
        'inside = src in net("192.168.0.0/16")\n'
        'forbidden = path.normal.startswith("/admin") and not inside',
    ) as balancer:
        client = balancer.client(source)
        if status == 403:
            client.sends(request(path))
            client.receives(rb"HTTP/1.1 403 .*")
        else:
            serves(balancer, "a", client, request(path), rb"GET .*")
