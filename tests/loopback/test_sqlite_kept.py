"""C{persist-store = sqlite}: clients come back to their servers over a restart."""

import shutil
import signal
import sqlite3
import stat

import pytest
from loopback import wire
from loopback.running import Balancer, Nginx, until

from programs import freePort

pytestmark = pytest.mark.needs("nginx")

SITE = """\
    [global]
    log = file:access.log
    [frontend www]
    bind = 127.0.0.1:{port}
    pool = app
    [pool app]
    balance = roundrobin
    http-reuse = never
    persist = header X-User
    persist-store = sqlite clients.db
    server a = 127.0.0.1:{a}
    server b = 127.0.0.1:{b}
    server c = 127.0.0.1:{c}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    a, b, c = (Nginx(tmp_path_factory.mktemp(name), name) for name in "abc")
    with a, b, c:
        yield {"a": a.port, "b": b.port, "c": c.port}


@pytest.fixture
def start(tmp_path, servers):
    """A function that gives a balancer that is not started yet; all have one file."""

    def make():
        port = freePort()
        balancer = Balancer(tmp_path, SITE.format(port=port, **servers))
        balancer.port = port
        return balancer

    return make


def served(balancer, user):
    with wire.connect(balancer.port) as client:
        client.sendall(f"GET /name HTTP/1.1\r\nHost: h\r\nX-User: {user}\r\n\r\n".encode())
        return wire.readResponse(client)[1]


USERS = range(20)


def test_overARestart(start, tmp_path):
    with start() as balancer:
        before = {user: served(balancer, user) for user in USERS}
        assert len(set(before.values())) == 3
        # As many more as it takes for the balancer to go on elsewhere.
        served(balancer, "another")
    assert stat.S_IMODE((tmp_path / "clients.db").stat().st_mode) == 0o600
    (tmp_path / "lbtwist.out").unlink()
    with start() as balancer:
        assert {user: served(balancer, user) for user in USERS} == before


def rows(directory):
    """@return: how many are on the disk, as it would be found after a crash."""
    copy = directory / "copy"
    copy.mkdir(exist_ok=True)
    for name in ("clients.db", "clients.db-wal"):
        shutil.copy(directory / name, copy / name)
    database = sqlite3.connect(copy / "clients.db")
    try:
        return database.execute("SELECT count(*) FROM clients").fetchone()[0]
    except sqlite3.DatabaseError:
        # It was being written.
        return 0
    finally:
        database.close()
        shutil.rmtree(copy)


def test_killed(start, tmp_path):
    """What is a second old or two is there."""
    balancer = start()
    with balancer:
        before = {user: served(balancer, user) for user in USERS}
        until(lambda: rows(tmp_path) == len(USERS))
        balancer.process.send_signal(signal.SIGKILL)
        balancer.process.wait(15)
    (tmp_path / "lbtwist.out").unlink()
    with start() as balancer:
        found = {user: served(balancer, user) for user in USERS}
        same = sum(found[user] == before[user] for user in USERS)
    assert same == len(USERS)


def test_twoOfOneFile(start, tmp_path, servers):
    """The second says who has it and what to do, and the first goes on."""
    with start() as first:
        text = SITE.format(port=freePort(), **servers)
        second = Balancer(tmp_path / "second", text.replace("clients.db", "../clients.db"))
        assert second.process.wait(20) == 1
        said = second.out + second.err
        assert "clients.db: somebody else has it" in said
        assert "persist-store = redis" in said
        assert "Traceback" not in said
        assert served(first, 1)


def test_aDamagedFile(start, tmp_path):
    (tmp_path / "clients.db").write_bytes(b"this is no database" * 100)
    balancer = start()
    assert balancer.process.wait(20) == 1
    said = balancer.out + balancer.err
    assert f"{tmp_path}/clients.db: file is not a database: take it away" in said
    assert "Traceback" not in said


def test_anotherThatCannotBeOpened(start, tmp_path):
    """The process ends, and the file that it had opened is free again."""
    balancer = Balancer(tmp_path / "wrong", SITE.format(port=freePort(), a=1, b=2, c=3) + """\
    [pool other]
    persist = source
    persist-store = sqlite /no/such/place.db
    server a = 127.0.0.1:1
""")  # fmt: skip
    assert balancer.process.wait(20) == 1
    assert "cannot start: /no/such/place.db: No such file" in balancer.out + balancer.err
