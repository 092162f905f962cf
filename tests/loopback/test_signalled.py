"""
A whole process and what it is told: by signals, and by C{lbtwist reload}, C{confirm} and
C{rollback}.
"""

import json
import os
import re
import signal
import ssl
import subprocess
import sys

import pytest
import websockets.sync.client
import websockets.sync.server
from authority import Authority
from loopback import wire
from loopback.running import REACTORS, Balancer, environment, freePorts, until, write
from loopback.speaking import Peer
from loopback.wire import Doing
from wsproto import ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from lbtwist.command import main

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Reloading(Balancer):
    """A balancer whose file says something else now and then."""

    def __init__(self, directory, server, reactor="lbtwist", **options):
        """@param server: a socket that listens."""
        self.port, self.absent = freePorts(2)
        self._server = wire.port(server)
        super().__init__(directory, self.text(), reactor, **options)

    def text(self, more="", server=""):
        """
        @param more: further lines of the pool.
        @param server: options of its server.
        """
        return f"""\
            [global]
            admin = unix:lb.sock
            grace-period = 20s
            log = file:access.log
            [frontend www]
            bind = 127.0.0.1:{self.port}
            pool = app
            [pool app]
            http-reuse = never
            server s1 = 127.0.0.1:{self._server} {server}
            {more}
            """

    def says(self, *more, **how):
        """The file says something else."""
        # At once, as one should: half a file may be a valid one.
        write(self.directory / "new.ini", self.text(*more, **how)).rename(
            self.directory / "lb.ini"
        )

    def signal(self, number):
        self.process.send_signal(number)

    def logs(self, text):
        """Wait until something is in the log."""
        self.until(lambda: text in self.events)

    @property
    def last(self):
        """What is known of the last reload."""
        code, text = self.lbtwist("show", "reload", "--json", "--socket", "lb.sock")
        assert code == 0, text
        return json.loads(text)

    @property
    def servers(self):
        code, text = self.lbtwist("show", "servers", "--json", "--socket", "lb.sock")
        assert code == 0, text
        return {row["server"]: row["weight"] for row in json.loads(text)
                if "leaving" not in row["state"]}  # fmt: skip


@pytest.fixture
def balancer(tmp_path, server):
    with Reloading(tmp_path, server) as balancer:
        yield balancer


@pytest.fixture
def server():
    with wire.listening() as server:
        yield server


def webSocket(balancer, server):
    """@return: a client and a server that have shaken hands through the balancer."""
    client = Peer(wire.connect(balancer.port), ConnectionType.CLIENT)
    client.send(Request("test", "/chat"))
    peer = Peer(wire.accept(server), ConnectionType.SERVER)
    peer.receive(Request)
    peer.send(AcceptConnection())
    client.receive(AcceptConnection)
    return client, peer


def refused(port):
    try:
        wire.connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


# SIGHUP


@pytest.mark.parametrize("reactor", REACTORS)
def test_theFileIsReadAgain(tmp_path, server, reactor):
    """What runs goes on, what is bad changes nothing, and no signal is lost."""
    with Reloading(tmp_path, server, reactor) as balancer:
        client, connection = wire.download(balancer.port, server)
        balancer.says("server s2 = 127.0.0.1:9")
        balancer.signal(signal.SIGHUP)
        balancer.logs("by SIGHUP: it runs")
        assert balancer.servers == {"s1": 1, "s2": 1}
        balancer.says("colour = red")
        balancer.signal(signal.SIGHUP)
        balancer.logs("by SIGHUP: nothing was changed: 1 error")
        assert re.search(r"lb\.ini:11:\d+: error: .*colour", balancer.events)
        assert balancer.servers == {"s1": 1, "s2": 1}
        for weight in range(2, 12):
            balancer.says(server=f"weight={weight}")
            balancer.signal(signal.SIGHUP)
        until(lambda: balancer.servers == {"s1": 11})
        connection.sendall(b"half")
        assert wire.readExactly(client, 4) == b"half"
        client.close()
        connection.close()


# SIGUSR1


def test_whatRunsEndsByItself(balancer, server):
    """However long that takes: the grace of the configuration does not count."""
    with wire.connect(balancer.port) as idle:
        # Once this one is served that one was accepted, too.
        client, connection = wire.download(balancer.port, server)
        balancer.signal(signal.SIGUSR1)
        assert idle.recv(1) == b""
    until(lambda: refused(balancer.port))
    assert balancer.process.poll() is None
    balancer.signal(signal.SIGHUP)
    balancer.logs("SIGHUP: The balancer is about to end.")
    connection.sendall(b"half")
    assert wire.readAll(client) == b"half"
    assert balancer.process.wait(15) == 0
    client.close()
    connection.close()


def test_nothingRuns(balancer):
    balancer.signal(signal.SIGUSR1)
    assert balancer.process.wait(15) == 0


# SIGUSR2


def test_logsAreOpenedAnew(balancer, server):
    log = balancer.directory / "access.log"

    def asks(path):
        with wire.connect(balancer.port) as client:
            client.sendall(REQUEST.replace(b"/", path, 1))
            with wire.accept(server) as connection:
                wire.readHead(connection)
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                wire.readResponse(client)

    asks(b"/before")
    balancer.line("/before")
    log.rename(balancer.directory / "access.log.1")
    balancer.signal(signal.SIGUSR2)
    balancer.logs("the logs were opened anew")
    asks(b"/after")
    balancer.line("/after")
    assert "/before" not in log.read_text()
    assert "/after" not in (balancer.directory / "access.log.1").read_text()


# SIGTERM, and WebSockets


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_anIdleWebSocket(balancer, server, number):
    """Both hear of it, by another implementation, and the process ends without delay."""
    client, peer = webSocket(balancer, server)
    client.send(TextMessage("hello"))
    assert peer.receive(TextMessage) == "hello"
    balancer.signal(number)
    told = client.receive(CloseConnection)
    assert told.code == 1001
    client.send(told.response())
    told = peer.receive(CloseConnection)
    assert told.code == 1001
    peer.send(told.response())
    peer.socket.close()
    assert client.socket.recv(1) == b""
    client.socket.close()
    assert balancer.process.wait(5) == 0
    assert balancer.line("/chat").split()[9] == "----"


def test_aWebSocketInTheMiddleOfAMessage(balancer, server):
    """The message comes to its end first."""
    client, peer = webSocket(balancer, server)
    peer.socket.sendall(b"\x81\x05he")
    assert wire.readExactly(client.socket, 4) == b"\x81\x05he"
    balancer.signal(signal.SIGTERM)
    until(lambda: refused(balancer.port))
    peer.socket.sendall(b"llo")
    assert wire.readExactly(client.socket, 7) == b"llo\x88\x02\x03\xe9"
    client.socket.close()
    peer.socket.close()
    assert balancer.process.wait(5) == 0


def test_aWebSocketWhoseClientDoesNotAnswer(balancer, server):
    """The server hears of it by us, with a mask."""
    client, peer = webSocket(balancer, server)
    balancer.signal(signal.SIGTERM)
    assert client.receive(CloseConnection).code == 1001
    assert wire.readExactly(peer.socket, 8) == b"\x88\x82\0\0\0\0\x03\xe9"
    assert peer.socket.recv(1) == client.socket.recv(1) == b""
    assert balancer.process.wait(5) == 0
    client.socket.close()
    peer.socket.close()


@pytest.fixture
def secured(tmp_path):
    """
    A server of another implementation, and a balancer before it, with TLS on both ways. Its
    C{said} are the codes that the server was told at the end of its connections.
    """
    issued = Authority().issue("site.test")
    issued.write(tmp_path / "site.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "site.pem")
    codes = []

    def echo(connection):
        for message in connection:
            connection.send(message)
        codes.append(connection.protocol.close_rcvd.code)

    with (
        websockets.sync.server.serve(echo, "127.0.0.1", 0, ssl=context) as server,
        Doing(server.serve_forever),
    ):
        (port,) = freePorts(1)
        text = f"""\
            [global]
            grace-period = 20s
            log = file:access.log
            [frontend www]
            bind = 127.0.0.1:{port} tls=site
            pool = app
            [tls site]
            certificate = site.pem
            [pool app]
            server s1 = 127.0.0.1:{server.socket.getsockname()[1]} tls verify=none
            """
        try:
            with Balancer(tmp_path, text) as balancer:
                balancer.port, balancer.said = port, codes
                yield balancer
        finally:
            server.shutdown()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_aWebSocketOverTLS(secured, number):
    """Between client and server of another implementation: the end is in good order."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"wss://127.0.0.1:{secured.port}/chat"
    with websockets.sync.client.connect(url, ssl=context) as client:
        client.send("x" * 200_000)
        assert client.recv() == "x" * 200_000
        secured.process.send_signal(number)
        with pytest.raises(websockets.ConnectionClosedOK) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd.code == 1001
    assert secured.process.wait(5) == 0
    until(lambda: secured.said == [1001], what=lambda: secured.said)
    assert secured.line("/chat").split()[9] == "----"


# the commands


def test_reload(balancer):
    balancer.says("server s2 = 127.0.0.1:9")
    code, said = balancer.lbtwist("reload")
    assert (code, said.splitlines()[0]) == (0, "Reload 1: it runs")
    assert balancer.servers == {"s1": 1, "s2": 1}
    assert balancer.lbtwist("reload") == (0, "Reload 2: the file says what ran already\n")


def test_aBadFile(balancer):
    """Which is found by the command already; by a balancer that has another file as well."""
    balancer.says("colour = red\n            size = 3")
    code, said = balancer.lbtwist("reload")
    assert code == 1 and "lb.ini:11:" in said and "lb.ini:12:" in said
    code, said = balancer.lbtwist("reload", "--socket", "lb.sock")
    assert code == 1
    assert said.startswith("Reload 1: nothing was changed: 2 errors in ")
    code, said = balancer.lbtwist("rollback")
    assert code == 3 and said.endswith("--socket PATH says it\n")
    code, said = balancer.lbtwist("reload", "--json", "--socket", "lb.sock")
    assert (code, json.loads(said)["done"]) == (1, False)
    assert balancer.last["differs"]


def test_confirm(balancer):
    balancer.says("server s2 = 127.0.0.1:9")
    code, said = balancer.lbtwist("reload", "--confirm", "60s", "--guard", "errors < 1%")
    assert code == 0 and "waits to be confirmed for 60 s" in said
    assert balancer.lbtwist("reload")[0] == 1
    code, said = balancer.lbtwist("confirm")
    assert code == 0 and "was confirmed" in said
    assert balancer.lbtwist("confirm") == (1, "No reload waits to be confirmed.\n")


def test_rollback(balancer):
    balancer.says("server s2 = 127.0.0.1:9")
    assert balancer.lbtwist("reload", "--confirm", "60s")[0] == 0
    code, said = balancer.lbtwist("rollback")
    assert code == 0 and "it has gone back" in said
    until(lambda: balancer.servers == {"s1": 1})
    assert balancer.lbtwist("rollback") == (1, "There is nothing to go back to.\n")
    code, said = balancer.lbtwist("show", "reload")
    assert "the file is not what runs" in said


def waiting(balancer, *words):
    """@return: the command, as a process that waits."""
    return subprocess.Popen(
        [sys.executable, "-m", "lbtwist", "reload", "--wait", *words],
        cwd=balancer.directory, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_followedUntilItIsConfirmed(balancer):
    balancer.says("server s2 = 127.0.0.1:9")
    with waiting(balancer, "--confirm", "60s") as command:
        until(lambda: balancer.last["number"])
        assert balancer.lbtwist("confirm")[0] == 0
        out, err = command.communicate(timeout=15)
    assert command.returncode == 0
    assert "waits to be confirmed for 60 s" in err
    assert re.search(r"^State +confirmed", out, re.M)


def test_followedUntilItHasGoneBack(balancer):
    balancer.says("server s2 = 127.0.0.1:9")
    with waiting(balancer, "--confirm", "500ms", "--json") as command:
        out, err = command.communicate(timeout=15)
    assert command.returncode == 5
    assert json.loads(out)["state"] == "returned"
    assert err.startswith("Reload 1: it runs, and waits")


def test_followedUntilItsGuardIsBroken(balancer, server):
    """A server that answers by nothing but errors."""
    balancer.says(server="weight=7")
    with waiting(balancer, "--confirm", "60s", "-g", "5xx in app < 5%") as command:
        until(lambda: balancer.last["number"])
        for _ in range(30):
            with wire.connect(balancer.port) as client:
                client.sendall(REQUEST)
                with wire.accept(server) as connection:
                    wire.readHead(connection)
                    connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
                    wire.readResponse(client)
        out, _ = command.communicate(timeout=15)
    assert command.returncode == 5
    assert re.search(r"5xx in app < 5% is broken: \d+ answers 5xx in \d+ exchanges in app", out)
    assert balancer.servers == {"s1": 1}


def test_followedUntilAnotherTakesItsPlace(balancer):
    balancer.says("server s2 = 127.0.0.1:9")
    with waiting(balancer, "--confirm", "60s") as command:
        until(lambda: balancer.last["number"])
        assert balancer.lbtwist("reload", "--force")[0] == 0
        _, err = command.communicate(timeout=15)
    assert command.returncode == 1
    assert "reload 1 was replaced by reload 2" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--guard", "errors < 1%"], "--guard says nothing without --confirm"),
        (["--wait"], "--wait says nothing without --confirm"),
        (["--confirm", "soon"], "--confirm: "),
        (["--confirm", "2d"], "--confirm: more than 0, up to 1d, is accepted"),
        (["--confirm", "1m", "--guard", "errors"], "--guard: 'errors' is no guard"),
        (["now"], "Wrong number of arguments"),
    ],
)
def test_whatMakesNoSense(capsys, words, said):
    assert main(["reload", *words]) == 2
    assert said in capsys.readouterr().err


def test_nobodyIsThere(tmp_path, capsys):
    for command in ("reload", "confirm", "rollback"):
        assert main([command, "--socket", str(tmp_path / "none.sock")]) == 3
    assert capsys.readouterr().err.count("no balancer answers") == 3
    assert os.listdir(tmp_path) == []
