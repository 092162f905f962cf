"""A whole balancer whose servers follow others, and whose checks are several in one."""

from spoken import GET, OK

from lbtwist.testing import Balancer

CONFIG = """
[frontend www]
bind = ${{bind}}
pool = web
log = off
[pool app]
check = {check} interval=1s rise=1 fall=1 jitter=0
server a = ${{a}}
[pool web]
server c = ${{c}} track=app/a
{more}
"""


def started(check="tcp", more=""):
    return Balancer(CONFIG.format(check=check, more=more), *"acd")


def answers(balancer, name):
    client = balancer.client()
    client.sends(GET)
    server = balancer.server(name).accepts()
    server.receives(rb"GET .*")
    server.sends(OK)
    client.receivesExactly(OK)


def refuses(balancer):
    client = balancer.client()
    client.sends(GET)
    client.receives(rb"HTTP/1.1 503 .*")


def test_downAndUp():
    """Though nothing is wrong with the server itself, and nobody asks it."""
    with started() as balancer:
        answers(balancer, "c")
        balancer.server("a").goesAway()
        balancer.advance(1.1)
        refuses(balancer)
        balancer.server("c").acceptsNothing()
        balancer.server("a").comesBack()
        balancer.advance(1.1)
        answers(balancer, "c")


def test_serversOfASource(tmp_path):
    """Those that it names follow, whether they were there before or come when all is down."""
    path = tmp_path / "servers"
    path.write_text("")
    more = f"servers x = file:{path} track=c interval=1s allow-empty"
    with started(more=more) as balancer:
        web = balancer.running.pool("web")
        balancer.server("a").goesAway()
        balancer.advance(2.1)
        path.write_text(f"unix:{balancer.server('d').path} name=d\n")
        balancer.advance(2.1)
        assert [server.name for server in web.servers] == ["c", "x-d"] and web.usable == ()
        balancer.server("a").comesBack()
        balancer.advance(1.1)
        assert [server.name for server in web.usable] == ["c", "x-d"]
        path.write_text("")
        balancer.advance(2.1)
        balancer.server("a").goesAway()
        balancer.advance(1.1)
        assert web.usable == ()


def test_severalChecks():
    """One part of it at the server, one at another port, which a UNIX socket has not."""
    with started("tcp and (http GET /health or tcp:9000)") as balancer:
        [app] = balancer.running.pool("app").servers
        balancer.server("a").goesAway()
        balancer.advance(1.1)
        result = app.health.results[-1]
        assert (result.passed, result.status) == (False, "L4CON")
        assert result.detail == "part 1, tcp: no such file or directory"
        balancer.server("a").comesBack()
        balancer.advance(1.1)
        assert app.health.results[-1].passed
        assert app.health.results[-1].detail.startswith("part 1, tcp; part 3, tcp:9000")
        answers(balancer, "c")
