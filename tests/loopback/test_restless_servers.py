"""
A pool whose servers die, come back, drain and change their weight all the time, by chance but
the same chance each time, under the load of wrk: what fails was under way on a server that
died, clients who are bound stay where they were, and at the end nothing is left behind.
"""

import random
import socketserver
import threading
import time
from contextlib import ExitStack
from datetime import datetime

import pytest
from loopback.running import Balancer, Nginx, freePorts, run
from loopback.test_wrk import written, wrk

import programs

SECONDS = 60
SERVERS = ("s1", "s2", "s3", "s4", "s5")
LATE = 2.0
"""Seconds after the death of a server in which a request of its may fail."""

pytestmark = pytest.mark.needs("nginx", "wrk", "curl")


class Agent(socketserver.ThreadingTCPServer):
    """
    Says how one server is to be used.

    @ivar words: what it says.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host, port):
        self.words = "ready 100%"

        class Answer(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.sendall(self.server.words.encode() + b"\n")

        super().__init__((host, port), Answer)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *reason):
        self.shutdown()
        self._thread.join()
        self.server_close()


class Member:
    """
    A server, what its agent says, and when it died.

    @ivar deaths: seconds since the epoch.
    """

    def __init__(self, directory, number, port, agentPort):
        self.name = SERVERS[number]
        self.host = f"127.0.0.{number + 2}"
        self.agent = Agent(self.host, agentPort)
        self.deaths = []
        self._directory = directory / self.name
        self._port = port
        self._nginx = None

    @property
    def runs(self):
        return self._nginx is not None

    def start(self):
        listen = (f"{self.host}:{self._port}",)
        self._nginx = Nginx(self._directory, self.name, listen=listen).__enter__()

    def die(self):
        nginx, self._nginx = self._nginx, None
        if nginx is not None:
            self.deaths.append(time.time())
            nginx.kill()


class Visitor(threading.Thread):
    """
    A client that comes back again and again with its cookie.

    @ivar visits: when it was answered, and by which server.
    """

    def __init__(self, url, jar, ended):
        super().__init__()
        self.visits = []
        self._url = url
        self._jar = jar
        self._ended = ended

    def run(self):
        while not self._ended.wait(0.25):
            began = time.time()
            done = run("curl", "-sf", "-c", self._jar, "-b", self._jar, self._url)
            if not done.returncode:
                self.visits.append((began, done.stdout))


def restless(members, seconds, ended):
    """Let members die, come back, drain, be ready and weigh more or less, until it ends."""
    chance = random.Random(20261121)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not ended.is_set():
        member = chance.choice(members[1:])
        what = chance.choice(("die", "start", "start", "drain", "ready", "weight"))
        if what == "die":
            member.die()
        elif what == "start" and not member.runs:
            member.start()
        elif what in ("drain", "ready"):
            member.agent.words = f"{what} 100%"
        elif what == "weight":
            member.agent.words = f"ready {chance.randrange(10, 200)}%"
        time.sleep(chance.uniform(0.1, 0.7))
    for member in members:
        member.agent.words = "ready 100%"
        if not member.runs:
            member.start()


def at(line):
    """@return: when an exchange began, in seconds since the epoch."""
    said = line.partition("[")[2].partition("]")[0]
    return datetime.strptime(said, "%d/%b/%Y:%H:%M:%S.%f").timestamp()


def test_aRestlessPool(tmp_path):
    [port] = freePorts(1)
    serverPort, agentPort = programs.freePort(), programs.freePort()
    members = [Member(tmp_path, number, serverPort, agentPort) for number in range(len(SERVERS))]
    lines = "".join(
        f"        server {one.name} = {one.host}:{serverPort} maxconn=64\n" for one in members
    )
    text = f"""\
        [frontend www]
        bind = 127.0.0.1:{port}
        log = file:access.log
        pool = app
        response = set-log no if status == 200 and path == "/name" and not cookie["SRVID"]
        [pool app]
        balance = leastconn
        persist = cookie SRVID insert
        check = tcp and agent port={agentPort} interval=200ms fall=1 rise=1
{lines}"""
    ended = threading.Event()
    url = f"http://127.0.0.1:{port}/name"
    visitors = [Visitor(url, tmp_path / f"jar{number}", ended) for number in range(6)]
    mischief = threading.Thread(target=restless, args=(members, SECONDS - 2, ended))
    others = (mischief, *visitors)
    with ExitStack() as stack:
        for member in members:
            stack.enter_context(member.agent)
            stack.callback(member.die)
            member.start()
        balancer = stack.enter_context(Balancer(tmp_path, text))
        # Whatever happens: they start nothing more when they are to end.
        stack.callback(lambda: [one.join() for one in others if one.ident])
        stack.callback(ended.set)
        for one in others:
            one.start()
        report = wrk(port, SECONDS)
        mischief.join()
        ended.set()
        for one in others:
            one.join()
        # Nothing runs but this one.
        run("curl", "-sf", f"http://127.0.0.1:{port}/files/small")
        log = written(balancer, 1)

    deaths = {member.name: member.deaths for member in members}
    assert sum(map(len, deaths.values())) >= SECONDS / 10, "nobody died"
    assert report.errors == ""
    assert report.requests > 1000
    failed = [line for line in log if " 200 " not in line]
    assert report.failed <= len(failed)
    for line in failed:
        server = line.split()[3].partition("/")[2]
        when = at(line)
        assert any(death - LATE < when < death + LATE for death in deaths[server]), line

    for visitor in visitors:
        assert len(visitor.visits) > SECONDS
        for (then, before), (when, now) in zip(visitor.visits, visitor.visits[1:], strict=False):
            # It goes elsewhere only because its server died.
            died = any(then - LATE < death < when + LATE for death in deaths[before])
            assert before == now or died, (then, before, when, now)
    [last] = [line for line in log if "/files/small" in line]
    assert last.split()[10] == "1/1/1/1/0", "nothing but this one"
