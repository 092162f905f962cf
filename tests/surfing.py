"""
The administration by HTTP of a balancer in memory, and somebody who asks it: over a real socket
of this machine, on a clock that stands still.
"""

import json
import socket

from bench.system import freePorts
from lbtwist.admin.web.door import WebDoor
from lbtwist.testing import Balancer

POOLS = """
[frontend www]
bind = ${bind}
pool = app
request = deny if path == "/no"
[frontend raw]
mode = tcp
bind = ${bind}.raw
pool = tcp
[pool app]
check = tcp
persist = source
server a = ${a} weight=4 maxconn=10
server b = ${b}
[pool tcp]
mode = tcp
server c = ${c}
[pool away]
check = tcp
server d = 127.0.0.1:1
"""
SCOPES = ("read", "operate", "admin")


def tokenOf(name):
    """@return: the token of this name, and of these scopes."""
    return f"{name}-".ljust(40, "x")


class Answer:
    """
    What was answered.

    @ivar fields: by their names in lower case; of those that come twice the last.
    @ivar cookies: what is set.
    """

    def __init__(self, data, isHead=False):
        head, found, self.rest = data.partition(b"\r\n\r\n")
        assert found, f"there is no whole head in {data[:200]!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        pairs = [line.split(": ", 1) for line in lines]
        self.fields = {name.lower(): value for name, value in pairs}
        self.cookies = [value for name, value in pairs if name.lower() == "set-cookie"]
        self.body = b""
        if not isHead and "content-length" in self.fields:
            length = int(self.fields["content-length"])
            self.body, self.rest = self.rest[:length], self.rest[length:]
            assert len(self.body) == length
        elif self.fields.get("transfer-encoding") == "chunked":
            self.body, self.rest = _chunks(self.rest)

    def __repr__(self):
        return f"<Answer {self.status} {self.body[:200]!r}>"

    @property
    def value(self):
        return json.loads(self.body)

    @property
    def detail(self):
        """What a problem says."""
        assert self.fields["content-type"] == "application/problem+json", self
        value = self.value
        assert value["status"] == self.status
        return value["detail"]


def _chunks(data):
    found = b""
    while True:
        size, ended, data = data.partition(b"\r\n")
        if not ended or int(size, 16) == 0:
            return found, data
        found += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]


class Connection:
    """One connection with the administration."""

    def __init__(self, site):
        self.site = site
        self.socket = socket.create_connection(("127.0.0.1", site.port), 10)
        self.socket.setblocking(False)
        self.data = b""
        self.ended = False
        site.pump.turn()

    def sends(self, data):
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                self.site.pump.turn()
            except ConnectionError:
                # It does not want to know it.
                break
        self.site.pump.turn()

    def takes(self):
        """@return: all that has come so far."""
        self.site.pump.turn()
        while not self.ended:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            self.ended = not data
            self.data += data
            self.site.pump.turn()
        return self.data

    def answer(self, isHead=False):
        """@return: the next one."""
        found = Answer(self.takes(), isHead)
        self.data = found.rest
        return found

    def states(self):
        """@return: the events that have come, as values."""
        found = Answer(self.takes())
        lines = found.body.decode().split("\n")
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


class Site:
    """
    A balancer in memory with C{web:}.

    @ivar balancer: it.
    @ivar port: where it listens.
    @ivar text: its configuration.
    @ivar audited: the lines of its audit.
    """

    def __init__(self, directory, tokens=SCOPES, options="", more="", pools=POOLS):
        """
        @param tokens: names of scopes, each of which has a token; none for a site without.
        @param options: behind the address.
        @param more: in C{[global]}.
        """
        [self.port] = freePorts(1)
        self.file = directory / "tokens"
        if tokens:
            self.file.write_text("".join(f"{one} {tokenOf(one)} {one}\n" for one in tokens))
            self.file.chmod(0o600)
            options += f" tokens={self.file}"
        self.audit = directory / "audit.log"
        self.text = (
            f"[global]\nadmin = ${{admin}}, web:127.0.0.1:{self.port} {options}\n"
            f"audit = file:{self.audit}\n{more}{pools}"
        )
        self.balancer = Balancer(self.text, "a", "b", "c")
        self.running = self.balancer.running
        self.pump = self.balancer.pump
        [self.door] = [one for one in self.running.doors if isinstance(one, WebDoor)]
        self._connections = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        for one in self._connections:
            one.socket.close()
        self.balancer.__exit__(kind, *error)

    @property
    def audited(self):
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    def server(self, name="a", pool="app"):
        return self.running.pool(pool).find(name)

    def connects(self):
        found = Connection(self)
        self._connections.append(found)
        return found

    def ask(self, method, path, body=None, by="", connection=None, **fields):
        """
        @param path: below C{/api/v1}, where it does not begin with two of C{/}.
        @param body: a value, or bytes as they are.
        @param by: the scope of the token.
        @param fields: names with C{_} for C{-}; C{None} leaves one out.
        """
        path = path[1:] if path.startswith("//") else f"/api/v1{path}"
        said = {"Host": f"127.0.0.1:{self.port}"}
        if by:
            said["Authorization"] = f"Bearer {tokenOf(by)}"
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            said |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        said |= {name.replace("_", "-"): value for name, value in fields.items()}
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in said.items() if value is not None]
        connection = connection or self.connects()
        connection.sends("\r\n".join([*lines, "", ""]).encode("latin-1") + data)
        return connection.answer(method == "HEAD")

    def get(self, path, by="read", **more):
        """@return: the value of a C{GET} that is answered."""
        found = self.ask("GET", path, by=by, **more)
        assert found.status == 200, found
        return found.value
