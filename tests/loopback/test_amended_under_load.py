"""
Fifty servers come and go over the socket while clients ask; a frontend and a pool, a certificate
and a map as well: no request fails, and nothing is left behind. And how a program that was made
for HAProxy changes maps.
"""

import http.client
import os
import socket
import ssl
import threading
import time

import pytest
from authority import Authority
from loopback.running import Balancer, freePorts, until

SERVERS = 50
CLIENTS = 4
AUTHORITY = Authority()

CONFIG = """\
[global]
admin = unix:lb.sock
[frontend www]
bind =
    127.0.0.1:{port}
    127.0.0.1:{secure} tls=site
pool = app
timeout-keepalive = 60s
request =
    answer 200 {{map("who.map", path)}} if path.startswith("/who")
    deny if header["user-agent"] in one_of("bots.txt")
[tls site]
certificate = site.pem
reload = 1h
[pool app]
check = http GET / interval=100ms rise=1 fall=3
server a = demo:a
"""


class Conversation:
    """Commands, one after the other, on one connection."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self.asks("prompt i")

    def asks(self, command):
        """@return: what is answered, without the empty line behind it."""
        self._socket.sendall(f"{command}\n".encode())
        found = []
        while line := self._lines.readline().decode():
            if line == "\n":
                break
            found.append(line)
        return "".join(found)

    def close(self):
        self._lines.close()
        self._socket.close()


class Asking(threading.Thread):
    """A client that asks as long as it is wanted. @ivar wrong: what it got instead of 200."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self._port = port
        self.wanted = True
        self.count = 0
        self.wrong = []
        self.seen = set()

    def run(self):
        connection = None
        while self.wanted and not self.wrong:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, 20)
                connection.request("GET", "/")
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200:
                    self.wrong.append((answer.status, text))
                self.seen.add(text)
                self.count += 1
                if self.count % 20 == 0:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as failed:
                self.wrong.append(failed)
        if connection is not None:
            connection.close()


class Amended(Balancer):
    def __init__(self, directory, settings=""):
        self.port, self.secure = freePorts(2)
        AUTHORITY.issue("site.test").write(directory / "site.pem")
        (directory / "who.map").write_text("/who/a ann\n")
        (directory / "bots.txt").write_text("bad\n")
        text = CONFIG.format(port=self.port, secure=self.secure)
        super().__init__(directory, text.replace("[global]", f"[global]\n{settings}"))
        self.path = directory / "lb.sock"

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def servers(self):
        conversation = Conversation(self.path)
        lines = conversation.asks("show servers conn app").splitlines()
        conversation.close()
        return [line.split()[0] for line in lines if line.startswith("app/")]

    def get(self, path, agent="good"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 20)
        connection.request("GET", path, headers={"User-Agent": agent})
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    def serial(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.secure), 20)
        with context.wrap_socket(plain) as secured:
            return secured.getpeercert(True)


@pytest.fixture
def balancer(tmp_path):
    with Amended(tmp_path) as balancer:
        yield balancer


def test_serversComeAndGoUnderLoad(balancer):
    before = balancer.descriptors
    clients = [Asking(balancer.port) for _ in range(CLIENTS)]
    for one in clients:
        one.start()
    conversation = Conversation(balancer.path)
    try:
        for number in range(SERVERS):
            said = conversation.asks(f"add server app/s{number} demo:s{number} weight 2")
            assert said == "New server registered.\n"
            assert conversation.asks(f"enable server app/s{number}") == ""
        assert len(balancer.servers) == SERVERS + 1
        until(lambda: all(len(one.seen) > 1 for one in clients), what="other servers")
        assert conversation.asks("add pool more like app") != ""
        assert "registered" in conversation.asks("add server more/x demo:x enabled")
        [port] = freePorts(1)
        assert "registered" in conversation.asks(
            f"add frontend two bind 127.0.0.1:{port} pool more"
        )
        other = http.client.HTTPConnection("127.0.0.1", port, 20)
        other.request("GET", "/")
        assert other.getresponse().read()
        assert "deleted" in conversation.asks("del frontend two")
        assert "deleted" in conversation.asks("del pool more")
        other.close()
        for number in range(SERVERS):
            assert conversation.asks(f"disable server app/s{number}") == ""
            assert conversation.asks(f"wait 10s srv-removable app/s{number}") == "Done.\n"
            assert conversation.asks(f"del server app/s{number}") == "Server deleted.\n"
        time.sleep(0.2)
    finally:
        conversation.close()
        for one in clients:
            one.wanted = False
        for one in clients:
            one.join(30)
    assert [one.wrong for one in clients] == [[]] * CLIENTS
    assert all(one.count > 50 for one in clients)
    until(lambda: balancer.servers == ["app/a"], what="the servers to be gone")
    # What is idle is kept for a while, which is some for each client; each server would be more.
    until(lambda: balancer.descriptors < before + SERVERS // 2, what=f"{before} descriptors")


def test_certificates(balancer):
    before = balancer.serial()
    fresh = AUTHORITY.issue("site.test")
    conversation = Conversation(balancer.path)
    assert "created" in conversation.asks(f"set ssl cert site.pem <<\n{fresh.pem().decode()}")
    assert balancer.serial() == before
    assert "Success" in conversation.asks("commit ssl cert site.pem save")
    assert balancer.serial() != before
    conversation.close()


def test_withWorkers(tmp_path):
    with Amended(tmp_path, "workers = 2") as balancer:
        balancer.until(lambda: balancer.out.count(" serves") >= 2)
        conversation = Conversation(balancer.path)
        assert "registered" in conversation.asks("add server app/b demo:b")
        assert conversation.asks("enable server app/b") == ""
        seen = set()
        until(lambda: (seen.add(balancer.get("/")[1].splitlines()[0]), len(seen) > 1)[1])
        assert conversation.asks("disable server app/b") == ""
        assert conversation.asks("wait 10s srv-removable app/b") == "Done.\n"
        assert conversation.asks("del server app/b") == "Server deleted.\n"
        before, fresh = balancer.serial(), AUTHORITY.issue("site.test")
        conversation.asks(f"set ssl cert site.pem <<\n{fresh.pem().decode()}")
        assert "Success" in conversation.asks("commit ssl cert site.pem save")
        until(lambda: all(balancer.serial() != before for _ in range(9)), what="all workers")
        conversation.close()


def test_mapsByHaproxyadmin(balancer):
    haproxy = pytest.importorskip("haproxyadmin").haproxy
    found = haproxy.HAProxy(socket_file=str(balancer.path))
    assert len(found.show_map()) == 2
    assert found.add_map(0, "/who/b", "bert")
    assert found.set_map(0, "/who/a", "anna")
    assert [balancer.get(f"/who/{name}")[1] for name in "ab"] == ["anna", "bert"]
    assert 'value="bert"' in found.get_map(0, "/who/b")
    assert [line.split(" ", 1)[1] for line in found.show_map(0)] == ["/who/a anna", "/who/b bert"]
    assert found.del_map(0, "/who/a")
    assert balancer.get("/who/a") == (200, "")
    assert found.clear_map(0)
    assert balancer.get("/who/b") == (200, "")
    assert balancer.get("/", "bad")[0] == 403
    assert found.add_acl(0, "worse")
    assert balancer.get("/", "worse")[0] == 403
    assert found.del_acl(0, "worse")
    assert balancer.get("/", "worse")[0] == 200
