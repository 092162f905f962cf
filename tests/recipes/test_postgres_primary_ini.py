"""
C{etc/postgres-primary.ini}: two real PostgreSQL servers, one of which replicates the other;
the first dies, and the other takes its place.
"""

import pytest
from loopback.running import run, until
from loopback.serving import PostgreSQL
from recipe import started

from programs import freePort

pytestmark = pytest.mark.needs("postgres", "pg_basebackup", "psql")


@pytest.fixture
def databases():
    with PostgreSQL() as one, PostgreSQL(of=one) as two:
        yield one, two


@pytest.fixture
def balancer(tmp_path, databases):
    one, two = databases
    write, read = freePort(), freePort()
    replaced = {
        "bind = :5432": f"bind = 127.0.0.1:{write}", "bind = :5433": f"bind = 127.0.0.1:{read}",
        "127.0.0.1:15432": f"127.0.0.1:{one.port}", "127.0.0.1:15433": f"127.0.0.1:{two.port}",
        "user=lbcheck": "user=modern", "${LBCHECK_PASSWORD:-changeme}": "secret",
    }  # fmt: skip
    balancer = started("postgres-primary.ini", tmp_path, replaced)
    balancer.write, balancer.read = write, read
    with balancer:
        yield balancer


def says(port, statement):
    """@return: what a database answers, C{""} if nothing does."""
    done = run(
        "psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", port, "-U", "trusted", "-d", "postgres",
        "-c", statement,
    )  # fmt: skip
    return done.stdout.strip()


PORT = "select current_setting('port')"


def test_rolesAndAFailover(balancer, databases):
    one, two = databases
    until(lambda: says(balancer.write, PORT) == str(one.port))
    until(lambda: says(balancer.read, PORT) == str(two.port))
    assert says(balancer.write, "select pg_is_in_recovery()") == "f"
    assert says(balancer.read, "select pg_is_in_recovery()") == "t"

    one.kill()
    until(lambda: "Server db/one is DOWN" in balancer.events)
    assert says(balancer.write, PORT) == "", "there is no primary"
    assert says(balancer.read, PORT) == str(two.port)
    assert "no usable server has the role" not in balancer.events

    two.once("psql", "-X", "-h", two.directory, "-p", two.port, "-U", "postgres", "-c",
             "select pg_promote()")  # fmt: skip
    until(lambda: says(balancer.write, PORT) == str(two.port))
    assert says(balancer.read, PORT) == str(two.port), "nobody else is left to read from"
