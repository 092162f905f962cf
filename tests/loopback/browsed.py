"""
What the tests of the page for operators share: a balancer as an operator starts it, a Chromium
that visits its page, and what both are asked for.

Screenshots are kept where C{LBTWIST_SCREENSHOTS} says, or in pytest's own directory.
"""

import http.client
import json
import os
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from browsing import Browser
from loopback.running import Balancer, freePorts, until

CHROMIUM = [pytest.mark.needs("chromium"), pytest.mark.timeout(180)]
"""What a module of such tests is marked with."""

OPERATOR = "operator-0123456789abcdef0123456789abcdef"
READER = "reader-0123456789abcdef0123456789abcdef01"

HOSTILE = "<script>window.taken=1</script><img src=x onerror=window.taken=1>"

TEXT = """\
    [global]
    admin = web:127.0.0.1:{web} tokens=tokens

    [conditions]
    inside = src in net("10.0.0.0/8")

    [frontend www]
    bind = 127.0.0.1:{port}
    pool = app
    request =
        deny if path.normal.startswith("/admin") and not inside
        pool ill if path == "/ill"

    [pool app]
    balance = leastconn
    check = http GET / interval=1s
    server a = demo:a
    server b = demo:b
    server c = demo:c

    [pool ill]
    check = http GET / interval=500ms
    server only = 127.0.0.1:{ill}
    """


class Site:
    """
    A balancer and its page.

    @ivar port: where clients come in.
    @ivar url: of the page.
    """

    def __init__(self, port, web):
        self.port = port
        self.web = web
        self.url = f"http://127.0.0.1:{web}/"

    def get(self, target, host="www.example"):
        """A client asks. @return: the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest("GET", target, skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    def asks(self, path, token=OPERATOR):
        """@return: what the API says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.web, timeout=15)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def server(self, name, pool="app"):
        return self.asks(f"/api/v1/pools/{pool}/servers/{name}")

    @contextmanager
    def load(self):
        """Clients who ask all the time."""
        ended = threading.Event()

        def ask():
            while not ended.is_set():
                self.get("/")

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            ended.set()
            for one in threads:
                one.join()

    @contextmanager
    def waiting(self, seconds):
        """A client who gets no answer for so long."""
        one = threading.Thread(target=self.get, args=(f"/?slow={seconds}",))
        one.start()
        try:
            yield
        finally:
            one.join()


@pytest.fixture(scope="module")
def ill():
    """A server that answers every check with markup, @return: its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                # A check may have given up already.
                with client, suppress(ConnectionError):
                    client.recv(4096)
                    client.sendall(
                        b"HTTP/1.1 503 <script>alert(1)</script>\r\nContent-Length: 0\r\n\r\n"
                    )

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def writeTokens(directory):
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "tokens"
    path.write_text(f"olivia {OPERATOR} operate\nrobin {READER} read\n")
    path.chmod(0o600)


@pytest.fixture(scope="module")
def site(tmp_path_factory, ill):
    directory = tmp_path_factory.mktemp("page")
    writeTokens(directory)
    port, web = freePorts(2)
    with Balancer(directory, TEXT.format(port=port, web=web, ill=ill)):
        yield Site(port, web)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """Where screenshots are kept."""
    named = os.environ.get("LBTWIST_SCREENSHOTS")
    path = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def visit(browser):
    """
    Opens pages. However they were used, nothing was said on their console, no text became
    markup, and nobody else was asked for anything.
    """
    opened = []

    def visit(site, token=OPERATOR, **how):
        page = browser.page(**how)
        page.forgiven = lambda message: False
        opened.append((page, site.url))
        page.asks("Network.clearBrowserCookies")
        page.goto(site.url)
        if token:
            page.until("document.activeElement.id === 'token'")
            page.types(token)
            page.press("Enter")
            page.until(LIVE)
        return page

    yield visit
    for page, url in opened:
        page.evaluate("0")
        assert [one for one in page.messages if not page.forgiven(one)] == []
        assert page.requests
        assert [one for one in page.requests if not one.startswith(url)] == []
        assert page.evaluate("window.taken === undefined")
        page.close()


LIVE = (
    "lbtwist.live.link === 'live' && document.querySelector('#servers-table .server')"
    " && !document.querySelector('[aria-busy]')"
)


def row(name, pool="app"):
    """@return: an expression for the row of a server."""
    return (
        "[...document.querySelectorAll('#servers-table .server')].find((one) =>"
        f" one.row.thing.name === {name!r} && one.row.thing.pool === {pool!r})"
    )


def cell(name, column, pool="app"):
    """@return: an expression for what a column says of a server."""
    return (
        f"((one) => one.cells[one.row.columns.findIndex(({{key}}) => key === {column!r})]"
        f".textContent)({row(name, pool)})"
    )


def state(name, wanted, pool="app"):
    """@return: an expression: a server is shown in a state."""
    return f"{row(name, pool)}.querySelector('.word').innerText === {wanted!r}"


def opens(page, name):
    """A server's panel is opened with the mouse."""
    page.evaluate(f"{row(name)}.querySelector('button').id = 'wanted'")
    page.click("#wanted")
    page.evaluate("document.getElementById('wanted').removeAttribute('id')")
    page.until("document.querySelector('#panel').open")


def ready(page, site, name):
    """It is as it was before."""
    page.evaluate(
        f"fetch('api/v1/pools/app/servers/{name}/state', {{method: 'POST', headers:"
        " {'X-Lbtwist': '1', 'Content-Type': 'application/json'}, body: '{\"state\": \"ready\"}'})"
    )
    until(lambda: site.server(name)["admin"] == "ready")
    page.until(state(name, "UP"))
