"""The verb C{auth basic}: who has a password, and what is asked of whom has not."""

import base64
import os
import re

import pytest
from spoken import GET, OK, www
from test_passwords import SHA1
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher

from lbtwist import authentication
from lbtwist.testing.network import Pump

CHALLENGED = (
    rb'HTTP/1\.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="(.*)", charset="UTF-8"\r\n'
    rb".*<h1>401 Unauthorized</h1>.*"
)


def get(user="alice", password="secret", path="/"):
    said = base64.b64encode(f"{user}:{password}".encode()).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {said}\r\n\r\n".encode()
    )


class Threads:
    """
    Threads that begin when a test says so.

    @ivar compared: how many passwords were.
    @ivar working: what was begun and is not done.
    """

    def __init__(self):
        self.compared = 0
        self.waits = False
        self.working = []

    def __call__(self, reactor, pool, function, *arguments):
        self.compared += 1
        if not self.waits:
            return succeed(function(*arguments))
        done = Deferred()
        self.working.append(lambda: done.callback(function(*arguments)))
        return done

    def finish(self):
        self.working.pop(0)()


@pytest.fixture
def threads(monkeypatch):
    found = Threads()
    monkeypatch.setattr(authentication, "deferToThreadPool", found)
    monkeypatch.setattr(Pump, "getThreadPool", lambda self: None, raising=False)
    return found


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"alice:{SHA1}\nbob:{SHA1}\n")
    return path


def guarded(users, options="", more=""):
    return www(frontend=f"request =\n    auth basic users={users} {options}\n{more}")


def asks(balancer, request):
    client = balancer.client()
    client.sends(request)
    return client


def passes(balancer, request):
    """@return: what the server gets."""
    client = asks(balancer, request)
    server = balancer.server("a").accepts()
    found = server.receives(rb"GET .*")[0]
    server.sends(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    client.receives(rb"HTTP/1.1 200 OK\r\n.*")
    return found


def challenges(balancer, request):
    return asks(balancer, request).receives(CHALLENGED)


def test_aGoodPassword(threads, users):
    with guarded(users) as balancer:
        assert b"\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n" in passes(balancer, get())


@pytest.mark.parametrize(
    "request_",
    [GET, get(password="Secret"), get("carol"), get("Alice"), get(""),
     GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer x\r\n\r\n")],
)  # fmt: skip
def test_noGoodPassword(threads, users, request_):
    with guarded(users) as balancer:
        assert challenges(balancer, request_)[1] == b"Restricted"
        assert balancer.running.frontend("www").inbound.traffic.refused == 1
        assert re.search(r" 401 \d+ - - PR-- ", balancer.lines[-1])
        balancer.server("a").acceptsNothing()


def test_aRealm(threads, users):
    with guarded(users, '''realm='The "inner" \\ circle' ''') as balancer:
        assert challenges(balancer, GET)[1] == rb"The \"inner\" \\ circle"


def test_thePasswordIsNotForServers(threads, users):
    with guarded(users, "strip") as balancer:
        assert b"Authorization" not in passes(balancer, get())


def test_theRulesAfterItKnowWho(threads, users):
    more = '    set-header X-User {var["auth.user"]}\n    deny if var["auth.user"] == "bob"\n'
    with guarded(users, more=more) as balancer:
        assert b"\r\nX-User: alice\r\n" in passes(balancer, get())
        asks(balancer, get("bob")).receives(rb"HTTP/1\.1 403 .*")


def test_aUserWhoIsNotThereTakesAsLong(threads, users):
    with guarded(users) as balancer:
        # Although the password is that of somebody else.
        challenges(balancer, get("carol"))
        challenges(balancer, get("carol"))
        assert threads.compared == 2


def test_noUsersAtAll(threads, users):
    users.write_text("# nobody yet\n")
    with guarded(users) as balancer:
        challenges(balancer, get())


# what is remembered


def test_aGoodPasswordIsRememberedForAWhile(threads, users):
    with guarded(users) as balancer:
        for _ in range(3):
            passes(balancer, get())
        assert threads.compared == 1
        # Of another user it is not known.
        passes(balancer, get("bob"))
        assert threads.compared == 2
        balancer.advance(authentication.REMEMBERED)
        passes(balancer, get())
        assert threads.compared == 3


def test_aWrongPasswordIsNot(threads, users):
    with guarded(users) as balancer:
        passes(balancer, get())
        for number in range(3):
            challenges(balancer, get(password="Secret"))
            assert threads.compared == 2 + number


def test_onlySoManyAreRemembered(threads, users, monkeypatch):
    monkeypatch.setattr(authentication, "MOST_REMEMBERED", 1)
    with guarded(users) as balancer:
        for user in ("alice", "bob", "alice"):
            passes(balancer, get(user))
        assert threads.compared == 3


# the file changes


@pytest.fixture
def told():
    said = []

    def observe(event):
        if event["log_level"].name == "warn":
            said.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


def test_aChangedFile(threads, users):
    """Within a second; who is no user any more is not remembered either."""
    with guarded(users) as balancer:
        passes(balancer, get())
        users.write_text(f"carol:{SHA1}\n")
        balancer.advance(1)
        challenges(balancer, get())
        passes(balancer, get("carol"))


def test_itIsLookedAtOnceInASecond(threads, users, monkeypatch):
    looks = []
    stat = os.stat
    with guarded(users) as balancer:
        passes(balancer, get())
        monkeypatch.setattr(
            authentication.os, "stat", lambda path, **more: looks.append(path) or stat(path, **more)
        )
        balancer.advance(1)
        for _ in range(5):
            passes(balancer, get())
        assert looks == [str(users)]


@pytest.mark.parametrize("change", ["gone", "wrong"])
def test_aFileThatCannotBeUsedAnyMore(threads, users, told, change):
    """Who was a user still is one; it is told of once."""
    with guarded(users) as balancer:
        if change == "gone":
            users.unlink()
        else:
            users.write_text("alice:secret\n")
        for _ in range(3):
            balancer.advance(1)
            passes(balancer, get())
        users.write_text(f"carol:{SHA1}\n")
        balancer.advance(1)
        challenges(balancer, get())
    assert len(told) == 1
    assert f"the users of {users} stay as they were: " in told[0]


# threads


def test_nothingWaitsForAThread(threads, users):
    threads.waits = True
    with guarded(users) as balancer:
        client = asks(balancer, get())
        client.receivesNothing()
        challenges(balancer, GET)
        threads.finish()
        balancer.server("a").accepts().receives(rb"GET .*")


def test_soManyAtOnce(threads, users):
    threads.waits = True
    with guarded(users) as balancer:
        clients = [asks(balancer, get(password=str(n))) for n in range(6)]
        assert len(threads.working) == authentication.AT_ONCE == 4
        for client in clients:
            threads.finish()
            client.receives(CHALLENGED)
        assert not threads.working


def test_theSamePasswordIsComparedOnce(threads, users):
    """A browser opens several connections, and says the same on each."""
    threads.waits = True
    with guarded(users) as balancer:
        others = [asks(balancer, get("carol")) for _ in range(3)]
        clients = [asks(balancer, get()) for _ in range(3)]
        while threads.working:
            threads.finish()
        for client in others:
            client.receives(CHALLENGED)
        assert threads.compared == 2
        for _ in clients:
            balancer.server("a").accepts().receives(rb"GET .*")


def test_aThreadIsNotFreeBeforeItIsDone(threads, users):
    """Whether anybody still waits for it or not."""
    threads.waits = True
    with guarded(users) as balancer:
        for n in range(4):
            asks(balancer, get(password=str(n))).resets()
        client = asks(balancer, get())
        assert threads.compared == 4
        threads.finish()
        threads.finish()
        assert threads.compared == 5
        threads.working.pop()()
        balancer.server("a").accepts().receives(rb"GET .*")
        client.receivesNothing()
        threads.finish()
        threads.finish()


def test_whoWaitsForAThreadGoesAway(threads, users):
    threads.waits = True
    with guarded(users) as balancer:
        clients = [asks(balancer, get(password=str(n))) for n in range(5)]
        clients[4].resets()
        for _ in range(4):
            threads.finish()
        assert threads.compared == 4 and not threads.working


def test_aThreadThatTakesTooLong(threads, users, told):
    threads.waits = True
    with guarded(users, "deadline=1s on-error=503") as balancer:
        client = asks(balancer, get())
        balancer.advance(1.1)
        client.receives(rb"HTTP/1\.1 503 .*")
        threads.finish()
        # What it has found is good to know.
        passes(balancer, get())
    assert len(told) == 1
