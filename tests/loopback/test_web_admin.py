"""
The administration by HTTP of a process as an operator starts it: asked by curl and by Python's
requests, listened to, drained, and by schemathesis with whatever its description allows.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest
import requests
from loopback import wire
from loopback.running import REACTORS, Balancer, freePorts, run, until, write

from lbtwist.admin.web.tokens import newLine

CONFIG = """\
[global]
admin = unix:lb.sock, web:127.0.0.1:{web} tokens=tokens{options}
audit = file:audit.log
grace-period = 20s
[frontend www]
bind = 127.0.0.1:{port}
pool = app
log = file:access.log
[pool app]
check = tcp interval=200ms
persist = source
server a = demo:a
server b = demo:b
server c = 127.0.0.1:{absent} weight=0
[pool play]
persist = source
server x = 127.0.0.1:{absent}
server y = demo:y
request =
    set-header X-Who {{map("who.map", path, "nobody")}}
    deny if src in net("@bad.lst")
{more}
"""


class Administered(Balancer):
    """A balancer with C{web:}."""

    def __init__(self, directory, reactor="lbtwist", options="", more="", mode=0o600):
        """
        @param options: behind the address.
        @param mode: of the file of tokens.
        """
        self.port, self.web, absent = freePorts(3)
        self.tokens, lines = {}, []
        for scope in ("read", "operate", "admin"):
            self.tokens[scope], line = newLine(scope, [scope])
            lines.append(f"{line}\n")
        write(directory / "tokens", "".join(lines)).chmod(mode)
        write(directory / "who.map", "/a ann\n")
        write(directory / "bad.lst", "198.51.100.7\n")
        text = CONFIG.format(
            port=self.port, web=self.web, absent=absent, options=options, more=more
        )
        super().__init__(directory, text, reactor)
        self.session = requests.Session()
        self.session.trust_env = False

    def __exit__(self, *exception):
        self.session.close()
        super().__exit__(*exception)

    def url(self, path):
        return f"http://127.0.0.1:{self.web}{path}"

    def ask(self, method, path, by="admin", **more):
        fields = {"Authorization": f"Bearer {self.tokens[by]}"}
        return self.session.request(method, self.url(path), headers=fields, timeout=15, **more)

    def get(self, path):
        found = self.ask("GET", path)
        assert found.status_code == 200, found.text
        return found.json()

    def client(self):
        """@return: a connection of a client that has got an answer."""
        return wire.answered(self.port)


@pytest.fixture(scope="module")
def balancer(tmp_path_factory):
    with Administered(tmp_path_factory.mktemp("web")) as balancer:
        yield balancer


@pytest.mark.parametrize("reactor", REACTORS)
def test_onEveryReactor(tmp_path, reactor):
    with Administered(tmp_path, reactor) as balancer:
        assert balancer.get("/api/v1/pools/app")["servers"] == 3
        body = {"state": "drain"}
        path = "/api/v1/pools/app/servers/a/state"
        assert balancer.ask("POST", path, json=body).json()["state"] == "DRAIN"
        assert b"lbtwist_process_uptime" in balancer.ask("GET", "/metrics").content
        [line] = (tmp_path / "audit.log").read_text().splitlines()
        assert json.loads(line)["after"] == {"state": "DRAIN", "admin": "drain"}


@pytest.mark.needs("curl")
def test_curl(balancer, tmp_path):
    (tmp_path / "long").write_text("x" * 600_000)
    url = balancer.url("/api/v1/pools/app")
    known = ["-H", f"Authorization: Bearer {balancer.tokens['read']}"]
    done = run("curl", "-sS", "--fail-with-body", *known, url)
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "app")
    done = run("curl", "-sS", "-I", *known, url)
    assert done.stdout.startswith("HTTP/1.1 200 OK\r\n")
    done = run("curl", "-sS", "-w", "%{http_code}", "-o", os.devnull, "--data-binary",
               f"@{tmp_path / 'long'}", *known, url + "/servers/a/state")  # fmt: skip
    assert done.stdout == "413"
    done = run("curl", "-sS", "-w", "%{http_code}", "-o", os.devnull, url)
    assert done.stdout == "401"


def test_metricsArePrometheus(balancer):
    pytest.importorskip("prometheus_client")
    from prometheus_client.parser import text_string_to_metric_families

    found = balancer.ask("GET", "/metrics?scope=server")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {one.name for one in text_string_to_metric_families(found.text)}
    assert "lbtwist_server_status" in names


def test_whatHappensIsHeard(balancer):
    fields = {"Authorization": f"Bearer {balancer.tokens['read']}"}
    url = balancer.url("/api/v1/events")
    with requests.get(url, headers=fields, stream=True, timeout=15) as stream:
        lines = (line for line in stream.iter_lines() if line.startswith(b"data: "))
        whole = json.loads(next(lines)[6:])
        assert set(whole["servers"]["app"]) == {"a", "b", "c"}
        before = whole["frontends"]["www"]["requests"]
        balancer.client().close()
        for line in lines:
            change = json.loads(line[6:])
            if change.get("frontends", {}).get("www", {}).get("requests") == before + 1:
                break


def test_whoDoesNotReadHoldsNobodyUp(balancer):
    """Nor can they grow: what is not read is not kept."""
    request = (
        b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
        + balancer.tokens["read"].encode() + b"\r\n\r\n"
    )  # fmt: skip
    with wire.unread(balancer.web, request, 40):
        assert balancer.get("/api/v1/info")["version"]
        balancer.client().close()


def test_notReadyWhileItDrains(tmp_path):
    with Administered(tmp_path) as balancer:
        assert requests.get(balancer.url("/readyz"), timeout=15).json()["ready"]
        client = socket.create_connection(("127.0.0.1", balancer.port), 10)
        # A request that is not whole, so that something runs.
        client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx")
        until(lambda: balancer.get("/api/v1/info")["connections"] == 1)
        os.kill(balancer.pid, signal.SIGTERM)
        until(lambda: requests.get(balancer.url("/readyz"), timeout=15).status_code == 503)
        assert requests.get(balancer.url("/healthz"), timeout=15).text == "alive\n"
        client.close()
        assert balancer.process.wait(15) == 0


def test_tokensThatOthersMayRead(tmp_path):
    balancer = Administered(tmp_path, mode=0o644)
    with pytest.raises(AssertionError, match=r"others can read or write it: chmod o-rwx"):
        balancer.__enter__()
    assert balancer.process.wait(15) == 1


# TLS


def test_byTLS(tmp_path):
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    site = authority.issue_cert("localhost", "127.0.0.1")
    site.private_key_and_cert_chain_pem.write_to_path(tmp_path / "site.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    more = "[tls admin]\ncertificate = site.pem\nstrict-sni = yes\n"
    with Administered(tmp_path, options=" tls=admin", more=more) as balancer:
        url = f"https://localhost:{balancer.web}/api/v1"
        found = requests.post(
            f"{url}/login", json={"token": balancer.tokens["read"]}, headers={"X-Lbtwist": "1"},
            verify=str(tmp_path / "ca.pem"), timeout=15,
        )  # fmt: skip
        assert found.status_code == 200 and "; Secure" in found.headers["set-cookie"]
        fields = {"Authorization": f"Bearer {balancer.tokens['read']}"}
        found = requests.get(
            f"{url}/certificates", headers=fields, verify=str(tmp_path / "ca.pem"), timeout=15
        )
        [one] = found.json()["certificates"]
        assert one["file"] == str(tmp_path / "site.pem") and "localhost" in one["names"]
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"https://127.0.0.1:{balancer.web}/", verify=False, timeout=15)
        # Who does not speak TLS, or not enough of it, holds nobody up.
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00", b""):
            with socket.create_connection(("127.0.0.1", balancer.web), 10) as plain:
                plain.settimeout(10)
                plain.sendall(said)
                with suppress(ConnectionResetError):
                    while len(said) > 5 and plain.recv(4096):
                        pass
        half = socket.create_connection(("127.0.0.1", balancer.web), 10)
        half.sendall(b"\x16\x03\x01\x00")
        assert requests.get(f"{url}/whoami", verify=str(tmp_path / "ca.pem"), timeout=15).ok


# whatever its description allows


RULES = """\
[checks.negative_data_rejection]
expected-statuses = ["4xx", "503"]
# Any other name that is made up there is as good, and is there from then on.
[[operations]]
include-path-regex = "/pools/.pool.$|/frontends/.frontend.$|/binds/|/entries/"
checks.negative_data_rejection.enabled = false
"""


def test_schemathesis(balancer, tmp_path):
    pytest.importorskip("schemathesis")
    description = balancer.get("/api/v1/openapi.json")
    names = {"pool": ["play", "none"], "server": ["x", "y"], "frontend": ["www"],
             "id": ["1", "x"], "bind": ["unix:bind.sock"], "certificate": ["site.pem"],
             "map": ["who.map"], "list": ["bad.lst"], "key": ["192.0.2.1", "/a"]}  # fmt: skip
    removed = ("/api/v1/pools/{pool}", "/api/v1/frontends/{frontend}",
               "/api/v1/pools/{pool}/servers/{server}")  # fmt: skip
    for path, methods in description["paths"].items():
        for parameter in methods.get("parameters", ()):
            # Names that there are: otherwise nearly all of it would be not found.
            parameter["schema"]["enum"] = names[parameter["name"]]
            if path in removed:
                # And what others ask for is not taken away.
                kept = {**parameter, "schema": {"enum": ["none"], "type": "string"}}
                methods["delete"].setdefault("parameters", []).append(kept)
    file = write(tmp_path / "api.json", json.dumps(description))
    write(tmp_path / "schemathesis.toml", RULES)
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", str(file),
            "--url", balancer.url(""), "--header",
            f"Authorization: Bearer {balancer.tokens['admin']}", "--phases",
            "examples,coverage,fuzzing", "--max-time", "40", "--continue-on-failure",
            # Streams have no end; who guesses tokens is let in no more; another process would
            # take the place of this one.
            "--exclude-path", "/api/v1/events", "--exclude-path", "/api/v1/login",
            "--exclude-path", "/api/v1/upgrade",
            # What is no request to explain cannot be said in a schema; who gets in without a
            # token is the concern of tests/dialogues/test_web_access.py.
            "--exclude-checks", "positive_data_acceptance,ignored_auth", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=110, stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_PROXY": "*"},
    )  # fmt: skip
    said = done.stdout.partition("= FAILURES =")[2][:6000]
    assert done.returncode == 0, (said or done.stdout[-6000:]) + done.stderr[-2000:]
    assert balancer.get("/api/v1/info")["version"]
