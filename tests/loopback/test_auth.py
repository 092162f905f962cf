"""The verb C{auth} in a running lbtwist: curl asks, nginx serves, Python's HTTP server decides."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from loopback.running import REACTORS, Balancer, freePorts, run
from test_passwords import BCRYPT, SHA1

pytestmark = pytest.mark.needs("curl", "nginx")


class Door(BaseHTTPRequestHandler):
    """Lets in who has a cookie, and says who it is."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        known = self.headers.get("Cookie") == "id=alice"
        self.send_response(204 if known else 302)
        if known:
            self.send_header("X-Forwarded-For", "192.0.2.55")
        else:
            wanted = self.headers["X-Forwarded-Uri"]
            self.send_header("Location", f"http://sso.example.com/?back={wanted}")
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Nothing is to be seen."""


@pytest.fixture(scope="module")
def door():
    """@return: the port of the service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module", params=REACTORS)
def guarded(request, tmp_path_factory, nginx, door):
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "users").write_text(f"alice:{SHA1}\n")
    ports = freePorts(3)
    text = f"""\
        [frontend basic]
        bind = 127.0.0.1:{ports[0]}
        pool = nginx
        request =
            auth basic users=users realm="the house"

        [frontend door]
        bind = 127.0.0.1:{ports[1]}
        pool = nginx
        forwarded = none
        request =
            auth url=http://localhost:{door}/ copy=X-Forwarded-For

        [frontend nobody]
        bind = 127.0.0.1:{ports[2]}
        pool = nginx
        request =
            auth url=http://127.0.0.1:{freePorts(1)[0]}/ on-error=503

        [pool nginx]
        server nginx = 127.0.0.1:{nginx.port}
        """
    with Balancer(directory, text, request.param) as balancer:
        balancer.ports = dict(zip(("basic", "door", "nobody"), ports, strict=True))
        yield balancer


def get(balancer, name, path, *arguments):
    url = f"http://127.0.0.1:{balancer.ports[name]}{path}"
    done = run("curl", "-sS", "-i", "--max-time", "20", *arguments, url)
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    return int(head.split()[1]), head, body


def test_aPassword(guarded):
    for _ in range(2):
        assert get(guarded, "basic", "/name", "-u", "alice:secret")[::2] == (200, "nginx")
    status, head, _ = get(guarded, "basic", "/name", "-u", "alice:wrong")
    assert status == 401
    assert '\nWWW-Authenticate: Basic realm="the house", charset="UTF-8"\n' in head
    assert get(guarded, "basic", "/name")[0] == 401


def test_aFileThatChanges(guarded):
    """Here the hash is one that takes its time, in a thread."""
    pytest.importorskip("bcrypt")
    (guarded.directory / "users").write_text(f"bob:{BCRYPT}\nalice:{SHA1}\n")
    guarded.until(lambda: get(guarded, "basic", "/name", "-u", "bob:U*U")[0] == 200)


def test_aService(guarded):
    status, head, _ = get(guarded, "door", "/seen?a=b")
    assert status == 302
    assert "\nLocation: http://sso.example.com/?back=/seen?a=b\n" in f"{head}\n"
    cookie = ("-H", "Cookie: id=alice", "-H", "X-Forwarded-For: 203.0.113.9")
    assert get(guarded, "door", "/seen", *cookie)[::2] == (200, "192.0.2.55")


def test_aServiceThatIsNotThere(guarded):
    assert get(guarded, "nobody", "/name")[0] == 503
    assert "cannot decide: http://127.0.0.1:" in guarded.events
