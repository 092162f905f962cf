"""
The cases of the bench with idle WebSockets and reloads: what they ask, what they are answered,
and what is made of it.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from bench import echo, sockets
from bench.__main__ import runOf
from bench.cases import CASES, SOCKETS
from bench.idle import Crowd
from bench.load import Bench, Outcome, Sample
from bench.programs import LBTWIST, ROOT
from bench.sockets import Asking, configured, mostSockets
from bench.system import freePorts, place
from lbtwist.config.load import load
from lbtwist.registry import installed

VALUES = {"port": 20001, "log": "/log/access.log", "serverA": 20002, "serverB": 20003}


@pytest.fixture
def echoing():
    """The port of the echo server, run as a process as the bench does."""
    [port] = freePorts(1)
    child = subprocess.Popen([sys.executable, "-m", "bench.echo", str(port)], cwd=ROOT)
    try:
        for _ in range(200):
            try:
                if sockets.listens(port):
                    break
            except ConnectionRefusedError:
                assert child.poll() is None
                select.select([], [], [], 0.05)
        yield port
    finally:
        child.kill()
        child.wait()


class Generations(threading.Thread):
    """A server that says which generation it is: the last of its answers again and again."""

    def __init__(self, *answers):
        super().__init__()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._answers = list(answers)

    def run(self):
        skt, _ = self._listening.accept()
        self._listening.close()
        with skt:
            while skt.recv(4096):
                body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if not body:
                    return
                skt.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)


class TestSockets:
    def test_acceptIsThatOfTheRFC(self):
        """RFC 6455 section 1.3 has this key as its example."""
        answer = echo.upgraded(echo.UPGRADE)
        assert answer.endswith(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        with pytest.raises(ValueError, match="no Sec-WebSocket-Key"):
            echo.upgraded(b"GET / HTTP/1.1\r\n\r\n")

    def test_whatIsSaidAgainIsNotMasked(self):
        """RFC 6455 section 5.7 has both as its examples."""
        assert echo.again(bytes.fromhex("818537fa213d7f9f4d5158")) == b"\x81\x05Hello"
        assert echo.again(echo.MESSAGE) == echo.SAID

    def test_crowdOfWebSockets(self, echoing):
        with Crowd(echoing, sockets.upgrade) as crowd:
            crowd.growTo(3)
            assert sockets.alive(crowd) == []
            crowd.clients[1].shutdown(socket.SHUT_RDWR)
            assert sockets.alive(crowd) == ["1 of 3 WebSockets were closed"]

    def test_whatIsNoWebSocket(self):
        server = Generations(b"0000")
        server.start()
        crowd = Crowd(server.port, sockets.upgrade)
        with pytest.raises(OSError, match="connection 1: not upgraded"), crowd:
            crowd.growTo(1)
        server.join()

    @pytest.mark.parametrize(
        ("limit", "count"), [(65536, SOCKETS), (20200, SOCKETS), (20000, 9900), (8192, 3996)]
    )
    def test_twoDescriptorsAreOne(self, limit, count):
        assert mostSockets(limit) == count

    def test_generationsDiffer(self, tmp_path):
        """In the weights of half the servers, and in one rule; each file is a good one."""
        found = []
        for number in (1, 2):
            path = tmp_path / f"{number}.ini"
            values = {**VALUES, **configured(20004, number, LBTWIST.server, 20002, 20003)}
            path.write_text(LBTWIST.render("websockets", values))
            config, warnings = load(path, installed())
            assert warnings == []
            found.append(config)
        one, two = (config.pools["app"].servers for config in found)
        differ = [mine.name for mine, other in zip(one, two, strict=True) if mine != other]
        assert len(differ) == 500
        assert len(one) == 1000
        assert found[0].frontends["bench"].request[0] != found[1].frontends["bench"].request[0]

    def test_askedUntilItCounts(self):
        server = Generations(b"0000", b"0000", b"0001")
        server.start()
        begun = time.perf_counter()
        with Asking(server.port) as asking:
            since, took = asking.askUntil("0001", begun)
        server.join()
        assert asking.asked == len(took) == 3
        assert since >= sum(took)

    def test_reloadThatNeverCounts(self, monkeypatch):
        server = Generations(b"0000")
        server.start()
        long = time.perf_counter() - sockets.PATIENCE
        with pytest.raises(OSError, match="did not count"), Asking(server.port) as asking:
            asking.askUntil("0001", long)
        server.join()

    def test_whoAsksIsNotAnswered(self):
        server = Generations(b"")
        server.start()
        with pytest.raises(OSError, match="closed"), Asking(server.port) as asking:
            asking.ask()
        server.join()

    def test_theWorstOfAllReloadsCounts(self, monkeypatch):
        """Also what comes after a new file counts already."""
        written, told = [], []
        running = SimpleNamespace(pid=77, write=written.append)
        monkeypatch.setattr(os, "kill", lambda *which: told.append(which))
        soon = iter([(0.1, [0.01, 0.02]), (0.3, [0.03])])
        late = iter([[0.001] * 100, [0.05], [0.004]])
        asking = SimpleNamespace(
            askUntil=lambda generation, begun: next(soon), askFor=lambda seconds: next(late)
        )
        generations = [{"generation": "0001"}, {"generation": "0002"}]
        assert sockets.reloads(running, asking, generations) == pytest.approx(
            {"usual": 1.0, "stall": 50.0, "reload": 300.0}
        )
        assert (written, told) == (generations, [(77, signal.SIGHUP)] * 2)

    def test_oneRunForAllCases(self):
        """What one case has found the others tell as well."""
        bench = Bench(None, None, place([0]), "wrk", 3, 4)
        bench.known["websockets"] = {"lbtwist": Outcome([Sample({"pss": 1.0})])}
        for name in ("idle-websockets", "reload-stall", "reload-time"):
            assert runOf(CASES[name])(bench, CASES[name], []) == bench.known["websockets"]
