"""
Several processes that serve together, as an operator sees them: real processes, real clients,
the numbers of the administrators' socket.
"""

import csv
import json
import os
import re
import signal
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from textwrap import dedent
from types import SimpleNamespace

import pytest
from authority import Authority
from loopback import wire
from loopback.running import Balancer, Child, Nginx, environment, freePorts, run, until
from loopback.test_wrk import wrk

pytestmark = pytest.mark.needs("nginx", "wrk", "curl")


class Several(Balancer):
    """
    A balancer with workers.

    @ivar port: of its frontend.
    """

    def __init__(self, directory, server, more="", count=2, pool="", reactor="lbtwist"):
        self.port, self.other = freePorts(2)
        self.text = f"""\
            [global]
            workers = {count}
            admin = unix:admin.sock
            grace-period = 3s

            [frontend www]
            bind = 127.0.0.1:{self.port}
            log = file:access.log
            pool = app

            [pool app]
            {pool}
            server a = 127.0.0.1:{server.port} {more}
            """
        super().__init__(directory, self.text, reactor)
        self.count = count

    def __enter__(self):
        super().__enter__()
        self.until(lambda: self.served >= self.count and self.asks("show info"))
        return self

    @property
    def served(self):
        """How many workers have begun to serve so far."""
        return len(re.findall(r"worker \d+ serves", self.out))

    @property
    def workers(self):
        """The numbers of their processes that run."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as children:
            return [int(one) for one in children.read().split()]

    def asks(self, command):
        try:
            return wire.command(self.directory / "admin.sock", command)
        except (FileNotFoundError, ConnectionRefusedError):
            return ""

    def row(self, name, server):
        """@return: one line of C{show stat}, by its columns."""
        table = csv.DictReader(self.asks("show stat").lstrip("# ").splitlines())
        [found] = [one for one in table if (one["pxname"], one["svname"]) == (name, server)]
        return found

    def isContent(self):
        """Workers are killed here, which is no fault."""


@pytest.fixture
def server(tmp_path):
    with Nginx(tmp_path / "server") as nginx:
        yield nginx


@pytest.mark.parametrize("reactor", ["lbtwist", "epoll"])
def test_theyServeAndCountTogether(tmp_path, server, reactor):
    with Several(tmp_path, server, reactor=reactor) as balancer:
        before = int(balancer.row("app", "a")["stot"])
        report = wrk(balancer.port, 2)
        assert (report.errors, report.failed) == ("", 0)
        # What clients still had under way at the end is counted, too.
        lines = until(lambda: settled(balancer))
        counted = balancer.row("app", "a")
        assert int(counted["stot"]) == int(balancer.row("app", "BACKEND")["stot"]) == lines
        assert int(counted["stot"]) - before >= report.requests
        assert int(counted["hrsp_2xx"]) <= lines


def settled(balancer):
    """@return: how many lines the log has, when as many exchanges are counted."""
    count = len(balancer.lines)
    time.sleep(0.5)
    same = count == len(balancer.lines) == int(balancer.row("www", "FRONTEND")["req_tot"])
    return count if same else 0


def connectionsOf(pid, port):
    """@return: how many connections of clients a process has."""
    names = {f"socket:[{inode}]" for inode in accepted(port)}
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += os.readlink(f"/proc/{pid}/fd/{fd}") in names
        except OSError:
            continue
    return found


def accepted(port):
    """@return: the inodes of connections to a port that stand."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]


def test_oneIsKilled(tmp_path, server):
    with Several(tmp_path, server) as balancer:
        clients = [socket.create_connection(("127.0.0.1", balancer.port)) for _ in range(12)]
        until(lambda: balancer.row("www", "FRONTEND")["scur"] == "12")
        held = {one: connectionsOf(one, balancer.port) for one in balancer.workers}
        assert sum(held.values()) == 12
        assert max(held.values()) - min(held.values()) <= 4, "they are spread"
        killed = balancer.workers[0]
        lost = held[killed]
        os.kill(killed, signal.SIGKILL)
        balancer.until(lambda: balancer.served == 3)
        ended = 0
        for client in clients:
            client.settimeout(10)
            client.sendall(b"GET /name HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            try:
                ended += b"200 OK" not in client.recv(4096)
            except ConnectionError:
                ended += 1
        assert ended == lost
        for _ in range(10):
            assert run("curl", "-sf", f"http://127.0.0.1:{balancer.port}/name").returncode == 0
        until(lambda: balancer.row("www", "FRONTEND")["scur"] == "0")
        assert "another one takes its place" in balancer.events


def test_whatTheParentKnowsAllOfThemKnow(tmp_path, server):
    check = "check = tcp interval=100ms fall=1 rise=1"
    with Several(tmp_path, server, pool=check) as balancer:
        balancer.asks("set server app/a state maint")
        until(lambda: balancer.row("app", "a")["status"].startswith("MAINT"))
        url = f"http://127.0.0.1:{balancer.port}/name"
        until(lambda: all(run("curl", "-sf", url).returncode for _ in range(6)))
        balancer.asks("set server app/a state ready")
        until(lambda: all(run("curl", "-sf", url).returncode == 0 for _ in range(6)))
        server.kill()
        until(lambda: balancer.row("app", "a")["status"] == "DOWN")
        for _ in range(8):
            done = run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                       f"http://127.0.0.1:{balancer.port}/down")  # fmt: skip
            assert done.stdout == "503"

        def lines():
            return [line for line in balancer.lines if "/down" in line]

        until(lambda: len(lines()) == 8)
        assert all("<NOSRV>" in line for line in lines()), "nobody tried it"


def test_aReloadReachesAllAndTheyEndTogether(tmp_path, server):
    with Several(tmp_path, server) as balancer, Nginx(tmp_path / "new", "new") as new:
        kept = socket.create_connection(("127.0.0.1", balancer.port))
        text = balancer.text.replace(
            f"127.0.0.1:{server.port}", f"127.0.0.1:{new.port}"
        ) + f"\n[frontend more]\nbind = 127.0.0.1:{balancer.other}\npool = app\n"
        (balancer.directory / "lb.ini").write_text(
            "\n".join(line.strip() for line in text.splitlines())
        )
        balancer.process.send_signal(signal.SIGHUP)
        balancer.until(lambda: "reload 1 of" in balancer.out)
        for port in (balancer.port, balancer.other):
            url = f"http://127.0.0.1:{port}/name"
            until(lambda url=url: {run("curl", "-sf", url).stdout for _ in range(6)} == {"new"})
        kept.sendall(b"GET /name HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"new" in kept.recv(4096)
        kept.close()
        workers = balancer.workers
        assert balancer.terminate() == 0
        assert not any(os.path.exists(f"/proc/{one}") for one in workers)
        assert not (balancer.directory / "admin.sock").exists()


def test_limitsAreNeverExceededAndNobodyIsLeftAlone(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = SimpleNamespace(port=listening.getsockname()[1])
        with Several(tmp_path, server, more="maxconn=4") as balancer:
            clients = []
            for _ in range(12):
                client = socket.create_connection(("127.0.0.1", balancer.port))
                client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                clients.append(client)
            until(lambda: int(balancer.row("app", "BACKEND")["qcur"]) >= 8)
            assert int(balancer.row("app", "a")["scur"]) <= 4
            for client in clients:
                client.close()
            # They end though their parent cannot tell them any more.
            workers = balancer.workers
            os.kill(balancer.pid, signal.SIGKILL)
            until(lambda: not any(alive(one) for one in workers))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_theyKnowClientsTogether(tmp_path, server):
    with Nginx(tmp_path / "other", "other") as other:
        more = f"\n            server b = 127.0.0.1:{other.port}"
        pool = "persist = cookie SRV insert, source"
        with Several(tmp_path, server, more=more, pool=pool) as balancer:
            url = f"http://127.0.0.1:{balancer.port}/name"
            assert len({run("curl", "-sf", url).stdout for _ in range(12)}) == 1
            # And by the cookie alone, whoever has made it.
            jar = tmp_path / "jar"
            run("curl", "-sf", "-c", jar, url)
            text = balancer.text.replace(", source", "")
            reloaded(balancer, text)
            assert len({run("curl", "-sf", "-b", jar, url).stdout for _ in range(12)}) == 1
            rule = "request = limit rate=6/1h by={src}"
            reloaded(balancer, text.replace("pool = app\n", f"pool = app\n            {rule}\n", 1))
            statuses = [
                run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url).stdout
                for _ in range(12)
            ]
            assert statuses == ["200"] * 6 + ["429"] * 6


def test_whatRunsInAllOfThem(tmp_path, server):
    with Several(tmp_path, server) as balancer:
        clients = [socket.create_connection(("127.0.0.1", balancer.port)) for _ in range(8)]
        until(lambda: balancer.row("www", "FRONTEND")["scur"] == "8")
        assert all(connectionsOf(one, balancer.port) for one in balancer.workers)
        _, shown = balancer.lbtwist("show", "sess", "--json")
        ports = {one["client"][1]: one["number"] for one in json.loads(shown)}
        assert set(ports) == {client.getsockname()[1] for client in clients}
        assert len(set(ports.values())) == 8
        first = clients.pop()
        number = ports[first.getsockname()[1]]
        assert f"number: {number}\n" in balancer.asks(f"show sess {number}")
        assert balancer.asks(f"shutdown session {number}") == "\n"
        first.settimeout(10)
        with suppress(ConnectionResetError):
            assert first.recv(1) == b""
        assert "No such session" in balancer.asks(f"shutdown session {number}")
        assert "not found" in balancer.asks(f"show sess {number}")
        # A plan counts those of all.
        until(lambda: balancer.row("www", "FRONTEND")["scur"] == "7")
        text = dedent(balancer.text).replace("[frontend www]", "[frontend other]")
        (balancer.directory / "new.ini").write_text(text)
        _, plan = balancer.lbtwist("plan", "--json", "new.ini")
        assert json.loads(plan)["connections"] == 7
        for client in clients:
            client.close()


def test_theNextExchangeIsExplainedWhereverItIs(tmp_path, server):
    with Several(tmp_path, server) as balancer, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            balancer.lbtwist, "explain", "--live", "--match", 'path == "/name"', "--limit", "30s"
        )
        url = f"http://127.0.0.1:{balancer.port}/name"
        until(lambda: run("curl", "-sf", url) and asked.done())
        code, said = asked.result()
        assert code == 0 and "sent to app/a" in said, said
        # And nobody waits for one any more.
        code, said = balancer.lbtwist("explain", "--live", "--limit", "200ms")
        assert code and "no such exchange has come within 0.2 s" in said


def test_mapsAreChangedInAllOfThem(tmp_path, server):
    (tmp_path / "who.map").write_text("/a ann\n")
    rule = 'request = answer 200 {map("who.map", path, "nobody")}'
    with Several(tmp_path, server) as balancer:
        text = balancer.text.replace("pool = app\n", f"pool = app\n            {rule}\n", 1)
        reloaded(balancer, text)

        def says(path):
            """@return: what all of them say."""
            url = f"http://127.0.0.1:{balancer.port}{path}"
            return {run("curl", "-s", url).stdout for _ in range(8)}

        assert says("/a") == {"ann"}
        balancer.asks("add map who.map /b bert")
        balancer.asks("set map who.map /a anna")
        assert (says("/a"), says("/b")) == ({"anna"}, {"bert"})
        os.kill(balancer.workers[0], signal.SIGKILL)
        balancer.until(lambda: balancer.served == 3)
        assert (says("/a"), says("/b")) == ({"anna"}, {"bert"})
        balancer.asks("clear map who.map")
        assert says("/a") == {"nobody"}
        assert (tmp_path / "who.map").read_text() == "/a ann\n"


def test_certificatesWithoutFiles(tmp_path, server):
    """All of them show it, those that begin later too, and the file stays as it is."""
    authority = Authority()
    path = tmp_path / "site.pem"
    path.write_bytes(authority.issue("site.test").pem())
    with Several(tmp_path, server) as balancer:
        text = balancer.text.replace("bind = ", f"bind = 127.0.0.1:{balancer.other} tls=site, ", 1)
        reloaded(balancer, text + "\n[tls site]\ncertificate = site.pem\n")

        def shown():
            """@return: the certificates that all of them show."""
            found = set()
            for _ in range(8):
                found.add(ssl.get_server_certificate(("127.0.0.1", balancer.other), timeout=10))
            return found

        before = shown()
        assert len(before) == 1
        kept = path.read_bytes()
        fresh = authority.issue("site.test").pem().decode()
        balancer.asks(f"set ssl cert site.pem <<\n{fresh}\n")
        assert "Success" in balancer.asks("commit ssl cert site.pem")
        after = shown()
        assert len(after) == 1 and after != before
        os.kill(balancer.workers[0], signal.SIGKILL)
        balancer.until(lambda: balancer.served == 3)
        assert shown() == after
        assert path.read_bytes() == kept


PROGRAM = """\
from twisted.internet import reactor
from lbtwist.build import build
from lbtwist.config.load import load
from lbtwist.interfaces import IBalancer
from lbtwist.registry import Extension, installed

registry = installed(Extension(IBalancer, "last", "mine.Last"))
config, _ = load("lb.ini", registry)
balancer = build(config, registry, reactor)
balancer.startService()
reactor.addSystemEventTrigger("before", "shutdown", balancer.stopService)
reactor.run()
"""
MINE = """\
from lbtwist.balance.scheduled import NoOptions

class Last:
    Options = NoOptions

    def __init__(self, options, context):
        pass

    def choose(self, servers, exchange):
        return servers[-1]
"""


def test_partsOfAProgram(tmp_path, server):
    """Workers of a program that has parts of its own have them too."""
    port, none = freePorts(2)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "lb.ini").write_text(
        f"[global]\nworkers = 2\ngrace-period = 1s\n"
        f"[frontend www]\nbind = 127.0.0.1:{port}\npool = app\n"
        f"[pool app]\nbalance = last\nretries = 0\n"
        f"server a = 127.0.0.1:{none}\nserver b = 127.0.0.1:{server.port}\n"
    )
    with Child([sys.executable, "program.py"], tmp_path, "program", env=environment()) as program:
        url = f"http://127.0.0.1:{port}/name"
        program.until(lambda: run("curl", "-sf", url).returncode == 0)
        assert {run("curl", "-s", "-w", "%{http_code}", url).stdout[-3:] for _ in range(12)} == {
            "200"
        }
        assert program.terminate() == 0


def reloaded(balancer, text):
    """Have the balancer and all of its workers go by another configuration."""
    path = balancer.directory / "lb.ini"
    path.write_text("\n".join(line.strip() for line in text.splitlines()) + "\n")
    code, said = balancer.lbtwist("reload")
    assert code == 0, said
