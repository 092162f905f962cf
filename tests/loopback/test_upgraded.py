"""
The program is started again and takes the place of the process that runs: under load, with
clients that stay, with a mistake in the file, with workers.
"""

import os
import signal
import socket
import threading
import time

import pytest
from loopback import wire
from loopback.running import TWISTD, Child, Nginx, environment, freePorts, run, until, write
from loopback.test_wrk import wrk

pytestmark = pytest.mark.needs("nginx", "wrk", "curl")


class Upgraded(Child):
    """
    C{twistd lbtwist} with a file of its number, which another process may take over.

    @ivar port: of its frontend.
    """

    def __init__(self, directory, server, workers=0):
        [self.port] = freePorts(1)
        write(directory / "lb.ini", f"""\
            [global]
            workers = {workers}
            admin = unix:admin.sock

            [frontend www]
            bind =
                127.0.0.1:{self.port}
                unix:www.sock
            pool = app

            [pool app]
            check = tcp interval=200ms
            server a = 127.0.0.1:{server.port}
            server b = 127.0.0.1:{server.port} weight=0
            """)  # fmt: skip
        super().__init__(
            [TWISTD, "--reactor", "lbtwist", "-n", "lbtwist", "--config", "lb.ini"],
            directory, "lbtwist", env=environment(),
        )  # fmt: skip

    def __enter__(self):
        return self.begins(lambda: run("curl", "-sf", self.url).returncode == 0)

    def __exit__(self, kind, error, traceback):
        """Whoever has the place now ends, too."""
        try:
            now = self.number
            os.kill(now, signal.SIGTERM)
            until(lambda: not os.path.exists(f"/proc/{now}") or now == self.pid)
        except (OSError, ValueError):
            pass
        self.kill()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/name"

    @property
    def number(self):
        """Of the process that has the place now."""
        return int((self.directory / "twistd.pid").read_text())

    def asks(self, command):
        return wire.command(self.directory / "admin.sock", command)


@pytest.fixture
def server(tmp_path):
    with Nginx(tmp_path / "server") as nginx:
        yield nginx


@pytest.mark.parametrize("workers", [0, 2])
def test_underLoadNothingIsLost(tmp_path, server, workers):
    with Upgraded(tmp_path, server, workers) as balancer:
        first = balancer.number
        balancer.asks("set weight app/b 77")
        reports = []
        load = threading.Thread(target=lambda: reports.append(wrk(balancer.port, 8)))
        load.start()
        time.sleep(1)
        assert "has taken the place" in balancer.asks("upgrade")
        second = balancer.number
        assert second != first
        load.join()
        [report] = reports
        assert (report.errors, report.failed) == ("", 0)
        assert balancer.process.wait(30) == 0
        # What twistd has taken away with the first is the second's.
        until(lambda: balancer.number == second)
        assert run("curl", "-sf", balancer.url).returncode == 0
        through = run("curl", "-sf", "--unix-socket", tmp_path / "www.sock", balancer.url)
        assert through.returncode == 0
        # What an administrator has said goes on.
        assert "77 (initial 0)" in balancer.asks("get weight app/b")


def test_whatIsUnderWayEnds(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Nginx(tmp_path / "server") as nginx,
        Upgraded(tmp_path, nginx) as balancer,
    ):
        write(tmp_path / "lb.ini", (tmp_path / "lb.ini").read_text().replace(
            f"server a = 127.0.0.1:{nginx.port}",
            f"server a = 127.0.0.1:{listening.getsockname()[1]}",
        ))  # fmt: skip
        assert "it runs" in balancer.asks("reload")
        client = socket.create_connection(("127.0.0.1", balancer.port))
        client.settimeout(30)
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        far = asked(listening)
        assert "has taken the place" in balancer.asks("upgrade")
        time.sleep(2)
        assert balancer.process.poll() is None
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert client.recv(4096).endswith(b"hi")
        assert balancer.process.wait(30) == 0
        far.close()
        client.close()


def asked(listening):
    """@return: the connection of the first request; checks say nothing."""
    while True:
        far = listening.accept()[0]
        far.settimeout(30)
        if far.recv(4096):
            return far
        far.close()


def test_aMistakeChangesNothing(tmp_path, server):
    with Upgraded(tmp_path, server) as balancer:
        first = balancer.number
        good = (tmp_path / "lb.ini").read_text()
        (tmp_path / "lb.ini").write_text(good.replace("pool = app", "pool = nobody"))
        said = balancer.asks("upgrade")
        assert "the new process has ended" in said
        assert balancer.number == first
        assert run("curl", "-sf", balancer.url).returncode == 0
        (tmp_path / "lb.ini").write_text(good)
        assert "has taken the place" in balancer.asks("upgrade")
